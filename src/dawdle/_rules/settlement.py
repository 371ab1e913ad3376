"""Decides after the handlers ran: the message is acked, released, or forwarded as copies. Values in, values out.

Every copy is stored before its original is acked, and all copies of one settlement go into one batch. A new case must
keep this promise: an (event, handler) pair that is not done has a durable message at every instant.
"""

from collections.abc import Callable, Sequence
from typing import Final, assert_never

import msgspec

from dawdle._rules.copies import MAX_BACKOFF_SECONDS, Copy, Why, copies_for_missing, copy_of, dead_attributes
from dawdle._rules.delay import hop, to_ms
from dawdle._rules.envelope import Envelope, clip, rewrite, to_rfc3339
from dawdle._rules.expiry import aged
from dawdle._rules.outcome import AtLimit, Done, Failed, Interrupted, Outcome, Postponed, Rejected
from dawdle._rules.retry import Retry
from dawdle._rules.terms import Terms

__all__ = [
    "MIN_KEPT_SECONDS",
    "UNSTORED_SECONDS",
    "Ack",
    "Forward",
    "Release",
    "Result",
    "Settlement",
    "copy_for",
    "postponed",
    "settle",
]

MIN_KEPT_SECONDS: Final = 60.0
"""Seconds. An event that failed for good, without a dead-letter queue, is tried again at most this often."""

UNSTORED_SECONDS: Final = 10.0
"""Seconds until a message comes back whose handlers are done here, and whose copies for other nodes were not stored."""

_MAX_COUNTED: Final = 2**31 - 1
"""The largest `dawdlecrowded`: an integer of CloudEvents has 32 bits."""


class Ack(msgspec.Struct, frozen=True):
    """Every handler is done, so the message is deleted. `reason`: why it is deleted although no handler ran."""

    reason: str | None = None
    late: float | None = None
    """Seconds since it expired, which is why no handler ran; None: it has not expired."""


ACK: Final = Ack()
"""The one in which all is done."""


class Release(msgspec.Struct, frozen=True):
    """The message itself becomes visible again in so many seconds. `why` and `reason` are as those of a copy."""

    seconds: float
    why: Why | None = None
    reason: str | None = None


class Forward(msgspec.Struct, frozen=True):
    """Store all copies, then ack. If a copy is not stored, the message itself comes back in `release_after` seconds."""

    copies: tuple[Copy, ...]
    release_after: float


Settlement = Ack | Release | Forward


class Result(msgspec.Struct, frozen=True):
    """The outcome of one handler, and the rule by which it is tried again."""

    handler: str
    retry: Retry
    outcome: Outcome
    ended: float | None = None
    """When it ended, by the queue's clock: the wait until its next try counts from then. None: just now."""
    kept: bool = False
    """The copy that owes the handler is stored already, since a sibling took longer."""


def settle(
    body: bytes,
    envelope: Envelope,
    results: Sequence[Result],
    *,
    now: float,
    terms: Terms,
    random: Callable[[], float],
    held: bool = True,
    attempt: int,
    missing: Sequence[str] = (),
) -> Settlement:
    """Return where a message goes whose handlers ran. `now` is by the queue's clock; `random()` is in [0, 1).

    `held` is False for a direct event, which has no message that could be released. `missing` and `attempt` are those
    of its `Run`.
    """
    unfinished = [result for result in results if not isinstance(result.outcome, Done) and not result.kept]
    if not unfinished and not missing:  # nearly always
        return ACK
    body = aged(body, envelope, now)
    if terms.ordered and held:
        return _settle_in_place(body, unfinished, now, terms, random, attempt)
    elsewhere = copies_for_missing(body, missing, now, terms)
    if not unfinished:
        return Forward(elsewhere, release_after=UNSTORED_SECONDS) if elsewhere else ACK
    # A stop interrupted all handlers and none is settled: the message is as it was, so it goes back at once, and no
    # copy is made. With one handler done, a release would run that one again, so the others get copies. A trial gets a
    # copy too: received again, it would count as a trial whose process ended.
    unharmed = held and all(isinstance(result.outcome, Interrupted) for result in results)
    if unharmed and not envelope.trial:
        return Release(0.0)
    copies = tuple(copy_for(body, result, now, terms, random, attempt=attempt, held=held) for result in unfinished)
    # If the copies cannot be stored, all handlers run again. So the message waits for the shortest of their back-offs.
    release_after = min(_backoff_for(result, attempt, random) for result in unfinished)
    return Forward((*copies, *elsewhere), release_after)


