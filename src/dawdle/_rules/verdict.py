"""What becomes of a message: before its handlers run (admit) and after (settle). The heart; values only.

The states of one (event, handler) pair, and the message that keeps it:

    stored ── admit ──► runs ──► done                            nothing is kept; the last one done acks
       ▲  │                ├──► failed, attempts left ─────────► a copy owing this handler, attempt + 1
       │  ├► not due ───┐  ├──► later, crowded, interrupted ───► a copy owing this handler, attempt unchanged
       │  └► unclaimed ─┤  └──► rejected, attempts spent ──────► a dead letter; with nowhere to put it, a copy
       └──── a copy ◄───┘

Every copy is stored before its original is acked, and all copies of one verdict go into one batch. Whoever adds a
verdict keeps that: an (event, handler) pair that is not done has a durable message at every instant.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, assert_never

import msgspec

from dawdle._rules.codec import media_of
from dawdle._rules.delay import due_of, hop, remaining
from dawdle._rules.envelope import Envelope, clip, moment, rewrite, seconds, write
from dawdle._rules.handler import Handler
from dawdle._rules.outcome import Crowded, Done, Failed, Interrupted, Later, Outcome, Rejected
from dawdle._rules.retry import Retry
from dawdle._rules.roster import Roster
from dawdle.abc import Codec
from dawdle.errors import ConfigurationError
from dawdle.events import declaration_of

__all__ = [
    "UNDECODABLE",
    "Ack",
    "Copy",
    "Forward",
    "Release",
    "Result",
    "Run",
    "Settlement",
    "Terms",
    "admit",
    "settle",
    "undecodable",
    "unreadable",
]

UNDECODABLE: Final = "dawdle.undecodable"
"""The type of a dead letter that holds, as `data_base64`, a body which is no CloudEvent."""

LONGEST_BACKOFF: Final = 900.0
"""Seconds. What cannot be handled and cannot be given up is looked at this often."""

LONGEST_CROWDED: Final = 60.0
"""Seconds. A handler whose own concurrency is taken gets its event again at least this often."""

Why = Literal["retry", "later", "crowded", "interrupted", "delayed", "unclaimed", "dead", "kept"]


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What the queue and the app allow."""

    reach: float
    """Seconds of the longest hop; 0: the queue cannot delay, and a message waits by being released later."""

    keeps_dead: bool
    """There is a dead-letter queue."""

    shared: bool
    """Another node may have what this one lacks."""

    unclaimed: float
    """Seconds after which an event that no node has a handler for is given up."""


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """A message to be stored before the one in hand is acked."""

    body: bytes
    delay: float
    why: Why
    handler: str | None = None
    reason: str | None = None

    @property
    def is_letter(self) -> bool:
        """Whether it goes to the dead-letter queue."""
        return self.why == "dead"


class Ack(msgspec.Struct, frozen=True):
    """Nobody is owed anything any more. `reason`, when nobody ran: why nobody is."""

    reason: str | None = None


class Release(msgspec.Struct, frozen=True):
    """The message itself comes back in so many seconds."""

    seconds: float


class Forward(msgspec.Struct, frozen=True):
    """Store all copies, then ack. If that fails, the message itself comes back in `otherwise` seconds."""

    copies: tuple[Copy, ...]
    otherwise: float


class Run(msgspec.Struct, frozen=True):
    """Decode the event as `kind` and run these handlers, all of them."""

    kind: type[object]
    handlers: tuple[Handler, ...]


Settlement = Ack | Release | Forward


class Result(msgspec.Struct, frozen=True):
    """What one handler made of the event, and by which rule it is tried again."""

    handler: str
    retry: Retry
    outcome: Outcome


def admit(
    body: bytes,
    envelope: Envelope,
    roster: Roster,
    codecs: Mapping[str, Codec],
    *,
    stored_at: float,
    now: float,
    terms: Terms,
    roll: Callable[[], float],
) -> Run | Settlement:
    """Return which handlers run, or what becomes of the message without any.

    Times are by the queue's clock; `roll` in [0, 1).
    """
    delay_ms = None if envelope.delay_ms is None else int(envelope.delay_ms)
    due = due_of(None if envelope.due is None else seconds(envelope.due), delay_ms, stored_at)
    left = remaining(due, now)
    if left > 0:
        return _wait(body, left, now, terms)
    try:
        kind = roster.kind_named(envelope.type)
    except ConfigurationError as error:
        return _unclaimed(body, envelope, f"{error}", now, terms, roll)
    if kind is None:
        return _unclaimed(body, envelope, f"no node knows an event type {envelope.type!r}", now, terms, roll)
    if media_of(envelope) not in codecs:
        return _unclaimed(body, envelope, f"no node has a codec for {media_of(envelope)!r}", now, terms, roll)
    if envelope.owed is not None:
        owed = roster.named(envelope.owed)
        if owed is None:
            return _unclaimed(body, envelope, f"no node has the handler {envelope.owed!r}", now, terms, roll)
        return Run(kind, (owed,))
    handlers = roster.matching(kind)
    if not handlers:
        declared = declaration_of(kind)
        if declared is not None and declared.unclaimed == "drop":
            return Ack(f"no handler for {envelope.type!r}, and its type says drop")
        return _unclaimed(body, envelope, f"no node has a handler for {envelope.type!r}", now, terms, roll)
    return Run(kind, handlers)


def settle(
    body: bytes,
    envelope: Envelope,
    results: Sequence[Result],
    *,
    now: float,
    terms: Terms,
    roll: Callable[[], float],
    held: bool = True,
) -> Settlement:
    """Return what becomes of a message whose handlers ran. `now` by the queue's clock; `roll` in [0, 1).

    `held` is False for an event that was handled past the queue: no message is there to be released.
    """
    unfinished = [result for result in results if not isinstance(result.outcome, Done)]
    if not unfinished:
        return Ack()
    if held and all(isinstance(result.outcome, Interrupted) for result in results):
        return Release(0.0)
    copies = tuple(_copy_for(body, envelope, result, now, terms, roll) for result in unfinished)
    return Forward(copies, otherwise=min(_backoff_for(result, envelope, roll) for result in unfinished))


