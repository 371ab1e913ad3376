"""Decides whether an app is healthy. Facts in, the answer and its reasons out; measures nothing."""

from math import inf
from typing import Final, Literal

import msgspec

from dawdle._rules.receive_backoff import needs_operator
from dawdle.errors import FaultKind, one_line
from dawdle.hooks import CallName

__all__ = [
    "FORGET_SECONDS",
    "OVERDUE_SECONDS",
    "AppState",
    "CallName",
    "FailingCalls",
    "Health",
    "LongRunning",
    "QueueHealth",
    "health_of",
]

OVERDUE_SECONDS: Final = 60.0
"""Seconds without a completed receive, while one was wanted and there was room, after which an app is unhealthy. Other
calls that fail for as long make it unhealthy too."""

FORGET_SECONDS: Final = 300.0
"""Seconds after which a failed call no longer counts if the app has not tried it again.

A web app that only signals gets no requests while it is unhealthy. Without this limit it would never find out that its
queue is back.
"""

AppState = Literal["not entered", "opening", "entering", "running", "leaving", "died"]
"""Where an app is between `async with` and its end. `opening`: its queue is being opened. `entering`: its lifespan is
being entered. `leaving`: what runs has its grace."""

_WORDS: Final[dict[CallName, str]] = {
    "send": "send",
    "delete": "delete",
    "release": "release",
    "renew": "lease renewal",
}

MAX_REASON_CHARACTERS: Final = 2000
"""Characters of one reason: it may repeat the answer of a server."""


class QueueHealth(msgspec.Struct, frozen=True, kw_only=True):
    """How well the receives of one queue work."""

    queue: str
    """The queue's name; a second queue for delayed events is named after the first: `default (delayed)`."""

    in_hand: int = 0
    """Messages of it in flight; each of its slots takes one."""

    slots: int = 0
    """How many of its messages may be in flight at once, those of its second queue for delayed events included."""

    last_receive: float | None = None
    """Seconds since a receive last completed, with or without messages; None: none has yet."""

    waited: float = 0.0
    """Seconds for which a receive has been wanted, with room for what it brings, and none has completed."""

    may_wait: float = inf
    """Seconds that one receive may wait for a message."""

    backoff: FaultKind | None = None
    """Why the latest receive failed; None: it did not fail."""

    failures: int = 0
    """How many receives have failed in a row."""

    error: str | None = None
    """The text of the latest failure."""


class FailingCalls(msgspec.Struct, frozen=True, kw_only=True):
    """A call to one queue that has failed, once or several times in a row, and has not succeeded since."""

    queue: str
    """The queue's name; one behind another is named after it: `default (dead letters)`, `default (delayed)`."""

    call: CallName
    """Which call."""

    kind: FaultKind
    """Why the latest of them failed."""

    failures: int
    """How many have failed in a row."""

    first: float
    """Seconds since the first of them failed."""

    latest: float
    """Seconds since the latest of them failed."""

    error: str
    """The text of the latest failure."""


class LongRunning(msgspec.Struct, frozen=True, kw_only=True):
    """A handler that has run for a minute or more."""

    handler: str
    """Its name."""

    runs: int
    """How many of its runs have taken that long and still go on."""

    seconds: float
    """How long the longest of them has run."""


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The state of an app, as `app.health()` returns it. Seconds are by the app's clock."""

    healthy: bool
    """Whether events are stored and handled, as far as this app can know."""

    reasons: tuple[str, ...] = ()
    """Why it is unhealthy, for a person to read."""

    state: AppState = "running"
    """Where the app is between `async with` and its end."""

    listening: bool = False
    """Whether it receives."""

    in_hand: int = 0
    """Messages in flight: received and not yet settled, and direct events whose handlers run."""

    oldest: float | None = None
    """Seconds for which the oldest of them has been in flight."""

    oldest_queue: str | None = None
    """The queue that the oldest of them came from."""

    oldest_handlers: tuple[str, ...] = ()
    """The handlers of the oldest that run now."""

    long_running: tuple[LongRunning, ...] = ()
    """The handlers that have run for a minute or more, the longest first. They do not make the app unhealthy."""

    dead_letters: int = 0
    """Letters written to a dead-letter queue since the app was entered."""

    unclaimed: int = 0
    """How often an event went back to the queue since then, since this node has no handler for it."""

    expired: int = 0
    """Events, and retries of one handler, that were dropped since then because they had expired."""

    queues: tuple[QueueHealth, ...] = ()
    """Each queue that is received from."""

    failing: tuple[FailingCalls, ...] = ()
    """Sends, deletes, releases and lease renewals that fail now, also of an app that only signals."""


def health_of(facts: Health, died_of: str | None) -> Health:
    """Return the facts with the answer and its reasons. `died_of`: what ended the app; None while it lives."""
    reasons = [] if died_of is None else [f"the app has died: {died_of}"]
    if facts.listening:
        reasons += [reason for queue in facts.queues if (reason := _complaint(queue)) is not None]
    reasons += [_describe(calls) for calls in facts.failing if _is_held_against(calls)]
    lines = tuple(one_line(reason, MAX_REASON_CHARACTERS) for reason in reasons)
    return msgspec.structs.replace(facts, healthy=not lines, reasons=lines)


def _complaint(queue: QueueHealth) -> str | None:
    if needs_operator(queue.backoff):
        return f"{queue.queue}: {queue.error}"
    # A receive of an empty queue may wait for `may_wait` seconds, which is no failure.
    if queue.waited >= max(OVERDUE_SECONDS, queue.may_wait + OVERDUE_SECONDS / 2):
        last = f"; the latest failure: {queue.error}" if queue.error is not None else ""
        return f"{queue.queue}: no receive has completed for {queue.waited:.3g} s{last}"
    return None


def _is_held_against(calls: FailingCalls) -> bool:
    """Whether failing calls make an app unhealthy: at once if an operator must act, else after a minute."""
    if calls.latest >= FORGET_SECONDS:
        return False
    # The time from the first failure to the latest counts. Since the latest, no call may have been made.
    return needs_operator(calls.kind) or calls.first - calls.latest >= OVERDUE_SECONDS


def _describe(calls: FailingCalls) -> str:
    what = _WORDS[calls.call]
    if calls.failures == 1:
        return f"{calls.queue}: a {what} failed {calls.latest:.3g} s ago: {calls.error}"
    return f"{calls.queue}: {calls.failures} {what}s in a row failed, the first {calls.first:.3g} s ago: {calls.error}"
