"""A bare asyncio task for each handler, awaited: the least that anything concurrent costs here."""

import asyncio
from typing import Self

from tests.bench.contestants._at_once import AtOnce
from tests.bench.work import Order, Setting


class Contestant(AtOnce):
    """No queue, no types, no retries: three lines that anybody writes."""

    package = ""

    def __init__(self, setting: Setting) -> None:
        self._handlers = setting.handlers

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None: ...

    async def signal(self, event: Order) -> None:
        for task in [asyncio.ensure_future(handler(event)) for handler in self._handlers]:
            await task

    async def signal_many(self, events: list[Order]) -> None:
        for event in events:
            await self.signal(event)
