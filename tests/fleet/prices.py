"""What requests to Amazon SQS cost. Plain arithmetic, so that the figures of the docs can be tested."""

import math
from typing import Final

DOLLARS_PER_MILLION: Final = 0.40
"""Requests to a standard queue in us-east-1, the first 100 billion of a month (read in November 2026)."""

FREE_PER_MONTH: Final = 1_000_000
"""Requests of an account that cost nothing."""

BILLED_BYTES: Final = 65_536
"""A request is billed once for each 64 KiB of payload that it carries, and at least once."""

MAX_DELAY_SECONDS: Final = 900
"""For which SQS delays one message (SQS developer guide, quotas, 2026)."""

HOURS_PER_MONTH: Final = 730
SECONDS_PER_MONTH: Final = HOURS_PER_MONTH * 3600


def dollars(requests: float) -> float:
    """Return what requests cost, without the free ones."""
    return requests * DOLLARS_PER_MILLION / 1_000_000


def billed(messages: int, size: int) -> int:
    """Return for how many requests SQS bills one that carries so many messages of `size` bytes each."""
    return max(1, math.ceil(messages * size / BILLED_BYTES))


def hops(delay: float) -> int:
    """Return how many messages, one after the other, carry an event that is delayed for so many seconds."""
    return max(1, math.ceil(delay / MAX_DELAY_SECONDS))
