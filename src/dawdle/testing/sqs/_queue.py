"""The rules of one queue, without input or output: time is an argument, and nothing here waits.

Every message is in one of four states (`_message.State`). Only these steps change it:

    store              → delayed until now + delay, or visible
    advance            delayed, in flight → visible when `visible_at` is reached; any → deleted after its retention
    receive            visible → in flight until now + visibility timeout, or deleted here for the dead-letter queue
    change_visibility  in flight → in flight until another time, or visible at 0
    delete             in flight, visible → deleted

Deletes are lazy: a deleted message stays in the heap and the deques until its turn comes. Each of them is rebuilt when
more than half of it is deleted, so a step costs the same with ten messages and with a million.
"""

import heapq
from collections import deque
from collections.abc import Iterable
from itertools import count
from typing import Final

import msgspec

from dawdle.testing.sqs._attributes import QueueAttributes
from dawdle.testing.sqs._backlog import Backlog, StandardBacklog
from dawdle.testing.sqs._errors import service_error
from dawdle.testing.sqs._fifo import FifoState
from dawdle.testing.sqs._message import Instant, Message, decode_receipt_handle, encode_receipt_handle

__all__ = ["MAX_VISIBILITY_SECONDS", "Queue", "ReceiveResult"]

MAX_VISIBILITY_SECONDS: Final = 43_200
"""Seconds that a message may be in flight, from its receive (SQS API reference, ChangeMessageVisibility)."""

_REBUILD_MARGIN: Final = 64
"""Entries beyond twice the live ones at which a heap or deque is rebuilt: a small one is not rebuilt all the time."""


class ReceiveResult(msgspec.Struct):
    """What one receive found: the messages that it returns, and those that were received too often before."""

    messages: list[Message]
    dead_letters: list[Message]


