"""A queue like SQS's on a test clock, shared by many nodes: messages, leases, polls. Nothing goes wrong here.

What goes wrong happens on the way here (`wire`). A message is in one of three states until it is gone, and only these
steps change it:

    store  → delayed until now + delay, or waiting
    touch  : delayed, held → waiting when their moment is reached; waiting → held, for a poll that is open
    change : held → held until another moment, or waiting at 0
    delete : held, waiting → gone

A poll belongs to the queue, not to who asked: one that its caller has abandoned still takes a message, which nobody
gets then until its lease ends.
"""

import asyncio
import heapq
import itertools
import math
import re
from collections import deque
from typing import Final

from dawdle.abc import Delivery, Fault
from dawdle.errors import BackendError
from dawdle.testing import ManualClock
from tests.faults.message import Message

MAX_HOLD: Final = 43_200
"""Seconds that a message may be held, counted from its receive (SQS API reference, ChangeMessageVisibility)."""

_ID: Final = re.compile(rb'"id":"([^"]+)"')


class _Poll:
    __slots__ = ("answer", "limit", "until")

    def __init__(self, limit: int, until: float) -> None:
        self.limit = limit
        self.until = until
        self.answer: asyncio.Future[list[Delivery]] = asyncio.get_running_loop().create_future()


