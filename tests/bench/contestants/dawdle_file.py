"""dawdle's queue in a SQLite file by its own calls, as an app's batchers and receivers make them: from many tasks."""

import asyncio
import time
from pathlib import Path
from typing import Self

from dawdle.abc import Outgoing
from dawdle.backends.sqlite import SQLite
from tests.bench.work import Setting

FILL = 64
"""Batches at once where the queue is filled."""


class Contestant:
    """Each task puts one message and then the next. What was put is got, in batches, and acked in the same ones."""

    package = "dawdle"

    def __init__(self, setting: Setting) -> None:
        self._queue = SQLite(Path(setting.job.address) / "bench.db")
        self._body = b"x" * setting.job.work.body
        self._tasks = setting.job.work.signalers

    async def __aenter__(self) -> Self:
        await self._queue.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._queue.__aexit__(None, None, None)

    async def fill(self, count: int, *, delayed: bool = False) -> None:
        batch = [Outgoing(self._body, delay=3600.0 if delayed else 0.0)] * self._queue.limits.max_batch
        for first in range(0, count, FILL * len(batch)):
            sizes = [min(len(batch), count - start) for start in range(first, count, len(batch))][:FILL]
            await asyncio.gather(*(self._queue.send(batch[:size]) for size in sizes))

    async def run(self, until: float) -> int:
        self._put = self._got = self._acked = 0
        self._acking: set[asyncio.Task[None]] = set()
        self._there_is_more = asyncio.Event()
        getting = asyncio.create_task(self._get())
        await asyncio.gather(*(self._put_until(until) for _ in range(self._tasks)))
        while self._acked < self._put:
            await asyncio.sleep(0.001)
        getting.cancel()
        return self._acked

    async def _put_until(self, until: float) -> None:
        while time.perf_counter() < until:
            self._put += 1
            self._there_is_more.set()
            assert await self._queue.send([Outgoing(self._body)]) == [None]

    async def _get(self) -> None:
        while True:
            while self._got == self._put:
                self._there_is_more.clear()
                await self._there_is_more.wait()
            taken = await self._queue.receive(min(self._put - self._got, self._queue.limits.max_batch), 20)
            self._got += len(taken)
            acking = asyncio.create_task(self._ack([each.receipt for each in taken]))
            self._acking.add(acking)
            acking.add_done_callback(self._acking.discard)

    async def _ack(self, receipts: list[str]) -> None:
        assert not any(await self._queue.ack(receipts))
        self._acked += len(receipts)
