"""Clocks, and a deadline that goes by one: a test can move the time. Nothing here knows a queue or a handler."""

import asyncio
import contextvars
import time
from math import inf
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

__all__ = ["Clock", "Deadline", "SystemClock"]


@runtime_checkable
class Clock(Protocol):
    """Tells the time and waits for it. dawdle takes it as an argument, so that a test can move the time by hand."""

    def now(self) -> float:
        """Return the time of day in seconds since 1970 (UTC)."""
        ...

    def monotonic(self) -> float:
        """Return seconds since an arbitrary start. They never go back."""
        ...

    async def sleep_until(self, deadline: float) -> None:
        """Wait until `monotonic()` reaches `deadline`. May be cancelled."""
        ...


class SystemClock:
    """The machine's own clock, and asyncio's own sleep."""

    def now(self) -> float:
        """Return the time of day in seconds since 1970 (UTC)."""
        return time.time()

    # The function itself: each event asks for it several times, and a method of ours would double the cost.
    monotonic = staticmethod(time.monotonic)
    """Return seconds since an arbitrary start. They never go back."""

    async def sleep_until(self, deadline: float) -> None:
        """Wait until `monotonic()` reaches `deadline`. May be cancelled."""
        await asyncio.sleep(max(0.0, deadline - time.monotonic()))


class Deadline:
    """`async with Deadline(clock, at):` ends the block with `TimeoutError` when the clock's `monotonic()` reaches `at`.

    It is `asyncio.timeout` for any clock. On the system clock it is no more than that. On another one, such as a
    test's, a task waits for the clock and then lets the timeout expire.
    """

    __slots__ = ("_at", "_clock", "_scope", "_timer")

    def __init__(self, clock: Clock, at: float) -> None:
        self._clock = clock
        self._at = at
        self._timer: asyncio.Task[None] | None = None
        self._scope = asyncio.timeout(None)

    async def __aenter__(self) -> Self:
        if isinstance(self._clock, SystemClock):
            left = self._at - self._clock.monotonic()
            self._scope = asyncio.timeout(None if left == inf else max(left, 0.0))
        await self._scope.__aenter__()
        # Only now: the timeout must be entered before a task may reschedule it.
        if not isinstance(self._clock, SystemClock):
            self._start_timer()
        return self

    def move(self, at: float) -> None:
        """Let the deadline expire at another time instead; `inf`: at none. One that has expired stays so."""
        self._at = at
        if self._scope.expired():
            return
        if not isinstance(self._clock, SystemClock):
            self._start_timer()
        elif at == inf:
            self._scope.reschedule(None)
        else:
            self._scope.reschedule(asyncio.get_running_loop().time() + max(at - self._clock.monotonic(), 0.0))

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await self._scope.__aexit__(error_type, error, trace)

    def expired(self) -> bool:
        """Whether this deadline ended the block."""
        return self._scope.expired()

    def _start_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._at < inf:
            # In an empty context: in a handler's it would look as if the handler itself waited for the clock.
            self._timer = asyncio.create_task(self._expire(), name="dawdle: a deadline", context=contextvars.Context())

    async def _expire(self) -> None:
        await self._clock.sleep_until(self._at)
        self._scope.reschedule(asyncio.get_running_loop().time())  # it expires at once
