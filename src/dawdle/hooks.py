"""The moments one may watch, as frozen facts: `Dawdle(hooks=[watch])` calls `watch(moment)` at each.

A hook is a plain function, called in the event loop: it counts, notes or starts a span, and returns at once. One
that raises is logged and changes nothing. No fact holds a body, a receipt or a credential.
"""

from collections.abc import Callable
from typing import Literal

import msgspec

from dawdle.errors import FaultKind

__all__ = [
    "DeadLettered",
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
    """A receive came back, with or without messages."""

    queue: str
    messages: int


class ReceiveFailed(msgspec.Struct, frozen=True):
    """A receive failed; the next one starts after `pause` seconds. `kind` says what sort of failure it was."""

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
    """A handler came to an end, one way or another, after `seconds`."""

    queue: str
    event_id: str
    event_type: str
    handler: str
    attempt: int
    outcome: OutcomeName
    error: str | None
    seconds: float


class Forwarded(msgspec.Struct, frozen=True):
    """A copy was stored, to be received after `delay` seconds: `why` says what for."""

    queue: str
    event_id: str
    event_type: str
    handler: str | None
    why: Literal["retry", "later", "crowded", "interrupted", "delayed", "unclaimed", "missing", "trial", "kept"]
    delay: float


class DeadLettered(msgspec.Struct, frozen=True):
    """An event, or one handler's claim on it, was given up and is in the dead-letter queue."""

    queue: str
    event_id: str
    event_type: str
    handler: str | None
    reason: str


class Settled(msgspec.Struct, frozen=True):
    """A message left our hands. `kept`: its settling failed, and it comes back when its lease ends."""

    queue: str
    verdict: VerdictName
    seconds: float


class LeaseLost(msgspec.Struct, frozen=True):
    """The lease of a message was lost while its handlers ran; they were cancelled."""

    queue: str
    seconds: float


class LoopBlocked(msgspec.Struct, frozen=True):
    """The app's event loop did not turn for `seconds`, and turns again; `handler`: who held it, None if unknown."""

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
    | Settled
    | LeaseLost
    | LoopBlocked
)
"""Any of the facts above."""

Hook = Callable[[Moment], None]
"""What `Dawdle(hooks=[…])` takes."""
