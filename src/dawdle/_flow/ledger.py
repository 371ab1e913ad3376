"""What was decided on messages that may come back: one that is settled is not run again by this process.

A delete may fail, or its answer be lost; a standard queue may deliver once more what was deleted; a copy may be stored
and its batch-mate not. Whatever comes back here is only brought to its end.
"""

from typing import Final

import msgspec

from dawdle._flow.hand import Hand
from dawdle._rules.envelope import Envelope
from dawdle._rules.settlement import Ack, Copy, Forward, Settlement
from dawdle.abc import Clock

__all__ = ["Ledger"]

MOST_DONE: Final = 10_000
"""Settled messages that are remembered: a key each, the oldest forgotten first."""

MOST_OWED: Final = 1_000
"""Messages of which a copy is not stored that are remembered, with that copy."""

MOST_BYTES: Final = 16 * 1024 * 1024
"""Bytes of all those copies together, but for the last one's."""


class _Owed(msgspec.Struct, frozen=True):
    envelope: Envelope | None
    copies: tuple[Copy, ...]
    otherwise: float
    at: float

    @property
    def size(self) -> int:
        return sum(len(copy.body) for copy in self.copies)


class Ledger:
    """The latest decisions of one app, by message."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._done: dict[tuple[int, str], None] = {}
        self._owed: dict[tuple[int, str], _Owed] = {}
        self._bytes = 0

    def done(self, hand: Hand) -> None:
        """Note that all that was owed is stored, so that the message is to be deleted and nothing else."""
        if hand.delivery is not None:
            self._forget(hand.key)
            self._done[hand.key] = None
            if len(self._done) > MOST_DONE:
                del self._done[next(iter(self._done))]

    def owed(self, hand: Hand, envelope: Envelope | None, copies: tuple[Copy, ...], otherwise: float) -> None:
        """Note that only these copies are not stored yet."""
        if hand.delivery is not None:
            self._forget(hand.key)
            self._owed[hand.key] = owed = _Owed(envelope, copies, otherwise, self._clock.monotonic())
            self._bytes += owed.size
            while len(self._owed) > MOST_OWED or (self._bytes > MOST_BYTES and len(self._owed) > 1):
                self._forget(next(iter(self._owed)))

    def recall(self, hand: Hand) -> tuple[Envelope | None, Settlement] | None:
        """Return what is left to be done with a message that came back; None if nothing was decided on it."""
        if hand.key in self._done:
            return None, Ack()
        owed = self._owed.get(hand.key)
        if owed is None:
            return None
        waited = self._clock.monotonic() - owed.at
        copies = tuple(msgspec.structs.replace(copy, delay=max(0.0, copy.delay - waited)) for copy in owed.copies)
        return owed.envelope, Forward(copies, owed.otherwise)

    def _forget(self, key: tuple[int, str]) -> None:
        owed = self._owed.pop(key, None)
        if owed is not None:
            self._bytes -= owed.size
