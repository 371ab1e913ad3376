"""Brings calls from event loops to the worker's thread. Knows neither SQL nor what becomes of a call.

task:  put ──► gathered, by loop ──► passed on, once in so many turns ──► the thread takes them
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import Final

from dawdle.backends.sqlite._calls import AnyCall
from dawdle.backends.sqlite._wake_up import WakeUp

__all__ = ["Inbox"]

MAX_CALLS: Final = 64
"""Calls in one transaction: another process must get its turn."""

BUSY_TURNS: Final = 8
"""Turns of a busy event loop in which its calls gather. What a transaction answers makes calls in several turns: events
are signaled, then handled, then deleted, and then their slots receive the next ones."""

BUSY_ENTRIES: Final = 16
"""Messages that a transaction stores, deletes or releases for the loop to be busy. Else a call waits for no other."""


class Inbox:
    """Calls on their way to the thread. `put` is for the loop of a call, everything else for the thread."""

    def __init__(self, wake_up: WakeUp) -> None:
        self._wake_up = wake_up
        self._passed_on: deque[AnyCall] = deque()
        self._gathered: dict[asyncio.AbstractEventLoop, list[AnyCall]] = {}
        self._turns = 0
        self._asleep = False

    def __len__(self) -> int:
        return len(self._passed_on)

    def __iter__(self) -> Iterator[AnyCall]:
        return iter(list(self._passed_on))

    def put(self, call: AnyCall) -> None:
        """Take a call, in the event loop that it is made in."""
        # The calls that the loop makes in one turn go together, and while it is busy those of several turns: a burst of
        # sends, acks and receives is one transaction. At 64 signalers with 100 slots 49 events share one. With one turn
        # it was 20, and 11 without any.
        gathered = self._gathered.get(call.loop)
        if gathered is None:
            self._forget_closed_loops()
            gathered = self._gathered[call.loop] = []
            call.loop.call_soon(self._pass_on, call.loop, self._turns)
        gathered.append(call)

    def _forget_closed_loops(self) -> None:
        """Drop the calls of loops that were closed before their next turn."""
        for loop in list(self._gathered):
            if loop.is_closed():
                self._gathered.pop(loop, None)

    def _pass_on(self, loop: asyncio.AbstractEventLoop, turns: int) -> None:
        if turns:
            loop.call_soon(self._pass_on, loop, turns - 1)
            return
        self._passed_on.extend(self._gathered.pop(loop, ()))
        # The thread sets the flag, looks for calls again, and sleeps: it sees these calls, or this sees the flag.
        if self._asleep:
            self._asleep = False
            self._wake_up.wake()

    def note_load(self, entries: int) -> None:
        """Note of how many messages the last transaction was."""
        self._turns = BUSY_TURNS if entries >= BUSY_ENTRIES else 0

    def sleep(self, seconds: float | None) -> None:
        """Sleep until a call or a wake-up comes, at most so long; None: without an end."""
        self._asleep = True
        if not self._passed_on:
            self._wake_up.wait(seconds)
        self._asleep = False

    def take(self) -> list[AnyCall]:
        """Return the calls that have come, as many as one transaction may have."""
        return [self._passed_on.popleft() for _ in range(min(len(self._passed_on), MAX_CALLS))]
