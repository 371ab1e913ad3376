"""Makes a picture of what queues and workers said: adds up, compares, and leaves unknown what is not known. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from dawdle.abc import Counts
from dawdle.cli._snapshot import QueueStats, WorkerStats
from dawdle.cli.top._fleet import Fleet, rate_of, who
from dawdle.cli.top._notes import notes_of
from dawdle.cli.top._picture import Picture, QueueRow
from dawdle.cli.top._prices import dollars_a_month, price_of

__all__ = ["Asked", "picture_of"]

MIN_COST_SECONDS: Final = 20.0
"""Seconds that a worker must have run: before, its start is more of its requests than its work."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a queue itself said."""

    name: str
    system: str = ""
    place: str = ""
    """The name by which it is the same queue in every process."""

    counts: Counts | None = None
    """None: it was not asked yet, or cannot be."""

    oldest: float | None = None
    dead_letters: int | None = None
    error: str | None = None


def picture_of(
    *,
    time: float,
    app: str | None,
    queues: Sequence[Asked],
    fleet: Fleet,
    own_dollars: float | None = None,
    own_notes: Sequence[str] = (),
) -> Picture:
    """Put together what the queues and the workers said. `own_notes`: what asking costs, and what is not asked."""
    asked = {each.name: each for each in queues}
    rows = tuple(_queue_row(name, asked.get(name), told) for name, told in fleet.told_of(asked).items())
    differences = [*fleet.differences, *_other_queues(fleet, asked)]
    asks_workers = fleet.handlers is not None
    return Picture(
        time=time,
        app=app,
        queues=rows,
        handlers=fleet.handlers,
        workers=fleet.workers,
        own_dollars_per_month=own_dollars,
        notes=notes_of(rows, workers_asked=asks_workers, differences=differences, own_notes=own_notes),
    )


def _queue_row(name: str, asked: Asked | None, told: Sequence[tuple[WorkerStats, QueueStats]]) -> QueueRow:
    counts = None if asked is None else asked.counts
    system = (asked.system if asked is not None else "") or next((each.system for _, each in told if each.system), "")
    place = (asked.place if asked is not None else "") or next((each.place for _, each in told if each.place), "")
    in_flight = sum(each.in_flight for _, each in told) if told else None
    minutes = [(each, worker.queue_window) for worker, each in told if worker.queue_window >= MIN_COST_SECONDS]
    requests = rate_of((each.recent_requests, window) for each, window in minutes)
    empty = rate_of((each.recent_empty_receives, window) for each, window in minutes)
    events = sum(each.recent_events for _, each in told)
    return QueueRow(
        name=name,
        system=system,
        waiting=None if counts is None else counts.waiting,
        delayed=None if counts is None else counts.delayed,
        in_flight=in_flight if counts is None else counts.in_flight,
        oldest=None if asked is None else asked.oldest,
        signaled_per_second=rate_of((each.recent_signaled, worker.window) for worker, each in told),
        received_per_second=rate_of((each.recent_received, worker.window) for worker, each in told),
        dead_letters=None if asked is None else asked.dead_letters,
        requests_per_event=sum(each.recent_requests for _, each in told) / events if events else None,
        empty_receives_per_minute=None if empty is None else empty * 60,
        dollars_per_month=None if requests is None else dollars_a_month(requests, price_of(system, place)),
        error=None if asked is None else asked.error,
    )


def _other_queues(fleet: Fleet, asked: Mapping[str, Asked]) -> list[str]:
    """Return which queues of workers have the name of one that is counted here and are not it, in words."""
    found: list[str] = []
    for worker in fleet.stats:
        for queue in worker.queues:
            known = asked.get(queue.name)
            if known is not None and known.place and queue.place and known.place != queue.place:
                found.append(
                    f"queue {queue.name} of {who(worker)} is another one ({queue.place}) than the one that is counted "
                    f"here ({known.place}): start this command with the same settings as the worker"
                )
    return found
