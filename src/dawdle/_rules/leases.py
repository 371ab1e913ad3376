"""Decides which leases are renewed now, and when to look again. Times in, messages out; renews nothing."""

from typing import Final, Generic, TypeVar

__all__ = ["Leases"]

RENEW_SHARE: Final = 1 / 3
"""A lease is renewed when this share of it is over. So one lease has room for a failed renewal and several retries."""

RETRY_SHARE: Final = 1 / 12
"""A failed renewal is tried again after this share of a lease: eight times before the lease ends."""


M = TypeVar("M")


class Leases(Generic[M]):
    """The leases of the messages in flight, by whatever stands for a message.

    They are in two dicts: renewed ones, and ones whose renewal failed.
    """

    # All that join one dict wait equally long. So each dict is in the order of its due times, and `due` stops at the
    # first that is not due: ten thousand messages in flight cost no sorting.

    def __init__(self, lease: float, max_hold: float) -> None:
        self._lease = lease
        self._max_hold = max_hold
        self._renewed: dict[M, tuple[float, float]] = {}
        self._failed: dict[M, tuple[float, float]] = {}
        self._over: list[M] = []

    def __len__(self) -> int:
        return len(self._renewed) + len(self._failed)

    def __contains__(self, key: M) -> bool:
        return key in self._renewed or key in self._failed

    def hold(self, key: M, now: float) -> None:
        """Keep the lease of a message that was received now."""
        self.drop(key)
        self._renewed[key] = (now, now + self._lease * RENEW_SHARE)

    def drop(self, key: M) -> None:
        """Stop keeping the lease of a message that is settled or lost."""
        self._renewed.pop(key, None)
        if self._failed:
            self._failed.pop(key, None)

    def due(self, now: float) -> list[M]:
        """Return the messages to renew now. Each counts as renewed; a call of `failed` corrects that.

        The lease of a message that was held for `max_hold` cannot be renewed, and is not kept from then on.
        """
        found: dict[M, float] = {}
        for row in (self._failed, self._renewed):
            for key, (received, due) in row.items():
                if due > now:
                    break
                found[key] = received
        # Changed in a second loop: the first one iterates over the dicts that `drop` changes.
        for key, received in found.items():
            self.drop(key)
            if received + self._max_hold > now:
                self._renewed[key] = (received, now + self._lease * RENEW_SHARE)
            else:
                self._over.append(key)
        return [key for key in found if key in self._renewed]

    def expired(self) -> list[M]:
        """Return, once each, the messages that have been held for as long as the queue allows."""
        over, self._over = self._over, []
        return over

    def failed(self, key: M, now: float) -> None:
        """Note that a renewal failed. It is due again soon, well before the lease ends."""
        kept = self._renewed.pop(key, None)
        if kept is not None:
            self._failed[key] = (kept[0], now + self._lease * RETRY_SHARE)

    def next_due(self) -> float | None:
        """Return when the first renewal is due; None while no message is in flight."""
        heads = [next(iter(row.values()))[1] for row in (self._renewed, self._failed) if row]
        return min(heads, default=None)
