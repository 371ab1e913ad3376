"""A number of slots, reserved in batches ahead of the messages. Counts them; knows no message.

    free ── reserve, overdraw ──► reserved ── a message comes ──► in flight ── it is settled ──► free
                                  reserved ── none comes ───────► free

There are two counters. `Slots` counts the free slots, which limit how many messages a receive asks for. `InFlight`
counts the messages whose turn has come, which limits how many run. The two differ by what comes unasked: a direct event
is accepted even when receives have reserved every slot. It takes one more (`overdraw`, so `free` falls below 0), and
one of the messages that the receives bring then waits for its turn.
"""

import asyncio
from collections import deque
from typing import Final

from dawdle.abc import Clock, Deadline

__all__ = ["Slots"]

BATCH_WAIT_SECONDS: Final = 0.02
"""Seconds that a receive waits for as many free slots as it wants, before it takes fewer."""


class _Reservation:
    """A receive that waits for `least` to `most` slots."""

    __slots__ = ("granted", "least", "most")

    def __init__(self, least: int, most: int) -> None:
        self.least = least
        self.most = most
        self.granted: asyncio.Future[int] = asyncio.get_running_loop().create_future()


class Slots:
    """A number of slots, reserved in batches and given back one by one. First come, first served."""

    def __init__(self, total: int, clock: Clock) -> None:
        self.total = total
        self._free = total
        self._clock = clock
        self._reservations: deque[_Reservation] = deque()

    @property
    def free(self) -> int:
        """How many slots are free; below 0 where more were overdrawn than were free."""
        return self._free

    async def reserve(self, want: int) -> int:
        """Reserve up to `want` slots, 1 at least, and return how many. Cancelled, it has reserved none."""
        want = min(want, self.total)
        if self._free >= want and not self._reservations:
            self._free -= want
            return want
        reservation = _Reservation(want, want)
        self._reservations.append(reservation)
        self._grant()
        # Under load slots come free one by one. A receive for each of them would be a request per message. So a receive
        # waits for a whole batch's worth, but not for long: slow handlers may never free as many at once.
        try:
            async with Deadline(self._clock, self._clock.monotonic() + BATCH_WAIT_SECONDS):
                await asyncio.wait([reservation.granted])
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            self._withdraw(reservation)
            raise
        reservation.least = 1
        self._grant()
        try:
            return await reservation.granted
        except asyncio.CancelledError:
            self._withdraw(reservation)
            raise

    def unreserve(self, count: int = 1) -> None:
        """Give slots back: no message came for them, or their messages are settled."""
        self._free += count
        if self._reservations:
            self._grant()

    def overdraw(self) -> None:
        """Take one slot, whether or not one is free: receives that wait for messages may have reserved all of them."""
        self._free -= 1

    def _grant(self) -> None:
        while self._reservations and self._free >= self._reservations[0].least:
            reservation = self._reservations.popleft()
            if reservation.granted.cancelled():  # in this turn of the loop: it withdraws in the next
                continue
            count = min(self._free, reservation.most)
            self._free -= count
            reservation.granted.set_result(count)

    def _withdraw(self, reservation: _Reservation) -> None:
        if reservation in self._reservations:
            self._reservations.remove(reservation)
            self._grant()  # the next in line may want fewer
        elif not reservation.granted.cancelled():
            self.unreserve(reservation.granted.result())  # granted in the same turn in which the receive was cancelled