def undecodable(body: bytes, key: str, reason: str, now: float, terms: Terms) -> Settlement:
    """Return what becomes of a body that is no CloudEvent: a dead letter that holds it, or the body again, later."""
    if not terms.keeps_dead:
        return _again(body, None, reason, terms)
    letter = write(
        {
            "specversion": "1.0",
            "id": key,
            "source": "dawdle",
            "type": UNDECODABLE,
            "time": moment(now),
            "dawdleerror": clip(reason),
            "datacontenttype": "application/octet-stream",
            "data_base64": body,
        }
    )
    return Forward((Copy(body=letter, delay=0.0, why="dead", reason=reason),), otherwise=LONGEST_BACKOFF)


def unreadable(body: bytes, envelope: Envelope, reason: str, now: float, terms: Terms) -> Settlement:
    """Return what becomes of an event whose data is not of its type."""
    return _give_up(body, envelope.owed, reason, now, terms)


def _wait(body: bytes, left: float, now: float, terms: Terms) -> Settlement:
    if terms.reach <= 0:
        return Release(left)
    due = {"dawdledelay": None, "dawdledue": moment(now + left)}
    copy = Copy(body=rewrite(body, due), delay=hop(left, terms.reach), why="delayed")
    return Forward((copy,), otherwise=min(left, LONGEST_BACKOFF))


def _unclaimed(
    body: bytes, envelope: Envelope, reason: str, now: float, terms: Terms, roll: Callable[[], float]
) -> Settlement:
    if not terms.shared:
        return Ack(reason)
    since = now if envelope.since is None else seconds(envelope.since)
    age = max(0.0, now - since)
    if age >= terms.unclaimed:
        return _give_up(body, envelope.owed, f"{reason}, for {terms.unclaimed:g} s", now, terms)
    # Up to half is left to chance, or the same node might get it every time.
    delay = min(max(1.0, age), LONGEST_BACKOFF) * (1.0 - roll() / 2)
    copy = _copy(body, delay, now, terms, why="unclaimed", reason=reason, changes={"dawdlesince": moment(since)})
    return Forward((copy,), otherwise=delay)


def _give_up(body: bytes, owed: str | None, reason: str, now: float, terms: Terms) -> Settlement:
    if not terms.keeps_dead:
        return _again(body, owed, reason, terms)
    changes = {"dawdleerror": clip(reason)}
    letter = _copy(body, 0.0, now, terms, why="dead", handler=owed, reason=reason, changes=changes)
    return Forward((letter,), otherwise=LONGEST_BACKOFF)


def _again(body: bytes, owed: str | None, reason: str, terms: Terms) -> Settlement:
    """Return the verdict where there is no dead-letter queue: the same body, at the longest back-off, for ever."""
    if terms.reach <= 0:
        return Release(LONGEST_BACKOFF)
    delay = hop(LONGEST_BACKOFF, terms.reach)
    return Forward((Copy(body=body, delay=delay, why="kept", handler=owed, reason=reason),), otherwise=delay)


def _copy_for(
    body: bytes, envelope: Envelope, result: Result, now: float, terms: Terms, roll: Callable[[], float]
) -> Copy:
    """Return the copy that keeps one unfinished handler's claim on the event."""
    name, outcome, attempt = result.handler, result.outcome, envelope.attempt
    delay: float
    why: Why
    error: str | None = None
    match outcome:
        case Failed() if attempt < result.retry.max_attempts:
            delay, why, error = result.retry.backoff(attempt, roll()), "retry", outcome.error
            attempt += 1
        case Failed() | Rejected():
            delay, why, error = 0.0, "dead", outcome.error
            if not terms.keeps_dead:
                delay, why = max(result.retry.max_delay, result.retry.initial), "kept"
        case Later():
            delay, why = outcome.seconds, "later"
        case Crowded():
            delay, why = _crowded(envelope, now), "crowded"
        case Interrupted():
            delay, why = 0.0, "interrupted"
        case Done():
            raise AssertionError("a handler that is done is owed nothing")
        case _:
            assert_never(outcome)
    changes: dict[str, object] = {"dawdleowed": name, "dawdleattempt": attempt}
    if error is not None:
        changes["dawdleerror"] = clip(error)
    return _copy(body, delay, now, terms, why=why, handler=name, reason=error, changes=changes)


def _backoff_for(result: Result, envelope: Envelope, roll: Callable[[], float]) -> float:
    return min(result.retry.backoff(envelope.attempt, roll()), LONGEST_BACKOFF)


def _crowded(envelope: Envelope, now: float) -> float:
    age = 0.0 if envelope.time is None else now - seconds(envelope.time)
    return min(max(1.0, age), LONGEST_CROWDED)


def _copy(
    body: bytes,
    delay: float,
    now: float,
    terms: Terms,
    *,
    why: Why,
    changes: Mapping[str, object],
    handler: str | None = None,
    reason: str | None = None,
) -> Copy:
    """Return a copy that waits `delay` seconds from now; what said how long this one had to wait is gone from it."""
    first = hop(delay, terms.reach)
    gone: dict[str, object] = {"dawdledelay": None, "dawdledue": None, "dawdletrial": None, "dawdlesince": None}
    due = {"dawdledue": moment(now + delay)} if delay > first else {}
    return Copy(body=rewrite(body, {**gone, **due, **changes}), delay=first, why=why, handler=handler, reason=reason)
