"""A clock that stands still until a test moves it: an hour passes in a millisecond, and nothing sleeps."""

import asyncio
import heapq
import itertools
from datetime import timedelta
from math import inf
from typing import Final

from dawdle.errors import to_seconds

__all__ = ["ManualClock", "SkewedClock"]

_TURNS: Final = 200
"""Turns of the event loop that count as quiet where the loop cannot be asked (uvloop)."""


class ManualClock:
    """A `Clock` whose time passes only in `advance()`.

    Hand the same one to the app and to its queue: `Dawdle(Memory(clock=clock), clock=clock)`. Use it in one event
    loop. `advance()` stops at every moment that somebody waits for and lets the loop run until nothing is ready
    to run any more, so whatever falls due inside the hour happens in its order. It cannot see threads and
    sockets: what runs there needs a wait of the test's own.
    """

    def __init__(self, start: float = 1_750_000_000.0) -> None:
        self._start = start
        self._elapsed = 0.0
        self._advancing = False
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

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
        await wake

    async def advance(self, seconds: float | timedelta) -> None:
        """Let `seconds` (0 or more, or a timedelta) pass, moment by moment.

        Raises `RuntimeError` while another call does that.
        """
        seconds = to_seconds(seconds, "advance() takes")
        if self._advancing:
            raise RuntimeError("the clock is being advanced: await one advance() before the next, in one task")
        self._advancing = True
        try:
            await self._pass(self._elapsed + seconds)
        finally:
            self._advancing = False

    def skewed(self, seconds: float | timedelta) -> "SkewedClock":
        """Return this clock as read by a machine that is `seconds`, or a timedelta, ahead (or, negative, behind)."""
        return SkewedClock(self, to_seconds(seconds, "skewed() takes", least=-inf))

    async def _pass(self, until: float) -> None:
        await self._quiet()
        while self._sleepers and self._sleepers[0][0] <= until:
            if self._sleepers[0][2].done():  # it was cancelled
                heapq.heappop(self._sleepers)
                continue
            moment = self._sleepers[0][0]
            self._elapsed = max(self._elapsed, moment)
            while self._sleepers and self._sleepers[0][0] <= self._elapsed:
                wake = heapq.heappop(self._sleepers)[2]
                if not wake.done():
                    wake.set_result(None)
            await self._quiet()
        self._elapsed = until
        await self._quiet()

    async def _quiet(self) -> None:
        """Return once nothing in this event loop is ready to run but us."""
        ready = getattr(asyncio.get_running_loop(), "_ready", None)
        if ready is None:
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            return
        await asyncio.sleep(0)
        while ready:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0)


class SkewedClock:
    """A clock that shows another time of day than the one it belongs to, and waits together with it."""

    def __init__(self, clock: ManualClock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds

    def now(self) -> float:
        """Return the (wrong) time of day in seconds since 1970 (UTC)."""
        return self._clock.now() + self._seconds

    def monotonic(self) -> float:
        """Return the seconds that the other clock has let pass."""
        return self._clock.monotonic()

    async def sleep_until(self, deadline: float) -> None:
        """Return once the other clock has reached `deadline`. May be cancelled."""
        await self._clock.sleep_until(deadline)
