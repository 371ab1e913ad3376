"""Which queue a URL means: one on a server of SQS, or one in a SQLite file. Workers and rigs open it by this."""

from typing import Final

from dawdle.backends.sqlite import SQLite
from dawdle.backends.sqs import SQS

__all__ = ["SQLITE", "queue_at"]

SQLITE: Final = "sqlite:"
"""How the URL of a SQLite file begins; its path follows."""


def queue_at(url: str, *, lease: float = 60, wait: float = 20) -> SQS | SQLite:
    """Return a queue that is not open yet. `wait`: seconds of a long poll, which a file does not need."""
    if url.startswith(SQLITE):
        return SQLite(url.removeprefix(SQLITE), lease=lease)
    return SQS(url, lease=lease, wait=wait)
