"""Lets one message run with nothing else in hand: one that may end the process must not take others with it.

Nor may it wait in hand until that is so: were the process to end meanwhile, by whatever cause, the message would be
suspected of it. So it is put off at once, and for a while messages are received one by one, each when the one before it
is settled. When it comes again, it is alone.

Anyone who can write into the queue can write that a message is to run alone. So suspicion has an allowance: once it is
used up, other messages go first, and in the long run suspicion takes a fifth of a worker's time at the most.
"""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from math import inf
from typing import Final

from dawdle._flow.hands import Hands
from dawdle._log import Log
from dawdle.abc import Clock, Deadline

__all__ = ["Alone"]

_log = Log(__name__)

WINDOW: Final = 30.0
"""Seconds for which messages are received one by one."""

REST: Final = 120.0
"""Seconds until that is tried again, if what is in hand took longer: suspicion must not stop the work."""

MAX_ALONE_SECONDS: Final = 30.0
"""For so long no receive begins beside a message that runs alone. Then others come in: what ends its process later than
that ends it with others in hand, which costs each of them one receive of five."""

ALLOWANCE_SECONDS: Final = 60.0
"""For so long messages may run alone, the wait for that included, with no other going first."""

SHARE: Final = WINDOW / (WINDOW + REST)
"""Of each second that passes, so much comes back to the allowance."""


class Alone:
    """Who is alone, or wants to be, and the receives that make way."""

    def __init__(self, hands: Hands, clock: Clock) -> None:
        self._hands = hands
        self._clock = clock
        self._polls = 0
        self._over = asyncio.Event()
        self._over.set()
        self._turn = asyncio.Lock()
        self._until = -inf
        self._rested = -inf
        self._alone_until = -inf
        self._opened = -inf
        self._allowance = Allowance(clock)

    @property
    def wanted(self) -> bool:
        """Whether somebody wants to be alone, and messages are received one by one."""
        return self._clock.monotonic() < self._until

    async def over(self) -> None:
        """Return once no message is alone, or the one that is has been for long enough."""
        # The next one may have begun before whoever waited has its turn.
        while not self._over.is_set() and self._clock.monotonic() < self._alone_until:
            try:
                async with Deadline(self._clock, self._alone_until):
                    await self._over.wait()
            except TimeoutError:
                self._over.set()
                self._hands.hold_back_no_longer()

    @asynccontextmanager
    async def poll(self) -> AsyncGenerator[None]:
        """Count the block as an open receive, and begin it when that may be: it asks for one message if `wanted`."""
        await self.over()
        if not self.wanted:
            with self._counted():
                yield
            return
        async with self._turn:
            try:
                async with Deadline(self._clock, self._until):
                    await self._hands.wait_empty()
            except TimeoutError:
                pass
            await self.over()
            with self._counted():
                yield

    @contextmanager
    def alone(self) -> Generator[bool]:
        """Yield whether the one message that is in hand is alone: no receive is open, and none begins in the block.

        If it is not, receives make way from now on.
        """
        if self._allowance.is_used_up or self._polls or len(self._hands) > 1 or not self._over.is_set():
            self._want()
            yield False
            return
        began = now = self._clock.monotonic()
        if self.wanted:
            began = self._opened
        self._over.clear()
        self._until = self._rested = -inf
        self._alone_until = now + MAX_ALONE_SECONDS
        # A direct event waits as a receive does, and there may be no receive that sees to it.
        end_in_time = asyncio.create_task(self.over(), name="dawdle: isolation")
        try:
            with self._hands.held_back():
                yield True
        finally:
            self._over.set()
            end_in_time.cancel()
            self._allowance.spend(min(self._clock.monotonic(), self._alone_until) - began)

    def _want(self) -> None:
        now = self._clock.monotonic()
        if now >= self._rested and not self._allowance.is_used_up:
            self._opened = now
            self._until = now + WINDOW
            self._rested = self._until + REST

    @contextmanager
    def _counted(self) -> Generator[None]:
        self._polls += 1
        try:
            yield
        finally:
            self._polls -= 1


class Allowance:
    """Seconds that suspicion may take: spent as it takes them, and given back as time passes, a fifth of it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left = ALLOWANCE_SECONDS
        self._at = clock.monotonic()
        self._closed = False

    @property
    def is_used_up(self) -> bool:
        """Whether other messages go first: from when nothing is left until a window's worth is there again."""
        self._pass()
        if self._closed and self._left >= WINDOW:
            self._closed = False
        return self._closed

    def spend(self, seconds: float) -> None:
        """Take what was used, which may be more than was left."""
        self._pass()
        self._left -= seconds
        if self._left <= 0:
            self._closed = True
            _log.warning(
                "suspected poison messages have run in isolation for too long; for the next %.3g s other messages go "
                "first: many killed processes leave many suspects, or a stranger writes dawdletrial (see signing_keys)",
                (WINDOW - self._left) / SHARE,
            )

    def _pass(self) -> None:
        now = self._clock.monotonic()
        self._left = min(ALLOWANCE_SECONDS, self._left + (now - self._at) * SHARE)
        self._at = now
