"""Receives: asks for what there is room for and starts a carrier for each message. It cannot die."""

import asyncio
from collections.abc import Callable, Coroutine
from math import inf
from typing import Final

from dawdle._flow.hook_calls import HookCaller
from dawdle._flow.in_flight import InFlight
from dawdle._flow.isolation import Isolation
from dawdle._flow.lease_renewer import LeaseRenewer
from dawdle._flow.processor import Processor
from dawdle._flow.queue_client import QueueClient
from dawdle._flow.receive_state import ReceiveState
from dawdle._log import Log
from dawdle._rules.health import QueueHealth
from dawdle.abc import Clock, Deadline, Delivery
from dawdle.errors import BackendError
from dawdle.hooks import Received

__all__ = ["Receiver"]

_log = Log(__name__)

MIN_RECEIVE: Final = 10
"""Messages that a receive asks for at least, where the queue gives as many and there is room."""

MAX_WAIT_SECONDS: Final = 20.0
"""Seconds that a receive waits at most. Only the first one of a queue that ends with the process waits for as long as
the queue allows: there is no client that could hang, nothing need run alone, and a stop ends it."""

MIN_EMPTY_RECEIVE_SECONDS: Final = 0.5
"""Seconds from one receive to the next where they bring nothing new and do not wait, from the second in a row on.

What brings only messages that are in flight here has brought nothing: a server may give them out again and again, and
would else be asked as fast as it answers.
"""

RECEIVE_HANG_SECONDS: Final = 30.0
"""Seconds beyond its wait after which a receive is given up, whatever the backend makes of it."""


