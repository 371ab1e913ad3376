"""What becomes of a message before its handlers run: which of them run, or what is done without any. Values only.

The states of one (event, handler) pair, and the message that keeps it:

    stored ── admit ──► runs ── settle ──► done                  nothing is kept; the last one done acks
       ▲  │                ├──► failed, attempts left ─────────► a copy owing this handler, attempt + 1
       │  ├► not due ───┐  ├──► postponed, at limit, interrupted ► a copy owing this handler, attempt unchanged
       │  ├► unclaimed ─┤  └──► rejected, attempts spent ──────► a dead letter; with nowhere to put it, a copy
       │  └► missing ───┤  a copy owing a handler that the type names and this node lacks, beside those of its own
       └──── a copy ◄───┘
"""

from collections.abc import Callable, Mapping
from typing import Final, Generic, TypeVar

import msgspec

from dawdle._rules.codec import media_of
from dawdle._rules.copies import MAX_BACKOFF_SECONDS, Why, copies_for_missing, copy_of
from dawdle._rules.dead_lettering import give_up
from dawdle._rules.delay import due_of, remaining
from dawdle._rules.envelope import Envelope, to_epoch, to_rfc3339
from dawdle._rules.lookup import HandlerLookup, Named
from dawdle._rules.poison import MAX_TRIALS, is_suspect, next_trial, trial_of
from dawdle._rules.settlement import UNSTORED_SECONDS, Ack, Forward, Settlement, postponed
from dawdle._rules.terms import Terms
from dawdle.abc import Codec
from dawdle.errors import ConfigurationError, shown
from dawdle.events import declaration_of

__all__ = ["MISSING_GRACE_SECONDS", "Run", "admit"]

MISSING_GRACE_SECONDS: Final = 60.0
"""Seconds. A copy for a handler that the type names is expected to find its node in this time; then it is told of."""


H = TypeVar("H", bound=Named)


class Run(msgspec.Struct, Generic[H], frozen=True):
    """Decode the event as this type and run these handlers, all of them."""

    event_type: type[object]
    handlers: tuple[H, ...]
    attempt: int
    """Which try this is, from 1; nothing else asks the envelope, since a queue may count instead."""
    isolated: bool = False
    """It may be what ended the process that had it before: nothing else may be in flight."""
    missing: tuple[str, ...] = ()
    """Handlers that the type names and this node lacks: each is owed a copy, by the time that the message is acked."""


def admit(
    body: bytes,
    envelope: Envelope,
    lookup: HandlerLookup[H],
    codecs: Mapping[str, Codec],
    *,
    stored_at: float,
    now: float,
    terms: Terms,
    random: Callable[[], float],
    receives: int = 1,
    queue: str | None = None,
) -> Run[H] | Settlement:
    """Return which handlers run, or what becomes of the message without any.

    Times are by the queue's clock; `random()` is in [0, 1). `receives`: how often this copy was received, this time
    included. `queue`: what the app calls the queue that it came from; None for any.
    """
    delay_ms = None if envelope.delay_ms is None else int(envelope.delay_ms)
    due = due_of(None if envelope.due is None else to_epoch(envelope.due), delay_ms, stored_at)
    left = remaining(due, now)
    if left > 0:
        return postponed(body, left, now, terms)
    try:
        event_type = lookup.resolve_type(envelope.type)
    except ConfigurationError as error:
        return _unclaimed(body, envelope, f"{error}", now, terms, random)
    if event_type is None:
        return _unclaimed(body, envelope, f"no node knows an event type {shown(envelope.type)}", now, terms, random)
    if media_of(envelope) not in codecs:
        return _unclaimed(body, envelope, f"no node has a codec for {shown(media_of(envelope))}", now, terms, random)
    if envelope.owed is not None:
        owed = lookup.handler_named(envelope.owed)
        if owed is None:
            reason = f"no node has the handler {shown(envelope.owed)}"
            named = envelope.owed in lookup.missing_for(event_type)
            return _unclaimed(body, envelope, reason, now, terms, random, named=named)
        return _with_trial(body, envelope, Run(event_type, (owed,), envelope.attempt), receives, now, terms)
    handlers, missing = lookup.handlers_for(event_type, queue), lookup.missing_for(event_type)
    if not handlers:
        declared = declaration_of(event_type)
        if declared is not None and declared.unclaimed == "drop":
            copies = copies_for_missing(body, missing, now, terms)
            if copies:
                return Forward(copies, release_after=UNSTORED_SECONDS)
            return Ack(f"no handler for {envelope.type!r}, and its type says drop")
        reason = f"no node has a handler for {shown(envelope.type)}"
        return _unclaimed(body, envelope, reason, now, terms, random, named=bool(missing))
    return _with_trial(
        body, envelope, Run(event_type, handlers, envelope.attempt, missing=missing), receives, now, terms
    )


def _with_trial(
    body: bytes, envelope: Envelope, run: Run[H], receives: int, now: float, terms: Terms
) -> Run[H] | Settlement:
    """Return the run, or what is done before it with a message that may be what ends processes."""
    if not terms.durable:  # nothing comes back when its process has ended, so no trial was ever written there
        return run
    if not is_suspect(envelope, receives):
        return msgspec.structs.replace(run, isolated=True) if trial_of(envelope) else run
    if trial_of(envelope) < MAX_TRIALS:
        return next_trial(body, envelope, now, terms)
    return give_up(body, envelope, f"{MAX_TRIALS} processes in a row ended while they ran it in isolation", now, terms)


def _unclaimed(
    body: bytes,
    envelope: Envelope,
    reason: str,
    now: float,
    terms: Terms,
    random: Callable[[], float],
    *,
    named: bool = False,
) -> Settlement:
    """Return what becomes of an event that this node has no handler for.

    `named`: its type names who must handle it, so that it is no surprise that this node lacks them, for a while.
    """
    if not terms.shared:
        return Ack(f"{reason}, and a queue in memory has no other consumer")
    since = now if envelope.since is None else min(now, to_epoch(envelope.since))  # one that is to come never passes
    age = max(0.0, now - since)
    if age >= terms.unclaimed:
        return give_up(body, envelope, f"{reason}, for {terms.unclaimed:g} s", now, terms)
    # A handler that is named is on some node. Of two nodes the wrong one has a copy ten times in a row for one copy in
    # a thousand, which then waits for a quarter of an hour if each wait is as long as its age; so it is a part of it.
    wait = age / 8 if named else age
    # Up to half is left to chance, or the same node might get it every time.
    delay = min(max(1.0, wait), MAX_BACKOFF_SECONDS) * (1.0 - random() / 2)
    why: Why = "missing" if named and age < MISSING_GRACE_SECONDS else "unclaimed"
    owed, changes = envelope.owed, {"dawdlesince": to_rfc3339(since), "dawdlecrowded": envelope.crowded}
    copy = copy_of(body, delay, now, terms, why=why, handler=owed, reason=reason, changes=changes)
    return Forward((copy,), release_after=delay)
