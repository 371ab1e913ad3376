"""The facts that hooks get: `Dawdle(hooks=[watch])` calls `watch(moment)` with each of them. No behaviour in here.

A hook is a plain function that is called in the event loop. It counts, notes or starts a span, and returns at once. One
that raises is logged and changes nothing. No fact holds a body, a receipt or a credential. Times are in seconds.
"""

from collections.abc import Callable
from typing import Literal

import msgspec

from dawdle.errors import FaultKind

__all__ = [
    "DeadLettered",
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
    "Settled",
    "Signaled",
]


OutcomeName = Literal["done", "failed", "rejected", "later", "crowded", "interrupted"]
VerdictName = Literal["acked", "released", "kept"]


class Signaled(msgspec.Struct, frozen=True):
    """The queue has stored an event."""

    queue: str
    event_id: str
    event_type: str
    delay: float


class Received(msgspec.Struct, frozen=True):
    """A receive has returned, with or without messages."""

    queue: str
    messages: int


class ReceiveFailed(msgspec.Struct, frozen=True):
    """A receive has failed, and the next one starts after `pause` seconds. `kind` is that of the `BackendError`."""

    queue: str
    error: str
    pause: float
    kind: FaultKind = "unavailable"


class HandlerStarted(msgspec.Struct, frozen=True):
    """A handler is about to be called."""

    queue: str
    event_id: str
    event_type: str
    handler: str
    attempt: int


class HandlerFinished(msgspec.Struct, frozen=True):
    """A handler has ended after `seconds`. `outcome` says how, and `error` is the text of what it raised."""

    queue: str
    event_id: str
    event_type: str
    handler: str
    attempt: int
    outcome: OutcomeName
    error: str | None
    seconds: float


class Forwarded(msgspec.Struct, frozen=True):
    """The queue has stored a copy of an event, to be received after `delay` seconds. `why` says what it is for."""

    queue: str
    event_id: str
    event_type: str
    handler: str | None
    why: Literal["retry", "later", "crowded", "interrupted", "delayed", "due", "unclaimed", "missing", "trial", "kept"]
    delay: float


class DeadLettered(msgspec.Struct, frozen=True):
    """An event was given up, by one handler or as a whole (`handler` is None), and is in the dead-letter queue."""

    queue: str
    event_id: str
    event_type: str
    handler: str | None
    reason: str


class Expired(msgspec.Struct, frozen=True):
    """An event is dropped, since it expired `late` seconds ago. `handler`: whose retry it was; None: no handler ran."""

    queue: str
    event_id: str
    event_type: str
    handler: str | None
    late: float


class Settled(msgspec.Struct, frozen=True):
    """A message is settled, `seconds` after its receive. `kept`: that failed, and it comes back when its lease ends."""

    queue: str
    verdict: VerdictName
    seconds: float


class LeaseLost(msgspec.Struct, frozen=True):
    """The lease of a message was lost `seconds` after its receive, while its handlers ran. They were cancelled."""

    queue: str
    seconds: float


class LoopBlocked(msgspec.Struct, frozen=True):
    """The app's event loop was blocked for `seconds`. `handler` names the one that blocked it, None if unknown."""

    handler: str | None
    seconds: float


Moment = (
    Signaled
    | Received
    | ReceiveFailed
    | HandlerStarted
    | HandlerFinished
    | Forwarded
    | DeadLettered
    | Expired
    | Settled
    | LeaseLost
    | LoopBlocked
)
"""Any of the facts above."""

Hook = Callable[[Moment], None]
"""What `Dawdle(hooks=[…])` takes."""
