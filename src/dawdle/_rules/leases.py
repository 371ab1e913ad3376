"""Which leases are due for a renewal, and when to look again. Times in, keys out."""

from typing import Final

__all__ = ["Leases"]

RENEW_SHARE: Final = 1 / 3
"""A lease is renewed when this share of it is over: two renewals may fail before it is lost."""

RETRY_SHARE: Final = 1 / 12
"""A renewal that failed is tried again after this share of a lease."""


class Leases:
    """The leases of the messages in hand.

    There are two rows, each in the order in which its leases fall due, since what joins a row waits as long as all
    before it: the row of those that were renewed, and the row of those whose renewal failed.
    """

    def __init__(self, lease: float, max_hold: float) -> None:
        self._lease = lease
        self._max_hold = max_hold
        self._renewed: dict[str, tuple[float, float]] = {}
        self._failed: dict[str, tuple[float, float]] = {}
        self._over: list[str] = []

    def __len__(self) -> int:
        return len(self._renewed) + len(self._failed)

    def hold(self, key: str, now: float) -> None:
        """Begin to keep a message that was received now."""
        self.drop(key)
        self._renewed[key] = (now, now + self._lease * RENEW_SHARE)

    def drop(self, key: str) -> None:
        """Stop keeping a message: it is settled, or not ours any more."""
        self._renewed.pop(key, None)
        self._failed.pop(key, None)

    def due(self, now: float) -> list[str]:
        """Return the messages to renew now, and count each as renewed: the next turn is a share of a lease away.

        A message that was held for `max_hold` cannot be renewed any longer, and is not kept from then on.
        """
        found: dict[str, float] = {}
        for row in (self._failed, self._renewed):
            for key, (received, due) in row.items():
                if due > now:
                    break
                found[key] = received
        for key, received in found.items():
            self.drop(key)
            if received + self._max_hold > now:
                self._renewed[key] = (received, now + self._lease * RENEW_SHARE)
            else:
                self._over.append(key)
        return [key for key in found if key in self._renewed]

    def expired(self) -> list[str]:
        """Return, once each, the messages that were due and have been held for as long as the queue allows."""
        over, self._over = self._over, []
        return over

    def failed(self, key: str, now: float) -> None:
        """Count a renewal as not made: it is due again soon, and well before the lease ends."""
        kept = self._renewed.pop(key, None)
        if kept is not None:
            self._failed[key] = (kept[0], now + self._lease * RETRY_SHARE)

    def next_due(self) -> float | None:
        """Return when the first renewal is due; None while nothing is in hand."""
        heads = [next(iter(row.values()))[1] for row in (self._renewed, self._failed) if row]
        return min(heads, default=None)
