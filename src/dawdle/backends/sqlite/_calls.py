"""One call on its way from a task to the worker and back. Knows neither SQL nor threads.

submitted ──► waiting ──┬── taken: its transaction has begun ──► answered ──► handed over in the caller's loop
                        └── abandoned: the caller was cancelled, or the file stayed locked for too long
"""

import asyncio
from collections.abc import Callable, Sequence
from math import inf
from typing import Final, Generic, TypeVar

from dawdle.abc import Delivery, Fault, Outgoing
from dawdle.errors import DawdleError

__all__ = [
    "MICROSECONDS",
    "AckCall",
    "AnyCall",
    "Call",
    "QueueCall",
    "QueueRow",
    "Receipt",
    "ReceiveCall",
    "ReleaseCall",
    "RenewCall",
    "SendCall",
    "WorkCall",
    "receipt_of",
]

MICROSECONDS: Final = 1_000_000

Answer = TypeVar("Answer")
Receipt = tuple[int, int]
"""A message's id, and how often it had been received: a later receive makes an earlier receipt void."""


def receipt_of(text: str) -> Receipt:
    """Return a receipt; of a text that is none, one that no message has."""
    number, _, receives = text.partition(".")
    try:
        return int(number), int(receives)
    except ValueError:
        return -1, -1


class QueueRow:
    """One queue of a file, as the worker knows it: a row of `dawdle_queue`."""

    __slots__ = ("id", "name", "next_due", "ordered")

    def __init__(self, number: int, name: str, *, ordered: bool) -> None:
        self.id = number
        self.name = name
        self.ordered = ordered
        self.next_due: float | None = None
        """When its next message is visible, in microseconds since 1970; `inf`: it has none; None: not known."""


class Call(Generic[Answer]):
    """A call and its answer. Its future belongs to the caller's loop, all else to the worker once it is submitted."""

    __slots__ = ("answer", "future", "loop", "taken")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Answer] = self.loop.create_future()
        self.answer: Answer | DawdleError | None = None
        self.taken = False

    @property
    def is_over(self) -> bool:
        """Whether its caller has left, or it was given up."""
        return self.answer is not None or self.future.done()

    def hand_over(self) -> bool:
        """Give the caller its answer, in the caller's loop. Return whether the caller still waits."""
        if self.future.done():
            return False
        answer = self.answer
        if isinstance(answer, DawdleError):
            self.future.set_exception(answer)
        else:
            assert answer is not None, "a call that is handed over has an answer"
            self.future.set_result(answer)
        return True


class QueueCall(Call[list[Fault | None]]):
    """A call that changes a queue, with one answer for each entry."""

    __slots__ = ("due", "queue")

    def __init__(self, queue: QueueRow) -> None:
        super().__init__()
        self.queue = queue
        self.due = inf
        """When the first message is due that it has stored or made visible, in microseconds."""


class SendCall(QueueCall):
    """Messages to store."""

    __slots__ = ("batch",)

    def __init__(self, queue: QueueRow, batch: Sequence[Outgoing]) -> None:
        super().__init__(queue)
        self.batch = batch


class ReceiveCall(Call[list[Delivery]]):
    """A receive. Unlike the others it may wait in the worker, for a message or for its time to end."""

    __slots__ = ("lease", "limit", "look_again", "queue", "until")

    def __init__(self, queue: QueueRow, limit: int, lease: float, until: float) -> None:
        super().__init__()
        self.queue = queue
        self.limit = limit
        self.lease = lease
        self.until = until
        """When it returns with nothing, by the clock's `monotonic()`."""
        self.look_again: asyncio.Event | None = None
        """Set when it is answered or may have to look earlier, for a caller that watches the clock itself."""

    def hand_over(self) -> bool:
        """Give the caller its answer, and wake it if it watches the clock."""
        if self.look_again is not None:
            self.look_again.set()
        return super().hand_over()


class AckCall(QueueCall):
    """Messages to delete."""

    __slots__ = ("receipts",)

    def __init__(self, queue: QueueRow, receipts: Sequence[Receipt]) -> None:
        super().__init__(queue)
        self.receipts = receipts


class RenewCall(QueueCall):
    """Messages to hide for another lease."""

    __slots__ = ("lease", "receipts")

    def __init__(self, queue: QueueRow, receipts: Sequence[Receipt], lease: float) -> None:
        super().__init__(queue)
        self.receipts = receipts
        self.lease = lease


class ReleaseCall(QueueCall):
    """Messages to make visible again, each in so many seconds."""

    __slots__ = ("batch",)

    def __init__(self, queue: QueueRow, batch: Sequence[tuple[Receipt, float]]) -> None:
        super().__init__(queue)
        self.batch = batch


class WorkCall(Call[list[object]]):
    """Anything else that is done with the file: to open it, to count. It is done outside of the shared transaction."""

    __slots__ = ("work",)

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__()
        self.work = work
        """Its result is the one item of the answer."""


AnyCall = QueueCall | ReceiveCall | WorkCall
