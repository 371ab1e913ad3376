"""What a backend's author overrides, and the steps that the checks share. No check lives here."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cached_property
from typing import cast

import pytest

from dawdle.abc import Backend, Delivery, Fault, Outgoing
from dawdle.testing.clock import ManualClock

__all__ = ["ContractSetup"]


class ContractSetup:
    """How a queue is made, and how time passes by its clock."""

    patience: float = 5.0
    """Seconds that a check waits for a message that must come."""

    slack: float = 1.0
    """Seconds that a queue may be late."""

    def make(self) -> Backend:
        """Return a new backend on an empty queue of its own. Override this, or `opened` where that takes more steps."""
        raise NotImplementedError(
            f"{type(self).__qualname__} needs the backend: override make(self), and return a new one on an empty queue"
        )

    def opened(self) -> AbstractAsyncContextManager[Backend]:
        """Return a context manager that yields an open backend on an empty queue of its own: what `make` returns."""
        return cast("AbstractAsyncContextManager[Backend]", self.make())

    @cached_property
    def clock(self) -> ManualClock:
        """A clock for a queue that takes one: `return MyQueue(clock=self.clock)`. Then no check waits for real time."""
        return ManualClock()

    @pytest.fixture
    def anyio_backend(self) -> str:
        """Let anyio's plugin run the checks on asyncio."""
        return "asyncio"

    async def passes(self, seconds: float) -> None:
        """Let `seconds` pass by the queue's clock: by `self.clock` if the queue was given it, else this sleeps."""
        if self._is_on_clock:
            await self.clock.advance(seconds)
        else:
            await asyncio.sleep(seconds)

    async def parked(self) -> None:
        """Return once a receive that was just started waits at the queue. Override it where that can be seen."""
        if self._is_on_clock:
            await self.clock.run_until_idle()
        else:
            await asyncio.sleep(0.1)

    @property
    def _is_on_clock(self) -> bool:
        return isinstance(vars(self).get("clock"), ManualClock)

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
