"""The letters that a scan holds: hidden from other readers until the scan releases them. Chooses none, reads none."""

import asyncio
from itertools import islice, takewhile
from math import inf
from typing import Final, NamedTuple

from dawdle._flow.queue_client import QueueClient
from dawdle._log import EventLog
from dawdle.abc import Clock, Delivery
from dawdle.errors import BackendError

__all__ = ["HeldLetters"]

_log = EventLog(__name__)

MAX_RELEASES_AT_ONCE: Final = 1000
"""Letters that are released at the same time. Each takes a task, and a scan may hold very many."""


class _Held(NamedTuple):
    """The receipt that releases a letter, and until when it is of use, by the clock's `monotonic()`."""

    receipt: str
    until: float


class HeldLetters:
    """The letters of the dead-letter queue `dead` that a scan has received, for the queue `name`."""

    def __init__(self, dead: QueueClient, name: str, clock: Clock) -> None:
        self._dead = dead
        self._name = name
        self._clock = clock
        # By the hash of their keys, as the scan remembers all of them.
        self._held: dict[int, _Held] = {}

    def hold(self, delivery: Delivery) -> None:
        """Note the receipt that releases a letter. The letters whose lease ends first stay in front."""
        lease = self._dead.limits.lease
        until = inf if lease is None else self._clock.monotonic() + lease
        key = hash(delivery.key)
        self._held.pop(key, None)
        self._held[key] = _Held(delivery.receipt, until)

    def receipt_of(self, delivery: Delivery) -> str:
        """Return a letter's latest receipt."""
        held = self._held.get(hash(delivery.key))
        return delivery.receipt if held is None else held.receipt

    def take_receipt(self, delivery: Delivery) -> str:
        """Return a letter's latest receipt, and hold the letter no longer."""
        held = self._held.pop(hash(delivery.key), None)
        return delivery.receipt if held is None else held.receipt

    def forget_stale(self) -> None:
        """Forget the receipts of letters whose lease has ended: they are visible again."""
        now = self._clock.monotonic()
        for key in list(takewhile(lambda key: self._held[key].until <= now, self._held)):
            del self._held[key]

    async def release(self) -> None:
        """Release all letters that are held. One that cannot be released is visible again when its lease ends."""
        self.forget_stale()
        failed = 0
        last: BackendError | None = None
        while self._held:
            some = [self._held.pop(key).receipt for key in list(islice(self._held, MAX_RELEASES_AT_ONCE))]
            answers = await asyncio.gather(*(self._dead.release(each, 0.0) for each in some), return_exceptions=True)
            for each in answers:
                if isinstance(each, BackendError) and each.kind != "lost":
                    failed, last = failed + 1, each
        if last is not None:
            _log.warning(
                "could not release %d dead letters of %s; they stay hidden until their lease ends: %s",
                failed,
                self._name,
                last,
                about=None,
            )
