"""Receives: asks for as many messages as there are free slots, and starts a processor for each. An error never ends it.

    prepare ──► reserve slots ──► receive ──► start processors ──┬── new messages ───────► reserve slots
                      ▲              │                           ├── a full batch ───────► one more receive in parallel
                      │              ▼                           └── nothing new, twice ──► pause ──► reserve slots
                      └── back-off ◄─┘ failed

The first receive of a queue goes on until a stop. One in parallel ends when it fails or brings nothing new.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from math import inf
from typing import Final

import msgspec

from dawdle._flow.batcher import Spawn
from dawdle._flow.hook_calls import HookCaller
from dawdle._flow.in_flight import InFlight
from dawdle._flow.in_flight_message import InFlightMessage
from dawdle._flow.isolation import Isolation
from dawdle._flow.lease_renewer import LeaseRenewer
from dawdle._flow.queue_client import QueueClient
from dawdle._flow.receive_state import ReceiveState
from dawdle._log import EventLog
from dawdle._rules.health import QueueHealth
from dawdle.abc import Clock, Deadline, Delivery
from dawdle.errors import BackendError
from dawdle.hooks import Received

__all__ = ["Receiver"]

_log = EventLog(__name__)

MIN_RECEIVE: Final = 10
"""Messages that a receive asks for at least, where the backend allows it and there are free slots."""

MAX_WAIT_SECONDS: Final = 20.0
"""Seconds that a receive waits for messages, at most. Only the first receive of a queue in memory waits for as long as
the queue allows: no connection can hang, isolation does not wait for it, and a stop ends it."""

MIN_EMPTY_RECEIVE_SECONDS: Final = 0.5
"""Seconds from one receive to the next while they bring nothing new, from the second in a row on.

A message that is in flight here already is nothing new. A server may return it, or nothing, without waiting: without
this pause it would be asked as fast as it answers.
"""

SINGLE_FILE_WAIT_SECONDS: Final = 2.0
"""Seconds that a receive waits in single file. The receives of all queues take turns then, and the one that a suspect
comes back on must have its turn while the single file lasts."""

RECEIVE_HANG_SECONDS: Final = 30.0
"""Seconds beyond its wait after which a receive is given up: the backend's own timeout has failed."""


