"""The rules of one queue: what waits, what is delayed, what is held; time is handed in, and nothing here waits.

Every message is in one of four states (`_message.State`). Only these steps change it:

    send     → delayed until now + delay, or waiting
    advance  : delayed, held → waiting when `until` is reached; any → gone when its retention is over
    take     : waiting → held until now + visibility, or gone to the dead-letter queue
    change   : held → held until another moment, or waiting at 0
    delete   : held, waiting → gone

A message that is gone stays in the heap and the deques until its turn comes; both are rebuilt when more than half
of what they hold is gone, so each step costs the same from ten messages to a million.
"""

import heapq
from collections import deque
from collections.abc import Iterable
from itertools import count
from typing import Final

import msgspec

from dawdle.testing.sqs._attributes import Settings
from dawdle.testing.sqs._errors import refuse
from dawdle.testing.sqs._fifo import Ordering
from dawdle.testing.sqs._line import Line, PlainLine
from dawdle.testing.sqs._message import Message, Moment, read_receipt, write_receipt

__all__ = ["MAX_HOLD", "Queue", "Taken"]

MAX_HOLD: Final = 43_200
"""Seconds that a message may be held, counted from its receive (SQS API reference, ChangeMessageVisibility)."""

_SLACK: Final = 64


class Taken(msgspec.Struct):
    """What one receive took: the messages that it gets, and those that were received too often."""

    messages: list[Message]
    spent: list[Message]