class Queue:
    """One queue. `dead` takes what was received `max_receives` times; `in_flight` is how many may be held at once."""

    def __init__(
        self,
        clock: ManualClock,
        *,
        lease: int = 30,
        in_flight: int = 120_000,
        max_receives: int = 100,
        dead: "Queue | None" = None,
    ) -> None:
        self.clock = clock
        self.lease = lease
        self.in_flight = in_flight
        self.max_receives = max_receives
        self.dead = dead
        self.messages: dict[int, Message] = {}
        self.held = 0
        self.redriven = 0
        self.first_stored: dict[int, float] = {}
        """By event number: when the first copy was stored, in epoch seconds by this queue's clock, in whole ms."""

        self.ids: set[str] = set()
        """Of every event that was ever stored here."""

        self.numbers: dict[int, int] = {}
        """By serial: the event number, also of what is gone."""

        self.holders: dict[str, int] = {}
        """By receipt: the node that it was given to."""

        self._serials = itertools.count(1)
        self._waiting: deque[Message] = deque()
        self._timers: list[tuple[float, int, Message]] = []
        self._turns = itertools.count()
        self._polls: deque[_Poll] = deque()
        self._alarm: asyncio.Task[None] | None = None
        self._alarm_at = math.inf

    def now(self) -> float:
        """Return the time of day by this queue's clock, in whole milliseconds, as SQS tells it."""
        return math.floor(self.clock.now() * 1000 + 1e-3) / 1000

    def store(self, body: bytes, delay: float, group: str | None = None) -> Message:
        """Take in a message, to be received after `delay` seconds: whole ones, as SQS counts."""
        serial = next(self._serials)
        message = Message(serial, f"m{serial}", body, group, self.now())
        self.first_stored.setdefault(message.number, message.stored_at)
        if (found := _ID.search(body)) is not None:
            self.ids.add(found[1].decode())
        return self._add(message, math.ceil(delay))

    def twin(self, message: Message, delay: float = 0.0) -> Message:
        """Store a second copy under the same id, as a server does that missed its receive or its delete."""
        twin = Message(next(self._serials), message.key, message.body, message.group, message.stored_at)
        twin.receives, twin.first_received_at = message.receives, message.first_received_at
        return self._add(twin, delay)

    def poll(self, limit: int, wait: float) -> "asyncio.Future[list[Delivery]]":
        """Ask for messages; the answer comes with the first one, or after `wait` seconds with none.

        When as much is held as may be, SQS says so to those that do not wait, and nothing to those that do (SQS
        developer guide, quotas, 2026). Raises `BackendError`.
        """
        self._ripen()
        if wait <= 0 and self._waiting and self.held >= self.in_flight:
            raise BackendError("OverLimit: too many messages are in flight", kind="throttled")
        poll = _Poll(limit, self.clock.monotonic() + wait)
        self._polls.append(poll)
        self.touch()
        return poll.answer

    def delete(self, receipt: str) -> Message | None:
        """Delete a message and return it; an old receipt deletes nothing, and that is no fault."""
        self._ripen()
        message, latest = self._find(receipt)
        if message is None or not latest:
            return None
        self._drop(message)
        self.touch()
        return message

    def change(self, receipt: str, seconds: float) -> Fault | None:
        """Hide a held message for another time from now, 0 = let it be received."""
        self._ripen()
        message, latest = self._find(receipt)
        if message is None or message.state != "held":
            return Fault("lost", "MessageNotInflight")
        if not latest:
            return Fault("lost", "ReceiptHandleIsInvalid")
        seconds = math.ceil(seconds)
        if self.clock.monotonic() - message.received_at + seconds > MAX_HOLD:
            return Fault("refused", "InvalidParameterValue: the total visibility timeout is beyond the limit")
        if seconds > 0:
            self._schedule(message, seconds)
        else:
            self._wait(message)
        self.touch()
        return None

    def message_of(self, receipt: str) -> Message | None:
        """Return the stored message that a receipt, old or not, was given out for."""
        return self._find(receipt)[0]

    def number_of(self, receipt: str) -> int:
        """Return the number of the event that a receipt is about, also when its message is gone."""
        return self.numbers[int(receipt.partition(".")[0])]

    def held_by(self, node: int) -> list[Message]:
        """Return the messages that are hidden from all others since a node has received them."""
        self._ripen()
        held = [message for message in self.messages.values() if message.state == "held"]
        return [message for message in held if self.holders.get(message.receipt) == node]

    def wipe(self) -> None:
        """Delete every message, as who deletes the queue does."""
        for message in list(self.messages.values()):
            self._drop(message)

    def touch(self) -> None:
        """Do what is due: serve the polls that are open, and see to being woken for the next thing."""
        self._ripen()
        while self._polls and self._waiting and self.held < self.in_flight:
            poll = self._polls.popleft()
            deliveries = self._take(poll.limit)
            if not deliveries:
                self._polls.appendleft(poll)
            elif not poll.answer.done():
                poll.answer.set_result(deliveries)
        now = self.clock.monotonic()
        for poll in [poll for poll in self._polls if poll.until <= now]:
            self._polls.remove(poll)
            if not poll.answer.done():
                poll.answer.set_result([])
        self._set_alarm()

    async def close(self) -> None:
        """End what waits here on its own."""
        self._polls.clear()
        if self._alarm is not None:
            self._alarm.cancel()
            await asyncio.wait([self._alarm])

    def _add(self, message: Message, delay: float) -> Message:
        self.messages[message.serial] = message
        self.numbers[message.serial] = message.number
        if delay > 0:
            message.state = "delayed"
            self._schedule(message, delay)
        else:
            self._wait(message)
        self.touch()
        return message

    def _take(self, limit: int) -> list[Delivery]:
        taken: list[Delivery] = []
        while self._waiting and len(taken) < limit and self.held < self.in_flight:
            message = self._waiting.popleft()
            if message.state != "waiting":
                continue
            if message.receives >= self.max_receives and self.dead is not None:
                self.redriven += 1
                self._drop(message)
                self.dead.store(message.body, 0)
                continue
            taken.append(self._hand_out(message))
        return taken

    def _hand_out(self, message: Message) -> Delivery:
        message.receives += 1
        if message.receives == 1:
            message.first_received_at = self.now()
        message.received_at = self.clock.monotonic()
        message.state = "held"
        self.held += 1
        self._schedule(message, self.lease)
        # From the second receive on, the only time that SQS tells is the answer's Date: by the second, rounded down.
        received_at = message.first_received_at if message.receives == 1 else math.floor(self.now())
        return Delivery(
            receipt=message.receipt,
            key=message.key,
            body=message.body,
            receive_count=message.receives,
            stored_at=message.stored_at,
            received_at=received_at,
            group=message.group,
        )

    def _ripen(self) -> None:
        now = self.clock.monotonic()
        while self._timers and self._timers[0][0] <= now:
            _, timer, message = heapq.heappop(self._timers)
            if message.timer == timer:
                self._wait(message)

    def _wait(self, message: Message) -> None:
        self._unhold(message)
        message.state, message.timer = "waiting", -1
        self._waiting.append(message)

    def _drop(self, message: Message) -> None:
        self._unhold(message)
        message.state, message.timer = "gone", -1
        self.messages.pop(message.serial, None)

    def _unhold(self, message: Message) -> None:
        if message.state == "held":
            self.held -= 1

    def _schedule(self, message: Message, seconds: float) -> None:
        message.timer = next(self._turns)
        heapq.heappush(self._timers, (self.clock.monotonic() + seconds, message.timer, message))

    def _find(self, receipt: str) -> tuple[Message | None, bool]:
        message = self.messages.get(int(receipt.partition(".")[0]))
        return message, message is not None and message.receipt == receipt

    def _set_alarm(self) -> None:
        """Be woken at the next moment that changes something for a poll that is open."""
        if not self._polls:
            return
        while self._timers and self._timers[0][2].timer != self._timers[0][1]:
            heapq.heappop(self._timers)
        due = min(self._timers[0][0] if self._timers else math.inf, *(poll.until for poll in self._polls))
        if self._alarm is None or due < self._alarm_at:
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm_at = due
            self._alarm = asyncio.create_task(self._ring(due), name="the queue's alarm")

    async def _ring(self, at: float) -> None:
        await self.clock.sleep_until(at)
        self._alarm = None
        self.touch()
