"""bubus: a bus of pydantic events with a history, which handles one event after another."""

import asyncio
from typing import Self

from bubus import BaseEvent, EventBus

from tests.bench.contestants._at_once import AtOnce
from tests.bench.work import Order, Setting

PENDING = 40
"""Events at once. It refuses more than a hundred, and each event walks through all that it remembers."""


class Placed(BaseEvent[None]):
    """The order as bubus has it."""

    number: int
    sent: float
    text: str


class Contestant(AtOnce):
    """It remembers the last fifty events, its default."""

    package = "bubus"

    def __init__(self, setting: Setting) -> None:
        self._handlers = setting.handlers
        self._room = asyncio.Semaphore(PENDING)

    async def __aenter__(self) -> Self:
        self._bus = EventBus("bench", parallel_handlers=True)
        for number, handler in enumerate(self._handlers):
            handler.__name__ = handler.__qualname__ = f"handle_{number}"
            self._bus.on(Placed, handler)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._bus.stop()

    async def signal(self, event: Order) -> None:
        async with self._room:
            await self._bus.dispatch(Placed(number=event.number, sent=event.sent, text=event.text))

    async def signal_many(self, events: list[Order]) -> None:
        for event in events:
            await self.signal(event)
