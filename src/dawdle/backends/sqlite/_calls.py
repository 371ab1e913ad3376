"""One call on its way from a task to the worker and back. Knows neither SQL nor threads.

submitted ──► waiting ──┬── taken: its transaction has begun ──► answered ──► handed over in the caller's loop
                        └── abandoned: the caller was cancelled, or the file stayed locked for too long
"""

import asyncio
from collections.abc import Callable, Sequence
from math import inf
from typing import Final, Generic, TypeVar

from dawdle.abc import Delivery, Fault, Outgoing, ReleaseEntry
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


_NO_RECEIPT: Final = (-1, -1)
"""No message has it."""

_MAX_DIGITS: Final = 18
"""Digits of a number that fits into an integer of SQLite, however large they are."""


def receipt_of(text: str, opening: int) -> Receipt:
    """Return a receipt; of a text that is none, or that is of another opening of the file, one that no message has."""
    number, _, receives = text.partition(".")
    if opening:
        receives, _, of = receives.partition(".")
        if of != str(opening):
            return _NO_RECEIPT
    if len(number) > _MAX_DIGITS or len(receives) > _MAX_DIGITS:
        return _NO_RECEIPT
    try:
        return int(number), int(receives)
    except ValueError:
        return _NO_RECEIPT


class QueueRow:
    """One queue of a file, as the worker knows it: a row of `dawdle_queue`."""

    __slots__ = ("__weakref__", "id", "name", "next_due", "opening", "ordered", "role")

    def __init__(self, number: int, name: str, role: str, *, ordered: bool) -> None:
        self.id = number
        self.name = name
        self.role = role
        self.ordered = ordered
        self.opening = 0
        """How often the file was opened again, since another one was in its place. There the ids begin anew."""
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

    __slots__ = ("due", "entries", "queue")

    def __init__(self, queue: QueueRow, entries: int) -> None:
        super().__init__()
        self.queue = queue
        self.entries = entries
        self.due = inf
        """When the first message is due that it has stored or made visible, in microseconds."""


class SendCall(QueueCall):
    """Messages to store."""

    __slots__ = ("batch",)

    def __init__(self, queue: QueueRow, batch: Sequence[Outgoing]) -> None:
        super().__init__(queue, len(batch))
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


class ReceiptsCall(QueueCall):
    """A call about messages that were received."""

    __slots__ = ("_opening", "_receipts")

    def __init__(self, queue: QueueRow, receipts: Sequence[str]) -> None:
        super().__init__(queue, len(receipts))
        self._opening = opening = queue.opening
        self._receipts = [receipt_of(receipt, opening) for receipt in receipts]

    @property
    def receipts(self) -> Sequence[Receipt]:
        """The receipts. The file may have been replaced after the call: then they are those of no message."""
        return self._receipts if self._opening == self.queue.opening else [_NO_RECEIPT for _ in self._receipts]


class AckCall(ReceiptsCall):
    """Messages to delete."""

    __slots__ = ()


class RenewCall(ReceiptsCall):
    """Messages to hide for another lease."""

    __slots__ = ("lease",)

    def __init__(self, queue: QueueRow, receipts: Sequence[str], lease: float) -> None:
        super().__init__(queue, receipts)
        self.lease = lease


class ReleaseCall(ReceiptsCall):
    """Messages to make visible again, each in so many seconds."""

    __slots__ = ("delays",)

    def __init__(self, queue: QueueRow, batch: Sequence[ReleaseEntry]) -> None:
        super().__init__(queue, [receipt for receipt, _ in batch])
        self.delays = [delay for _, delay in batch]

    @property
    def batch(self) -> list[tuple[Receipt, float]]:
        """Each receipt, and in how many seconds its message is visible again."""
        return list(zip(self.receipts, self.delays, strict=True))


class WorkCall(Call[list[object]]):
    """Anything else that is done with the file: to open it, to count. It is done outside of the shared transaction."""

    __slots__ = ("work",)

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__()
        self.work = work
        """Its result is the one item of the answer."""


AnyCall = QueueCall | ReceiveCall | WorkCall
