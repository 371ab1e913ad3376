"""One message or direct event that is in flight: what holds it, the work on it, and how its handlers are ended.

Facts, and what changes them in one step; it runs nothing.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Protocol

import msgspec

from dawdle._flow.queue_client import QueueClient
from dawdle._handlers.handler import Handler
from dawdle._log import About
from dawdle._rules.copies import Why
from dawdle._rules.envelope import Envelope
from dawdle._rules.in_place import NO_PAST, Past
from dawdle._rules.settlement import Result
from dawdle.abc import Clock, Delivery

__all__ = ["InFlightMessage", "Work", "wait_for_renewal"]


class LeaseHolder(Protocol):
    """What renews the lease of a message that is in flight."""

    def drop(self, message: "InFlightMessage", /) -> Future[None] | None:
        """Renew it no longer. Return its renewal that is on its way, None as a rule."""
        ...


class Work(msgspec.Struct, frozen=True):
    """One event, decoded, the handlers that run on it, and the message that holds it."""

    event: object
    envelope: Envelope
    body: bytes
    message: "InFlightMessage"
    handlers: tuple[Handler, ...]
    attempt: int = 1
    """Which try this is, from 1."""
    missing: tuple[str, ...] = ()
    """Names of handlers that the type names and this app lacks: each is owed a copy when the work is settled."""
    isolated: bool = False
    """It runs with nothing else in flight."""
    results: dict[str, Result] = {}
    """By handler's name: what has come of those that have ended."""

    def __repr__(self) -> str:
        return f"<Work on {self.envelope!r}>"

    @property
    def label(self) -> str:
        """The event as a log line shows it."""
        return self.message.queue.labeled(self.envelope.label)

    def about(self, handler: str | None = None) -> About:
        """Return the fields of a log record about the event, or about one handler's run on it."""
        return About(self.envelope.id, self.envelope.type, handler, self.attempt, self.message.queue.name)


