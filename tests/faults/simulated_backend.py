"""A backend like that of SQS: its calls reach a simulated queue after a latency, and fail as faults are injected."""

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self, TypeVar

from dawdle.abc import Deadline, Delivery, Fault, Limits, Outgoing, ReleaseEntry, Renew
from dawdle.backends.sqs._backend import _MAX_EMPTY_RECEIVES as MAX_EMPTY_RECEIVES
from dawdle.errors import BackendError, FaultKind
from dawdle.testing.sqs._queue import MAX_VISIBILITY_SECONDS
from tests.faults.fault_injection import Call, FaultInjector, FaultRates, Operation
from tests.faults.simulated_sqs import SimulatedQueue, number_in

T = TypeVar("T")


class SimulatedBackend:
    """The backend of one node.

    - `wait`: seconds of a long poll.
    - `patience`: seconds after which a call without a response times out, beyond a poll's own wait.
    """

    def __init__(
        self,
        queue: SimulatedQueue,
        injector: FaultInjector,
        *,
        node: int = 0,
        wait: float = 20.0,
        patience: float = 10.0,
    ) -> None:
        self.queue = queue
        self.node = node
        self.limits = Limits(
            max_batch=10,
            max_body=1_048_576,
            max_batch_bytes=1_048_576,
            max_delay=900,
            max_wait=wait,
            max_hold=MAX_VISIBILITY_SECONDS - queue.lease - 1,
            lease=queue.lease,
            can_release_later=True,
            retention=345_600,
        )
        self._injector = injector
        self._clock = queue.clock
        self._call_timeout = patience
        self._empty_receives = 0
        self._dead = (
            None
            if queue.dead is None
            else SimulatedBackend(queue.dead, injector, node=node, wait=wait, patience=patience)
        )

    @property
    def dead_letters(self) -> "SimulatedBackend | None":
        """The dead-letter queue."""
        return self._dead

    @property
    def delayed(self) -> None:
        """None: the queue delays its own messages."""
        return

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def prepare_receive(self) -> None:
        async def look() -> None: ...

        await self._call("attributes", (), look)

    async def send(self, batch: Sequence[Outgoing]) -> list[Fault | None]:
        return await self._batch("send", batch, lambda outgoing: number_in(outgoing.body), self.queue.send)

    async def receive(self, limit: int, wait: float) -> list[Delivery]:
        if self._empty_receives >= MAX_EMPTY_RECEIVES:
            wait = 0.0  # as the backend of SQS does, and what it gets for it: OverLimit, if there is a cause

        async def poll() -> list[Delivery]:
            deliveries = self._with_duplicates(await self.queue.receive(min(limit, 10), wait), limit)
            for delivery in deliveries:
                self.queue.holders[delivery.receipt] = self.node
            return deliveries

        found = await self._call("receive", (), poll, wait)
        self._empty_receives = 0 if found or self._empty_receives >= MAX_EMPTY_RECEIVES else self._empty_receives + 1
        return found

    async def ack(self, receipts: Sequence[str]) -> list[Fault | None]:
        return await self._batch("ack", receipts, self.queue.number_of, self._delete)

    async def renew(self, receipts: Sequence[str]) -> list[Fault | None]:
        def renew(receipts: Sequence[str]) -> list[Fault | None]:
            return self.queue.change_visibility([ReleaseEntry(receipt, self.queue.lease) for receipt in receipts])

        return await self._batch("renew", receipts, self.queue.number_of, renew)

    async def release(self, batch: Sequence[ReleaseEntry]) -> list[Fault | None]:
        return await self._batch(
            "release", batch, lambda entry: self.queue.number_of(entry[0]), self.queue.change_visibility
        )

    @asynccontextmanager
    async def renewer(self) -> AsyncGenerator[Renew]:
        yield self.renew

    def _delete(self, receipts: Sequence[str]) -> list[Fault | None]:
        for message in self.queue.delete(receipts):
            if self._injector.happens(self._injector.rates.comes_back):
                self._injector.record("comes back", [number_in(message.body)])
                self.queue.duplicate(message, self._injector.random.random() * self._injector.rates.back_after)
                self.queue.serve_polls()
        return [None] * len(receipts)

    def _with_duplicates(self, deliveries: list[Delivery], limit: int) -> list[Delivery]:
        """Make some received messages visible again, and return some of them twice in this response."""
        injector, rates = self._injector, self._injector.rates
        for delivery in list(deliveries):
            if not injector.happens(rates.twice):
                continue
            message = self.queue.message_of(delivery.receipt)
            assert message is not None, "it was received just now"
            injector.record("twice", [number_in(message.body)])
            self.queue.duplicate(message)
            if injector.happens(rates.within) and len(deliveries) < min(limit, 10):
                again = self.queue.receive(1, 0).result()
                injector.fired["in one answer"] += any(each.key == delivery.key for each in again)
                deliveries += again
            self.queue.serve_polls()
        return deliveries

    async def _batch(
        self,
        operation: Operation,
        batch: Sequence[T],
        number_of: Callable[[T], int],
        carry_out: Callable[[Sequence[T]], list[Fault | None]],
    ) -> list[Fault | None]:
        assert 1 <= len(batch) <= self.limits.max_batch, f"SQS takes 1 to 10 entries, not {len(batch)}"
        injector, rates = self._injector, self._injector.rates

        def fault_of(entry: T) -> Fault | None:
            if operation not in rates.only or not injector.happens(rates.entries):
                return None
            injector.record("entries", [number_of(entry)])
            kind: FaultKind = "throttled" if injector.happens(0.3) else "unavailable"
            return Fault(kind, "InternalError")

        async def all_of_it() -> list[Fault | None]:
            faults = [fault_of(entry) for entry in batch]
            taken = [entry for entry, fault in zip(batch, faults, strict=True) if fault is None]
            answers = iter(carry_out(taken) if taken else ())
            return [next(answers) if fault is None else fault for fault in faults]

        return await self._call(operation, [number_of(entry) for entry in batch], all_of_it)

    async def _call(
        self, operation: Operation, numbers: Sequence[int], carry_out: Callable[[], Awaitable[T]], wait: float = 0.0
    ) -> T:
        """Make one call: latency, a failure instead of it, the call, latency, a failure of its response."""
        injector, rates, began = self._injector, self._injector.rates, self._clock.monotonic()
        outcome = "abandoned"
        try:
            await self._wait_for_network(rates, rates.slow[0])
            instead = injector.failure_of_call(operation)
            if instead is not None:
                injector.record(instead, numbers)
                outcome = instead
                await self._fail(instead, wait)
            answer = await carry_out()
            if operation == "receive":
                numbers = [number_in(delivery.body) for delivery in answer]  # type: ignore[attr-defined]  # receive gives a list
            await self._wait_for_network(rates, rates.slow[1])
            if rates is not injector.rates and injector.happens(injector.rates.silence):
                outcome = "silence"  # it began while the call was under way
                injector.record(outcome, numbers)
                await self._fail(outcome, wait)
            if operation in rates.only and injector.happens(rates.lost):
                injector.record(f"{operation} lost", numbers)
                outcome = "lost"
                if injector.happens(rates.slowly):
                    injector.hung_until[self.node] = until = self._clock.monotonic() + self._call_timeout
                    await self._clock.sleep_until(until)
                raise BackendError(f"{operation}: the connection was reset")
            outcome = "ok"
            return answer
        except BackendError as error:
            outcome = outcome if outcome != "abandoned" else error.kind
            raise
        finally:
            injector.calls.append(Call(began, self.node, operation, outcome))

    async def _wait_for_network(self, rates: FaultRates, more: float) -> None:
        least, most = rates.latency
        seconds = least + (most - least) * self._injector.random.random() + more
        if seconds > 0:
            await self._clock.sleep_until(self._clock.monotonic() + seconds)

    async def _fail(self, instead: str, wait: float) -> None:
        if instead != "silence":
            kind: FaultKind = instead  # type: ignore[assignment]  # all other names are kinds of faults
            raise BackendError(f"the queue answered {instead}", kind=kind)
        call: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._injector.hung_calls.append(call)
        until = self._clock.monotonic() + wait + self._call_timeout if self._call_timeout < math.inf else math.inf
        try:
            async with Deadline(self._clock, until):
                await call
        except TimeoutError:
            raise BackendError("no answer in time") from None
