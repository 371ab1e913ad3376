"""Decides about messages of ordered queues: such a message keeps its place. Values in, values out.

The states of one event in its group, and the message that keeps it:

    behind ── all before it are done ──► first ── admit ──► runs ── settle ──► done: the next one is first
                                           ▲                 ├──► failed, later, at a limit, interrupted ──┐
                                           │                 ├──► given up ──► a dead letter ──► done      │
                                           │                 └── its process ended ── the lease ends ──────┤
                                           ├────── unclaimed, or a handler is missing here ──── released ──┤
                                           └───────────────────────────────────────────────────────────────┘

A copy would stand at the end of its group. So whatever must wait is released in its place, holds its group meanwhile,
and cannot write down what it waits for: its receive count is all that is known of its past.

The count says too much. A message is received with the one before it, and given back when that one failed, although
nothing was wrong with it. So each process remembers what became of the receives that were its own (`Past`).
"""

from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

import msgspec

from dawdle._rules.admission import Run, untimely
from dawdle._rules.copies import Why, copy_of
from dawdle._rules.dead_lettering import give_up
from dawdle._rules.envelope import Envelope
from dawdle._rules.lookup import Named
from dawdle._rules.poison import MAX_TRIALS, SUSPECT_RECEIVES
from dawdle._rules.settlement import UNSTORED_SECONDS, Forward, Release, Settlement
from dawdle._rules.terms import Terms
from dawdle.errors import shown

__all__ = [
    "MAX_UNCLAIMED_WAIT_SECONDS",
    "MIN_UNFINISHED_RECEIVES",
    "NO_PAST",
    "Past",
    "delayed",
    "in_place",
    "never_run",
    "past_after",
]

MIN_UNFINISHED_RECEIVES: Final = 15
"""Receives of no known outcome after which a message may be dead-lettered, at least, once it is old enough as well."""

MAX_UNCLAIMED_WAIT_SECONDS: Final = 300.0
"""Seconds of the longest wait for a node that has the handlers: the group waits as long."""

NAMED_SILENT_RECEIVES: Final = 7
"""Receives in about a minute of such waits. Only then is a handler logged as missing that its type names."""


H = TypeVar("H", bound=Named)


class Past(NamedTuple):
    """What one process knows of the earlier receives of a message."""

    explained: int = 0
    """Receives that did not end a process: this one settled them."""

    blameless: int = 0
    """Those among them in which no handler failed: it was given back unrun, or interrupted, or asked for later."""


NO_PAST: Final = Past()
"""This process knows nothing of a message, as of nearly all."""


def past_after(past: Past, received: int, receives: int, why: Why | None) -> Past:
    """Return the past of a message that was settled here and is not done.

    `received`: its receive count when it was received; `receives`: now, as it may have been received again meanwhile.
    `why`: why it waits; None: its lease was lost, or its settling failed.
    """
    again = receives - received
    return Past(past.explained + again + 1, past.blameless + again + (why not in _ATTEMPTS))


def never_run(receives: int) -> Past:
    """Return the past of a message in whose receives no handler ran: it stood behind another one in each of them."""
    return Past(receives, receives)


_ATTEMPTS: Final = frozenset({"retry", "kept"})
"""Why a message waits of which a handler failed."""


def in_place(
    body: bytes,
    envelope: Envelope,
    decision: Run[H] | Settlement,
    *,
    receives: int,
    past: Past,
    stored_at: float,
    now: float,
    terms: Terms,
    random: Callable[[], float],
) -> Run[H] | Settlement:
    """Return what a decision of admission means on an ordered queue. The arguments are those of `admit`."""
    if isinstance(decision, Run) and not (decision.missing and terms.shared):
        return _run(body, envelope, decision, receives, past, stored_at, now, terms)
    if isinstance(decision, Run):
        # Copies for the missing handlers would lose their place, so the event waits for a node that has all of them.
        lacks = ", ".join(map(shown, decision.missing))
        reason, named = f"no node has all of its handlers: this one lacks {lacks}", True
    elif isinstance(decision, Forward) and decision.copies[0].why in _FOR_ANOTHER_NODE:
        copy = decision.copies[0]
        reason, named = copy.reason or f"no node has the handler {shown(copy.handler)}", copy.why == "missing"
    else:
        return decision
    return _unclaimed(body, envelope, reason, receives, stored_at, now, terms, random, named=named)