class InFlightMessage(msgspec.Struct, eq=False):
    """One message in flight, or one direct event, which is no message yet (`delivery` is None)."""

    # A struct for its defaults: a class of our own would set twenty attributes one by one, for each message.

    queue: QueueClient
    delivery: Delivery | None
    clock: Clock
    key: tuple[int, str] = (0, "")
    """What no other message in flight has: its queue, and its key there."""
    receipt: str = ""
    receive_count: int = 0
    held_since: float = 0.0
    received_at: float = 0.0
    """When it was received, by the queue's clock."""
    direct_group: str | None = None
    """The group of a direct event: that of a message is in its delivery."""
    handlers_started: asyncio.Future[bool] | None = None
    """Of a direct event: True once its handlers have started, or it is stored instead; False if it is lost."""
    lease_holder: LeaseHolder | None = None
    work: Work | None = None
    """While its handlers run: the event and what has come of them so far."""
    started: bool = False
    """It has been given its turn, and counts as work under way."""
    interrupted: bool = False
    lease_lost: bool = False
    hold_expired: bool = False
    settled: bool = False
    """Nothing but its deletion is left to do; even if another node has it meanwhile, its handlers are done."""
    settling: asyncio.Task[object] | None = None
    """The task that waits for the queue to answer the requests of its settling."""
    settling_failed: bool = False
    """The queue did not confirm the settling, so the message comes back when its lease ends."""
    attempt: int | None = None
    """Which try it is, where its envelope does not say: on an ordered queue."""
    released: Why | None = None
    """Why it was released in its place: on an ordered queue only."""
    past: Past = NO_PAST
    """What this process knows of its earlier receives: on an ordered queue only."""
    waits_no_longer: bool = False
    """That wait is over: the app is being left, and the flush has taken as long as it may."""
    abandoned: bool = False
    """It is settled although a handler still runs: that one ignores its cancellation."""
    line: Sequence["InFlightMessage"] | None = None
    """On an ordered queue: the messages of its group that are in flight, in order, itself among them."""
    idling: int = 0
    """How many of its handlers wait in `idle()`: they must not wait for themselves."""
    running: dict[asyncio.Task[object], str] = {}
    """The name of the handler that runs in a task, or waits there until it may."""
    in_threads: frozenset[asyncio.Task[object]] = frozenset()
    """The tasks among them whose handlers run in threads."""
    waiter: asyncio.Future[None] | None = None

    def __post_init__(self) -> None:
        self.held_since = self.clock.monotonic()
        delivery = self.delivery
        if delivery is None:
            self.key = (id(self), "")
            self.received_at = self.clock.now()
        else:
            self.key = (id(self.queue), delivery.key)
            self.receipt = delivery.receipt
            self.receive_count = delivery.receive_count
            self.received_at = self.clock.now() if delivery.received_at is None else delivery.received_at

    def __repr__(self) -> str:
        """Show neither the receipt nor the body."""
        return f"<InFlightMessage {self.delivery!r}>"

    @property
    def is_direct(self) -> bool:
        """Whether no queue holds it yet: what is not stored of it is lost with the process."""
        return self.delivery is None

    @property
    def message_id(self) -> str:
        """The id that its queue has for it; empty for a direct event."""
        return "" if self.delivery is None else self.delivery.key

    @property
    def group(self) -> str | None:
        """The group that its copies are stored with."""
        return self.direct_group if self.delivery is None else self.delivery.group

    @property
    def received(self) -> int:
        """The receive count with which it came; `receive_count` is that of its latest receive."""
        return 0 if self.delivery is None else self.delivery.receive_count

    @property
    def main_queue(self) -> QueueClient:
        """The queue that its copies go to."""
        return self.queue.main_queue

    def about(self, envelope: Envelope | None, handler: str | None = None) -> About:
        """Return the fields of a log record about the message, or about one handler's share of it."""
        if envelope is None:
            return About(handler=handler, queue=self.queue.name)
        attempt = envelope.attempt if self.attempt is None else self.attempt
        return About(envelope.id, envelope.type, handler or envelope.owed, attempt, self.queue.name)

    def now(self) -> float:
        """Return the time by the queue's clock: when it was received, and how long it was held since."""
        return self.received_at + self.clock.monotonic() - self.held_since

    @property
    def handlers(self) -> tuple[str, ...]:
        """The names of the handlers that run, or wait until they may."""
        return tuple(self.running.values())

    def handler_in(self, task: "asyncio.Task[object]") -> str | None:
        """Return the name of the handler that runs in this task. Safe from another thread."""
        return self.running.get(task)

    def begin(self, task: "asyncio.Task[object]", handler: str, *, in_thread: bool = False) -> None:
        """Note that a handler runs in this task from now on, or waits there."""
        self.running[task] = handler
        if in_thread:
            self.in_threads |= {task}
        elif self.in_threads:
            self.in_threads -= {task}

    def end(self, task: "asyncio.Task[object]") -> None:
        """Note that no handler runs in this task any more."""
        self.running.pop(task, None)

    def interrupt(self) -> None:
        """Cancel the handlers that run, and start no other: the grace is over. May be called again and again."""
        self.interrupted = True
        self.wake()
        for task in self.running:
            task.cancel()

    def expire_hold(self) -> None:
        """Cancel the handlers that run: the queue makes the message visible again soon, whatever they still do."""
        self.hold_expired = True
        self.interrupt()

    def lose_lease(self) -> None:
        """Cancel the handlers that run: another node may have the message now. A thread runs on, and keeps its slot."""
        self.lease_lost = self.interrupted = True
        self.wake()
        for task in self.running:
            if task not in self.in_threads:
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
        self.waiter = asyncio.get_running_loop().create_future()
        try:
            await self.waiter
        finally:
            self.waiter = None

    def wake(self) -> None:
        """End its wait for a turn: this has come, or never will."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


async def wait_for_renewal(renewal: Future[None]) -> None:
    """Return when a renewal that is on its way has ended."""
    await asyncio.wait([asyncio.wrap_future(renewal)])