class Queue:
    """One queue. `receipt_secret` is part of its receipt handles; `fifo` is there only for a FIFO queue."""

    def __init__(
        self, name: str, arn: str, attributes: QueueAttributes, *, receipt_secret: str, created_ms: int
    ) -> None:
        self.name = name
        self.arn = arn
        self.attributes = attributes
        self.receipt_secret = receipt_secret
        self.tags: dict[str, str] = {}
        self.created_ms = created_ms
        self.modified_ms = created_ms
        self.purged_at: float | None = None
        self.fifo = FifoState() if attributes.fifo else None
        self.visible = 0
        self.delayed = 0
        self.in_flight = 0
        self._backlog: Backlog = self.fifo.backlog if self.fifo else StandardBacklog()
        self._stored: dict[int, Message] = {}
        self._serials = count(1)
        # Heaps of (time, tie breaker, message). The tie breaker keeps equal times in the order of their push, and
        # Python from comparing messages. In `_timers` it is also the id that makes older entries void.
        self._tie_breakers = count()
        self._timers: list[tuple[float, int, Message]] = []
        self._by_age: deque[Message] = deque()
        self._late_arrivals: list[tuple[float, int, Message]] = []

    @property
    def message_count(self) -> int:
        """How many messages are stored. There is no `__len__`: `if queue` would be false for an empty queue."""
        return len(self._stored)

    def messages(self) -> Iterable[Message]:
        """Return every stored message, in the order in which they were stored here."""
        return self._stored.values()

    def advance(self, now: float) -> None:
        """Apply what is due at `now`: delays, visibility timeouts, retention."""
        timers = self._timers
        while timers and timers[0][0] <= now:
            _, timer_id, message = heapq.heappop(timers)
            if message.timer_id == timer_id:  # otherwise its visibility timeout was changed, or it was deleted
                self._make_visible(message)
        horizon = now - self.attributes.retention
        by_age = self._by_age
        while by_age and (by_age[0].state == "deleted" or by_age[0].stored_at <= horizon):
            self._remove(by_age.popleft())
        while self._late_arrivals and self._late_arrivals[0][0] <= horizon:
            self._remove(heapq.heappop(self._late_arrivals)[2])

    def next_due(self) -> float | None:
        """Return when the next message becomes visible by itself (monotonic seconds); None: none will."""
        timers = self._timers
        while timers and timers[0][2].timer_id != timers[0][1]:  # void entries would wake a long poll for nothing
            heapq.heappop(timers)
        return timers[0][0] if timers else None

    def has_visible(self) -> bool:
        """Return whether a receive would get, or dead-letter, a message now."""
        return self._backlog.has_next()

    def store(self, message: Message, delay: float, now: float, *, returned: bool = False) -> Message:
        """Store a message and give it its serial. `returned`: it was here before, and does not go to the end."""
        message.serial = next(self._serials)
        self._stored[message.serial] = message
        self._track_age(message)
        if delay > 0:
            message.state = "delayed"
            self.delayed += 1
            self._make_visible_at(message, now + delay)
        else:
            message.state = "visible"
            self.visible += 1
            if returned:
                self._backlog.put_back(message)
            else:
                self._backlog.add(message)
        return message

    def receive(self, limit: int, visibility_timeout: float, now: Instant, *, redrive: bool = False) -> ReceiveResult:
        """Receive up to `limit` messages, each invisible for `visibility_timeout` seconds.

        `redrive`: there is a dead-letter queue, so messages that were received too often are removed from here.
        """
        result = ReceiveResult([], [])
        policy = self.attributes.redrive_policy if redrive else None
        while len(result.messages) < limit:
            message = self._backlog.pop()
            if message is None:
                break
            # As SQS does it, here and not when the last visibility timeout ends: a message that is not
            # received any more stays where it is.
            if policy and message.receive_count - message.receive_count_on_arrival >= policy.max_receive_count:
                result.dead_letters.append(message)
                self._remove(message)
            else:
                self._start_flight(message, visibility_timeout, now)
                result.messages.append(message)
        self._backlog.end_receive()
        # At a timeout of 0 the messages are visible at once, but only after the loop: it would receive them for ever.
        if visibility_timeout <= 0:
            self.advance(now.monotonic)
        return result

    def remove_visible(self, limit: int) -> list[Message]:
        """Remove and return up to `limit` visible messages without receiving them (message move tasks)."""
        removed: list[Message] = []
        while len(removed) < limit and (message := self._backlog.pop()):
            self._remove(message)
            removed.append(message)
        self._backlog.end_receive()
        return removed

    def delete(self, handle: str) -> bool:
        """Delete by receipt handle; False: the handle is an old one, and nothing was deleted.

        Raises `ServiceError` for a handle that this queue did not create, and on a FIFO queue for an expired one.
        """
        message, latest = self._find_with_latest(handle)
        if message is None:
            return False
        # A standard queue deletes by an expired handle as long as it is the latest one. A FIFO queue does not: the next
        # message of the group may be in flight already.
        if self.fifo and not (latest and message.state == "in_flight"):
            raise service_error(
                "InvalidParameterValue",
                f"Value {handle} for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired.",
            )
        if latest:
            self._remove(message)
        return latest

    def change_visibility(self, handle: str, timeout: int, now: float) -> None:
        """Make a message visible `timeout` seconds from now, 0 = at once. Raises `ServiceError`."""
        message, latest = self._find_with_latest(handle)
        if message is None or message.state != "in_flight":
            raise service_error("MessageNotInflight", f"Message is not in flight: {handle}.")
        if not latest:
            raise service_error("ReceiptHandleIsInvalid", "The message has been received again under another handle.")
        # From the receive and not from now: renewing a lease again and again ends after twelve hours all the same.
        if now - message.received_at + timeout > MAX_VISIBILITY_SECONDS:
            raise service_error(
                "InvalidParameterValue",
                f"Value {timeout} for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout for "
                f"the message is beyond the limit [{MAX_VISIBILITY_SECONDS} seconds].",
            )
        self.set_visibility(message, timeout, now)

    def set_visibility(self, message: Message, timeout: float, now: float) -> None:
        """The same for a message that is known to be in flight; nothing is checked."""
        if timeout > 0:
            self._make_visible_at(message, now + timeout)
        else:
            self._make_visible(message)

    def receipt_handle(self, message: Message) -> str:
        """Return the handle of the latest receive of `message`."""
        return encode_receipt_handle(message, self.receipt_secret)

    def find(self, handle: str) -> Message | None:
        """Return the stored message that a handle, old or not, was given out for."""
        return self._find_with_latest(handle)[0]

    def duplicate(self, message: Message, now: float, delay: float = 0.0) -> Message:
        """Store a second copy of a message under the same id, as SQS may after a receive or a delete."""
        copy = msgspec.structs.replace(message, visible_at=0.0, timer_id=-1)
        return self.store(copy, delay, now, returned=True)

    def purge(self) -> None:
        """Delete every message, also those that are in flight or delayed."""
        for message in self._stored.values():
            message.state, message.timer_id = "deleted", -1
        self._stored.clear()
        self._timers.clear()
        self._by_age.clear()
        self._late_arrivals.clear()
        self._backlog.clear()
        self.visible = self.delayed = self.in_flight = 0

    def apply_delay(self, now: float) -> None:
        """Apply the queue's present delay to messages that are already delayed, as FIFO queues do."""
        for message in [m for m in self._stored.values() if m.state == "delayed"]:
            self._make_visible_at(message, message.stored_at + self.attributes.delay)
        self.advance(now)

    def _find_with_latest(self, handle: str) -> tuple[Message | None, bool]:
        """Return the stored message of a handle, and whether the handle is that of its latest receive."""
        receipt = decode_receipt_handle(handle, self.receipt_secret)
        if receipt is None:
            raise service_error(
                "ReceiptHandleIsInvalid",
                f'The input receipt handle "{handle}" is not a valid receipt handle.',
            )
        message = self._stored.get(receipt.serial)
        return message, message is not None and message.receive_count == receipt.receive_count

    def _start_flight(self, message: Message, visibility_timeout: float, now: Instant) -> None:
        message.state = "in_flight"
        message.receive_count += 1
        message.received_at = now.monotonic
        message.first_received_ms = message.first_received_ms or now.epoch_ms
        self.visible -= 1
        self.in_flight += 1
        self._backlog.lock_group(message)
        self._make_visible_at(message, now.monotonic + visibility_timeout)

    def _make_visible(self, message: Message) -> None:
        message.timer_id, message.visible_at = -1, 0.0
        self.visible += 1
        if message.state == "delayed":
            self.delayed -= 1
            message.state = "visible"
            self._backlog.add(message)
        else:
            self.in_flight -= 1
            message.state = "visible"
            self._backlog.unlock_group(message)
            self._backlog.put_back(message)

    def _remove(self, message: Message) -> None:
        match message.state:
            case "deleted":
                return
            case "delayed":
                self.delayed -= 1
            case "visible":
                self.visible -= 1
            case "in_flight":
                self.in_flight -= 1
                self._backlog.unlock_group(message)
        message.state, message.timer_id = "deleted", -1
        del self._stored[message.serial]

    def _track_age(self, message: Message) -> None:
        """Keep the message where `advance` finds it when its retention ends.

        Nearly all messages come in the order of their age, so a deque serves them. A dead letter and a duplicate keep
        the age that they had, and may be older than the last one here: these go to a heap.
        """
        if self._by_age and message.stored_at < self._by_age[-1].stored_at:
            heapq.heappush(self._late_arrivals, (message.stored_at, next(self._tie_breakers), message))
        else:
            self._by_age.append(message)
        most = 2 * len(self._stored) + _REBUILD_MARGIN
        if len(self._by_age) > most:
            self._by_age = deque(old for old in self._by_age if old.state != "deleted")
        if len(self._late_arrivals) > most:
            self._late_arrivals = [old for old in self._late_arrivals if old[2].state != "deleted"]
            heapq.heapify(self._late_arrivals)

    def _make_visible_at(self, message: Message, visible_at: float) -> None:
        # The heap entry of an earlier time is not searched for: it is void as soon as the message has another timer id.
        message.visible_at, message.timer_id = visible_at, next(self._tie_breakers)
        heapq.heappush(self._timers, (visible_at, message.timer_id, message))
        if len(self._timers) > 2 * (self.delayed + self.in_flight) + _REBUILD_MARGIN:
            self._timers = [timer for timer in self._timers if timer[2].timer_id == timer[1]]
            heapq.heapify(self._timers)
