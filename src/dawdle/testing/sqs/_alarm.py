"""One sleeper on the clock for everything that happens by itself; what happens is not decided here."""

import asyncio
import heapq
from collections.abc import Callable
from itertools import count
from math import inf
from types import TracebackType
from typing import Self

from dawdle.abc import Clock

__all__ = ["Alarm"]


class Alarm:
    """Calls back at given moments of the clock. Costs nothing between them, however many are set."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._set: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._sleeping_until = inf
        self._wake = asyncio.Event()
        self._group = asyncio.TaskGroup()
        self._runner: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._runner = self._group.create_task(self._run(), name="dawdle: the alarm of the SQS server")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            self._runner.cancel()
        await self._group.__aexit__(None, None, None)  # the body's own error goes on as it is, in no group

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Call `action()` once the clock's `monotonic()` has reached `when`. It must not raise."""
        heapq.heappush(self._set, (when, next(self._numbers), action))
        if when < self._sleeping_until:
            self._wake.set()

    async def _run(self) -> None:
        while True:
            while self._set and self._set[0][0] <= self._clock.monotonic():
                heapq.heappop(self._set)[2]()
            self._sleeping_until = self._set[0][0] if self._set else inf
            self._wake.clear()
            sleeper = self._group.create_task(self._sleep(self._sleeping_until)) if self._set else None
            try:
                await self._wake.wait()
            finally:
                if sleeper is not None:
                    sleeper.cancel()

    async def _sleep(self, until: float) -> None:
        await self._clock.sleep_until(until)
        self._wake.set()
