"""What becomes of a message: before its handlers run (admit) and after (settle). The heart; values only.

The states of one (event, handler) pair, and the message that keeps it:

    stored ── admit ──► runs ──► done                            nothing is kept; the last one done acks
       ▲  │                ├──► failed, attempts left ─────────► a copy owing this handler, attempt + 1
       │  ├► not due ───┐  ├──► later, crowded, interrupted ───► a copy owing this handler, attempt unchanged
       │  ├► unclaimed ─┤  └──► rejected, attempts spent ──────► a dead letter; with nowhere to put it, a copy
       │  └► missing ───┤  a copy owing a handler that the type names and this node lacks, beside those of its own
       └──── a copy ◄───┘

Every copy is stored before its original is acked, and all copies of one verdict go into one batch. Whoever adds a
verdict keeps that: an (event, handler) pair that is not done has a durable message at every instant.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, assert_never

import msgspec

from dawdle._rules.codec import media_of
from dawdle._rules.delay import due_of, hop, remaining, to_ms
from dawdle._rules.envelope import Envelope, clip, moment, rewrite, seconds
from dawdle._rules.handler import Handler
from dawdle._rules.letter import LONGEST_BACKOFF, UNDECODABLE, copy_of, dead, give_up, undecodable, unreadable
from dawdle._rules.outcome import Crowded, Done, Failed, Interrupted, Later, Outcome, Rejected
from dawdle._rules.retry import Retry
from dawdle._rules.roster import Roster
from dawdle._rules.settlement import Ack, Copy, Forward, Release, Settlement, Terms, Why
from dawdle._rules.trial import TRIALS, is_suspect, next_trial, trial_of
from dawdle.abc import Codec
from dawdle.errors import ConfigurationError, shown
from dawdle.events import declaration_of

__all__ = [
    "LONGEST_BACKOFF",
    "SHORTEST_KEPT",
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
    "copies_for",
    "copy_for",
    "put_off_for",
    "settle",
    "undecodable",
    "unreadable",
]

SHORTEST_KEPT: Final = 60.0
"""Seconds. What has failed for good, and has no dead-letter queue to go to, is tried again no more often than this."""

SHORTEST_UNSTORED: Final = 10.0
"""Seconds until a message comes back that is done here, and whose copies for other nodes could not be stored."""

LONGEST_MISSING: Final = 60.0
"""Seconds. A copy for a handler that the type names is expected to find its node in this time; then it is told of."""


_MOST_COUNTED: Final = 2**31 - 1
"""What `dawdlecrowded` can say: an integer of CloudEvents has 32 bits."""


class Run(msgspec.Struct, frozen=True):
    """Decode the event as `kind` and run these handlers, all of them."""

    kind: type[object]
    handlers: tuple[Handler, ...]
    alone: bool = False
    """Whoever had the message before did not live to say what came of it: nothing else may be in hand."""
    missing: tuple[str, ...] = ()
    """Handlers that the type names and this node lacks: each is owed a copy, by the time that the message is acked."""


class Result(msgspec.Struct, frozen=True):
    """What one handler made of the event, and by which rule it is tried again."""

    handler: str
    retry: Retry
    outcome: Outcome
    ended: float | None = None
    """When, by the queue's clock: what waits until it is tried again waits from then on. None: just now."""
    kept: bool = False
    """The copy that keeps its claim on the event is stored already, since a sibling took its time."""


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
    receives: int = 1,
) -> Run | Settlement:
    """Return which handlers run, or what becomes of the message without any.

    Times are by the queue's clock; `roll` in [0, 1). `receives`: how often this copy was received, this time included.
    """
    delay_ms = None if envelope.delay_ms is None else int(envelope.delay_ms)
    due = due_of(None if envelope.due is None else seconds(envelope.due), delay_ms, stored_at)
    left = remaining(due, now)
    if left > 0:
        return put_off_for(body, left, now, terms)
    try:
        kind = roster.kind_named(envelope.type)
    except ConfigurationError as error:
        return _unclaimed(body, envelope, f"{error}", now, terms, roll)
    if kind is None:
        return _unclaimed(body, envelope, f"no node knows an event type {shown(envelope.type)}", now, terms, roll)
    if media_of(envelope) not in codecs:
        return _unclaimed(body, envelope, f"no node has a codec for {shown(media_of(envelope))}", now, terms, roll)
    if envelope.owed is not None:
        owed = roster.named(envelope.owed)
        if owed is None:
            reason = f"no node has the handler {shown(envelope.owed)}"
            named = envelope.owed in roster.missing(kind)
            return _unclaimed(body, envelope, reason, now, terms, roll, named=named)
        return _tried(body, envelope, Run(kind, (owed,)), receives, now, terms)
    handlers, missing = roster.matching(kind), roster.missing(kind)
    if not handlers:
        declared = declaration_of(kind)
        if declared is not None and declared.unclaimed == "drop":
            copies = copies_for(body, missing, now, terms)
            if copies:
                return Forward(copies, otherwise=SHORTEST_UNSTORED)
            return Ack(f"no handler for {envelope.type!r}, and its type says drop")
        reason = f"no node has a handler for {shown(envelope.type)}"
        return _unclaimed(body, envelope, reason, now, terms, roll, named=bool(missing))
    return _tried(body, envelope, Run(kind, handlers, missing=missing), receives, now, terms)


