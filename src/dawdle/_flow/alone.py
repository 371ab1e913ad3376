"""Lets one message run with nothing else in hand: one that may end the process must not take others with it."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from dawdle._flow.hands import Hand, Hands
from dawdle.abc import Clock, Deadline

__all__ = ["Alone"]

PATIENCE: Final = 60.0
"""Seconds that a message waits in hand until all others are settled; then it waits in the queue instead."""


class Alone:
    """Who wants to be alone waits until every open receive is back and what else is in hand is settled.

    No receive begins meanwhile. Several that want it take turns, and do not count for each other.
    """

    def __init__(self, hands: Hands, clock: Clock) -> None:
        self._hands = hands
        self._clock = clock
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._polls = 0
        self._over = asyncio.Event()
        self._over.set()
        self._no_poll = asyncio.Event()
        self._no_poll.set()

    async def over(self) -> None:
        """Return once nobody is alone, or wants to be."""
        await self._over.wait()

    @contextmanager
    def poll(self) -> Generator[None]:
        """Count the block as an open receive."""
        self._polls += 1
        self._no_poll.clear()
        try:
            yield
        finally:
            self._polls -= 1
            if not self._polls:
                self._no_poll.set()

    @asynccontextmanager
    async def alone(self, hand: Hand, handlers: str) -> AsyncGenerator[bool]:
        """Wait until nothing but this hand is held and yield True; False when that took too long, or a stop came first.

        `handlers` are those that wait here, for who asks what is in hand.
        """
        self._waiting += 1
        self._over.clear()
        self._hands.count_again()  # who waits already does not wait for this one any more
        try:
            mine = await self._taken(hand, handlers)
            try:
                yield mine
            finally:
                if mine:
                    self._turn.release()
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._over.set()

    async def _taken(self, hand: Hand, handlers: str) -> bool:
        task = asyncio.current_task()
        assert task is not None, "a message is carried in a task"
        hand.begin(task, handlers)
        locked = False
        try:
            async with Deadline(self._clock, self._clock.monotonic() + PATIENCE):
                locked = await self._turn.acquire()
                await self._no_poll.wait()
                await self._hands.down_to(lambda: self._waiting)
        except (TimeoutError, asyncio.CancelledError) as error:
            if locked:
                self._turn.release()
            if isinstance(error, asyncio.CancelledError) and not hand.absorbs(task):
                raise
            return False
        finally:
            hand.end(task)
        return True
