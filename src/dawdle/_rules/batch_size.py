"""Decides how many entries go into one batch. Sizes in, a count out."""

from collections.abc import Sequence

__all__ = ["entries_that_fit"]


def entries_that_fit(sizes: Sequence[int], max_count: int, max_bytes: float) -> int:
    """Return how many of the first entries go into one batch, in order; at least 1 if there is any.

    An entry that alone is larger than `max_bytes` makes a batch of one, so the queue refuses no other entry with it.
    """
    if len(sizes) <= max_count and sum(sizes) <= max_bytes:
        return len(sizes)
    total = 0
    for count, size in enumerate(sizes):
        total += size
        if count == max_count or (total > max_bytes and count > 0):
            return count
    return len(sizes)
