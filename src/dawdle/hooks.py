"""The facts that hooks get: `Dawdle(hooks=[watch])` calls `watch(moment)` with each of them. No behaviour in here.

A hook is a plain function that is called in the event loop. It counts, notes or starts a span, and returns at once. One
that raises is logged and changes nothing. No fact holds a body, a receipt or a credential. Times are in seconds.
"""

from collections.abc import Callable
from typing import Literal

import msgspec

from dawdle.errors import FaultKind

__all__ = [
    "CallName",
    "DeadLettered",
    "Decoded",
    "Encoded",
    "Expired",
    "Forwarded",
    "HandlerFinished",
    "HandlerStarted",
    "Hook",
    "LeaseLost",
    "LoopBlocked",
    "Moment",
    "ReceiveFailed",
    "Received",
    "Requested",
    "Settled",
    "SignalFailed",
    "SignalStarted",
    "Signaled",
    "SignaledDirect",
    "Trace",
]


CallName = Literal["send", "delete", "release", "renew"]
"""The calls to a queue, except receives. `renew` keeps messages in flight hidden."""

OutcomeName = Literal["done", "failed", "rejected", "later", "crowded", "interrupted"]
VerdictName = Literal["acked", "released", "kept"]


class Trace(msgspec.Struct, frozen=True):
    """The trace that an event belongs to, as the headers of the same names say it (W3C Trace Context and Baggage)."""

    traceparent: str | None
    tracestate: str | None = None
    baggage: str | None = None


class SignalStarted(msgspec.Struct, frozen=True):
    """An event is about to be encoded and stored, or run directly. `queues`: the names of all that it goes to.

    The hook is called in the task and the context of the call, just before a function in `headers=` is. For each of
    the queues one of `Signaled`, `SignaledDirect` and `SignalFailed` follows, in the same task.
    """

    event_id: str
    event_type: str
    queues: tuple[str, ...]


class Encoded(msgspec.Struct, frozen=True):
    """An event was encoded, and read back to check it, in `seconds`. `size`: bytes of its message."""

    event_id: str
    event_type: str
    size: int
    seconds: float


class Signaled(msgspec.Struct, frozen=True):
    """The queue has stored an event, `seconds` after the call began. `delay`: seconds until it is due."""

    queue: str
    event_id: str
    event_type: str
    delay: float
    seconds: float = 0.0


class SignaledDirect(msgspec.Struct, frozen=True):
    """The handlers of an event have started past its queue (`direct=True`), `seconds` after the call began."""

    queue: str
    event_id: str
    event_type: str
    seconds: float


class SignalFailed(msgspec.Struct, frozen=True):
    """An event is not stored in a queue, or may not be (`uncertain`), `seconds` after the call began.

    `kind` is that of the `BackendError`. It is None if the queue was not asked: the event cannot travel, or another one
    of the same `signal_many` cannot. A call that was cancelled counts as failed and uncertain.
    """

    queue: str
    event_id: str
    event_type: str
    error: str
    kind: FaultKind | None
    uncertain: bool
    seconds: float


class Received(msgspec.Struct, frozen=True):
    """A receive has returned after `seconds`, with or without messages. `limit`: how many it had asked for.

    `message_ids`: the ids that the queue has for the messages. The moments that follow from one of them have it too, as
    `message_id`; it is empty for a direct event.
    """

    queue: str
    messages: int
    limit: int = 0
    seconds: float = 0.0
    message_ids: tuple[str, ...] = ()


class ReceiveFailed(msgspec.Struct, frozen=True):
    """A receive has failed, and the next one starts after `pause` seconds. `kind` is that of the `BackendError`."""

    queue: str
    error: str
    pause: float
    kind: FaultKind = "unavailable"


class Requested(msgspec.Struct, frozen=True):
    """A request to a queue was answered after `seconds`, or has failed as a whole. Receives have moments of their own.

    `entries`: how many messages it was about, of `limit` at most; `refused`: how many of these the queue did not carry
    out. `error` and `kind`: of a request that failed as a whole, else None. `queue` is `default (dead letters)` or
    `default (delayed)` for the queues that are attached to `default`.
    """

    queue: str
    call: CallName
    entries: int
    limit: int
    refused: int
    error: str | None
    kind: FaultKind | None
    seconds: float


