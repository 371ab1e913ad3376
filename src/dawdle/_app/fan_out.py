"""Stores events in their queues, each queue's in one go and all queues side by side. Seals none, and chooses no queue.

The first queue of an event stores the event itself, each other a copy that says so: `dawdleonly` names the queue, and
only handlers that are bound to it run on the copy. What is stored says it all, so a later change of the routes changes
nothing for events that are under way.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from dawdle._app.signal_report import SignalReport
from dawdle._rules.delay import hop
from dawdle._rules.envelope import rewrite
from dawdle.abc import Outgoing
from dawdle.errors import BackendError

if TYPE_CHECKING:  # as with the runtime, the first app loads it
    from dawdle._flow.queue_client import QueueClient

__all__ = ["NotInAll", "Placed", "SignalOptions", "bodies_for", "store_in_all", "store_in_queue"]


class SignalOptions(NamedTuple):
    """How events are signaled: what the caller says, read and checked."""

    delay: float = 0.0
    """Seconds until they are handled."""
    expires: float | timedelta | None = None
    group: str | None = None
    headers: Mapping[str, str] | None = None
    source: str | None = None
    transaction: object | None = None
    """The caller's own, in which they are stored; None: by a request of ours."""
    dedup: str | None = None
    """The deduplication id of an event that a queue may have already; None: the ids are made here and now."""
    report: SignalReport | None = None
    """What tells the hooks; None: there are none, or only the caller's commit stores the events."""


class Placed(NamedTuple):
    """A sealed event, and the body that each of its queues stores."""

    event: object
    event_id: str
    bodies: "Sequence[tuple[QueueClient, bytes]]"


class _Share(NamedTuple):
    """What one queue stores of a batch: each message waits for so many seconds."""

    wait: float
    events: list[Placed]
    batch: list[Outgoing]


class NotInAll(NamedTuple):
    """An event that not all of its queues have stored, those which have, and why it is not in the others."""

    event_id: str
    stored_in: tuple[str, ...]
    error: BackendError


def bodies_for(body: bytes, queues: "Sequence[QueueClient]") -> "list[tuple[QueueClient, bytes]]":
    """Return what each queue of an event stores: the event, and the copies for one queue each."""
    if len(queues) == 1:
        return [(queues[0], body)]
    first, *others = queues
    return [(first, body), *((queue, rewrite(body, {"dawdleonly": queue.name})) for queue in others)]


async def store_in_all(
    batch: Sequence[Placed], how: SignalOptions, report: "Callable[[QueueClient, Placed], None] | None"
) -> list[NotInAll]:
    """Store events, all in all of their queues, and return those that are not, or may not be, in each of theirs.

    `report` is called for each event and queue that has stored it.
    """
    by_queue = _by_queue(batch, how)
    if how.transaction is not None and len(by_queue) > 1:
        for queue in by_queue:  # before the first statement: a mistake must not leave half of them in the transaction
            with suppress(BackendError):  # what the database answers is told when they are stored
                await queue.check_transaction(how.transaction, how.delay)
    if len(by_queue) == 1 or how.transaction is not None:  # a transaction's connection does one thing at a time
        answers = [await store_in_queue(queue, share.batch, how.transaction) for queue, share in by_queue.items()]
    else:
        answers = await asyncio.gather(*(store_in_queue(queue, share.batch) for queue, share in by_queue.items()))
    failed: dict[str, dict[str, BackendError]] = {}
    for (queue, share), errors in zip(by_queue.items(), answers, strict=True):
        if report is None and not any(errors):  # nearly always
            continue
        for placed, error in zip(share.events, errors, strict=True):
            if error is not None:
                failed.setdefault(placed.event_id, {})[queue.name] = error
            elif report is not None:
                report(queue, placed)
    if not failed:
        return []
    return [_not_in_all(placed, failed[placed.event_id]) for placed in batch if placed.event_id in failed]


def _by_queue(batch: Sequence[Placed], how: SignalOptions) -> "dict[QueueClient, _Share]":
    """Return what each queue stores of a batch."""
    by_queue: dict[QueueClient, _Share] = {}
    for placed in batch:
        for queue, body in placed.bodies:
            share = by_queue.get(queue)
            if share is None:
                # The first copy waits for one hop at most. Its `dawdledelay` says how long the event waits in all.
                share = by_queue[queue] = _Share(hop(how.delay, queue.terms.max_hop), [], [])
            share.events.append(placed)
            share.batch.append(Outgoing(body, share.wait, how.group, how.dedup or placed.event_id, how.dedup is None))
    return by_queue


async def store_in_queue(
    queue: "QueueClient", batch: Sequence[Outgoing], transaction: object | None = None
) -> Sequence[BackendError | None]:
    """Store messages in one queue, and return for each of them why it is not stored, or may not be."""
    try:
        if transaction is not None:
            return await queue.send_in(transaction, batch)
        return await queue.send_many(batch)
    except BackendError as closing:  # none of them was taken
        return [closing] * len(batch)


def _not_in_all(placed: Placed, errors: dict[str, BackendError]) -> NotInAll:
    if len(placed.bodies) == 1:
        (error,) = errors.values()
        return NotInAll(placed.event_id, (), error)
    stored_in = tuple(queue.name for queue, _ in placed.bodies if queue.name not in errors)
    # What one queue has stored, a second signal stores twice: so the event as a whole counts as uncertain.
    worst = next((error for error in errors.values() if error.uncertain), next(iter(errors.values())))
    there = f"stored in {', '.join(stored_in)}, and" if stored_in else "stored nowhere: it is"
    missing = ", ".join(
        f"not in {name}" if not error.uncertain else f"perhaps in {name}" for name, error in errors.items()
    )
    error = BackendError(f"{there} {missing}: {worst}", kind=worst.kind, uncertain=bool(stored_in) or worst.uncertain)
    error.__cause__ = worst
    return NotInAll(placed.event_id, stored_in, error)
