"""Which leases are due for a renewal, and when to look again. Times in, keys out."""

from typing import Final

__all__ = ["Leases"]

SHARE: Final = 1 / 3
"""A lease is renewed when this share of it is over: two renewals may fail before it is lost."""


class Leases:
    """The leases of the messages in hand, in the order in which they fall due."""

    def __init__(self, lease: float, max_hold: float) -> None:
        self._lease = lease
        self._max_hold = max_hold
        self._due: dict[str, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._due)

    def hold(self, key: str, now: float) -> None:
        """Begin to keep a message that was received now."""
        self._due[key] = (now, now + self._lease * SHARE)

    def drop(self, key: str) -> None:
        """Stop keeping a message: it is settled, or not ours any more."""
        self._due.pop(key, None)

    def due(self, now: float) -> list[str]:
        """Return the messages to renew now, and count each as renewed: the next turn is a share of a lease away.

        A message that was held for `max_hold` cannot be renewed any longer, and is not kept from then on.
        """
        found: list[str] = []
        for key, (_, due) in self._due.items():
            if due > now:
                break
            found.append(key)
        for key in found:
            received, _ = self._due.pop(key)
            if received + self._max_hold > now:
                self._due[key] = (received, now + self._lease * SHARE)
        return [key for key in found if key in self._due]

    def next_due(self) -> float | None:
        """Return when the first renewal is due; None while nothing is in hand."""
        return next((due for _, due in self._due.values()), None)
