"""pyee: an emitter that starts a task for each handler, stores nothing and retries nothing."""

import asyncio
from typing import Self

from pyee.asyncio import AsyncIOEventEmitter

from tests.bench.contestants._at_once import AtOnce
from tests.bench.work import Order, Setting


class Contestant(AtOnce):
    """`emit` returns at once, so the signaler lets the handlers run before it goes on."""

    package = "pyee"

    def __init__(self, setting: Setting) -> None:
        self._handlers = setting.handlers

    async def __aenter__(self) -> Self:
        self._emitter = AsyncIOEventEmitter()
        for handler in self._handlers:
            self._emitter.on("order", handler)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._emitter.wait_for_complete()

    async def signal(self, event: Order) -> None:
        self._emitter.emit("order", event)
        await asyncio.sleep(0)

    async def signal_many(self, events: list[Order]) -> None:
        for event in events:
            self._emitter.emit("order", event)
        await asyncio.sleep(0)
