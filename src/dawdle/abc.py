"""The contract between dawdle and a backend: the calls of a queue, their values, and its limits. No behaviour in here.

A backend stores bytes and gives them back. It knows neither events nor handlers, imports only this module and
`dawdle.errors`, and says in `Limits` what its queue can do: dawdle decides by these numbers, never by a backend's name.
`dawdle.testing.contract` is the test suite that every backend passes.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from math import inf
from types import TracebackType
from typing import NamedTuple, Protocol, Self, TypeVar, runtime_checkable

import msgspec

from dawdle.clock import Clock, Deadline, SystemClock
from dawdle.errors import FaultKind, one_line

__all__ = [
    "Aged",
    "Backend",
    "Browsable",
    "Clock",
    "Clocked",
    "Codec",
    "Countable",
    "Counts",
    "Deadline",
    "Delivery",
    "Described",
    "Fault",
    "Identified",
    "Limits",
    "Located",
    "Outgoing",
    "Pingable",
    "ReleaseEntry",
    "Renew",
    "Stored",
    "SystemClock",
    "Transactional",
]


E = TypeVar("E")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a queue can do, in numbers. dawdle decides by these, never by which backend it is."""

    max_batch: int
    """Messages in one call of send, receive, ack, renew or release."""

    max_body: int
    """Bytes of one message's body."""

    max_batch_bytes: int
    """Bytes of all bodies in one send."""

    max_delay: float = 0.0
    """Seconds that a message may be delayed when it is sent; 0: this queue cannot delay, `inf`: any length."""

    max_wait: float = 0.0
    """Seconds that one receive may wait for a message."""

    max_hold: float = inf
    """Seconds that a message may be held, counted from its receive, however often its lease is renewed."""

    lease: float | None = None
    """Seconds that a received message stays hidden without a renewal; None: for as long as the connection lasts."""

    can_release_later: bool = False
    """A release may name the seconds after which the message is visible again."""

    ordered: bool = False
    """The queue keeps the order of each group: while a message of it is in flight, or released for later, no receive
    brings another one of that group, but the receive that brought it may have brought those behind it too, in order.

    What is put back comes before what was sent after it. A message without a group is in order with nothing. Messages
    with the same `Outgoing.dedup` are stored once, as long as the queue knows the first one.
    """

    durable: bool = True
    """A stored message survives the end of the process that stored it."""

    shared: bool = True
    """Other processes may receive from the same queue."""

    receive_cancellable: bool = False
    """Whether no message goes to a receive that is cancelled while it waits.

    On SQS it is False: the server does not notice, and may hide a message for a client that is gone.
    """

    retention: float = inf
    """Seconds after which the queue itself deletes a message."""


class Outgoing(msgspec.Struct, frozen=True):
    """One message to be stored."""

    body: bytes
    """The bytes to store; never empty, and UTF-8 when dawdle writes them."""

    delay: float = 0.0
    """Seconds until it may be received, at most `Limits.max_delay`. Rounded up where a queue counts whole ones."""

    group: str | None = None
    """Ordered queues keep the order within a group; others may use it for fairness, or ignore it."""

    dedup: str | None = None
    """A deduplication id: a queue that can do so stores two messages with the same one only once.

    Every message has one. That of an event is its id. A copy or a dead letter gets the same one each time that the
    message it comes from is settled, on any worker.
    """

    fresh: bool = False
    """The deduplication id was made for this message alone, so no other can have it.

    A queue that would have to look for another one with the same id need not. False where the user chose the id, or
    where two workers may make the same one.
    """

    def __repr__(self) -> str:
        """Show no body: it holds the user's data."""
        return f"<Outgoing of {len(self.body)} bytes, in {self.delay:g} s>"


class Delivery(msgspec.Struct, frozen=True, gc=False):  # texts, bytes and numbers: 16 bytes less
    """One received message."""

    receipt: str
    """The handle for `ack`, `renew` and `release`; a new one on every receive."""

    key: str
    """The message's id in the queue: the same on every receive of it, and never that of another message.

    By it dawdle recognizes a message that comes again while it is in flight or after it was settled.
    """

    body: bytes
    """What was sent, to the byte."""

    receive_count: int = 1
    """How often this message has been received, this time included."""

    stored_at: float | None = None
    """When the queue stored it, in epoch seconds by the queue's own clock; None where it tells no time."""

    received_at: float | None = None
    """When it was received, in epoch seconds by the queue's own clock; None where it tells no time.

    It may be rounded down, never up: delays are counted from it, and must not end early.
    """

    group: str | None = None
    """The group that it was sent with, where the queue returns it."""

    origin: str | None = None
    """The identity of the queue from which the server moved it here, such as by a redrive policy; None: it was sent."""

    traceparent: str | None = None
    """The trace that another program sent it in, as W3C Trace Context writes it, where the queue keeps that apart.

    A `traceparent` in the body wins.
    """

    max_hold: float | None = None
    """Seconds from now for which this message may be held, where that is less than `Limits.max_hold`; None: it is not.

    All messages of one receive have the same. When the time is over, handlers that still run are cancelled, which
    counts as a failure of each of them.
    """

    def __repr__(self) -> str:
        """Show neither the body, which is the user's data, nor the receipt, which lets its owner delete the message."""
        return f"<Delivery {one_line(self.key)} of {len(self.body)} bytes, received {self.receive_count} times>"


