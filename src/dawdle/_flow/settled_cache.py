"""The settlements of messages that may be received again: a settled message is not run again by this process.

A delete may fail, or its answer may be lost. A standard queue of SQS may deliver a deleted message once more. One copy
of a batch may be stored, and another not. When such a message comes back, only what is left to do is done.
"""

from collections import OrderedDict
from typing import Final

import msgspec

from dawdle._flow.in_flight_message import InFlightMessage
from dawdle._rules.copies import Copy
from dawdle._rules.envelope import Envelope
from dawdle._rules.settlement import Ack, Forward, Settlement
from dawdle.abc import Clock

__all__ = ["SettledCache"]

MAX_SETTLED: Final = 10_000
"""Settled messages in the cache, a key each; beyond that the oldest is dropped."""

MAX_OWED: Final = 1_000
"""Messages in the cache that still owe a copy, each with the copies that it owes."""

MAX_OWED_BYTES: Final = 16 * 1024 * 1024
"""Bytes of those copies together. The latest message stays in the cache whatever its size."""


class _Owed(msgspec.Struct, frozen=True):
    envelope: Envelope | None
    copies: tuple[Copy, ...]
    release_after: float
    noted_at: float

    @property
    def size(self) -> int:
        return sum(len(copy.body) for copy in self.copies)


class SettledCache:
    """The latest settlements of one app, by message."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # By the message's key, which is the same in each receive: receipts are not. The first key is the oldest. In a
        # plain dict it is found by a search past all that were deleted before it: 3 µs a message, once it is full.
        self._settled: OrderedDict[tuple[int, str], None] = OrderedDict()
        self._owed: dict[tuple[int, str], _Owed] = {}
        self._bytes = 0

    def note_settled(self, message: InFlightMessage) -> None:
        """Note that nothing is owed any more: if the message comes back, it is deleted and not run."""
        if message.delivery is not None:
            if self._owed:
                self._forget(message.key)
            self._settled[message.key] = None
            if len(self._settled) > MAX_SETTLED:
                self._settled.popitem(last=False)

    def note_owed(
        self, message: InFlightMessage, envelope: Envelope | None, copies: tuple[Copy, ...], release_after: float
    ) -> None:
        """Note that only these copies are owed: if the message comes back, they are stored and no handler runs."""
        if message.delivery is not None:
            self._forget(message.key)
            self._owed[message.key] = owed = _Owed(envelope, copies, release_after, self._clock.monotonic())
            self._bytes += owed.size
            while len(self._owed) > MAX_OWED or (self._bytes > MAX_OWED_BYTES and len(self._owed) > 1):
                self._forget(next(iter(self._owed)))

    def recall(self, message: InFlightMessage) -> tuple[Envelope | None, Settlement] | None:
        """Return what is left to do for a message that came back; None if it is not known here."""
        if message.key in self._settled:
            return None, Ack()
        owed = self._owed.get(message.key)
        if owed is None:
            return None
        waited = self._clock.monotonic() - owed.noted_at  # the delays count from when they were noted
        copies = tuple(msgspec.structs.replace(copy, delay=max(0.0, copy.delay - waited)) for copy in owed.copies)
        return owed.envelope, Forward(copies, owed.release_after)

    def _forget(self, key: tuple[int, str]) -> None:
        owed = self._owed.pop(key, None)
        if owed is not None:
            self._bytes -= owed.size
