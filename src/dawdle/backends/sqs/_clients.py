"""Makes the botocore clients of one queue, and makes new ones when SQS refuses their credentials. Sends nothing itself.

A session of botocore keeps the credentials that it found first, and refreshes them only where their source says when
they expire. Others end without notice: a key is replaced, a credentials file is rewritten while a worker runs. So a
refused call needs a new session, and with it new clients::

    current ──── a call finds its credentials refused ────► retired ──── its last call has ended ────► closed
                 (the first such call makes the next set)

A retired set stays open until then, because one of its long polls may be waiting, and cutting that may cost a message a
whole lease: SQS does not notice, and hands the next message to the closed connection.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from math import inf
from typing import Any, Final, Self, TypeVar

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session  # pyright: ignore[reportUnknownVariableType] - it has no types

from dawdle._log import Log
from dawdle.backends.sqs._botocore_calls import BotocoreCalls
from dawdle.backends.sqs._calls import MessageCalls, TimeLimits
from dawdle.backends.sqs._endpoint import Endpoint, resolve_endpoint
from dawdle.backends.sqs._errors import NOT_FROM_SQS, has_stale_credentials, to_backend_error
from dawdle.backends.sqs._no_redirects import NoRedirectSession
from dawdle.backends.sqs._queue_address import QueueAddress
from dawdle.backends.sqs._request_attempts import RequestAttempts, observe_attempts
from dawdle.errors import BackendError

__all__ = ["ClientSet", "Clients"]

T = TypeVar("T")

_log = Log(__name__)

MAX_POLL_CONNECTIONS: Final = 64
"""Connections in the pool for long polls. Each poll holds one for as long as it waits, up to 20 seconds."""

MAX_REQUEST_CONNECTIONS: Final = 32
"""Connections in the pool for all other requests.

With one pool for both, as many polls as it has connections would leave none for up to 20 seconds. Deletes and sends
would wait for that, in an app that is idle as well as in a busy one.
"""

REFRESH_RETRY_SECONDS: Final = 10.0
"""Seconds between two searches for new credentials: each may start a program or ask a metadata service."""

CREDENTIALS_SECONDS: Final = 30.0
"""Seconds to make a client set: its credentials may come from a program or over the network."""


class ClientSet:
    """One botocore session, so one set of credentials; its two clients; and how many calls they have in flight."""

    def __init__(self) -> None:
        self.calls: MessageCalls
        """Makes the calls that move messages."""
        self.botocore: BotocoreCalls
        """Makes all other calls."""
        self.calls_in_flight = 0
        self.retired = False
        """Whether another set has taken its place. It is closed when `calls_in_flight` is 0."""
        self._stack = AsyncExitStack()

    async def open(self, address: QueueAddress, loader: Any, limits: TimeLimits) -> Self:
        """Make the clients. Credentials, profiles and proxies are found as by every AWS tool: by botocore's chain."""
        # A new session each time: botocore's sessions search for credentials once and keep what they found.
        session: Any = get_session()
        session.register_component("data_loader", loader)
        try:
            async with asyncio.timeout(CREDENTIALS_SECONDS):
                endpoint = resolve_endpoint(address, session)
                poll_client, request_client = [
                    await self._client(session, endpoint, config) for config in _configs(limits)
                ]
        except BaseException:  # also when it is cancelled: one client may be open by then
            await self.close()
            raise
        self.calls = self.botocore = BotocoreCalls(poll_client, request_client)
        return self

    async def close(self) -> None:
        """Close the clients with all their connections. An error is suppressed: no call depends on them any more."""
        with suppress(Exception):
            await self._stack.aclose()

    async def _client(self, session: Any, endpoint: Endpoint, config: AioConfig | None) -> Any:
        if config is None:
            return None
        client = session.create_client("sqs", region_name=endpoint.region, endpoint_url=endpoint.url, config=config)
        client = await self._stack.enter_async_context(client)
        client.meta.events.register("response-received.sqs", _require_json)
        observe_attempts(client.meta.events)
        return client


