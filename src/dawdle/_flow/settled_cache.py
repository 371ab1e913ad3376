"""What was decided on messages that may come back: one that is settled is not run again by this process.

A delete may fail, or its answer be lost; a standard queue may deliver once more what was deleted; a copy may be stored
and its batch-mate not. Whatever comes back here is only brought to its end.
"""

from typing import Final

import msgspec

from dawdle._flow.in_flight_message import InFlightMessage
from dawdle._rules.copies import Copy
from dawdle._rules.envelope import Envelope
from dawdle._rules.settlement import Ack, Forward, Settlement
from dawdle.abc import Clock

__all__ = ["SettledCache"]

MAX_SETTLED: Final = 10_000
"""Settled messages that are remembered: a key each, the oldest forgotten first."""

MAX_OWED: Final = 1_000
"""Messages of which a copy is not stored that are remembered, with that copy."""

MAX_OWED_BYTES: Final = 16 * 1024 * 1024
"""Bytes of all those copies together, but for the last one's."""


class _Owed(msgspec.Struct, frozen=True):
    envelope: Envelope | None
    copies: tuple[Copy, ...]
    release_after: float
    noted_at: float

    @property
    def size(self) -> int:
        return sum(len(copy.body) for copy in self.copies)


class SettledCache:
    """The latest decisions of one app, by message."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._settled: dict[tuple[int, str], None] = {}
        self._owed: dict[tuple[int, str], _Owed] = {}
        self._bytes = 0

    def note_settled(self, message: InFlightMessage) -> None:
        """Note that all that was owed is stored, so that the message is to be deleted and nothing else."""
        if message.delivery is not None:
            self._forget(message.key)
            self._settled[message.key] = None
            if len(self._settled) > MAX_SETTLED:
                del self._settled[next(iter(self._settled))]

    def note_owed(
        self, message: InFlightMessage, envelope: Envelope | None, copies: tuple[Copy, ...], release_after: float
    ) -> None:
        """Note that only these copies are not stored yet."""
        if message.delivery is not None:
            self._forget(message.key)
            self._owed[message.key] = owed = _Owed(envelope, copies, release_after, self._clock.monotonic())
            self._bytes += owed.size
            while len(self._owed) > MAX_OWED or (self._bytes > MAX_OWED_BYTES and len(self._owed) > 1):
                self._forget(next(iter(self._owed)))

    def recall(self, message: InFlightMessage) -> tuple[Envelope | None, Settlement] | None:
        """Return what is left to be done with a message that came back; None if nothing was decided on it."""
        if message.key in self._settled:
            return None, Ack()
        owed = self._owed.get(message.key)
        if owed is None:
            return None
        waited = self._clock.monotonic() - owed.noted_at
        copies = tuple(msgspec.structs.replace(copy, delay=max(0.0, copy.delay - waited)) for copy in owed.copies)
        return owed.envelope, Forward(copies, owed.release_after)

    def _forget(self, key: tuple[int, str]) -> None:
        owed = self._owed.pop(key, None)
        if owed is not None:
            self._bytes -= owed.size