class Fault(msgspec.Struct, frozen=True):
    """Why the queue did not carry out one entry of a batch. It says nothing about the other entries."""

    kind: FaultKind
    """What sort of failure it is: `lost` is about the receipt, `refused` about the entry itself."""

    reason: str
    """What the queue answered, in words. It is logged, so it holds no body, receipt or credential."""

    uncertain: bool | None = None
    """Whether the entry may have been carried out all the same; None: as for a `BackendError` of this kind."""


class ReleaseEntry(NamedTuple):
    """One received message to make visible again."""

    receipt: str
    """The receipt of its latest receive."""

    delay: float
    """Seconds until it may be received again, 0: at once. More than 0 only where `Limits.can_release_later`."""

    def __repr__(self) -> str:
        """Show no receipt: it lets its owner delete the message."""
        return f"<ReleaseEntry, in {self.delay:g} s>"


Renew = Callable[[Sequence[str]], Awaitable[list[Fault | None]]]
"""Hides the messages of these receipts for a full lease from now. Returns one slot per receipt, as every batch does."""


@runtime_checkable
class Backend(Protocol):
    """One queue. Opened by `async with`, used by one app in one event loop, from many tasks at once.

    One object serves one app at a time: an app refuses a backend that another app has open, or whose dead-letter or
    delay queue another app has open.

    Every call that takes a batch takes at most `limits.max_batch` entries and returns one slot per entry: None where it
    succeeded, a `Fault` where it did not. A call that fails as a whole raises `BackendError`, which says by `uncertain`
    whether it may have been carried out all the same: its response may have been lost.
    """

    @property
    def limits(self) -> Limits:
        """What this queue can do. Known once it is open; `prepare_receive` may make it more exact."""
        ...

    @property
    def dead_letters(self) -> "Backend | None":
        """The queue for events that are given up. None: there is none, and a failed event is retried without end.

        This backend opens and closes it with itself.
        """
        ...

    @property
    def delayed(self) -> "Backend | None":
        """A second queue for delayed messages, which the app receives from too. None: this queue delays its own.

        This backend opens and closes it with itself.
        """
        ...

    async def __aenter__(self) -> Self:
        """Open connections. Raises `ConfigurationError` for what cannot work, `BackendError` for the rest."""
        ...

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Close connections. All calls have ended by then."""
        ...

    async def prepare_receive(self) -> None:
        """Look up what only a receiving app needs, such as the dead-letter queue. Called before the first receive."""
        ...

    async def send(self, batch: Sequence[Outgoing]) -> list[Fault | None]:
        """Store messages, at most `limits.max_batch_bytes` together."""
        ...

    async def receive(self, limit: int, wait: float) -> list[Delivery]:
        """Receive up to `limit` messages, waiting up to `wait` seconds for the first.

        Cancelled, it loses nothing: a message that was claimed for it stays hidden until its lease ends.
        """
        ...

    async def ack(self, receipts: Sequence[str]) -> list[Fault | None]:
        """Delete received messages for good. A receipt of an earlier receive deletes nothing, and is no fault.

        An ordered queue may answer `lost` to it: the message is still there, so those behind it are not run.
        """
        ...

    async def renew(self, receipts: Sequence[str]) -> list[Fault | None]:
        """Hide received messages for a full lease from now.

        Only a fault of kind `lost` says that another receive may have the message: its handlers are cancelled. After
        any other fault the renewal is tried again.
        """
        ...

    async def release(self, batch: Sequence[ReleaseEntry]) -> list[Fault | None]:
        """Make received messages visible again, to any app, in so many seconds; 0: at once."""
        ...

    def renewer(self) -> AbstractAsyncContextManager[Renew]:
        """Return a context manager that yields a `renew` with a connection of its own.

        Where the queue is shared, dawdle enters it in the event loop of another thread and calls `renew` only there, so
        that a handler which blocks the app's event loop does not lose its lease.
        """
        ...


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """How many messages a queue holds. A distributed queue such as SQS knows it approximately, and some time late."""

    waiting: int
    """Messages that may be received now."""

    in_flight: int
    """Messages that were received and neither deleted nor released, and whose leases have not ended."""

    delayed: int
    """Messages sent with a delay that has not ended. One that is released for later may count as in flight instead."""


@runtime_checkable
class Countable(Protocol):
    """Optional for a backend: to say how many messages its queue holds.

    `Backend` does not grow. What only some queues can do is a protocol of its own, and dawdle asks
    `isinstance(backend, Countable)`.
    """

    async def count(self) -> Counts:
        """Return how many messages this queue holds, without its dead letters. Raises `BackendError`."""
        ...


class Stored(msgspec.Struct, frozen=True, gc=False):
    """One message that a queue holds, as `Browsable.browse` shows it. It was not received, so it has no receipt."""

    key: str
    """The message's id in the queue, as in `Delivery`."""

    body: bytes
    """What was sent, to the byte."""

    stored_at: float | None = None
    """When the queue stored it, in epoch seconds by the queue's own clock; None where it tells no time."""

    group: str | None = None
    """The group that it was sent with, where the queue returns it."""

    def __repr__(self) -> str:
        """Show no body: it holds the user's data."""
        return f"<Stored {one_line(self.key)} of {len(self.body)} bytes>"


