"""One queue in memory that several apps share, each by a backend of its own whose calls may fail."""

from contextlib import asynccontextmanager

import msgspec

from dawdle.backends.memory import Memory
from dawdle.errors import BackendError

__all__ = ["Node"]

DOWN = "down"
"""The call fails, and nothing is done."""

UNANSWERED = "unanswered"
"""The call is done, and its answer is lost."""


class Node:
    """A backend of one app on a queue that others use too. `faults` says which of its calls fail now, and how."""

    def __init__(self, queue: Memory, *, dead_letters: "Node | None" = None, delayed: "Node | None" = None) -> None:
        self._queue = queue
        self.limits = msgspec.structs.replace(queue.limits, shared=True, durable=True)
        self.dead_letters = dead_letters
        self.delayed = delayed
        self.faults: dict[str, str] = {}

    @classmethod
    def of(cls, queue: Memory) -> "Node":
        dead = None if queue.dead_letters is None else cls(queue.dead_letters)
        delayed = None if queue.delayed is None else cls(queue.delayed)
        return cls(queue, dead_letters=dead, delayed=delayed)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        return

    async def prepare_receive(self):
        return

    async def _call(self, name, *arguments):
        fault = self.faults.get(name)
        if fault == DOWN:
            raise BackendError("it is down", uncertain=False)
        answer = await getattr(self._queue, name)(*arguments)
        if fault == UNANSWERED:
            raise BackendError("the answer is lost", uncertain=True)
        return answer

    async def send(self, batch):
        return await self._call("send", batch)

    async def receive(self, limit, wait):
        return await self._queue.receive(limit, wait)

    async def ack(self, receipts):
        return await self._call("ack", receipts)

    async def renew(self, receipts):
        return await self._call("renew", receipts)

    async def release(self, batch):
        return await self._call("release", batch)

    @asynccontextmanager
    async def renewer(self):
        yield self.renew
