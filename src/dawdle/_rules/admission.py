"""Decides before any handler runs: which handlers get a message, or where it goes instead. Values in, values out.

The states of one (event, handler) pair, and the message that keeps it:

    stored ── admit ──► runs ── settle ──► done                  nothing is left of it; the last one acks
       ▲  ├► expired: gone ├──► failed, attempts left ─────────► a copy owing this handler, attempt + 1
       │  ├► not due ───┐  ├──► postponed, at limit, interrupted ► a copy owing this handler, attempt unchanged
       │  ├► unclaimed ─┤  └──► rejected, attempts spent ──────► a dead letter; without a dead-letter queue, a copy
       │  └► missing ───┤  a copy owing a handler that the type names and this node lacks; its own run here
       └──── a copy ◄───┘

On an ordered queue a copy would lose its place: `dawdle._rules.in_place` says what becomes of these decisions there.
"""

from collections.abc import Callable, Mapping
from typing import Final, Generic, TypeVar

import msgspec

from dawdle._rules.codec import media_of
from dawdle._rules.copies import MAX_BACKOFF_SECONDS, Why, copies_for_missing, copy_of
from dawdle._rules.dead_lettering import give_up, unreadable
from dawdle._rules.delay import due_of, remaining
from dawdle._rules.envelope import Envelope, to_epoch, to_rfc3339
from dawdle._rules.expiry import seconds_late
from dawdle._rules.lookup import HandlerLookup, Named
from dawdle._rules.poison import MAX_TRIALS, is_suspect, next_trial, trial_of
from dawdle._rules.settlement import UNSTORED_SECONDS, Ack, Forward, Settlement, postponed
from dawdle._rules.terms import Terms
from dawdle.abc import Codec
from dawdle.errors import ConfigurationError, EventError, shown
from dawdle.events import PICKLED_HANDLER, PICKLED_PREFIX, declaration_of, is_call, version_of

__all__ = ["MISSING_GRACE_SECONDS", "Run", "admit", "not_decoded", "untimely"]

MISSING_GRACE_SECONDS: Final = 60.0
"""Seconds in which a copy for a handler that its type names should find a node that has it. The log is silent until
then."""


H = TypeVar("H", bound=Named)


class Run(msgspec.Struct, Generic[H], frozen=True):
    """Decode the event as this type and run these handlers, all of them."""

    event_type: type[object]
    handlers: tuple[H, ...]
    attempt: int
    """Which try this is, from 1. Only this is read, never the envelope: on an ordered queue the receives count."""
    isolated: bool = False
    """It is a suspected poison message: no other message may be in flight while it runs."""
    missing: tuple[str, ...] = ()
    """Handlers that the type names and this node lacks: a copy for each is stored before the message is acked."""


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
    """Return which handlers run, or where the message goes instead.

    Times are by the queue's clock; `random()` is in [0, 1). `receives`: how often this copy was received, this time
    included. `queue`: the app's name of the queue whose handlers run; None: all handlers do.
    """
    # Time comes first: a node without a handler must not count the delay of an event as the age of an unclaimed one.
    elsewhen = untimely(body, envelope, stored_at, now, terms)
    if elsewhen is not None:
        return elsewhen
    # Then the type, the codec and the handler. A node that lacks any of them must not judge the event: another node of
    # a rolling deploy may have all three.
    try:
        event_type = lookup.resolve_type(envelope.type)
    except ConfigurationError as error:
        return _unclaimed(body, envelope, f"{error}", now, terms, random)
    if event_type is None:
        takes_pickles = lookup.handler_named(PICKLED_HANDLER) is not None
        return _of_no_type(body, envelope, now, terms, random, takes_pickles=takes_pickles)
    if media_of(envelope) not in codecs:
        return _unclaimed(body, envelope, f"no node has a codec for {shown(media_of(envelope))}", now, terms, random)
    if envelope.owed is not None:
        return _owed(body, envelope, envelope.owed, event_type, lookup, receives, now, terms, random)
    handlers, missing = _wanted(envelope, event_type, lookup, queue)
    if not handlers:
        declared = declaration_of(event_type)
        if declared is not None and declared.unclaimed == "drop":
            # `drop` speaks of this node's handlers. Those that the type names must get the event all the same.
            copies = copies_for_missing(body, missing, now, terms)
            if copies:
                return Forward(copies, release_after=UNSTORED_SECONDS)
            return Ack(f"no handler for {envelope.type!r}, and its type is declared with unclaimed='drop'")
        where = "" if queue is None else f" on the queue {queue!r}"
        reason = f"no node has a handler for {shown(envelope.type)}{where}"
        return _unclaimed(body, envelope, reason, now, terms, random, named=bool(missing))
    return _with_trial(
        body, envelope, Run(event_type, handlers, envelope.attempt, missing=missing), receives, now, terms
    )


def _owed(
    body: bytes,
    envelope: Envelope,
    name: str,
    event_type: type[object],
    lookup: HandlerLookup[H],
    receives: int,
    now: float,
    terms: Terms,
    random: Callable[[], float],
) -> Run[H] | Settlement:
    """Return what happens to a copy that owes one handler. What its type names has copies, from the original."""
    handler = lookup.handler_named(name)
    # Any sender can write a handler's name. It gets only what it takes, or its annotation would promise nothing.
    if handler is not None and handler.matches(event_type):
        return _with_trial(body, envelope, Run(event_type, (handler,), envelope.attempt), receives, now, terms)
    taking = "" if handler is None else f" that takes {shown(envelope.type)}"
    reason = f"no node has the handler {shown(name)}{taking}"
    named = name in lookup.missing_for(event_type, None)
    return _unclaimed(body, envelope, reason, now, terms, random, named=named)


