"""What calls are made with, of one botocore session. Makes no call itself.

Two clients of botocore: polls must not take the connections of the rest. The calls that move messages go past them, by
the data plane, where botocore's settings allow it and the user did not ask for botocore itself.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from typing import Any, Final, NamedTuple, Self, TypeVar

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session  # pyright: ignore[reportUnknownVariableType] - it has no types

from dawdle.backends.sqs._botocore_calls import BotocoreCalls
from dawdle.backends.sqs._calls import MessageCalls, TimeLimits
from dawdle.backends.sqs._data_plane._calls import DataPlane, Lane
from dawdle.backends.sqs._data_plane._credentials import SessionCredentials
from dawdle.backends.sqs._data_plane._retries import Retries
from dawdle.backends.sqs._data_plane._signer import Template
from dawdle.backends.sqs._data_plane._template import learn_template
from dawdle.backends.sqs._data_plane._transports import open_transport
from dawdle.backends.sqs._endpoint import Endpoint, resolve_endpoint
from dawdle.backends.sqs._errors import NOT_FROM_SQS
from dawdle.backends.sqs._http_session import HttpSession, session_class
from dawdle.backends.sqs._queue_address import QueueAddress
from dawdle.backends.sqs._request_attempts import RequestAttempts, observe_attempts
from dawdle.errors import BackendError

__all__ = ["ClientSet", "ClientSettings", "Make"]

T = TypeVar("T")

MAX_POLL_CONNECTIONS: Final = 64
"""Connections of a queue in the pool for long polls. Each poll holds one for as long as it waits, up to 20 seconds."""

MAX_REQUEST_CONNECTIONS: Final = 32
"""Connections of a queue in the pool for all other requests.

With one pool for both, as many polls as it has connections would leave none for up to 20 seconds. Deletes and sends
would wait for that, in an app that is idle as well as in a busy one.
"""

CREDENTIALS_SECONDS: Final = 30.0
"""Seconds to make a client set: its credentials may come from a program or over the network."""


class ClientSettings(NamedTuple):
    """What a client set is made from."""

    address: QueueAddress
    limits: TimeLimits
    past_botocore: bool
    """Whether the calls that move messages go past botocore, where that is possible."""
    loader: Any
    """botocore's loader of AWS's models, shared by all sets: to read them takes 60 ms."""
    queues: int = 1
    """How many queues share the clients. Each has as many connections as it would have alone."""

    @classmethod
    def of(cls, address: QueueAddress, limits: TimeLimits, *, past_botocore: bool) -> Self:
        """Return the settings, with a loader."""
        session: Any = get_session()
        return cls(address, limits, past_botocore, session.get_component("data_loader"))


class _Client(NamedTuple):
    """A client of botocore, the HTTP session that it made, and how many connections it may have."""

    client: Any
    session: HttpSession
    pool: int


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

    async def open(self, settings: ClientSettings) -> Self:
        """Make the clients. Credentials, profiles and proxies are found as by every AWS tool: by botocore's chain."""
        try:
            async with asyncio.timeout(CREDENTIALS_SECONDS):
                await self._open(settings)
        except BaseException:  # also when it is cancelled: one client may be open by then
            await self.close()
            raise
        return self

    async def close(self) -> None:
        """Close the clients with all their connections. An error is suppressed: no call depends on them any more."""
        with suppress(Exception):
            await self._stack.aclose()

    async def _open(self, settings: ClientSettings) -> None:
        address, limits = settings.address, settings.limits
        # A new session each time: botocore's sessions search for credentials once and keep what they found.
        session: Any = get_session()
        session.register_component("data_loader", settings.loader)
        endpoint = resolve_endpoint(address, session)
        polls = None
        if limits.wait is not None:
            read = limits.poll_seconds(limits.wait)
            pool = MAX_POLL_CONNECTIONS * settings.queues
            polls = await self._client(session, endpoint, limits, pool, read=read, max_attempts=1)
        requests = await self._client(
            session,
            endpoint,
            limits,
            MAX_REQUEST_CONNECTIONS * settings.queues,
            read=limits.response_seconds,
            max_attempts=limits.max_attempts,
        )
        self.calls = self.botocore = BotocoreCalls(None if polls is None else polls.client, requests.client)
        template = await learn_template(requests.client, address.url) if settings.past_botocore else None
        if template is not None:
            self.calls = DataPlane(
                None if polls is None else await self._lane(polls, template, limits),
                await self._lane(requests, template, limits),
                SessionCredentials(await session.get_credentials()),
                limits,
            )

    async def _client(
        self, session: Any, endpoint: Endpoint, limits: TimeLimits, pool: int, *, read: float, max_attempts: int
    ) -> _Client:
        made: list[HttpSession] = []
        config = AioConfig(
            connect_timeout=limits.connect_seconds,
            read_timeout=read,
            max_pool_connections=pool,
            retries={"total_max_attempts": max_attempts, "mode": "standard"},
            user_agent_extra="dawdle",  # for CloudTrail, and for AWS support
            http_session_cls=session_class(made),
        )
        client = session.create_client("sqs", region_name=endpoint.region, endpoint_url=endpoint.url, config=config)
        client = await self._stack.enter_async_context(client)
        client.meta.events.register("response-received.sqs", _require_json)
        observe_attempts(client.meta.events)
        return _Client(client, made[-1], pool)

    async def _lane(self, client: _Client, template: Template, limits: TimeLimits) -> Lane:
        transport = await open_transport(client.session, template, limits.connect_seconds, client.pool)
        self._stack.push_async_callback(transport.close)
        return Lane(transport, Retries(client.client))


Make = Callable[[ClientSet, RequestAttempts], Awaitable[T]]
"""Makes one call with a client set, and notes its attempts."""


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
