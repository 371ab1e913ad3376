"""Whether an app is well: facts in, verdict and reasons out. What the facts are is measured elsewhere."""

from math import inf
from typing import Final

import msgspec

from dawdle._rules.patience import needs_somebody
from dawdle.errors import FaultKind, in_line

__all__ = ["OVERDUE", "Health", "QueueHealth", "health_of"]

OVERDUE: Final = 60.0
"""Seconds without a completed receive, while one was wanted and there was room, after which a queue is not well."""

MAX_REASON_CHARACTERS: Final = 2000
"""Of one reason: it may repeat what a server said."""


class QueueHealth(msgspec.Struct, frozen=True, kw_only=True):
    """How the receives of one queue fare."""

    queue: str
    """The queue's name; a second queue for delayed events is named after the first: `default (delayed)`."""

    last_receive: float | None = None
    """Seconds since a receive last completed, with or without messages; None: none has yet."""

    waited: float = 0.0
    """Seconds for which a receive has been wanted, with room for what it brings, and none has completed."""

    may_wait: float = inf
    """Seconds that one receive may wait for a message when all is well."""

    backoff: FaultKind | None = None
    """What the latest receive failed by; None: it did not."""

    failures: int = 0
    """How many receives have failed in a row."""

    error: str | None = None
    """What the latest failure said."""


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How an app is, as `app.health()` tells it at one moment. Seconds are by the app's clock."""

    healthy: bool
    """Whether events are handled, as far as this app can know."""

    reasons: tuple[str, ...] = ()
    """Why it is not healthy, in words for a person."""

    listening: bool = False
    """Whether it receives."""

    in_hand: int = 0
    """Messages between their receive and their settling, and events that are handled past the queue."""

    oldest: float | None = None
    """Seconds for which the oldest of them has been in hand."""

    oldest_handlers: tuple[str, ...] = ()
    """The handlers of the oldest that run now."""

    dead_letters: int = 0
    """Letters written to a dead-letter queue since the app was entered."""

    unclaimed: int = 0
    """How often an event was left to another node since then, since this one has no handler for it."""

    queues: tuple[QueueHealth, ...] = ()
    """Each queue that is received from."""


def health_of(facts: Health, died_of: str | None) -> Health:
    """Return the facts with the verdict on them. `died_of`: what ended the app; None while it lives."""
    reasons = [] if died_of is None else [f"the app has died: {died_of}"]
    if facts.listening:
        reasons += [reason for queue in facts.queues if (reason := _complaint(queue)) is not None]
    told = tuple(in_line(reason, MAX_REASON_CHARACTERS) for reason in reasons)
    return msgspec.structs.replace(facts, healthy=not told, reasons=told)


def _complaint(queue: QueueHealth) -> str | None:
    if needs_somebody(queue.backoff):
        return f"{queue.queue}: {queue.error}"
    if queue.waited >= max(OVERDUE, queue.may_wait + OVERDUE / 2):
        last = f"; the latest failure: {queue.error}" if queue.error is not None else ""
        return f"{queue.queue}: no receive has completed for {queue.waited:.3g} s{last}"
    return None