def _settle_in_place(
    body: bytes,
    unfinished: Sequence[Result],
    now: float,
    terms: Terms,
    random: Callable[[], float],
    attempt: int,
) -> Settlement:
    """Return where a message of an ordered queue goes. It keeps its place while a handler is to be tried again.

    The message cannot say which handlers are done, so the next try runs all of them. Hence the letters of those that
    are given up are written with the last try: before, each of them may still succeed.
    """
    waits: list[float] = []
    whys: dict[Why, str | None] = {}
    for result in unfinished:
        delay, why, error = _next_turn(result, attempt, terms, random)
        if why != "dead":
            waits.append(_left_of(delay, why, result, now))
            whys.setdefault(why, error)
    if waits:
        first: Why = next(each for each in _IN_PLACE if each in whys)
        return Release(max(waits), first, whys[first])
    letters = tuple(copy_for(body, result, now, terms, random, attempt=attempt) for result in unfinished)
    if not letters:
        return ACK
    return Forward(letters, release_after=min(_backoff_for(result, attempt, random) for result in unfinished))


_IN_PLACE: Final[tuple[Why, ...]] = ("kept", "retry", "later", "crowded", "interrupted")
"""Why a message waits in its place. Of several handlers the first one here tells: what failed counts as an attempt."""


def copy_for(
    body: bytes,
    result: Result,
    now: float,
    terms: Terms,
    random: Callable[[], float],
    *,
    attempt: int,
    held: bool = True,
) -> Copy:
    """Return the copy that owes one unfinished handler.

    `settle` asks for it when the last sibling has ended; if that takes long, the flow asks for it before. Either way
    its wait counts from when its handler ended. `held` is False for a direct event.
    """
    delay, why, error = _next_turn(result, attempt, terms, random)
    delay = _left_of(delay, why, result, now)
    changes: dict[str, object] = {"dawdleowed": result.handler, "dawdleattempt": attempt + (why == "retry")}
    if isinstance(result.outcome, AtLimit):
        changes["dawdlecrowded"] = min(round(result.outcome.step * 1e6), _MAX_COUNTED)
    if error is not None:
        changes |= dead_attributes(error, now) if why == "dead" else {"dawdleerror": clip(error)}
    # A direct event was in no queue, so `now` is by the node's clock. A wait of several hops then says for how long, as
    # a first copy does, and not until when: the queue's clock decides when it is due.
    if not held and delay > hop(delay, terms.max_hop):
        changes |= {"dawdledelay": str(to_ms(delay)), "dawdledue": None}
    return copy_of(body, delay, now, terms, why=why, handler=result.handler, reason=error, changes=changes)


def _next_turn(
    result: Result, attempt: int, terms: Terms, random: Callable[[], float]
) -> tuple[float, Why, str | None]:
    """Return how long an unfinished handler waits for its next try, why, and its error if it has one."""
    outcome = result.outcome
    match outcome:
        case Failed() if attempt < result.retry.max_attempts:
            return result.retry.backoff(attempt, random()), "retry", outcome.error
        case Failed() | Rejected():
            if terms.has_dead_letters:
                return 0.0, "dead", outcome.error
            return max(result.retry.max_delay, result.retry.initial, MIN_KEPT_SECONDS), "kept", outcome.error
        case Postponed():
            return outcome.seconds, "later", None
        case AtLimit():
            return outcome.seconds, "crowded", None
        case Interrupted():
            return 0.0, "interrupted", None
        case Done():
            raise AssertionError("a handler that is done has no next try")
        case _:
            assert_never(outcome)


_WAITING: Final = frozenset({"retry", "later", "crowded"})
"""Copies whose wait counts from when their handler ended. The others do not wait, or wait by another rule."""


def _left_of(delay: float, why: Why, result: Result, now: float) -> float:
    """Return what is left of a wait that began when its handler ended."""
    if result.ended is None or why not in _WAITING:
        return delay
    return max(0.0, delay - max(0.0, now - result.ended))


def _backoff_for(result: Result, attempt: int, random: Callable[[], float]) -> float:
    return min(result.retry.backoff(attempt, random()), MAX_BACKOFF_SECONDS)


def postponed(body: bytes, left: float, now: float, terms: Terms) -> Release | Forward:
    """Return how a message waits `left` seconds: as a delayed copy, or released if its queue cannot delay."""
    if terms.max_hop <= 0:
        return Release(left)
    # A copy wherever the queue can delay: a released message counts as in flight on SQS, and each of its receives
    # brings it nearer to SQS's own redrive.
    due = {"dawdledelay": None, "dawdledue": to_rfc3339(now + left)}
    copy = Copy(body=rewrite(body, due), delay=hop(left, terms.max_hop), why="delayed")
    return Forward((copy,), release_after=min(left, MAX_BACKOFF_SECONDS))
