"""One message or direct event that is in flight: what holds it, which of its handlers run, and how they are ended."""

import asyncio
from concurrent.futures import Future
from typing import Protocol

from dawdle._flow.queue_client import QueueClient
from dawdle.abc import Clock, Delivery

__all__ = ["InFlightMessage", "wait_for_renewal"]


class LeaseHolder(Protocol):
    """What renews the lease of a message that is in flight."""

    def drop(self, message: "InFlightMessage", /) -> Future[None] | None:
        """Renew it no longer. Return its renewal that is on its way, None as a rule."""
        ...


_NO_TASKS: frozenset[asyncio.Task[object]] = frozenset()


class InFlightMessage:
    """One message in flight, or one direct event, which is no message yet (`delivery` is None)."""

    __slots__ = (
        "_in_threads",
        "_running",
        "_waiter",
        "abandoned",
        "delivery",
        "handlers_started",
        "held_since",
        "hold_expired",
        "idling",
        "interrupted",
        "is_direct",
        "key",
        "lease_holder",
        "lease_lost",
        "queue",
        "receipt",
        "receive_count",
        "received_at",
        "settled",
        "settling",
        "started",
        "waits_no_longer",
    )

    def __init__(self, queue: QueueClient, delivery: Delivery | None, clock: Clock) -> None:
        self.queue = queue
        self.delivery = delivery
        self.held_since = clock.monotonic()
        self.is_direct = delivery is None
        """Whether no queue holds it yet: what is not stored of it is lost with the process."""
        if delivery is None:
            self.key = (id(self), "")
            """What no other message in flight has: its queue, and its key there."""
            self.receipt = ""
            self.receive_count = 0
            self.received_at = clock.now()
        else:
            self.key = (id(queue), delivery.key)
            self.receipt = delivery.receipt
            self.receive_count = delivery.receive_count
            self.received_at = clock.now() if delivery.received_at is None else delivery.received_at
        self.handlers_started: asyncio.Future[bool] | None = None
        """Of a direct event: True once its handlers have started, or it is stored instead; False if it is lost."""
        self.lease_holder: LeaseHolder | None = None
        self.started = False
        """It has been given its turn, and counts as work under way."""
        self.interrupted = False
        self.lease_lost = False
        self.hold_expired = False
        self.settled = False
        """Nothing but its deletion is left to do; even if another node has it meanwhile, its handlers are done."""
        self.settling: asyncio.Task[object] | None = None
        """The task that waits for the queue to answer the requests of its settling."""
        self.waits_no_longer = False
        """That wait is over: the app is being left, and the flush has taken as long as it may."""
        self.abandoned = False
        """It is settled although a handler still runs: that one ignores its cancellation."""
        self.idling = 0
        """How many of its handlers wait in `idle()`: they must not wait for themselves."""
        self._running: dict[asyncio.Task[object], str] = {}
        """The name of the handler that runs in a task, or waits there until it may."""
        self._in_threads = _NO_TASKS
        """The tasks among them whose handlers run in threads."""
        self._waiter: asyncio.Future[None] | None = None

    @property
    def main_queue(self) -> QueueClient:
        """The queue that its copies go to."""
        return self.queue.main_queue

    def now(self, clock: Clock) -> float:
        """Return the time by the queue's clock: when it was received, and how long it was held since."""
        return self.received_at + clock.monotonic() - self.held_since

    @property
    def handlers(self) -> tuple[str, ...]:
        """The names of the handlers that run, or wait until they may."""
        return tuple(self._running.values())

    def handler_in(self, task: "asyncio.Task[object]") -> str | None:
        """Return the name of the handler that runs in this task. Safe from another thread."""
        return self._running.get(task)

    def begin(self, task: "asyncio.Task[object]", handler: str, *, in_thread: bool = False) -> None:
        """Note that a handler runs in this task from now on, or waits there."""
        self._running[task] = handler
        if in_thread:
            self._in_threads |= {task}
        elif self._in_threads:
            self._in_threads -= {task}

    def end(self, task: "asyncio.Task[object]") -> None:
        """Note that no handler runs in this task any more."""
        self._running.pop(task, None)

    def interrupt(self) -> None:
        """Cancel the handlers that run, and start no other: the grace is over. May be called again and again."""
        self.interrupted = True
        self.wake()
        for task in self._running:
            task.cancel()

    def expire_hold(self) -> None:
        """Cancel the handlers that run: the queue makes the message visible again soon, whatever they still do."""
        self.hold_expired = True
        self.interrupt()

    def lose_lease(self) -> None:
        """Cancel the handlers that run: another node may have the message now. A thread runs on, and keeps its slot."""
        self.lease_lost = self.interrupted = True
        self.wake()
        for task in self._running:
            if task not in self._in_threads:
                task.cancel()

    def consume_cancellation(self, task: "asyncio.Task[object]") -> bool:
        """Whether a cancellation was ours; if so, the task is as if it had not been cancelled."""
        # `uncancel` takes back one request. Without it `asyncio.timeout` and TaskGroup, which settling uses, would take
        # the old request for a new one and end what must be finished.
        if not self.interrupted or not task.cancelling():
            return False
        task.uncancel()
        return True

    def drop_lease(self) -> Future[None] | None:
        """Renew its lease no longer. Return its renewal that is on its way, None as a rule."""
        holder, self.lease_holder = self.lease_holder, None
        return None if holder is None else holder.drop(self)

    async def end_lease(self) -> None:
        """Renew its lease no longer, and return when no renewal is on its way: one that lands late would hide it."""
        renewal = self.drop_lease()
        if renewal is not None:
            await wait_for_renewal(renewal)

    def stop_waiting(self) -> None:
        """Wait no longer for the queue's answer to the settling. The request itself goes on."""
        if self.settling is not None:
            self.waits_no_longer = True
            self.settling.cancel()

    async def wait_for_turn(self) -> None:
        """Return when its turn has come, or it was interrupted."""
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def wake(self) -> None:
        """End its wait for a turn: this has come, or never will."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


async def wait_for_renewal(renewal: Future[None]) -> None:
    """Return when a renewal that is on its way has ended."""
    await asyncio.wait([asyncio.wrap_future(renewal)])
