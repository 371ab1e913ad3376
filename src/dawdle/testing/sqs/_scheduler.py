"""One sleeper on the clock for everything that happens by itself; what happens is not decided here."""

import asyncio
import heapq
from collections.abc import Callable
from itertools import count
from math import inf
from types import TracebackType
from typing import Self

from dawdle.abc import Clock

__all__ = ["Scheduler"]


class Scheduler:
    """Calls back at given moments of the clock. Costs nothing between them, however many are set."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._calls: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._sleeping_until = inf
        self._wake = asyncio.Event()
        self._group = asyncio.TaskGroup()
        self._runner: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._runner = self._group.create_task(self._run(), name="dawdle: the scheduler of the SQS server")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            self._runner.cancel()
        await self._group.__aexit__(None, None, None)  # the body's own error goes on as it is, in no group

    def call_at(self, when: float, callback: Callable[[], None]) -> None:
        """Call `action()` once the clock's `monotonic()` has reached `when`. It must not raise."""
        heapq.heappush(self._calls, (when, next(self._numbers), callback))
        if when < self._sleeping_until:
            self._wake.set()

    async def _run(self) -> None:
        while True:
            while self._calls and self._calls[0][0] <= self._clock.monotonic():
                heapq.heappop(self._calls)[2]()
            self._sleeping_until = self._calls[0][0] if self._calls else inf
            self._wake.clear()
            sleeper = self._group.create_task(self._sleep(self._sleeping_until)) if self._calls else None
            try:
                await self._wake.wait()
            finally:
                if sleeper is not None:
                    sleeper.cancel()

    async def _sleep(self, until: float) -> None:
        await self._clock.sleep_until(until)
        self._wake.set()