def _wanted(
    envelope: Envelope, event_type: type[object], lookup: HandlerLookup[H], queue: str | None
) -> tuple[tuple[H, ...], tuple[str, ...]]:
    """Return the handlers of an event that owes all of them, and the names of those that this node lacks."""
    # A copy for one queue is for the handlers that are bound to it, and for those that its type names as `name@queue`.
    # The event itself, in its first queue, is for all others.
    if envelope.only is not None and queue is not None:
        return lookup.bound_to(queue, event_type), lookup.missing_for(event_type, queue, only=True)
    return lookup.handlers_for(event_type, queue), lookup.missing_for(event_type, queue)


def untimely(body: bytes, envelope: Envelope, stored_at: float, now: float, terms: Terms) -> Settlement | None:
    """Return where an event goes that is not due yet, or has expired; None: its time is now."""
    if envelope.due is None and envelope.delay_ms is None and envelope.expires is None:  # nearly always
        return None
    late = seconds_late(envelope, now)
    if late is not None:
        if envelope.expired == "dead":
            return give_up(
                body,
                envelope,
                f"it expired {late:.3g} s before it was received; its handlers do not run any more",
                now,
                terms,
            )
        return Ack(late=late)
    delay_ms = None if envelope.delay_ms is None else int(envelope.delay_ms)
    left = remaining(due_of(None if envelope.due is None else to_epoch(envelope.due), delay_ms, stored_at), now)
    return postponed(body, left, now, terms) if left > 0 else None


def _with_trial(
    body: bytes, envelope: Envelope, run: Run[H], receives: int, now: float, terms: Terms
) -> Run[H] | Settlement:
    """Return the run, or what happens before it to a message that may have ended its worker.

    Trials come last, since they cost a message its place: only one whose handlers would run now is suspected.
    """
    # A queue that ends with its process brings no message back, so it needs no trials. An ordered one has its own way.
    if not terms.durable or terms.ordered:
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
    """Return where an event goes that this node cannot handle.

    `named`: its type names the handler that is missing here, so another node is expected to have it.
    """
    if not terms.shared:
        return Ack(f"{reason}, and a queue in memory has no other consumer")
    # Not in the future, or the event would be kept for ever.
    since = now if envelope.since is None else min(now, to_epoch(envelope.since))
    age = max(0.0, now - since)
    if age >= terms.unclaimed:
        return give_up(body, envelope, f"{reason}, for {terms.unclaimed:g} s", now, terms)
    # A wait as long as the age doubles the age each time, so an event that no node wants costs few receives. A named
    # handler is on some node. Of two nodes the wrong one receives one copy in a thousand ten times in a row, and with
    # doubling that copy would wait a quarter of an hour; so its waits grow by an eighth.
    wait = age / 8 if named else age
    # Up to half of the wait is random, or the same node could receive the event every time.
    delay = min(max(1.0, wait), MAX_BACKOFF_SECONDS) * (1.0 - random() / 2)
    why: Why = "missing" if named and age < MISSING_GRACE_SECONDS else "unclaimed"
    owed, changes = envelope.owed, {"dawdlesince": to_rfc3339(since), "dawdlecrowded": envelope.crowded}
    copy = copy_of(body, delay, now, terms, why=why, handler=owed, reason=reason, changes=changes)
    return Forward((copy,), release_after=delay)


def not_decoded(
    body: bytes,
    envelope: Envelope,
    event_type: type[object],
    error: EventError,
    *,
    now: float,
    terms: Terms,
    random: Callable[[], float],
) -> Settlement:
    """Return where an event goes whose data does not fit its type: it is given up, unless another node may fit."""
    # The arguments of a call were checked where it was made, against another version of the function then. That version
    # may run on another node, as in a rolling deploy.
    if is_call(event_type) and terms.shared and not envelope.type.startswith(PICKLED_PREFIX):
        reason = f"no node has a version of the function that takes this call: {error}"
        return _unclaimed(body, envelope, reason, now, terms, random)
    # A newer version than this node knows is from a node that was deployed later, so there is one that reads it.
    if terms.shared and envelope.version > version_of(event_type):
        reason = f"no node knows version {envelope.version} of {shown(envelope.type)}"
        return _unclaimed(body, envelope, reason, now, terms, random)
    return unreadable(body, envelope, str(error), now, terms)


def _of_no_type(
    body: bytes, envelope: Envelope, now: float, terms: Terms, random: Callable[[], float], *, takes_pickles: bool
) -> Settlement:
    """Return where an event goes whose type this node does not know."""
    # Where pickled calls are not expected, one is not left to other nodes: it may come from any sender.
    if envelope.type.startswith(PICKLED_PREFIX) and not takes_pickles:
        reason = "it is a pickled call, and this app has no functions=dawdle.SignedPickle(key)"
        return give_up(body, envelope, reason, now, terms)
    return _unclaimed(body, envelope, f"no node knows an event type {shown(envelope.type)}", now, terms, random)
