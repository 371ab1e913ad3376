"""The slots of one queue, reserved in batches ahead of its messages. Counts them; knows no message.

    free ── reserve, overdraw ──► reserved ── a message comes ──► in flight ── it is settled ──► free
                                  reserved ── none comes ───────► free

There are two counters, since a slot is reserved before there is a message for it. `free` limits how many messages a
receive asks for. `started` counts the messages whose turn has come, which limits how many run. The two differ by what
comes unasked: a direct event is accepted even when receives have reserved every slot. It takes one more (`overdraw`, so
`free` falls below 0), and one of the messages that the receives bring then waits for its turn.
"""

import asyncio
from typing import Final

from dawdle.abc import Clock, Deadline

__all__ = ["Slots"]

BATCH_WAIT_SECONDS: Final = 0.02
"""Seconds that a receive waits for as many free slots as it wants, before it takes fewer."""


class Slots:
    """A number of slots, reserved in batches and given back one by one. First come, first served."""

    def __init__(self, total: int, clock: Clock) -> None:
        self.total = total
        self.started = 0
        """How many messages have their turn; `InFlight` counts them here."""
        self._free = total
        self._clock = clock
        self._turn = asyncio.Lock()
        self._wanted = 0
        self._enough: asyncio.Future[None] | None = None

    def apart(self) -> "Slots":
        """Return as many slots, for messages that take none of these."""
        return Slots(self.total, self._clock)

    @property
    def free(self) -> int:
        """How many slots are free; below 0 where more were overdrawn than were free."""
        return self._free

    async def reserve(self, want: int) -> int:
        """Reserve up to `want` slots, 1 at least, and return how many. Cancelled, it has reserved none."""
        want = min(want, self.total)
        # Under load slots come free one by one. A receive for each of them would be a request per message. So a receive
        # waits for a whole batch's worth, but not for long: slow handlers may never free as many at once. Its time
        # begins when the receives before it have theirs, or those at the end of the line would take what is left over.
        async with self._turn:
            if self._free < want:
                try:
                    async with Deadline(self._clock, self._clock.monotonic() + BATCH_WAIT_SECONDS):
                        await self._wait_for(want)
                except TimeoutError:
                    await self._wait_for(1)
            count = min(self._free, want)
            self._free -= count
            return count

    def unreserve(self, count: int = 1) -> None:
        """Give slots back: no message came for them, or their messages are settled."""
        self._free += count
        if self._enough is not None and self._free >= self._wanted and not self._enough.done():
            self._enough.set_result(None)

    def overdraw(self) -> None:
        """Take one slot, whether or not one is free: receives that wait for messages may have reserved all of them."""
        self._free -= 1

    async def _wait_for(self, count: int) -> None:
        """Return when so many slots are free. Only who has the turn waits here."""
        while self._free < count:
            self._wanted, self._enough = count, asyncio.get_running_loop().create_future()
            await self._enough