def settle(
    body: bytes,
    envelope: Envelope,
    results: Sequence[Result],
    *,
    now: float,
    terms: Terms,
    roll: Callable[[], float],
    held: bool = True,
    missing: Sequence[str] = (),
) -> Settlement:
    """Return what becomes of a message whose handlers ran. `now` by the queue's clock; `roll` in [0, 1).

    `held` is False for an event that was handled past the queue: no message is there to be released. `missing` are
    the handlers of its `Run` that this node lacks.
    """
    unfinished = [result for result in results if not isinstance(result.outcome, Done) and not result.kept]
    elsewhere = copies_for(body, missing, now, terms)
    if not unfinished:
        return Forward(elsewhere, otherwise=SHORTEST_UNSTORED) if elsewhere else Ack()
    unharmed = held and all(isinstance(result.outcome, Interrupted) for result in results)
    if unharmed and not envelope.trial:  # a trial that is received again counts as one that nobody lived through
        return Release(0.0)
    copies = tuple(copy_for(body, envelope, result, now, terms, roll, held=held) for result in unfinished)
    otherwise = min(_backoff_for(result, envelope, roll) for result in unfinished)
    return Forward((*copies, *elsewhere), otherwise)


def copies_for(body: bytes, missing: Sequence[str], now: float, terms: Terms) -> tuple[Copy, ...]:
    """Return a copy of an event for each handler that its type names and this node lacks.

    None where no other node can have it: then there is only a warning to be given.
    """
    if not terms.shared:
        return ()
    return tuple(
        copy_of(body, 0.0, now, terms, why="missing", handler=name, changes={"dawdleowed": name}) for name in missing
    )


def _tried(body: bytes, envelope: Envelope, run: Run, receives: int, now: float, terms: Terms) -> Run | Settlement:
    """Return the run, or what is done before it with a message that may be what ends processes."""
    if not terms.durable:  # nothing comes back when its process has ended, so no trial was ever written there
        return run
    if not is_suspect(envelope, receives):
        return msgspec.structs.replace(run, alone=True) if trial_of(envelope) else run
    if trial_of(envelope) < TRIALS:
        return next_trial(body, envelope, now, terms)
    return give_up(body, envelope, f"{TRIALS} processes in a row ended while they ran it in isolation", now, terms)


def put_off_for(body: bytes, left: float, now: float, terms: Terms) -> Release | Forward:
    """Return what lets a message wait `left` seconds: a copy, or the message itself where its queue cannot delay."""
    if terms.reach <= 0:
        return Release(left)
    due = {"dawdledelay": None, "dawdledue": moment(now + left)}
    copy = Copy(body=rewrite(body, due), delay=hop(left, terms.reach), why="delayed")
    return Forward((copy,), otherwise=min(left, LONGEST_BACKOFF))