class Queue:
    """One queue. `seal` is a secret of its own that its receipts carry; `ordering` makes it a FIFO queue."""

    def __init__(self, name: str, arn: str, settings: Settings, *, seal: str, created_ms: int) -> None:
        self.name = name
        self.arn = arn
        self.settings = settings
        self.seal = seal
        self.tags: dict[str, str] = {}
        self.created_ms = created_ms
        self.modified_ms = created_ms
        self.purged_at: float | None = None
        self.ordering = Ordering() if settings.fifo else None
        self.waiting = 0
        self.delayed = 0
        self.held = 0
        self._line: Line = self.ordering.line if self.ordering else PlainLine()
        self._stored: dict[int, Message] = {}
        self._keys = count(1)
        self._serials = count()
        self._timers: list[tuple[float, int, Message]] = []
        self._ages: deque[Message] = deque()
        self._elders: list[tuple[float, int, Message]] = []

    @property
    def stored(self) -> int:
        """How many messages are stored. It has no length: then an empty queue would be as false as none."""
        return len(self._stored)

    def messages(self) -> Iterable[Message]:
        """Return every stored message, in the order in which they came here."""
        return self._stored.values()

    def advance(self, at: float) -> None:
        """Do what has fallen due by `at`: delays, visibility, retention."""
        timers = self._timers
        while timers and timers[0][0] <= at:
            _, timer, message = heapq.heappop(timers)
            if message.timer == timer:
                self._wait(message)
        horizon = at - self.settings.retention
        ages = self._ages
        while ages and (ages[0].state == "gone" or ages[0].stored_at <= horizon):
            self._drop(ages.popleft())
        while self._elders and self._elders[0][0] <= horizon:
            self._drop(heapq.heappop(self._elders)[2])

    def next_due(self) -> float | None:
        """Return when the next delayed or held message will be waiting (monotonic seconds); None: never."""
        timers = self._timers
        while timers and timers[0][2].timer != timers[0][1]:
            heapq.heappop(timers)
        return timers[0][0] if timers else None

    def deliverable(self) -> bool:
        """Return whether a receive would get, or dead-letter, a message now."""
        return self._line.deliverable()

    def store(self, message: Message, delay: float, at: float, *, again: bool = False) -> Message:
        """Take in a message; its key is given here. `again`: it does not queue up behind all the others."""
        message.key = next(self._keys)
        self._stored[message.key] = message
        self._note_age(message)
        if delay > 0:
            message.state = "delayed"
            self.delayed += 1
            self._schedule(message, at + delay)
        else:
            message.state = "waiting"
            self.waiting += 1
            if again:
                self._line.rejoin(message)
            else:
                self._line.join(message)
        return message

    def take(self, limit: int, visibility: float, moment: Moment, *, redrive: bool = False) -> Taken:
        """Receive up to `limit` messages, each hidden for `visibility` seconds.

        `redrive`: there is a queue for those that were received too often, and they are removed.
        """
        taken = Taken([], [])
        policy = self.settings.redrive if redrive else None
        while len(taken.messages) < limit:
            message = self._line.pop()
            if message is None:
                break
            if policy and message.receives - message.carried >= policy.max_receive_count:
                taken.spent.append(message)
                self._drop(message)
            else:
                self._hold(message, visibility, moment)
                taken.messages.append(message)
        self._line.served()
        if visibility <= 0:
            self.advance(moment.at)
        return taken

    def pull(self, limit: int) -> list[Message]:
        """Remove and return up to `limit` waiting messages without receiving them (message move tasks)."""
        pulled: list[Message] = []
        while len(pulled) < limit and (message := self._line.pop()):
            self._drop(message)
            pulled.append(message)
        self._line.served()
        return pulled

    def delete(self, handle: str) -> bool:
        """Delete by receipt handle; False: the handle is an old one, and nothing was deleted.

        Raises `Refusal` for a handle that this queue never wrote, and on a FIFO queue for an expired one.
        """
        message, latest = self._find(handle)
        if message is None:
            return False
        if self.ordering and not (latest and message.state == "held"):
            raise refuse(
                "InvalidParameterValue",
                f"Value {handle} for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired.",
            )
        if latest:
            self._drop(message)
        return latest

    def change(self, handle: str, timeout: int, at: float) -> None:
        """Hide a held message for `timeout` seconds from now, 0 = let it be received. Raises `Refusal`."""
        message, latest = self._find(handle)
        if message is None or message.state != "held":
            raise refuse("MessageNotInflight", f"Message is not in flight: {handle}.")
        if not latest:
            raise refuse("ReceiptHandleIsInvalid", "The message has been received again under another handle.")
        if at - message.received_at + timeout > MAX_HOLD:
            raise refuse(
                "InvalidParameterValue",
                f"Value {timeout} for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout for "
                f"the message is beyond the limit [{MAX_HOLD} seconds].",
            )
        self.hide(message, timeout, at)

    def hide(self, message: Message, timeout: float, at: float) -> None:
        """Let a held message wait again in `timeout` seconds."""
        if timeout > 0:
            self._schedule(message, at + timeout)
        else:
            self._wait(message)

    def receipt(self, message: Message) -> str:
        """Return the handle of the latest receive of `message`."""
        return write_receipt(message, self.seal)

    def named(self, handle: str) -> Message | None:
        """Return the stored message that a handle, old or not, was given out for."""
        return self._find(handle)[0]

    def twin(self, message: Message, at: float) -> Message:
        """Store a second copy of a message under the same id, as a server that missed its receive would have."""
        copy = msgspec.structs.replace(message, until=0.0, timer=-1)
        return self.store(copy, 0, at, again=True)

    def purge(self) -> None:
        """Delete every message, held and delayed ones too."""
        for message in self._stored.values():
            message.state, message.timer = "gone", -1
        self._stored.clear()
        self._timers.clear()
        self._ages.clear()
        self._elders.clear()
        self._line.clear()
        self.waiting = self.delayed = self.held = 0

    def redelay(self, at: float) -> None:
        """Apply the queue's present delay to what is delayed already (FIFO queues do that)."""
        for message in [m for m in self._stored.values() if m.state == "delayed"]:
            self._schedule(message, message.stored_at + self.settings.delay)
        self.advance(at)

    def _find(self, handle: str) -> tuple[Message | None, bool]:
        receipt = read_receipt(handle, self.seal)
        if receipt is None:
            raise refuse(
                "ReceiptHandleIsInvalid",
                f'The input receipt handle "{handle}" is not a valid receipt handle.',
            )
        message = self._stored.get(receipt.key)
        return message, message is not None and message.receives == receipt.receives

    def _hold(self, message: Message, visibility: float, moment: Moment) -> None:
        message.state = "held"
        message.receives += 1
        message.received_at = moment.at
        message.first_received_ms = message.first_received_ms or moment.ms
        self.waiting -= 1
        self.held += 1
        self._line.held(message)
        self._schedule(message, moment.at + visibility)

    def _wait(self, message: Message) -> None:
        message.timer, message.until = -1, 0.0
        self.waiting += 1
        if message.state == "delayed":
            self.delayed -= 1
            message.state = "waiting"
            self._line.join(message)
        else:
            self.held -= 1
            message.state = "waiting"
            self._line.freed(message)
            self._line.rejoin(message)

    def _drop(self, message: Message) -> None:
        match message.state:
            case "gone":
                return
            case "delayed":
                self.delayed -= 1
            case "waiting":
                self.waiting -= 1
            case "held":
                self.held -= 1
                self._line.freed(message)
        message.state, message.timer = "gone", -1
        del self._stored[message.key]

    def _note_age(self, message: Message) -> None:
        """Keep the message where retention finds it: in a deque by age, or in a heap if an older one came later."""
        if self._ages and message.stored_at < self._ages[-1].stored_at:
            heapq.heappush(self._elders, (message.stored_at, next(self._serials), message))
        else:
            self._ages.append(message)
        most = 2 * len(self._stored) + _SLACK
        if len(self._ages) > most:
            self._ages = deque(old for old in self._ages if old.state != "gone")
        if len(self._elders) > most:
            self._elders = [old for old in self._elders if old[2].state != "gone"]
            heapq.heapify(self._elders)

    def _schedule(self, message: Message, until: float) -> None:
        message.until, message.timer = until, next(self._serials)
        heapq.heappush(self._timers, (until, message.timer, message))
        if len(self._timers) > 2 * (self.delayed + self.held) + _SLACK:
            self._timers = [timer for timer in self._timers if timer[2].timer == timer[1]]
            heapq.heapify(self._timers)