@runtime_checkable
class Browsable(Protocol):
    """Optional for a backend: to show its messages without receiving them, for `Dawdle.browse()`.

    A queue that can only be received from, such as SQS, has it not.
    """

    async def browse(self, limit: int, after: str | None = None) -> list[Stored]:
        """Return up to `limit` messages in the order in which they were stored, whether they wait, are in flight or
        delayed: the first ones, or those behind the message with the key `after`, which may be deleted by now.

        It changes nothing: no message is hidden, and none counts as received. Returns none when there are no more.
        Raises `BackendError`. May be cancelled at any time.
        """
        ...


@runtime_checkable
class Aged(Protocol):
    """Optional for a backend: to say how long its oldest message has waited, for those who watch the queue.

    SQS has it not: only CloudWatch knows the age, some minutes late.
    """

    async def oldest(self) -> float | None:
        """Return for how many seconds the message that has waited longest could have been received; None: none waits.

        What is in flight or delayed does not wait, nor in an ordered queue what stands behind it. After a lease that
        ended, the time counts from its end. After a release at once it counts from the release, or, if the queue does
        not keep when that was, from when the message was stored. Raises `BackendError`.
        """
        ...


@runtime_checkable
class Pingable(Protocol):
    """Optional for a backend: to say whether its queue answers, for `Dawdle.ping()`.

    A backend without it is asked for its `count()`, if it is `Countable`, and else counts as a queue that answers.
    """

    async def ping(self) -> None:
        """Ask the queue whether it is there. Change nothing, and need no permission that sending does not need.

        Returns if it answers, also if it answers that this question is not allowed. Raises `BackendError` otherwise.
        """
        ...


@runtime_checkable
class Identified(Protocol):
    """Optional for a backend: a name of its queue that is the same in every app, and that no other queue has.

    Several queues may share a dead-letter queue. Each dead letter keeps this name of the queue that it came from, so
    that an app redrives and purges only its own letters. A backend without it needs a dead-letter queue to itself.
    """

    @property
    def identity(self) -> str:
        """The name, 1 to 200 printable ASCII characters; known once the queue is open. On SQS it is `account/name`."""
        ...


@runtime_checkable
class Located(Protocol):
    """Optional for an `Identified` backend whose identities are unique in one place only, such as in one region."""

    @property
    def location(self) -> str:
        """Where the queue is; known once the queue is open. Two queues of one identity are two if this differs."""
        ...


@runtime_checkable
class Clocked(Protocol):
    """Optional for a backend whose queue goes by a clock in this process: to go by the app's, if it was given none.

    So a test that holds the clock of an app holds that of its queues as well.
    """

    def use_clock(self, clock: Clock) -> None:
        """Go by this clock, unless the backend was given one or is open. An app calls it before it opens the queue."""
        ...


@runtime_checkable
class Described(Protocol):
    """Optional for a backend: facts for telemetry, by the names of OpenTelemetry's semantic conventions."""

    @property
    def description(self) -> Mapping[str, str | int]:
        """The facts; known once the queue is open.

        `messaging.system` is the sort of queue, such as `aws_sqs`. `messaging.destination.name` is the queue's own
        name; without it telemetry takes the name that the app has for it. `server.address`, `server.port` and others
        say where it is. A few short ones, without any credential: each span has them.
        """
        ...


@runtime_checkable
class Transactional(Protocol):
    """Optional for a backend: to store messages in a transaction that the caller has open on the same database."""

    async def send_in(self, transaction: object, batch: Sequence[Outgoing]) -> list[Fault | None]:
        """Store messages in the caller's own transaction: they are stored if and only if it commits.

        `transaction`: what the database's driver calls a connection or a session; a backend says which ones it takes.
        It is used in the caller's thread and event loop, and is neither committed nor rolled back here. The batch and
        the answers are those of `send`. Raises `ConfigurationError` for a transaction that this queue cannot use, such
        as one of another database, and `BackendError` if the database refuses; nothing is stored then, and what the
        transaction did before stays in it. An empty batch stores nothing, and raises all the same.
        """
        ...


@runtime_checkable
class Codec(Protocol):
    """Turns an event's data into bytes and back. A worker reads the data of every codec that it knows.

    `signal` decodes what it encoded, and refuses an event that does not come back equal.
    """

    @property
    def content_type(self) -> str:
        """The media type that travels with the data, such as `application/msgpack`."""
        ...

    def encode(self, event: object) -> bytes:
        """Return the event's data. Raises `EventError` for what cannot travel."""
        ...

    def decode(self, data: bytes, event_type: type[E], /) -> E:
        """Return the event. Raises `EventError` when the data is not that of an `event_type`."""
        ...
