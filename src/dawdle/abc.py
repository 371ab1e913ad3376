"""The contract for those who write a backend: what a queue takes, what it gives, what it can do.

A backend keeps bytes. It knows neither events nor envelopes, imports only this module and `dawdle.errors`, and
says in `Limits` what it can do, so that the rules decide from data and never from a backend's name.
`dawdle.testing.contract` is the suite that every backend passes.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from math import inf
from types import TracebackType
from typing import NamedTuple, Protocol, Self, TypeVar, runtime_checkable

import msgspec

from dawdle.clock import Clock, Deadline, SystemClock
from dawdle.errors import FaultKind, one_line

__all__ = [
    "Backend",
    "Clock",
    "Codec",
    "Countable",
    "Counts",
    "Deadline",
    "Delivery",
    "Fault",
    "Identified",
    "Limits",
    "Outgoing",
    "ReleaseEntry",
    "Renew",
    "SystemClock",
]


E = TypeVar("E")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a queue can do, in numbers. The rules read these and never ask which backend it is."""

    max_batch: int
    """Messages in one call of send, receive, ack, renew or release."""

    max_body: int
    """Bytes of one message's body."""

    max_batch_bytes: int
    """Bytes of all bodies in one send."""

    max_delay: float = 0.0
    """Seconds that a message may be sent ahead of its time; 0: this queue cannot delay, `inf`: any length."""

    max_wait: float = 0.0
    """Seconds that one receive may wait for a message."""

    max_hold: float = inf
    """Seconds that a message may be held, counted from its receive, however often its lease is renewed."""

    lease: float | None = None
    """Seconds that a received message stays hidden without a renewal; None: for as long as the connection."""

    can_release_later: bool = False
    """A release may name the seconds after which the message is visible again."""

    ordered: bool = False
    """Messages of one group are delivered one after another."""

    durable: bool = True
    """A stored message survives the end of the process that stored it."""

    shared: bool = True
    """Other processes may receive from the same queue."""

    receive_cancellable: bool = False
    """A waiting receive may be cancelled, and no message goes to it afterwards."""

    retention: float = inf
    """Seconds after which the queue itself throws a message away."""


class Outgoing(msgspec.Struct, frozen=True):
    """One message to be stored."""

    body: bytes
    """What travels; never empty, and UTF-8 as dawdle writes it."""

    delay: float = 0.0
    """Seconds until it may be received, at most `Limits.max_delay`. Rounded up where a queue counts whole ones."""

    group: str | None = None
    """Ordered queues keep the order within a group; others may use it for fairness, or ignore it."""

    dedup: str | None = None
    """Two messages with the same one are stored once, where the queue can do that, for as long as it remembers.

    Every message has one. That of an event is its id. That of a copy or a letter is the same however often the message
    that it comes from is settled, and on whichever node.
    """

    def __repr__(self) -> str:
        """Show no body: it is the user's."""
        return f"<Outgoing of {len(self.body)} bytes, in {self.delay:g} s>"


class Delivery(msgspec.Struct, frozen=True):
    """One received message."""

    receipt: str
    """What `ack`, `renew` and `release` want; new on every receive."""

    key: str
    """The same over all receives of one stored copy, and never that of another: what is settled is known by it."""

    body: bytes
    """What was sent, to the byte."""

    receive_count: int = 1
    """How often this copy has been received, this time included."""

    stored_at: float | None = None
    """By the queue's own clock, in epoch seconds; None where it has none."""

    received_at: float | None = None
    """By the queue's own clock, in epoch seconds, rounded down if at all; None where it has none."""

    group: str | None = None
    """The group that it was sent in, where the queue tells."""

    origin: str | None = None
    """The identity of the queue that moved it here by itself, where the server tells; None: it was sent here."""

    def __repr__(self) -> str:
        """Show neither body nor receipt: who has one can read the event, who has the other can delete it."""
        return f"<Delivery {one_line(self.key)} of {len(self.body)} bytes, received {self.receive_count} times>"


class Fault(msgspec.Struct, frozen=True):
    """One entry of a batch that the queue did not take; the answer's other entries are not concerned."""

    kind: FaultKind
    """What sort of no it is: `lost` is an answer about a receipt, `refused` about the entry itself."""

    reason: str
    """What the queue said, without bodies, receipts and credentials."""

    uncertain: bool | None = None
    """Whether the entry may have been carried out all the same; None: as `BackendError` has it for this kind."""


class ReleaseEntry(NamedTuple):
    """One received message to be let go of."""

    receipt: str
    """Of its latest receive."""

    delay: float
    """Seconds until it may be received again, 0: at once. More than 0 only where `Limits.can_release_later`."""

    def __repr__(self) -> str:
        """Show no receipt: who has it can delete the message."""
        return f"<ReleaseEntry, in {self.delay:g} s>"


