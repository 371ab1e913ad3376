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
from dawdle.backends.sqs._address import Address, address_of
from dawdle.backends.sqs._direct import DirectSession
from dawdle.backends.sqs._errors import NO_ANSWER, as_error, is_stale
from dawdle.backends.sqs._place import Place
from dawdle.backends.sqs._tries import watch_tries
from dawdle.errors import BackendError

__all__ = ["Clients", "Generation"]

T = TypeVar("T")

_log = Log(__name__)

POLLS: Final = 64
"""Connections for long polls; each holds one for as long as it waits."""

OTHERS: Final = 32
"""Connections for the rest, so that polls that wait never starve an ack."""

AGAIN_SECONDS: Final = 10.0
"""Credentials that were refused are looked for again no sooner than this after the last time."""

MAKE_SECONDS: Final = 30.0
"""The longest wait for credentials, which may come from a program or over the network."""


class Generation:
    """One session, so one set of credentials, with its clients; and how many calls are in them."""

    def __init__(self) -> None:
        self.polls: Any = None
        self.others: Any = None
        self.calls = 0
        self.retired = False
        self._stack = AsyncExitStack()

    async def open(self, place: Place, loader: Any, configs: tuple[AioConfig | None, AioConfig]) -> Self:
        """Make the clients; credentials, profiles, proxies and the rest come by botocore's own chain."""
        session: Any = get_session()
        session.register_component("data_loader", loader)
        try:
            async with asyncio.timeout(MAKE_SECONDS):
                address = address_of(place, session)
                self.polls, self.others = [await self._client(session, address, config) for config in configs]
        except BaseException:
            await self.close()
            raise
        return self

    async def close(self) -> None:
        """Close the clients with all their connections. A trouble there is nobody's any more."""
        with suppress(Exception):
            await self._stack.aclose()

    async def _client(self, session: Any, address: Address, config: AioConfig | None) -> Any:
        if config is None:
            return None
        client = session.create_client("sqs", region_name=address.region, endpoint_url=address.endpoint, config=config)
        client = await self._stack.enter_async_context(client)
        client.meta.events.register("response-received.sqs", _check)
        watch_tries(client.meta.events)
        return client


class Clients:
    """The generation in use, and those before it in which calls have not ended yet.

    `wait`: seconds of the longest poll; None: nothing is polled for. `answer`: seconds in which an answer must come,
    beyond the wait of a poll. `attempts`: how often a call that is no poll is tried.
    """

    def __init__(self, place: Place, wait: int | None, *, answer: float, attempts: int) -> None:
        self._place = place
        polls = None if wait is None else _config(POLLS, connect=answer / 2, read=wait + answer, attempts=1)
        self._configs = polls, _config(OTHERS, connect=answer / 2, read=answer, attempts=attempts)
        session: Any = get_session()
        self._loader = session.get_component("data_loader")  # the models are read once, not per generation: 60 ms
        self._lock = asyncio.Lock()
        self._current: Generation
        self._retired: set[Generation] = set()
        self._renewed_at = -inf
        self._closed = False

    async def open(self) -> None:
        """Make the first generation."""
        self._current = await Generation().open(self._place, self._loader, self._configs)

    async def close(self) -> None:
        """Close all connections, also those of calls that are under way."""
        self._closed = True
        for generation in (self._current, *self._retired):
            await generation.close()

    async def call(self, make: Callable[[Generation], Awaitable[T]]) -> T:
        """Make one call; once more, with new clients, if its credentials were no good any more."""
        generation = self._current
        try:
            return await self._within(generation, make)
        except Exception as error:
            if not is_stale(error) or not await self._is_renewed(generation):
                raise
        return await self._within(self._current, make)

    async def _within(self, generation: Generation, make: Callable[[Generation], Awaitable[T]]) -> T:
        generation.calls += 1
        try:
            return await make(generation)
        finally:
            generation.calls -= 1
            await self._let_go(generation)

    async def _is_renewed(self, failed: Generation) -> bool:
        """Return whether there are other clients than those that failed. Of all that ask, the first one makes them."""
        async with self._lock:
            if self._current is not failed:
                return True
            clock = asyncio.get_running_loop().time
            if self._closed or clock() < self._renewed_at + AGAIN_SECONDS:
                return False
            try:
                fresh = await Generation().open(self._place, self._loader, self._configs)
            except Exception as error:  # noqa: BLE001 - the call's own error is raised; this one says why it was not mended
                why = as_error(error, f"new credentials for {self._place.url}", uncertain=False)
                _log.warning("the credentials for %s were refused, and there are no others: %s", self._place.url, why)
                self._renewed_at = clock()
                return False
            self._renewed_at = clock()  # cancelled, it counts as none: whoever waits for the lock tries then
            if self._closed:
                await fresh.close()
                return False
            self._current = fresh
        failed.retired = True
        self._retired.add(failed)
        await self._let_go(failed)
        return True

    async def _let_go(self, generation: Generation) -> None:
        """Close a retired generation after its last call: a poll that is cut would swallow the next message."""
        if generation.retired and not generation.calls:
            await generation.close()
            self._retired.discard(generation)


def _config(pool: int, *, connect: float, read: float, attempts: int) -> AioConfig:
    return AioConfig(
        connect_timeout=connect,
        read_timeout=read,
        max_pool_connections=pool,
        retries={"total_max_attempts": attempts, "mode": "standard"},
        user_agent_extra="dawdle",
        http_session_cls=DirectSession,
    )


def _check(response_dict: Mapping[str, Any] | None, parsed_response: Mapping[str, Any] | None, **_: object) -> None:
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
        raise BackendError(NO_ANSWER.format(response_dict["status_code"]))
