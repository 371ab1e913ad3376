"""The queues of the demo, with a lease short enough to watch: that of `DAWDLE_BACKEND=sqs` or `sqlite` is a minute."""

from dawdle.backends.sqlite import SQLite
from dawdle.backends.sqs import SQS

LEASE = 5
"""Seconds until what a killed worker had in flight comes back."""


def with_a_short_lease() -> SQS:
    return SQS(lease=LEASE)


def in_a_file() -> SQLite:
    return SQLite(lease=LEASE)  # the file that DAWDLE_SQLITE_PATH names