Renew = Callable[[Sequence[str]], Awaitable[list[Fault | None]]]
"""Hides received messages, given by receipt, for a full lease from now; one slot per entry, as all batches."""


@runtime_checkable
class Backend(Protocol):
    """One queue. Opened by `async with`, used by one app in one event loop, from many tasks at once.

    One object serves one app at a time: an app refuses a backend that another has open, or one behind it.

    Every call that takes a batch takes at most `limits.max_batch` entries and returns one slot per entry: None
    for yes, a `Fault` for no. A call that fails as a whole raises `BackendError`. One whose answer is lost may have
    been carried out, and says so: `BackendError.uncertain`.
    """

    @property
    def limits(self) -> Limits:
        """What this queue can do; known once it is open, and perhaps better once `prepare_receive` returned."""
        ...

    @property
    def dead_letters(self) -> "Backend | None":
        """The queue that keeps what was given up; None: there is none, and nothing is ever dropped.

        It is opened and closed with this one, by this one.
        """
        ...

    @property
    def delayed(self) -> "Backend | None":
        """A second queue for delayed messages, received from as well; None: this one delays its own.

        It is opened and closed with this one, by this one.
        """
        ...

    async def __aenter__(self) -> Self:
        """Open connections. Raises `ConfigurationError` for what cannot work, `BackendError` for the rest."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close connections; no call is under way any more."""
        ...

    async def prepare_receive(self) -> None:
        """Look up what only an app that receives needs, such as the dead-letter queue; called before it receives."""
        ...

    async def send(self, batch: Sequence[Outgoing]) -> list[Fault | None]:
        """Store messages, at most `limits.max_batch_bytes` together."""
        ...

    async def receive(self, limit: int, wait: float) -> list[Delivery]:
        """Receive up to `limit` messages, waiting up to `wait` seconds for the first.

        Cancelled: what it had claimed stays hidden until its lease ends, and is never lost.
        """
        ...

    async def ack(self, receipts: Sequence[str]) -> list[Fault | None]:
        """Delete received messages for good. An old receipt deletes nothing, and that is not a fault."""
        ...

    async def renew(self, receipts: Sequence[str]) -> list[Fault | None]:
        """Hide received messages for a full lease from now. `lost` is the one answer that means lost."""
        ...

    async def release(self, batch: Sequence[ReleaseEntry]) -> list[Fault | None]:
        """Let received messages be received again in so many seconds, 0 = at once, by anyone."""
        ...

    def renewer(self) -> AbstractAsyncContextManager[Renew]:
        """Return a context manager that yields a `renew` with a connection of its own.

        Where the queue is shared it is entered in another thread's event loop, and used there alone.
        """
        ...


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """How many messages a queue holds. A queue of many machines tells it about right, some seconds late."""

    waiting: int
    """May be received now."""

    in_flight: int
    """Received, and neither deleted nor released; their leases have not ended."""

    delayed: int
    """Sent for later. What is released for later counts here, or as in flight where the queue sees it so."""


@runtime_checkable
class Countable(Protocol):
    """What a backend may be besides a `Backend`: one that says how much it holds.

    `Backend` does not grow. What only some queues can do is a protocol of its own, such as this one, and dawdle asks
    `isinstance(backend, Countable)`.
    """

    async def count(self) -> Counts:
        """Return how many messages this queue holds, without its dead letters. Raises `BackendError`."""
        ...


@runtime_checkable
class Identified(Protocol):
    """What a backend may have besides: a name of its queue that is the same in every app, and no other queue's.

    Several queues may share a dead-letter queue. There each letter says by this name where it came from, so that an app
    redrives and purges only its own. A backend without it has a dead-letter queue to itself.
    """

    @property
    def identity(self) -> str:
        """The name, 1 to 200 printable ASCII characters; known once the queue is open. On SQS it is `account/name`."""
        ...


@runtime_checkable
class Codec(Protocol):
    """How an event's data becomes bytes and comes back. A node reads every codec that it knows.

    `signal` decodes what it encoded, and refuses an event that does not come back equal.
    """

    @property
    def content_type(self) -> str:
        """The media type that travels with the data, such as `application/msgpack`."""
        ...

    def encode(self, event: object) -> bytes:
        """Return the event's data. Raises `EventError` for what cannot travel."""
        ...

    def decode(self, data: bytes, kind: type[E]) -> E:
        """Return the event. Raises `EventError` when the data is not one of that type."""
        ...