class Decoded(msgspec.Struct, frozen=True):
    """The data of an event was decoded in `seconds`. `size`: bytes of its message.

    One that cannot be decoded is dead-lettered: see `DeadLettered`.
    """

    queue: str
    event_id: str
    event_type: str
    size: int
    seconds: float


class HandlerStarted(msgspec.Struct, frozen=True):
    """A handler is about to be called.

    `waited`: seconds by the queue's clock since the event could be handled, that is since the queue stored it or since
    its delay ended. None where that is not known: of a direct event, and of a copy that waited for a retry. The hook is
    called in the task of the handler: a context variable that it sets is set in the handler, in a thread too.
    """

    queue: str
    event_id: str
    event_type: str
    handler: str
    attempt: int
    waited: float | None = None
    trace: Trace | None = None
    message_id: str = ""


class HandlerFinished(msgspec.Struct, frozen=True):
    """A handler has ended after `seconds`. `outcome` says how, and `error` is the text of what it raised.

    `exception`: what it raised, where that made it fail or rejected the event. Keep no reference to it. The hook is
    called in the same task as that of `HandlerStarted`.
    """

    queue: str
    event_id: str
    event_type: str
    handler: str
    attempt: int
    outcome: OutcomeName
    error: str | None
    seconds: float
    exception: BaseException | None = None


class Forwarded(msgspec.Struct, frozen=True):
    """The queue has stored a copy of an event, to be received after `delay` seconds. `why` says what it is for."""

    queue: str
    event_id: str
    event_type: str
    handler: str | None
    why: Literal["retry", "later", "crowded", "interrupted", "delayed", "due", "unclaimed", "missing", "trial", "kept"]
    delay: float
    trace: Trace | None = None
    message_id: str = ""


class DeadLettered(msgspec.Struct, frozen=True):
    """An event was given up, by one handler or as a whole (`handler` is None), and is in the dead-letter queue."""

    queue: str
    event_id: str
    event_type: str
    handler: str | None
    reason: str
    trace: Trace | None = None
    message_id: str = ""


class Expired(msgspec.Struct, frozen=True):
    """An event is dropped, since it expired `late` seconds ago. `handler`: whose retry it was; None: no handler ran."""

    queue: str
    event_id: str
    event_type: str
    handler: str | None
    late: float
    trace: Trace | None = None
    message_id: str = ""


class Settled(msgspec.Struct, frozen=True):
    """A message is settled, `seconds` after its receive. `kept`: that failed, and it comes back when its lease ends.

    `settling`: how many of these seconds the settling itself took, that is to store copies and to delete or release the
    message. The id and the type are empty for a message that could not be read, or was given back unread.
    """

    queue: str
    verdict: VerdictName
    seconds: float
    settling: float = 0.0
    event_id: str = ""
    event_type: str = ""
    trace: Trace | None = None
    message_id: str = ""


class LeaseLost(msgspec.Struct, frozen=True):
    """The lease of a message was lost `seconds` after its receive, while its handlers ran. They were cancelled."""

    queue: str
    seconds: float


class LoopBlocked(msgspec.Struct, frozen=True):
    """The app's event loop was blocked for `seconds`. `handler` names the one that blocked it, None if unknown."""

    handler: str | None
    seconds: float


Moment = (
    SignalStarted
    | Encoded
    | Signaled
    | SignaledDirect
    | SignalFailed
    | Received
    | ReceiveFailed
    | Requested
    | Decoded
    | HandlerStarted
    | HandlerFinished
    | Forwarded
    | DeadLettered
    | Expired
    | Settled
    | LeaseLost
    | LoopBlocked
)
"""Any of the facts above. A later release may add some, so let a `match` end in `case _`."""

Hook = Callable[[Moment], None]
"""What `Dawdle(hooks=[…])` takes."""
