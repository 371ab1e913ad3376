"""What is in flight, and the slots that it takes: the one owner of both, for received messages and direct events.

A message is in flight from its receive on, a direct event from the call of `signal` on. Both go the same way:

    reserve ──► receive ──► add ────────┐                        ┌── interrupt: cancels its handlers
                                        ├──► waits ──► started ──┤
    signal(direct=True) ──► add_direct ─┘      └─ interrupt ─────┴──► settled ──► finish

Everything in here is counted, is seen by `idle()`, by the stop and by `health()`, and leaves by `finish` alone.

Two counters, because a slot is reserved before there is a message for it. `Slots` counts what receives may still ask
for. `_started` counts what runs. They differ where a direct event takes a slot that a receive had reserved already:
then `Slots` goes below zero, and what that receive brings waits here until something else has finished.
"""

import asyncio
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress

from dawdle._flow.in_flight_message import InFlightMessage
from dawdle._flow.queue_client import QueueClient
from dawdle._flow.slots import Slots
from dawdle.abc import Clock, Delivery

__all__ = ["InFlight"]


class InFlight:
    """All that is in flight in one app, by key, and the slots that it takes.

    A receive reserves slots ahead, so that it asks only for what there is room for. A direct event takes its slot when
    it comes, reserved or not; then what a receive brings waits for its turn.
    """

    def __init__(self, total: int, clock: Clock) -> None:
        self.total = total
        self._clock = clock
        self._slots = Slots(total, clock)
        self._messages: dict[tuple[int, str], InFlightMessage] = {}
        self._started = 0
        self._waiting_to_start: deque[InFlightMessage] = deque()
        self._held_back = False
        self._closed = False
        self._waiting_for_idle: list[asyncio.Future[None]] = []

    def __len__(self) -> int:
        return len(self._messages)

    def __iter__(self) -> Iterator[InFlightMessage]:
        return iter(list(self._messages.values()))

    @property
    def free_slots(self) -> int:
        """How many slots are neither reserved nor taken; below 0 where direct events came on top."""
        return self._slots.free

    @property
    def accepts_direct(self) -> bool:
        """Whether a direct event may still come in: not once a stop for good has ended the handlers."""
        return not self._closed

    @property
    def is_idle(self) -> bool:
        """Whether nothing is in flight but what itself waits for that."""
        return all(message.idling for message in self._messages.values())

    # Ways in

    async def reserve(self, want: int) -> int:
        """Reserve up to `want` slots, 1 at least, and return how many. Cancelled, it has reserved none."""
        return await self._slots.reserve(want)

    def overdraw(self) -> None:
        """Reserve one slot whether or not there is one."""
        self._slots.overdraw()

    def unreserve(self, count: int) -> None:
        """Give back slots for which no message came."""
        self._slots.unreserve(count)

    def add(self, queue: QueueClient, delivery: Delivery) -> InFlightMessage | None:
        """Take a received message, in a slot that was reserved for it.

        None if it is in flight already and was only received again: then the newer receipt counts, and the slot is not
        used. Two receives may return in another order than they were made in: the receive count says which is newer.
        """
        known = self._messages.get((id(queue), delivery.key))
        if known is None:
            message = InFlightMessage(queue, delivery, self._clock)
            self._messages[message.key] = message
            return message
        if delivery.receive_count >= known.receive_count:
            known.receipt, known.receive_count = delivery.receipt, delivery.receive_count
        return None

    def add_direct(self, queue: QueueClient, group: str | None = None) -> InFlightMessage:
        """Take a direct event, in a slot of its own; from now on its handlers are owed it."""
        self._slots.overdraw()
        message = InFlightMessage(queue, None, self._clock, direct_group=group)
        message.handlers_started = asyncio.get_running_loop().create_future()
        self._messages[message.key] = message
        return message

    # The way through

    def start(self, message: InFlightMessage, *, over_limit: bool = False) -> bool:
        """Start a message if it may run now, and return whether it does. If not, `wait_to_start` comes next.

        `over_limit`: it may, however many run. A handler that signals would otherwise wait for its own slot.
        """
        if over_limit or (self._started < self.total and not self._held_back and not self._waiting_to_start):
            message.started = True
            self._started += 1
        return message.started

    async def wait_to_start(self, message: InFlightMessage) -> None:
        """Return when a message may run, first come, first served; or when it was interrupted, started or not."""
        if not message.interrupted:
            self._waiting_to_start.append(message)
            try:
                await message.wait_for_turn()
            except BaseException:
                with suppress(ValueError):
                    self._waiting_to_start.remove(message)  # it waits no more, so its turn must not come
                raise

    def finish(self, message: InFlightMessage) -> None:
        """Take out what is settled, or cannot be, and give its slot back."""
        del self._messages[message.key]
        if message.handlers_started is not None and not message.handlers_started.done():
            message.handlers_started.set_result(message.settled)
        if message.started:
            self._started -= 1
        self._slots.unreserve()
        if self._waiting_to_start:
            self._start_waiting()
        if self._waiting_for_idle:
            self._wake_if_idle()

    def finish_all(self) -> None:
        """Take out everything: the app died, and no task processes it."""
        for message in self:
            self.finish(message)

    @contextmanager
    def hold_back_others(self) -> Generator[None]:
        """Start nothing in the block but what is started over the limit: one message runs in isolation."""
        self._held_back = True
        try:
            yield
        finally:
            self.stop_holding_back()

    def stop_holding_back(self) -> None:
        """Start what waits, from now on: the message has been in isolation for long enough."""
        self._held_back = False
        self._start_waiting()

    @contextmanager
    def idling(self, message: InFlightMessage) -> Generator[None]:
        """Count a message as idle in the block: one of its own handlers waits there until all else is done."""
        message.idling += 1
        self._wake_if_idle()
        try:
            yield
        finally:
            message.idling -= 1

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

    def _has_room(self) -> bool:
        return self._started < self.total and not self._held_back

    def _start_waiting(self) -> None:
        while self._waiting_to_start and (self._waiting_to_start[0].interrupted or self._has_room()):
            message = self._waiting_to_start.popleft()
            if not message.interrupted:
                message.started = True
                self._started += 1
                message.wake()

    def _wake_if_idle(self) -> None:
        """Wake the callers that wait for it, if nothing is in flight but what itself waits for that."""
        if self._waiting_for_idle and self.is_idle:
            for changed in self._waiting_for_idle:
                if not changed.done():
                    changed.set_result(None)
            self._waiting_for_idle.clear()

    async def _wait_for_change(self) -> None:
        changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting_for_idle.append(changed)
        await changed
