"""A clock that a test moves by hand: an hour passes in a millisecond, and nothing sleeps."""

import asyncio
import heapq
import itertools
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from datetime import timedelta
from math import inf
from typing import Final

from dawdle import NoAppError, current
from dawdle.errors import to_seconds

__all__ = ["ManualClock", "SkewedClock"]

_MAX_LOOP_TURNS: Final = 200
"""Turns of the event loop after which it counts as idle, where the loop does not tell (uvloop)."""


class ManualClock:
    """A `Clock` whose time passes only in `advance()`.

    Give it to an app, `Dawdle(clock=clock)`: a queue in memory or in a file that has no clock goes by the app's. Use it
    in one event loop. `advance()` stops at each time that a task waits for, and lets the loop run until it is idle, so
    everything that is due within the hour happens in its order. It does not see threads and sockets: a `TestApp` waits
    for those as well, with another app a test must do so itself.
    """

    def __init__(self, start: float = 1_750_000_000.0) -> None:
        self._start = start
        self._elapsed = 0.0
        self._advancing = False
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._followers: list[Callable[[], Awaitable[None]]] = []

    @property
    def moved_by(self) -> "ManualClock":
        """The clock whose `advance()` moves this one: itself. An app and its queue must have the same."""
        return self

    def now(self) -> float:
        """Return the time of day in seconds since 1970 (UTC)."""
        return self._start + self._elapsed

    def monotonic(self) -> float:
        """Return the seconds that `advance()` has let pass."""
        return self._elapsed

    async def sleep_until(self, deadline: float) -> None:
        """Return once `advance()` has reached `deadline`. May be cancelled."""
        if deadline <= self._elapsed:
            await asyncio.sleep(0)
            return
        wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (deadline, next(self._order), wake))
        with _counted_as_waiting():
            await wake

    async def sleep(self, seconds: float | timedelta) -> None:
        """Return once `advance()` has let so many seconds (0 or more, or a timedelta) pass. May be cancelled."""
        await self.sleep_until(self._elapsed + to_seconds(seconds, "sleep() takes"))

    async def advance(self, seconds: float | timedelta) -> None:
        """Let `seconds` (0 or more, or a timedelta) pass, from one wake-up to the next.

        Raises `RuntimeError` while another call runs.
        """
        seconds = to_seconds(seconds, "advance() takes")
        if self._advancing:
            raise RuntimeError("advance() is already running: await it before the next one, in one task")
        self._advancing = True
        try:
            await self._advance_to(self._elapsed + seconds)
        finally:
            self._advancing = False

    @contextmanager
    def followed_by(self, settle: Callable[[], Awaitable[None]]) -> Generator[None]:
        """Within the block, `advance()` awaits `settle()` before it lets time pass: it does all that is due by then."""
        self._followers.append(settle)
        try:
            yield
        finally:
            self._followers.remove(settle)

    def skewed(self, seconds: float | timedelta) -> "SkewedClock":
        """Return this clock as read by a machine that is `seconds`, or a timedelta, ahead (or, negative, behind)."""
        return SkewedClock(self, to_seconds(seconds, "skewed() takes", least=-inf))

    async def _advance_to(self, until: float) -> None:
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= until:
            if self._sleepers[0][2].done():  # its task was cancelled
                heapq.heappop(self._sleepers)
                continue
            # All that are due at this time wake together. `max`: a task may have begun to wait for a time that is past.
            self._elapsed = max(self._elapsed, self._sleepers[0][0])
            while self._sleepers and self._sleepers[0][0] <= self._elapsed:
                wake = heapq.heappop(self._sleepers)[2]
                if not wake.done():
                    wake.set_result(None)
            await self._settle()
        self._elapsed = until
        await self._settle()

    async def _settle(self) -> None:
        """Return once all that is due at this time is done."""
        await self.run_until_idle()
        for settle in tuple(self._followers):
            await settle()
            await self.run_until_idle()

    async def run_until_idle(self) -> None:
        """Return once no other callback of this event loop is ready to run. No time passes."""
        # asyncio's own loop keeps these callbacks in `_ready`; it has no public way to ask (CPython 3.11 to 3.13).
        ready = getattr(asyncio.get_running_loop(), "_ready", None)
        if ready is None:
            for _ in range(_MAX_LOOP_TURNS):
                await asyncio.sleep(0)
            return
        await asyncio.sleep(0)
        while ready:  # noqa: ASYNC110 - the loop has no event for being idle
            await asyncio.sleep(0)


@contextmanager
def _counted_as_waiting() -> Generator[None]:
    """Let the handler that the caller is in, if any, count as one that is not due: only a test ends its wait."""
    try:
        runtime = current()._runtime  # pyright: ignore[reportPrivateUsage] - as a probe does
    except NoAppError:
        runtime = None
    run = None if runtime is None else runtime.run_here()
    if runtime is None or run is None:
        yield
    else:
        with runtime.in_flight.on_clock(run):
            yield


class SkewedClock:
    """A clock that shows another time of day than its `ManualClock`, and waits with it."""

    def __init__(self, clock: ManualClock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds

    @property
    def moved_by(self) -> ManualClock:
        """The clock whose `advance()` moves this one."""
        return self._clock

    def now(self) -> float:
        """Return the (wrong) time of day in seconds since 1970 (UTC)."""
        return self._clock.now() + self._seconds

    def monotonic(self) -> float:
        """Return the seconds that `advance()` of the other clock has let pass."""
        return self._clock.monotonic()

    async def sleep_until(self, deadline: float) -> None:
        """Return once the other clock has reached `deadline`. May be cancelled."""
        await self._clock.sleep_until(deadline)