class Receiver:
    """The receives of one queue: one while it is empty, more while they come back full."""

    def __init__(
        self,
        queue: QueueClient,
        *,
        clock: Clock,
        hooks: HookCaller,
        in_flight: InFlight,
        isolation: Isolation,
        processor: Processor,
        lease_renewer: LeaseRenewer | None,
        start_processor: Callable[[Coroutine[object, object, None]], object],
    ) -> None:
        self._queue = queue
        self._clock = clock
        self._hooks = hooks
        self._in_flight = in_flight
        self._isolation = isolation
        self._state = ReceiveState(queue.full_name, clock, hooks, queue.calls.recovered)
        self._processor = processor
        self._lease_renewer = lease_renewer
        self._start_processor = start_processor
        self._tasks: dict[asyncio.Task[None], bool] = {}
        self._stopping = False
        self._preparing = asyncio.Lock()
        self._prepared = False

    async def run(self) -> None:
        """Receive until stopped; returns when the last open poll is back."""
        try:
            async with asyncio.TaskGroup() as group:
                self._start(group, first=True)
        finally:
            self._state.end_waiting()

    def allow(self) -> None:
        """Take back a stop: the next run receives."""
        self._stopping = False

    def stop(self) -> None:
        """Start no receive any more. One that waits is ended where that loses nothing, and left to finish elsewhere."""
        self._stopping = True
        for task, polling in self._tasks.items():
            if not polling or self._queue.limits.receive_cancellable:
                task.cancel()

    def log_abandoned(self) -> None:
        """Say that the receive that is open is given up, where what it brings is then out of sight for a while."""
        if any(self._tasks.values()) and not self._queue.limits.receive_cancellable:
            _log.warning(
                "a receive from %s that was still open is abandoned: what it brings is hidden until its lease ends; a "
                "grace that is longer than the queue's wait lets it finish",
                self._queue.full_name,
            )

    def health(self) -> QueueHealth:
        """Return how the receives fare."""
        return self._state.health(self._wait(first=True))

    async def receive_now(self) -> int:
        """Receive one message if one is due, without waiting, and start its carrier; return how many that was.

        While the queue cannot be asked it is tried again, until a stop.
        """
        await self._prepare()
        while not self._stopping:
            self._in_flight.overdraw()  # a receive that waits may have reserved all slots
            try:
                async with self._isolation.receiving():
                    deliveries = await self._receive_in_time(1, 0)
            except BaseException as error:
                self._in_flight.unreserve(1)
                if not isinstance(error, Exception):
                    raise
                await self._state.wait_after_failure(error)
            else:
                return self._accept(deliveries, 1)
        return 0

    async def _prepare(self) -> None:
        """Let the backend look up what it needs, for as long as that takes, and have what renews leases made.

        Once, before anything is received: what comes earlier would find no dead-letter queue.
        """
        async with self._preparing:
            if self._lease_renewer is not None:
                await self._lease_renewer.ready()
            while not self._prepared and not self._stopping:
                try:
                    await self._queue.main_queue.prepare_receive()
                except Exception as error:  # noqa: BLE001 - as with a receive: whatever it is, it may pass
                    await self._state.wait_after_failure(error)
                else:
                    self._prepared = True

    def _start(self, group: asyncio.TaskGroup, *, first: bool) -> None:
        task = group.create_task(self._receive(group, first=first), name=f"dawdle: receive from {self._queue.name}")
        self._tasks.setdefault(task, False)  # an eager one may wait for an answer already
        task.add_done_callback(self._tasks.pop)

    async def _receive(self, group: asyncio.TaskGroup, *, first: bool) -> None:
        """Receive again and again; one beyond the first ends when it brings nothing, or fails."""
        want = min(self._queue.limits.max_batch, max(MIN_RECEIVE, self._in_flight.total // 10))
        most = -(-self._in_flight.total // want)
        hurried = 0
        if first:
            self._state.begin_waiting()
            await self._prepare()
        while not self._stopping:
            room = await self._in_flight.reserve(want)
            try:
                began = self._clock.monotonic()
                deliveries = await self._poll(room, self._wait(first=first))
            except BaseException as error:
                self._in_flight.unreserve(room)
                if not isinstance(error, Exception):
                    raise
                if not first:
                    self._state.log_failure(error)
                    return
                await self._state.wait_after_failure(error)
                continue
            self._state.completed()
            started = self._accept(deliveries, room)
            await asyncio.sleep(0)  # the carriers look at what came: one may want to be alone, before the next receive
            hurried = hurried + 1 if not started and self._clock.monotonic() < began + MIN_EMPTY_RECEIVE_SECONDS else 0
            if hurried > 1:
                await self._clock.sleep_until(began + MIN_EMPTY_RECEIVE_SECONDS)
            if started and len(deliveries) == room and not self._stopping and len(self._tasks) < most:
                self._start(group, first=False)
            if not started and not first:
                return

    def _wait(self, *, first: bool) -> float:
        limits = self._queue.limits
        as_long_as_it_takes = first and not limits.durable and limits.receive_cancellable
        return limits.max_wait if as_long_as_it_takes else min(limits.max_wait, MAX_WAIT_SECONDS)

    async def _poll(self, room: int, wait: float) -> list[Delivery]:
        task = asyncio.current_task()
        assert task is not None, "a receive runs in a task"
        self._state.begin_waiting()
        async with self._isolation.receiving():
            self._tasks[task] = True
            try:
                return await self._receive_in_time(1 if self._isolation.is_wanted else room, wait)
            finally:
                self._tasks[task] = False

    async def _receive_in_time(self, room: int, wait: float) -> list[Delivery]:
        """Receive, for no longer than that should take. Raises where the answer is no list of messages."""
        deadline = Deadline(self._clock, self._clock.monotonic() + wait + RECEIVE_HANG_SECONDS if wait < inf else inf)
        try:
            async with deadline:
                deliveries = list(await self._queue.backend.receive(room, wait))
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise BackendError(
                f"a receive that may wait {wait:g} s gave no answer for {wait + RECEIVE_HANG_SECONDS:g} s"
            ) from error
        if not all(isinstance(each, Delivery) for each in deliveries):
            raise BackendError("the queue answered a receive with what is no Delivery")
        return deliveries

    def _accept(self, deliveries: list[Delivery], room: int) -> int:
        """Start a carrier for each message, give back the slots that nothing came for, and return how many started."""
        if self._hooks:
            self._hooks(Received(self._queue.name, len(deliveries)))
        taken = 0
        for delivery in deliveries:
            message = self._in_flight.add(self._queue, delivery)
            if message is None:
                continue
            taken += 1
            if self._lease_renewer is not None:
                message.lease_holder = self._lease_renewer
                self._lease_renewer.hold(message)
            # When we are to stop no handler starts, and the message is given back.
            message.interrupted = self._stopping
            self._start_processor(self._processor.process(message, delivery))
        self._in_flight.unreserve(room - taken)
        return taken
