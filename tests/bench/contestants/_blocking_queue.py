"""What the queues in a file have in common whose calls block: one after another, since more tasks would change nothing.

A thread for each call, which an asyncio app needs, would come on top; here they do without.
"""

import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self

from tests.bench.work import Setting

FILL = 20_000
"""Messages in one transaction where a queue is filled."""


class BlockingQueue(ABC):
    """Put, get and ack, each a call of its own."""

    def __init__(self, setting: Setting) -> None:
        self.directory = Path(setting.job.address)
        self.text = "x" * setting.job.work.body

    async def __aenter__(self) -> Self:
        self.open()
        return self

    async def __aexit__(self, *error: object) -> None:
        self.close()

    async def run(self, until: float) -> int:
        events = 0
        while time.perf_counter() < until:
            self.put_get_ack()
            events += 1
        return events

    @abstractmethod
    def open(self) -> None: ...

    @abstractmethod
    def close(self) -> None: ...

    @abstractmethod
    def put_get_ack(self) -> None:
        """Store one message, take the oldest one, and delete that."""


def batches(count: int) -> list[int]:
    """Return the sizes of the transactions that fill a queue."""
    full, rest = divmod(count, FILL)
    return [FILL] * full + [rest] * bool(rest)
