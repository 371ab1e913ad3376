"""What is in flight in an app, of all its queues: the one owner of received messages and of direct events.

A message is in flight from its receive on, a direct event from the call of `signal` on. Both go the same way:

    slots.reserve ──► receive ──► add ──┐                        ┌── interrupt: cancels its handlers
                                        ├──► waits ──► started ──┤
    signal(direct=True) ──► add_direct ─┘      └─ interrupt ─────┴──► settled ──► finish

Everything in here is counted, is seen by `idle()`, by the stop and by `health()`, and leaves by `finish` alone.

Each queue has slots of its own, so that the messages of a slow queue leave those of the others room. All else is common
to the queues: the app is idle, is stopped, and isolates a message as a whole.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import contextmanager, suppress

from dawdle._flow.handler_scope import HandlerRun
from dawdle._flow.in_flight_message import InFlightMessage
from dawdle._flow.queue_client import QueueClient
from dawdle._flow.slots import Slots
from dawdle.abc import Clock, Delivery

__all__ = ["InFlight"]


class InFlight:
    """All that is in flight in one app, by key.

    A receive reserves slots ahead, so that it asks only for what there is room for. A direct event takes its slot when
    it comes, reserved or not; then what a receive brings waits for its turn.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._messages: dict[tuple[int, str], InFlightMessage] = {}
        self._waiting_to_start: dict[Slots, deque[InFlightMessage]] = {}  # empty, unless a message waits
        self._held_back = False
        self._closed = False
        self._waiting_for_idle: list[asyncio.Future[None]] = []
        self._waiting_for_an_end = 0
        """How many of those want to know whenever a message is finished."""
        self.clock_waits_are_idle = False
        """Whether a handler that waits for a clock which only a test moves counts as idle; a test's app says so."""
        self._on_clock: dict[InFlightMessage, Counter[HandlerRun]] = {}
        """The runs that wait for such a clock, each with its waits. Empty outside of tests."""
        self.on_arrival: Callable[[], object] | None = None
        """Called when the next one comes, and then forgotten. May be set from another thread."""

    def __len__(self) -> int:
        return len(self._messages)

    def __iter__(self) -> Iterator[InFlightMessage]:
        return iter(list(self._messages.values()))

    @property
    def accepts_direct(self) -> bool:
        """Whether a direct event may still come in: not once a stop for good has ended the handlers."""
        return not self._closed

    @property
    def is_idle(self) -> bool:
        """Whether nothing is in flight but what itself waits for that, or for a test to move its clock."""
        return all(
            # A message in line behind one that idles waits for that, as it does for the rest.
            self._idles(message) or (message.line is not None and self._idles(message.line[0]))
            for message in self._messages.values()
        )

    # Ways in

    def add(self, queue: QueueClient, delivery: Delivery) -> InFlightMessage | None:
        """Take a received message, in a slot that was reserved for it.

        None if it is in flight already and was only received again: then the newer receipt counts, and the slot is not
        used. Two receives may return in another order than they were made in: the receive count says which is newer.
        """
        known = self._messages.get((id(queue), delivery.key))
        if known is None:
            message = InFlightMessage(queue, delivery, self._clock)
            self._messages[message.key] = message
            arrived = self.on_arrival  # read once: the watchdog's thread clears it
            if arrived is not None:
                self._tell_arrival(arrived)
            return message
        if delivery.receive_count >= known.receive_count:
            known.receipt, known.receive_count = delivery.receipt, delivery.receive_count
        return None

    def add_direct(self, queue: QueueClient, group: str | None = None) -> InFlightMessage:
        """Take a direct event, in a slot of its own; from now on its handlers are owed it."""
        queue.slots.overdraw()
        message = InFlightMessage(queue, None, self._clock, direct_group=group)
        message.handlers_started = asyncio.get_running_loop().create_future()
        self._messages[message.key] = message
        arrived = self.on_arrival  # read once: the watchdog's thread clears it
        if arrived is not None:
            self._tell_arrival(arrived)
        return message

    def _tell_arrival(self, arrived: Callable[[], object]) -> None:
        self.on_arrival = None
        arrived()

    # The way through

    def start(self, message: InFlightMessage, *, over_limit: bool = False) -> bool:
        """Start a message if it may run now, and return whether it does. If not, `wait_to_start` comes next.

        `over_limit`: it may, however many run. A handler that signals would otherwise wait for its own slot.
        """
        slots = message.queue.slots
        if over_limit or (slots.started < slots.total and not self._held_back and slots not in self._waiting_to_start):
            message.started = True
            slots.started += 1
        return message.started

    async def wait_to_start(self, message: InFlightMessage) -> None:
        """Return when a message may run, first come, first served; or when it was interrupted, started or not."""
        if message.interrupted:
            return
        slots = message.queue.slots
        self._waiting_to_start.setdefault(slots, deque()).append(message)
        try:
            await message.wait_for_turn()
        except BaseException:
            with suppress(KeyError, ValueError):
                self._waiting_to_start[slots].remove(message)  # it waits no more, so its turn must not come
            raise

    async def wait_in_line(self, message: InFlightMessage) -> None:
        """Return when a message is the first of its group, or was interrupted.

        Meanwhile its slot is free for another group: else the ten messages that one receive brings would take ten slots
        and run in one.
        """
        slots = message.queue.slots
        slots.unreserve()
        try:
            await message.wait_for_turn()
        finally:
            slots.overdraw()

    def finish(self, message: InFlightMessage) -> None:
        """Take out what is settled, or cannot be, and give its slot back."""
        del self._messages[message.key]
        if message.handlers_started is not None and not message.handlers_started.done():
            message.handlers_started.set_result(message.settled)
        slots = message.queue.slots
        if message.started:
            slots.started -= 1
        slots.unreserve()
        if self._waiting_to_start:
            self._start_waiting(slots)
        if self._waiting_for_idle:
            self._wake_if_idle()

    def finish_all(self) -> None:
        """Take out everything: the app died, and no task processes it."""
        for message in self:
            self.finish(message)

    def hold_back_others(self) -> None:
        """Start nothing from now on but what is started over the limit: one message runs in isolation."""
        self._held_back = True

    @property
    def holds_back(self) -> bool:
        """Whether a message waits to start."""
        return any(self._waiting_to_start.values())

    def stop_holding_back(self) -> None:
        """Start what waits, and what comes: the message has ended, or was in isolation for long enough."""
        self._held_back = False
        for slots in list(self._waiting_to_start):
            self._start_waiting(slots)

    @contextmanager
    def idling(self, message: InFlightMessage) -> Generator[None]:
        """Count a message as idle in the block: one of its own handlers waits there until all else is done."""
        message.idling += 1
        self._wake_if_idle()
        try:
            yield
        finally:
            message.idling -= 1

    @contextmanager
    def on_clock(self, run: HandlerRun) -> Generator[None]:
        """Count a run as one that waits for a clock which only a test moves: in the block it is not due."""
        if not self.clock_waits_are_idle:
            yield
            return
        runs = self._on_clock.setdefault(run.message, Counter())
        runs[run] += 1
        self._wake_if_idle()
        try:
            yield
        finally:
            runs[run] -= 1
            if not runs[run]:
                del runs[run]
            if not runs:
                self._on_clock.pop(run.message, None)

    def look_again(self) -> None:
        """Wake the callers of `wait_idle` if nothing is in flight but what waits: a handler of a message has ended."""
        self._wake_if_idle()

    # The end

    def interrupt_waiting(self) -> None:
        """Interrupt the messages that wait for their turn. A direct event waits on: no queue has it."""
        for message in self:
            if not message.started and not message.is_direct:
                message.interrupt()

    def interrupt(self) -> None:
        """Interrupt all that is in flight."""
        for message in self:
            message.interrupt()

    def close(self) -> None:
        """Accept no direct event any more: no handler starts from now on."""
        self._closed = True

    async def wait_empty(self) -> None:
        """Return once nothing is in flight."""
        while self._messages:
            await self._wait_for_change()

    async def wait_idle(self) -> None:
        """Return once nothing is in flight but what itself waits for that."""
        while not self.is_idle:
            await self._wait_for_change()

    async def wait_until_only(self, messages: Collection[InFlightMessage]) -> None:
        """Return once no other message runs than these."""
        while any(message.started and message not in messages for message in self._messages.values()):
            self._waiting_for_an_end += 1
            try:
                await self._wait_for_change()
            finally:
                self._waiting_for_an_end -= 1

    def _idles(self, message: InFlightMessage) -> bool:
        """Whether a message waits for all else: in `idle()`, or in each of its handlers for the clock."""
        return message.idling > 0 or (
            message in self._on_clock and len(self._on_clock[message]) >= len(message.running)
        )

    def _start_waiting(self, slots: Slots) -> None:
        """Start the messages that wait for these slots, as far as there is room."""
        waiting = self._waiting_to_start.get(slots, deque())
        while waiting and (waiting[0].interrupted or (slots.started < slots.total and not self._held_back)):
            message = waiting.popleft()
            if not message.interrupted:
                message.started = True
                slots.started += 1
                message.wake()
        if not waiting:
            self._waiting_to_start.pop(slots, None)

    def _wake_if_idle(self) -> None:
        """Wake the callers that wait for it, if nothing is in flight but what itself waits for that, or if they ask."""
        if self._waiting_for_idle and (self._waiting_for_an_end or self.is_idle):
            for changed in self._waiting_for_idle:
                if not changed.done():
                    changed.set_result(None)
            self._waiting_for_idle.clear()

    async def _wait_for_change(self) -> None:
        changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting_for_idle.append(changed)
        await changed
