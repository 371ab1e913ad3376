"""Lets one message run with nothing else in hand: one that may end the process must not take others with it.

Nor may it wait in hand until that is so: were the process to end meanwhile, by whatever cause, the message would be
suspected of it. So it is put off at once, and for a while messages are received one by one, each when the one before it
is settled. When it comes again, it is alone.
"""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from math import inf
from typing import Final

from dawdle._flow.hands import Hands
from dawdle.abc import Clock, Deadline

__all__ = ["Alone"]

WINDOW: Final = 30.0
"""Seconds for which messages are received one by one."""

REST: Final = 120.0
"""Seconds until that is tried again, if what is in hand took longer: suspicion must not stop the work."""


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

    @property
    def wanted(self) -> bool:
        """Whether somebody wants to be alone, and messages are received one by one."""
        return self._clock.monotonic() < self._until

    async def over(self) -> None:
        """Return once nobody is alone."""
        while not self._over.is_set():  # the next one may have begun before whoever waited has its turn
            await self._over.wait()

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
        if self._polls or len(self._hands) > 1 or not self._over.is_set():
            self._want()
            yield False
            return
        self._over.clear()
        self._until = self._rested = -inf
        try:
            with self._hands.held_back():
                yield True
        finally:
            self._over.set()

    def _want(self) -> None:
        now = self._clock.monotonic()
        if now >= self._rested:
            self._until = now + WINDOW
            self._rested = self._until + REST

    @contextmanager
    def _counted(self) -> Generator[None]:
        self._polls += 1
        try:
            yield
        finally:
            self._polls -= 1