_FOR_ANOTHER_NODE: Final = frozenset({"unclaimed", "missing"})


def delayed(body: bytes, envelope: Envelope, *, stored_at: float, now: float, terms: Terms) -> Settlement:
    """Return where an event goes that waited in the delay queue of an ordered queue: to its place there, once due."""
    elsewhen = untimely(body, envelope, stored_at, now, terms)
    if elsewhen is not None:
        return elsewhen
    copy = copy_of(body, 0.0, now, terms, why="due", handler=envelope.owed, changes={})
    return Forward((copy,), release_after=UNSTORED_SECONDS)


def _run(
    body: bytes,
    envelope: Envelope,
    run: Run[H],
    receives: int,
    past: Past,
    stored_at: float,
    now: float,
    terms: Terms,
) -> Run[H] | Settlement:
    """Return the run with its attempt, or the end of a message of which no outcome is known for too long."""
    attempt = max(1, envelope.attempt - 1 + receives - past.blameless)
    if attempt == run.attempt and receives == 1:  # nearly always
        return run
    tries = [terms.max_attempts if each.max_attempts is None else each.max_attempts for each in run.handlers]
    if past.explained == past.blameless:
        # No handler failed in this process. Earlier receives elsewhere may have been waits, so the first failure that
        # is seen here is not final, unless one attempt is all, or the attempt is written down.
        attempt = min(attempt, max(envelope.attempt, min(tries) - 1))
    unexplained = receives - past.explained
    if not terms.durable or unexplained < SUSPECT_RECEIVES:  # a queue that ends with its process brings nothing back
        return msgspec.structs.replace(run, attempt=attempt)
    # In another process a failure, a wait for a handler or a call for later looks like the end of that process. So a
    # message is given up only if it was received more often than its handlers may fail, and a suspect is tried on a
    # plain queue. And it must be so old, and so often received, that as an unclaimed one it were given up too: the
    # receives of a deploy, which may all have been such waits, condemn nothing.
    age = _age(unexplained, stored_at, now)
    if age >= terms.unclaimed and unexplained > max(MIN_UNFINISHED_RECEIVES, max(tries) + MAX_TRIALS):
        reason = (
            f"no outcome is known of {unexplained} of the {receives} times it was received, in "
            f"{max(0.0, now - stored_at):.0f} s: its workers may have died"
        )
        return give_up(body, envelope, reason, now, terms)
    return msgspec.structs.replace(run, attempt=attempt, isolated=True)


def _unclaimed(
    body: bytes,
    envelope: Envelope,
    reason: str,
    receives: int,
    stored_at: float,
    now: float,
    terms: Terms,
    random: Callable[[], float],
    *,
    named: bool,
) -> Settlement:
    """Return where an event goes that this node cannot handle: it waits in its place for a node that can.

    `named`: its type names the handler that is missing here.
    """
    if _age(receives, stored_at, now) >= terms.unclaimed:
        return give_up(body, envelope, f"{reason}, for {terms.unclaimed:g} s", now, terms)
    # Half as long again at random, or the same node could receive the event every time.
    wait = _wait_after(receives) * (1.0 + random() / 2)
    why: Why = "missing" if named and receives < NAMED_SILENT_RECEIVES else "unclaimed"
    return Release(wait, why, reason)


def _wait_after(receives: int) -> float:
    return min(2.0 ** min(receives - 1, 30), MAX_UNCLAIMED_WAIT_SECONDS)


def _age(receives: int, stored_at: float, now: float) -> float:
    """Return the seconds for which a message can have waited at most, if these receives were waits for its handlers."""
    # It cannot say since when. It is not longer than it is stored, and not longer than the waits of all its receives.
    return min(max(0.0, now - stored_at), _waited(receives))


def _waited(receives: int) -> float:
    """Return the seconds that a message has waited at least, if no node wanted it in any of its receives."""
    return sum(map(_wait_after, range(1, receives)))
