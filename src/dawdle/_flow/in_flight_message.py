"""One message or direct event that is in flight: what holds it, which of its handlers run, and how they are ended."""

import asyncio
from typing import NamedTuple, Protocol

from dawdle._flow.queue_client import QueueClient
from dawdle.abc import Clock, Delivery

__all__ = ["InFlightMessage"]


class RunningHandler(NamedTuple):
    """A handler that runs in a task, or waits there until it may."""

    handler: str
    in_thread: bool


class LeaseHolder(Protocol):
    """What renews the lease of a message that is in flight."""

    def drop(self, message: "InFlightMessage", /) -> None:
        """Renew it no longer."""
        ...

    async def wait_for_renewals(self, message: "InFlightMessage", /) -> None:
        """Return when no renewal of it is on its way any more."""
        ...


class InFlightMessage:
    """One message in flight, or one direct event, which is no message yet (`delivery` is None)."""

    __slots__ = (
        "_running",
        "_waiter",
        "abandoned",
        "delivery",
        "handlers_started",
        "held_since",
        "hold_expired",
        "idling",
        "interrupted",
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
        self.receipt = "" if delivery is None else delivery.receipt
        self.receive_count = 0 if delivery is None else delivery.receive_count
        self.held_since = clock.monotonic()
        own = None if delivery is None else delivery.received_at
        self.received_at = clock.now() if own is None else own
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
        self._running: dict[asyncio.Task[object], RunningHandler] = {}
        self._waiter: asyncio.Future[None] | None = None

    @property
    def is_direct(self) -> bool:
        """Whether no queue holds it yet: what is not stored of it is lost with the process."""
        return self.delivery is None

    @property
    def key(self) -> tuple[int, str]:
        """What no other message in flight has: its queue, and its key there."""
        return (id(self.queue), self.delivery.key) if self.delivery is not None else (id(self), "")

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
        return tuple(running.handler for running in self._running.values())

    def handler_in(self, task: "asyncio.Task[object]") -> str | None:
        """Return the name of the handler that runs in this task. Safe from another thread."""
        running = self._running.get(task)
        return None if running is None else running.handler

    def begin(self, task: "asyncio.Task[object]", handler: str, *, in_thread: bool = False) -> None:
        """Note that a handler runs in this task from now on, or waits there."""
        self._running[task] = RunningHandler(handler, in_thread)

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
        for task, running in self._running.items():
            if not running.in_thread:
                task.cancel()

    def consume_cancellation(self, task: "asyncio.Task[object]") -> bool:
        """Whether a cancellation was ours; if so, the task is as if it had not been cancelled."""
        # `uncancel` takes back one request. Without it `asyncio.timeout` and TaskGroup, which settling uses, would take
        # the old request for a new one and end what must be finished.
        if not self.interrupted or not task.cancelling():
            return False
        task.uncancel()
        return True

    async def drop_lease(self) -> None:
        """Renew its lease no longer, and return when no renewal is on its way: one that lands late would hide it."""
        if self.lease_holder is not None:
            self.lease_holder.drop(self)
            await self.lease_holder.wait_for_renewals(self)

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
