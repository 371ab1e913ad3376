"""The clients and the credentials they sign with: made together, and made anew when the credentials are no good."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from math import inf
from typing import Any, Final, Self, TypeVar

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session  # pyright: ignore[reportUnknownVariableType] - it has no types

from dawdle._log import Log
from dawdle.backends.sqs._endpoint import Endpoint, resolve_endpoint
from dawdle.backends.sqs._errors import NOT_FROM_SQS, has_stale_credentials, to_backend_error
from dawdle.backends.sqs._no_redirects import NoRedirectSession
from dawdle.backends.sqs._queue_address import QueueAddress
from dawdle.backends.sqs._request_attempts import observe_attempts
from dawdle.errors import BackendError

__all__ = ["ClientSet", "Clients"]

T = TypeVar("T")

_log = Log(__name__)

MAX_POLL_CONNECTIONS: Final = 64
"""Connections for long polls; each holds one for as long as it waits."""

MAX_REQUEST_CONNECTIONS: Final = 32
"""Connections for the rest, so that polls that wait never starve an ack."""

REFRESH_RETRY_SECONDS: Final = 10.0
"""Credentials that were refused are looked for again no sooner than this after the last time."""

CREDENTIALS_SECONDS: Final = 30.0
"""The longest wait for credentials, which may come from a program or over the network."""


class ClientSet:
    """One session, so one set of credentials, with its clients; and how many calls are in them."""

    def __init__(self) -> None:
        self.poll_client: Any = None
        self.request_client: Any = None
        self.calls_in_flight = 0
        self.retired = False
        self._stack = AsyncExitStack()

    async def open(self, address: QueueAddress, loader: Any, configs: tuple[AioConfig | None, AioConfig]) -> Self:
        """Make the clients; credentials, profiles, proxies and the rest come by botocore's own chain."""
        session: Any = get_session()
        session.register_component("data_loader", loader)
        try:
            async with asyncio.timeout(CREDENTIALS_SECONDS):
                endpoint = resolve_endpoint(address, session)
                self.poll_client, self.request_client = [
                    await self._client(session, endpoint, config) for config in configs
                ]
        except BaseException:
            await self.close()
            raise
        return self

    async def close(self) -> None:
        """Close the clients with all their connections. A trouble there is nobody's any more."""
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
    """The clients in use, and those before it in which calls have not ended yet.

    `wait`: seconds of the longest poll; None: nothing is polled for. `answer`: seconds in which an answer must come,
    beyond the wait of a poll. `attempts`: how often a call that is no poll is tried.
    """

    def __init__(self, address: QueueAddress, wait: int | None, *, response_seconds: float, max_attempts: int) -> None:
        self._address = address
        connect = response_seconds / 2
        polls = None
        if wait is not None:
            polls = _config(MAX_POLL_CONNECTIONS, connect=connect, read=wait + response_seconds, max_attempts=1)
        requests = _config(MAX_REQUEST_CONNECTIONS, connect=connect, read=response_seconds, max_attempts=max_attempts)
        self._configs = polls, requests
        session: Any = get_session()
        self._model_loader = session.get_component("data_loader")  # the models are read once, not per client: 60 ms
        self._lock = asyncio.Lock()
        self._current: ClientSet
        self._retired: set[ClientSet] = set()
        self._refreshed_at = -inf
        self._closed = False

    async def open(self) -> None:
        """Make the first client set."""
        self._current = await ClientSet().open(self._address, self._model_loader, self._configs)

    async def close(self) -> None:
        """Close all connections, also those of calls that are under way."""
        self._closed = True
        for clients in (self._current, *self._retired):
            await clients.close()

    async def call(self, make: Callable[[ClientSet], Awaitable[T]]) -> T:
        """Make one call; once more, with new clients, if its credentials were no good any more."""
        clients = self._current
        try:
            return await self._call_with(clients, make)
        except Exception as error:
            if not has_stale_credentials(error) or not await self._refresh(clients):
                raise
        return await self._call_with(self._current, make)

    async def _call_with(self, clients: ClientSet, make: Callable[[ClientSet], Awaitable[T]]) -> T:
        clients.calls_in_flight += 1
        try:
            return await make(clients)
        finally:
            clients.calls_in_flight -= 1
            await self._close_if_unused(clients)

    async def _refresh(self, failed: ClientSet) -> bool:
        """Return whether there are other clients than those that failed. Of all that ask, the first one makes them."""
        async with self._lock:
            if self._current is not failed:
                return True
            clock = asyncio.get_running_loop().time
            if self._closed or clock() < self._refreshed_at + REFRESH_RETRY_SECONDS:
                return False
            try:
                new = await ClientSet().open(self._address, self._model_loader, self._configs)
            except Exception as error:  # noqa: BLE001 - the call's own error is raised; this one says why it was not mended
                why = to_backend_error(error, f"new credentials for {self._address.url}", uncertain=False)
                _log.warning("the credentials for %s were refused, and there are no others: %s", self._address.url, why)
                self._refreshed_at = clock()
                return False
            self._refreshed_at = clock()  # cancelled, it counts as none: whoever waits for the lock tries then
            if self._closed:
                await new.close()
                return False
            self._current = new
        failed.retired = True
        self._retired.add(failed)
        await self._close_if_unused(failed)
        return True

    async def _close_if_unused(self, clients: ClientSet) -> None:
        """Close a retired client set after its last call: a poll that is cut would swallow the next message."""
        if clients.retired and not clients.calls_in_flight:
            await clients.close()
            self._retired.discard(clients)


def _config(pool: int, *, connect: float, read: float, max_attempts: int) -> AioConfig:
    return AioConfig(
        connect_timeout=connect,
        read_timeout=read,
        max_pool_connections=pool,
        retries={"total_max_attempts": max_attempts, "mode": "standard"},
        user_agent_extra="dawdle",
        http_session_cls=NoRedirectSession,
    )


def _require_json(
    response_dict: Mapping[str, Any] | None, parsed_response: Mapping[str, Any] | None, **_: object
) -> None:
    """Raise `BackendError` for a 200 that is no JSON object: botocore takes it for an answer that says nothing."""
    if response_dict is None or response_dict["status_code"] >= 300 or not parsed_response:
        return
    if parsed_response.keys() - {"ResponseMetadata"}:
        return
    try:
        is_answer = isinstance(json.loads(response_dict["body"]), dict)
    except ValueError:
        is_answer = False
    if not is_answer:
        raise BackendError(NOT_FROM_SQS.format(response_dict["status_code"]))
