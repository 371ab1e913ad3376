"""dawdle on any queue: an app that listens when it is told to."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Self

import msgspec

import dawdle
from dawdle import Telemetry
from dawdle.abc import Backend
from tests.bench.work import Order, Setting


class App:
    """What dawdle does alike on each of its queues."""

    package = "dawdle"

    def __init__(self, setting: Setting, backend: Backend, telemetry: Sequence[Telemetry] = ()) -> None:
        work, registry = setting.job.work, dawdle.Registry()
        for number, handler in enumerate(setting.handlers):
            registry.on_event(Order, name=f"handler-{number}")(handler)
        for number in range(work.registered):
            other = msgspec.defstruct(f"Other{number}", [("number", int)])
            registry.on_event(other, name=f"other-{number}")(handle_other)
        self._app = dawdle.Dawdle(
            backend, registry=registry, concurrency=work.concurrency, start_listener=False, telemetry=telemetry
        )

    async def __aenter__(self) -> Self:
        await self._app.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._app.__aexit__(None, None, None)

    async def signal(self, event: Order) -> None:
        await self._app.signal(event)

    async def signal_many(self, events: list[Order]) -> None:
        await self._app.signal_many(events)

    async def delay_many(self, events: list[Order]) -> None:
        """Signal events that are due in an hour."""
        await self._app.signal_many(events, delay=3600)

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[None]:
        await self._app.start_listener()
        yield
        await self._app.stop_listener()


async def handle_other(event: object) -> None:
    """Stand for the handlers of the rest of an app."""
