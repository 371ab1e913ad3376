"""What becomes of a message after its handlers ran: acked, released, or forwarded as copies. Values only.

Every copy is stored before its original is acked, and all copies of one settlement go into one batch. Whoever adds a
case keeps that: an (event, handler) pair that is not done has a durable message at every instant.
"""

from collections.abc import Callable, Sequence
from typing import Final, assert_never

import msgspec

from dawdle._rules.copies import MAX_BACKOFF_SECONDS, Copy, Why, copies_for_missing, copy_of, dead_attributes
from dawdle._rules.delay import hop, to_ms
from dawdle._rules.envelope import Envelope, clip, rewrite, to_rfc3339
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
"""Seconds. What has failed for good, and has no dead-letter queue to go to, is tried again no more often than this."""

UNSTORED_SECONDS: Final = 10.0
"""Seconds until a message comes back that is done here, and whose copies for other nodes could not be stored."""

_MAX_COUNTED: Final = 2**31 - 1
"""What `dawdlecrowded` can say: an integer of CloudEvents has 32 bits."""


class Ack(msgspec.Struct, frozen=True):
    """Nobody is owed anything any more. `reason`, when nobody ran: why nobody is."""

    reason: str | None = None


class Release(msgspec.Struct, frozen=True):
    """The message itself comes back in so many seconds."""

    seconds: float


class Forward(msgspec.Struct, frozen=True):
    """Store all copies, then ack. If that fails, the message itself comes back in `otherwise` seconds."""

    copies: tuple[Copy, ...]
    release_after: float


Settlement = Ack | Release | Forward


class Result(msgspec.Struct, frozen=True):
    """What one handler made of the event, and by which rule it is tried again."""

    handler: str
    retry: Retry
    outcome: Outcome
    ended: float | None = None
    """When, by the queue's clock: what waits until it is tried again waits from then on. None: just now."""
    kept: bool = False
    """The copy that keeps its claim on the event is stored already, since a sibling took its time."""


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
    """Return what becomes of a message whose handlers ran. `now` by the queue's clock; `random()` in [0, 1).

    `held` is False for an event that was handled past the queue: no message is there to be released. `missing` are
    the handlers of its `Run` that this node lacks, and `attempt` is its attempt.
    """
    unfinished = [result for result in results if not isinstance(result.outcome, Done) and not result.kept]
    elsewhere = copies_for_missing(body, missing, now, terms)
    if not unfinished:
        return Forward(elsewhere, release_after=UNSTORED_SECONDS) if elsewhere else Ack()
    unharmed = held and all(isinstance(result.outcome, Interrupted) for result in results)
    if unharmed and not envelope.trial:  # a trial that is received again counts as one that nobody lived through
        return Release(0.0)
    copies = tuple(copy_for(body, result, now, terms, random, attempt=attempt, held=held) for result in unfinished)
    otherwise = min(_backoff_for(result, attempt, random) for result in unfinished)
    return Forward((*copies, *elsewhere), otherwise)


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
    """Return the copy that keeps one unfinished handler's claim on the event.

    `settle` writes it when the last sibling has ended; where that takes long it is written before. Either way what it
    waits counts from when its handler ended.

    `held` is False for an event that was in no queue: then `now` is by no queue's clock, and what waits for longer than
    one hop says for how long, as a first copy does, and not until when.
    """
    delay, why, error = _next_turn(result, attempt, terms, random)
    if result.ended is not None and why in _WAITING:
        delay = max(0.0, delay - max(0.0, now - result.ended))
    changes: dict[str, object] = {"dawdleowed": result.handler, "dawdleattempt": attempt + (why == "retry")}
    if isinstance(result.outcome, AtLimit):
        changes["dawdlecrowded"] = min(round(result.outcome.step * 1e6), _MAX_COUNTED)
    if error is not None:
        changes |= dead_attributes(error, now) if why == "dead" else {"dawdleerror": clip(error)}
    if not held and delay > hop(delay, terms.max_hop):
        changes |= {"dawdledelay": str(to_ms(delay)), "dawdledue": None}
    return copy_of(body, delay, now, terms, why=why, handler=result.handler, reason=error, changes=changes)


def _next_turn(
    result: Result, attempt: int, terms: Terms, random: Callable[[], float]
) -> tuple[float, Why, str | None]:
    """Return how long an unfinished handler waits for its next turn, why, and the error if there was one."""
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
            raise AssertionError("a handler that is done is owed nothing")
        case _:
            assert_never(outcome)


_WAITING: Final = frozenset({"retry", "later", "crowded"})
"""Copies that wait because of what their handler said, or did."""


def _backoff_for(result: Result, attempt: int, random: Callable[[], float]) -> float:
    return min(result.retry.backoff(attempt, random()), MAX_BACKOFF_SECONDS)


def postponed(body: bytes, left: float, now: float, terms: Terms) -> Release | Forward:
    """Return what lets a message wait `left` seconds: a copy, or the message itself where its queue cannot delay."""
    if terms.max_hop <= 0:
        return Release(left)
    due = {"dawdledelay": None, "dawdledue": to_rfc3339(now + left)}
    copy = Copy(body=rewrite(body, due), delay=hop(left, terms.max_hop), why="delayed")
    return Forward((copy,), release_after=min(left, MAX_BACKOFF_SECONDS))
