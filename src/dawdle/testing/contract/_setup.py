"""What a backend's author overrides, and the steps that the checks share. No check lives here."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from dawdle.abc import Backend, Delivery, Fault, Outgoing

__all__ = ["ContractSetup"]


class ContractSetup:
    """How a queue is made, and how time passes by its clock."""

    patience: float = 5.0
    """Seconds that a check waits for a message that must come."""

    slack: float = 1.0
    """Seconds that a queue may be late."""

    def opened(self) -> AbstractAsyncContextManager[Backend]:
        """Return a context manager that yields an open backend on an empty queue of its own."""
        raise NotImplementedError

    async def passes(self, seconds: float) -> None:
        """Let `seconds` pass by the queue's clock. Override it where a test moves that clock: this one sleeps."""
        await asyncio.sleep(seconds)

    async def parked(self) -> None:
        """Return once a receive that was just started waits at the queue. Override it where that can be seen."""
        await asyncio.sleep(0.1)

    @asynccontextmanager
    async def queue(self) -> AsyncGenerator[Backend]:
        """Yield an open, empty queue that is ready to be received from."""
        async with self.opened() as backend:
            await backend.prepare_receive()
            yield backend

    async def receive_all(self, backend: Backend, count: int) -> list[Delivery]:
        """Receive until there are `count` messages; fails when they do not come within `patience`."""
        found: list[Delivery] = []
        async with asyncio.timeout(self.patience):
            while len(found) < count:
                limit = min(backend.limits.max_batch, count - len(found))
                found += await backend.receive(limit, 0)
        return found

    async def nothing_to_receive(self, backend: Backend) -> None:
        """Fail if a message is visible."""
        assert await backend.receive(1, 0) == []

    async def send_all(self, backend: Backend, bodies: Sequence[bytes]) -> None:
        """Send messages, in as many calls as they need."""
        size = backend.limits.max_batch
        for first in range(0, len(bodies), size):
            answers = await backend.send([Outgoing(body) for body in bodies[first : first + size]])
            assert not any(answers)

    def lease_of(self, backend: Backend) -> float:
        """Return the lease in seconds; skips the check where the queue has none."""
        if backend.limits.lease is None:
            pytest.skip("the queue has no lease: the connection holds its messages")
        return backend.limits.lease

    def assert_no_fault(self, backend: Backend, answers: Sequence[Fault | None]) -> None:
        """Fail for a fault of an ack by a receipt that is good no more. An ordered queue may say that it is lost."""
        assert all(fault is None or (backend.limits.ordered and fault.kind == "lost") for fault in answers)

    def wait(self, backend: Backend) -> float:
        """Return how many seconds a receive may wait for a message that is visible."""
        return min(1.0, backend.limits.max_wait)
