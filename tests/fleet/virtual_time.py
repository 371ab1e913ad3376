"""An event loop whose time is virtual: it never sleeps, and jumps to its next timer when nothing is left to do.

All time in it is virtual: that of dawdle's clock, and that of asyncio's own timers. A simulation of a thousand nodes
needs the second too. What takes 20 ms there may take seconds here, and a batcher that waits 2 s of real time for a call
would believe that the call has stalled.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from dawdle.testing import ManualClock

T = TypeVar("T")


class _JumpingSelector(selectors.SelectSelector):
    """Waits for no file: the time that it is asked to wait for has passed at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("every task waits, and no timer will wake one")
        self.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop on virtual time, for one thread without files and sockets."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def _write_to_self(self) -> None:
        """Wake no selector: it never waits, and the only thread is this one."""


class LoopClock(ManualClock):
    """The clock of a virtual loop. Time passes by itself while a task waits for it, so `advance` only waits."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._first = super().now()
        self._loop = loop

    def now(self) -> float:
        return self._first + self._loop.time()

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep_until(self, deadline: float) -> None:
        await asyncio.sleep(max(0.0, deadline - self._loop.time()))

    async def advance(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a virtual loop of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
