"""How entries fill a batch: in order, never too many, never too large."""

from collections.abc import Sequence

__all__ = ["entries_that_fit"]


def entries_that_fit(sizes: Sequence[int], max_count: int, max_bytes: int) -> int:
    """Return how many of the first entries go into one batch: 1 at least, while there is any.

    An entry that is larger than `max_bytes` on its own makes a batch of one, for the queue to refuse.
    """
    total = 0
    for count, size in enumerate(sizes):
        total += size
        if count == max_count or (total > max_bytes and count > 0):
            return count
    return len(sizes)
