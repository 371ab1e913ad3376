"""The queue of the demo: SQS with a lease short enough to watch. `DAWDLE_BACKEND=sqs` has one of a minute."""

from dawdle.backends.sqs import SQS

LEASE = 5
"""Seconds until what a killed worker had in flight comes back."""


def with_a_short_lease() -> SQS:
    return SQS(lease=LEASE)
