"""Calls back at moments of the clock: what the server does without a request. What that is, is decided elsewhere."""

import asyncio
import heapq
from collections.abc import Callable
from itertools import count
from math import inf
from types import TracebackType
from typing import Self

from dawdle.abc import Clock

__all__ = ["ScheduledCall", "Scheduler"]


class ScheduledCall:
    """One call that is due later, as asyncio's `TimerHandle`."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Do not call back any more."""
        self.callback = None


class Scheduler:
    """Runs callbacks when the clock reaches their time. Costs nothing between them, however many are scheduled.

    It is `loop.call_at` for any `Clock`. One task sleeps until the earliest callback; a callback that is due earlier
    replaces that task by one that sleeps for less.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._calls: list[tuple[float, int, ScheduledCall]] = []
        self._numbers = count()
        self._group = asyncio.TaskGroup()
        self._is_open = False
        self._runner: asyncio.Task[None] | None = None
        self._sleeping_until = inf

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._is_open = True
        self._start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        if self._runner is not None:
            self._runner.cancel()
        # Without the body's error: the group would wrap it into an ExceptionGroup, and it goes on by itself.
        await self._group.__aexit__(None, None, None)

    def call_at(self, when: float, callback: Callable[[], None]) -> ScheduledCall:
        """Call `callback()` once the clock's `monotonic()` has reached `when`. It must not raise."""
        call = ScheduledCall(callback)
        # The number keeps equal times in order, and Python from comparing callbacks.
        heapq.heappush(self._calls, (when, next(self._numbers), call))
        if when < self._sleeping_until and self._is_open:
            self._start()
        return call

    def _start(self) -> None:
        if self._runner is not None:
            self._runner.cancel()
        self._sleeping_until = self._calls[0][0] if self._calls else inf
        self._runner = self._group.create_task(self._run(), name="dawdle: the scheduler of the SQS server")

    async def _run(self) -> None:
        while self._calls:
            self._sleeping_until = self._calls[0][0]
            await self._clock.sleep_until(self._sleeping_until)
            # What a callback schedules is seen by the next round. At -inf it does not replace this very task.
            self._sleeping_until = -inf
            self._run_due()
        self._sleeping_until = inf

    def _run_due(self) -> None:
        now = self._clock.monotonic()
        while self._calls and (self._calls[0][0] <= now or self._calls[0][2].callback is None):
            callback = heapq.heappop(self._calls)[2].callback
            if callback is not None:
                callback()