class Receiver:
    """The receives of one queue: one while it is empty, more in parallel while they come back full."""

    def __init__(
        self,
        queue: QueueClient,
        *,
        clock: Clock,
        hooks: HookCaller,
        in_flight: InFlight,
        isolation: Isolation,
        process: Callable[[InFlightMessage], Coroutine[object, object, None]],
        lease_renewer: LeaseRenewer | None,
        start_processor: Callable[[Coroutine[object, object, None]], object],
        spawn: Spawn,
    ) -> None:
        self._queue = queue
        self._slots = queue.slots
        self._clock = clock
        self._hooks = hooks
        self._in_flight = in_flight
        self._isolation = isolation
        self._state = ReceiveState(queue.full_name, clock, hooks, queue.calls.recovered)
        self._process = process
        self._lease_renewer = lease_renewer
        self._start_processor = start_processor
        self._spawn = spawn
        self._tasks: dict[asyncio.Task[None], bool] = {}
        self._stopping = False
        self._preparing = asyncio.Lock()
        self._prepared = False

    async def run(self) -> None:
        """Receive until stopped; return when the last open receive has ended."""
        try:
            async with asyncio.TaskGroup() as group:
                self._start(group, first=True)
        finally:
            self._state.end_waiting()

    def allow(self) -> None:
        """Take back a stop: the next run receives."""
        self._stopping = False

    def stop(self) -> None:
        """Start no more receives. An open one is cancelled if the backend loses nothing by that, else it finishes."""
        self._stopping = True
        # Cancelled on SQS, a receive swallows the next message: the server still answers it, to a client that has gone,
        # and the message stays hidden for a lease. A task that only waits for slots or for its back-off has no request.
        for task, polling in self._tasks.items():
            if not polling or self._queue.limits.receive_cancellable:
                task.cancel()

    def log_abandoned(self) -> None:
        """Warn of an open receive that is given up, if the messages that it brings are then hidden for a lease."""
        if any(self._tasks.values()) and not self._queue.limits.receive_cancellable:
            _log.warning(
                "abandoned an open receive from %s: messages that it brings stay hidden until their lease ends; set a "
                "grace longer than the queue's wait, so that it can finish",
                self._queue.full_name,
                about=None,
            )

    def health(self, in_hand: int) -> QueueHealth:
        """Return how the receives do now. `in_hand`: messages of the queue in flight."""
        found = self._state.health(self._wait(first=True))
        return msgspec.structs.replace(found, in_hand=in_hand, slots=self._slots.total)

    @property
    def queue(self) -> QueueClient:
        """The queue that it receives from."""
        return self._queue

    async def receive_now(self) -> int:
        """Receive one message if one is due, without waiting, and start its processor; return how many it was.

        If the receive fails it is tried again, until a stop.
        """
        await self._prepare()
        while not self._stopping:
            self._slots.overdraw()  # an open receive may have reserved all slots, and wait for messages with them
            try:
                async with self._isolation.receiving(durable=self._queue.limits.durable):
                    deliveries = await self._receive_in_time(1, 0)
            except BaseException as error:
                self._slots.unreserve(1)
                if not isinstance(error, Exception):
                    raise
                await self._state.wait_after_failure(error)
            else:
                return self._accept(deliveries, 1)
        return 0

    async def _prepare(self) -> None:
        """Let the backend look up what it needs, for as long as that takes, and start the lease renewer.

        Once, before the first receive: a message that came earlier would find no dead-letter queue.
        """
        async with self._preparing:
            if self._lease_renewer is not None:
                await self._lease_renewer.ready()
            while not self._prepared and not self._stopping:
                try:
                    await self._queue.main_queue.prepare_receive()
                except Exception as error:  # noqa: BLE001 - as with a receive: the next try may succeed
                    await self._state.wait_after_failure(error)
                else:
                    self._prepared = True

    def _start(self, group: asyncio.TaskGroup, *, first: bool) -> None:
        task = group.create_task(self._receive(group, first=first), name=f"dawdle: receive from {self._queue.name}")
        self._tasks.setdefault(task, False)  # an eager task has run up to its first wait, and set it
        task.add_done_callback(self._tasks.pop)

    async def _receive(self, group: asyncio.TaskGroup, *, first: bool) -> None:
        """Receive again and again. A receive in parallel ends when it brings nothing new, or fails."""
        want = min(self._queue.limits.max_batch, max(MIN_RECEIVE, self._slots.total // 10))
        max_receives = -(-self._slots.total // want)
        empty = 0
        if first:
            self._state.begin_waiting()
            await self._prepare()
        while not self._stopping:
            room = await self._slots.reserve(want)
            try:
                began = self._clock.monotonic()
                deliveries = await self._poll(room, self._wait(first=first))
            except BaseException as error:
                self._slots.unreserve(room)
                if not isinstance(error, Exception):
                    raise
                # One receive per queue waits out the failure. If all did, a queue that is away would get as many tries
                # at once as it had receives under load.
                if not first:
                    self._state.log_failure(error)
                    return
                await self._state.wait_after_failure(error)
                continue
            self._state.completed()
            started = self._accept(deliveries, room)
            # The processors look at what came: a suspect asks for isolation before the next receive.
            await asyncio.sleep(0)
            # One quick receive without a new message may be chance. Two in a row are a server that answers without
            # waiting: it would be asked in a busy loop.
            next_at = began + MIN_EMPTY_RECEIVE_SECONDS
            empty = empty + 1 if not started and self._clock.monotonic() < next_at else 0
            if empty > 1:
                await self._clock.sleep_until(next_at)
            # A full batch means that more messages wait, and one receive brings no more than a batch per round trip. So
            # receives are added one by one, until they come back less than full, or could fill all slots together.
            if started and len(deliveries) == room and not self._stopping and len(self._tasks) < max_receives:
                self._start(group, first=False)
            if not started and not first:
                return

    def _wait(self, *, first: bool) -> float:
        limits = self._queue.limits
        unlimited = first and not limits.durable and limits.receive_cancellable
        return limits.max_wait if unlimited else min(limits.max_wait, MAX_WAIT_SECONDS)

    async def _poll(self, room: int, wait: float) -> list[Delivery]:
        task = asyncio.current_task()
        assert task is not None, "a receive runs in a task"
        self._state.begin_waiting()
        async with self._isolation.receiving(durable=self._queue.limits.durable):
            self._tasks[task] = True
            try:
                if self._isolation.is_wanted:
                    room, wait = 1, min(wait, SINGLE_FILE_WAIT_SECONDS)
                deliveries = await self._receive_in_time(room, wait)
            finally:
                self._tasks[task] = False
            if not deliveries:
                self._isolation.found_no_other()
            return deliveries

    async def _receive_in_time(self, room: int, wait: float) -> list[Delivery]:
        """Receive, for no longer than a receive may take. Raises if the answer is not a list of deliveries."""
        began = self._clock.monotonic()
        if wait == inf:  # no connection can hang
            deliveries = _checked(await self._queue.backend.receive(room, wait))
        else:
            deadline = Deadline(self._clock, began + wait + RECEIVE_HANG_SECONDS)
            try:
                async with deadline:
                    deliveries = _checked(await self._queue.backend.receive(room, wait))
            except TimeoutError as error:
                if not deadline.expired():
                    raise
                raise BackendError(
                    f"a receive that may wait {wait:g} s was not answered in {wait + RECEIVE_HANG_SECONDS:g} s"
                ) from error
        if self._hooks:
            seconds, ids = self._clock.monotonic() - began, tuple(each.key for each in deliveries)
            self._hooks(Received(self._queue.name, len(deliveries), room, seconds, ids))
        return deliveries

    def _accept(self, deliveries: list[Delivery], room: int) -> int:
        """Start a processor for each new message, give back the other slots, and return how many were started."""
        started: list[InFlightMessage] = []
        for delivery in deliveries:
            message = self._in_flight.add(self._queue, delivery)
            if message is None:  # in flight here already: its newer receipt is noted
                continue
            # An open receive may bring messages after a stop began. Each is accepted all the same, and its processor
            # gives it back at once: dropped here, it would stay hidden until its lease ends.
            message.interrupted = self._stopping
            message.lease_holder = self._lease_renewer
            started.append(message)
        if self._lease_renewer is not None and started:
            self._lease_renewer.hold(started)
        if started and deliveries[0].max_hold is not None:
            self._spawn(self._expire_holds(started, deliveries[0].max_hold))
        for message in started:
            self._start_processor(self._process(message))
        self._slots.unreserve(room - len(started))
        return len(started)

    async def _expire_holds(self, messages: Sequence[InFlightMessage], seconds: float) -> None:
        """Cancel the handlers that still run on these messages when their time is over: one receive, one time."""
        await self._clock.sleep_until(self._clock.monotonic() + seconds)
        in_flight = set(self._in_flight)
        for message in messages:
            if message in in_flight and not message.settled:
                message.expire_hold()


def _checked(answer: Iterable[object]) -> list[Delivery]:
    """Return what a backend's receive answered. Raises `BackendError` for anything but deliveries."""
    deliveries: list[Delivery] = []
    for each in answer:
        if not isinstance(each, Delivery):
            raise BackendError("the backend's receive must return a list of Delivery, and returned something else")
        deliveries.append(each)
    return deliveries
