"""A number of slots, taken in batches ahead of the work. Counts; knows no message."""

import asyncio
from collections import deque
from typing import Final

from dawdle.abc import Clock, Deadline

__all__ = ["Slots"]

BATCH_WAIT_SECONDS: Final = 0.02
"""Seconds that a receive waits for a whole batch's worth of room before it makes do with less."""


class _Reservation:
    """Somebody who waits for `least` to `most` slots."""

    __slots__ = ("granted", "least", "most")

    def __init__(self, least: int, most: int) -> None:
        self.least = least
        self.most = most
        self.granted: asyncio.Future[int] = asyncio.get_running_loop().create_future()


class Slots:
    """A number of slots, taken in batches and given back one by one. First come, first served."""

    def __init__(self, total: int, clock: Clock) -> None:
        self.total = total
        self._free = total
        self._clock = clock
        self._reservations: deque[_Reservation] = deque()

    @property
    def free(self) -> int:
        """How many slots nobody has."""
        return self._free

    async def reserve(self, want: int) -> int:
        """Take up to `want` slots, 1 at least, and return how many. Cancelled, it has taken none."""
        want = min(want, self.total)
        if self._free >= want and not self._reservations:
            self._free -= want
            return want
        claim = _Reservation(want, want)
        self._reservations.append(claim)
        self._grant()
        try:
            async with Deadline(self._clock, self._clock.monotonic() + BATCH_WAIT_SECONDS):
                await asyncio.wait([claim.granted])
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            self._withdraw(claim)
            raise
        claim.least = 1
        self._grant()
        try:
            return await claim.granted
        except asyncio.CancelledError:
            self._withdraw(claim)
            raise

    def unreserve(self, count: int = 1) -> None:
        """Give slots back that no work came for."""
        self._free += count
        self._grant()

    def overdraw(self) -> None:
        """Take one slot whether or not there is one: a receive that waits may have taken them all."""
        self._free -= 1

    def _grant(self) -> None:
        while self._reservations and self._free >= self._reservations[0].least:
            claim = self._reservations.popleft()
            if claim.granted.cancelled():  # its taker was cancelled in this very step, and withdraws in the next
                continue
            count = min(self._free, claim.most)
            self._free -= count
            claim.granted.set_result(count)

    def _withdraw(self, claim: _Reservation) -> None:
        if claim in self._reservations:
            self._reservations.remove(claim)
            self._grant()
        elif not claim.granted.cancelled():
            self.unreserve(claim.granted.result())