class Clients:
    """The client set in use, and the retired ones in which calls are still in flight."""

    def __init__(self, address: QueueAddress, limits: TimeLimits) -> None:
        self._address = address
        self._limits = limits
        session: Any = get_session()
        self._model_loader = session.get_component("data_loader")  # AWS's models are read once: it takes 60 ms
        self._lock = asyncio.Lock()
        self._current: ClientSet
        self._retired: set[ClientSet] = set()
        self._refreshed_at = -inf
        self._closed = False

    async def open(self) -> None:
        """Make the first client set. Raises what botocore raises."""
        self._current = await ClientSet().open(self._address, self._model_loader, self._limits)

    async def close(self) -> None:
        """Close all connections, also those of calls that are under way."""
        self._closed = True
        for clients in (self._current, *self._retired):
            await clients.close()

    async def call(self, make: Callable[[ClientSet, RequestAttempts], Awaitable[T]], attempts: RequestAttempts) -> T:
        """Make one call, and make it once more with new clients if SQS refused its credentials."""
        clients = self._current
        try:
            return await self._call_with(clients, make, attempts)
        except Exception as error:
            if not has_stale_credentials(error):
                raise
            async with asyncio.timeout_at(attempts.deadline):
                if not await self._refresh(clients):
                    raise
        # Once only. Should the new credentials be refused too, the receiver and the settler call again later.
        return await self._call_with(self._current, make, attempts)

    async def _call_with(
        self,
        clients: ClientSet,
        make: Callable[[ClientSet, RequestAttempts], Awaitable[T]],
        attempts: RequestAttempts,
    ) -> T:
        clients.calls_in_flight += 1
        try:
            return await make(clients, attempts)
        finally:
            clients.calls_in_flight -= 1
            if clients.retired:
                await self._close_if_unused(clients)

    async def _refresh(self, failed: ClientSet) -> bool:
        """Return whether there are other clients than those that failed.

        A hundred calls may fail at once. They queue at the lock: the first one makes the new set, and the others find
        that `_current` has changed. A failed search is remembered too, so that it is not made a hundred times.
        """
        async with self._lock:
            if self._current is not failed:
                return True
            clock = asyncio.get_running_loop().time
            if self._closed or clock() < self._refreshed_at + REFRESH_RETRY_SECONDS:
                return False
            try:
                new = await ClientSet().open(self._address, self._model_loader, self._limits)
            except Exception as error:  # noqa: BLE001 - the call's own error is raised; this one is only logged
                _log.warning(
                    "SQS refuses the credentials for %s, and new ones cannot be found: %s",
                    self._address.url,
                    to_backend_error(error, "creating a client with new credentials", uncertain=False),
                )
                self._refreshed_at = clock()
                return False
            # Noted only now. A search that was cancelled found nothing, so the next call at the lock makes its own.
            self._refreshed_at = clock()
            if self._closed:  # while the new set was being made
                await new.close()
                return False
            self._current = new
        failed.retired = True
        self._retired.add(failed)
        await self._close_if_unused(failed)
        return True

    async def _close_if_unused(self, clients: ClientSet) -> None:
        """Close a retired client set after its last call, so that no long poll is cut."""
        if clients.retired and not clients.calls_in_flight:
            await clients.close()
            self._retired.discard(clients)


def _configs(limits: TimeLimits) -> tuple[AioConfig | None, AioConfig]:
    """Return the settings of the client that polls, if one does, and of the client that makes the other requests."""
    polls = None
    if limits.wait is not None:
        polls = _config(MAX_POLL_CONNECTIONS, limits, read=limits.poll_seconds(limits.wait), max_attempts=1)
    requests = _config(MAX_REQUEST_CONNECTIONS, limits, read=limits.response_seconds, max_attempts=limits.max_attempts)
    return polls, requests


def _config(pool: int, limits: TimeLimits, *, read: float, max_attempts: int) -> AioConfig:
    return AioConfig(
        connect_timeout=limits.connect_seconds,
        read_timeout=read,
        max_pool_connections=pool,
        retries={"total_max_attempts": max_attempts, "mode": "standard"},
        user_agent_extra="dawdle",  # for CloudTrail, and for AWS support
        http_session_cls=NoRedirectSession,
    )


def _require_json(
    response_dict: Mapping[str, Any] | None, parsed_response: Mapping[str, Any] | None, **_: object
) -> None:
    """Raise `BackendError` for a 200 that is no JSON object.

    A proxy or a captive portal may answer with a page of HTML. botocore reads that as a response without fields: a
    receive without messages, or a batch of which no entry is mentioned. An empty queue would look well for ever.
    """
    if response_dict is None or response_dict["status_code"] >= 300 or not parsed_response:
        return
    if parsed_response.keys() - {"ResponseMetadata"}:
        return
    # Only now the body is parsed a second time: an empty object is the right response to a receive that finds nothing.
    try:
        is_answer = isinstance(json.loads(response_dict["body"]), dict)
    except ValueError:
        is_answer = False
    if not is_answer:
        raise BackendError(NOT_FROM_SQS.format(response_dict["status_code"]))