def _unclaimed(
    body: bytes,
    envelope: Envelope,
    reason: str,
    now: float,
    terms: Terms,
    roll: Callable[[], float],
    *,
    named: bool = False,
) -> Settlement:
    """Return what becomes of an event that this node has no handler for.

    `named`: its type names who must handle it, so that it is no surprise that this node lacks them, for a while.
    """
    if not terms.shared:
        return Ack(f"{reason}, and a queue in memory has no other consumer")
    since = now if envelope.since is None else min(now, seconds(envelope.since))  # one that is to come never passes
    age = max(0.0, now - since)
    if age >= terms.unclaimed:
        return give_up(body, envelope, f"{reason}, for {terms.unclaimed:g} s", now, terms)
    # A handler that is named is on some node. Of two nodes the wrong one has a copy ten times in a row for one copy in
    # a thousand, which then waits for a quarter of an hour if each wait is as long as its age; so it is a part of it.
    wait = age / 8 if named else age
    # Up to half is left to chance, or the same node might get it every time.
    delay = min(max(1.0, wait), LONGEST_BACKOFF) * (1.0 - roll() / 2)
    why: Why = "missing" if named and age < LONGEST_MISSING else "unclaimed"
    owed, changes = envelope.owed, {"dawdlesince": moment(since), "dawdlecrowded": envelope.crowded}
    copy = copy_of(body, delay, now, terms, why=why, handler=owed, reason=reason, changes=changes)
    return Forward((copy,), otherwise=delay)


def copy_for(
    body: bytes,
    envelope: Envelope,
    result: Result,
    now: float,
    terms: Terms,
    roll: Callable[[], float],
    *,
    held: bool = True,
) -> Copy:
    """Return the copy that keeps one unfinished handler's claim on the event.

    `settle` writes it when the last sibling has ended; where that takes long it is written before. Either way what it
    waits counts from when its handler ended.

    `held` is False for an event that was in no queue: then `now` is by no queue's clock, and what waits for longer than
    one hop says for how long, as a first copy does, and not until when.
    """
    delay, why, error = _what_follows(result, envelope, terms, roll)
    if result.ended is not None and why in _WAITING:
        delay = max(0.0, delay - max(0.0, now - result.ended))
    attempt = envelope.attempt + (why == "retry")
    changes: dict[str, object] = {"dawdleowed": result.handler, "dawdleattempt": attempt}
    if isinstance(result.outcome, Crowded):
        changes["dawdlecrowded"] = min(round(result.outcome.step * 1e6), _MOST_COUNTED)
    if error is not None:
        changes |= dead(error, now) if why == "dead" else {"dawdleerror": clip(error)}
    if not held and delay > hop(delay, terms.reach):
        changes |= {"dawdledelay": str(to_ms(delay)), "dawdledue": None}
    return copy_of(body, delay, now, terms, why=why, handler=result.handler, reason=error, changes=changes)


def _what_follows(
    result: Result, envelope: Envelope, terms: Terms, roll: Callable[[], float]
) -> tuple[float, Why, str | None]:
    """Return how long an unfinished handler waits for its next turn, why, and the error if there was one."""
    outcome = result.outcome
    match outcome:
        case Failed() if envelope.attempt < result.retry.max_attempts:
            return result.retry.backoff(envelope.attempt, roll()), "retry", outcome.error
        case Failed() | Rejected():
            if terms.keeps_dead:
                return 0.0, "dead", outcome.error
            return max(result.retry.max_delay, result.retry.initial, SHORTEST_KEPT), "kept", outcome.error
        case Later():
            return outcome.seconds, "later", None
        case Crowded():
            return outcome.seconds, "crowded", None
        case Interrupted():
            return 0.0, "interrupted", None
        case Done():
            raise AssertionError("a handler that is done is owed nothing")
        case _:
            assert_never(outcome)


_WAITING: Final = frozenset({"retry", "later", "crowded"})
"""Copies that wait because of what their handler said, or did."""


def _backoff_for(result: Result, envelope: Envelope, roll: Callable[[], float]) -> float:
    return min(result.retry.backoff(envelope.attempt, roll()), LONGEST_BACKOFF)
