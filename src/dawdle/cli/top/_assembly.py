"""Makes a picture of what queues and workers said: adds up, compares, and leaves unknown what is not known. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from dawdle.abc import Counts
from dawdle.cli._snapshot import VERSION, Answer, HandlerStats, QueueStats, WorkerStats, merged, quantile
from dawdle.cli.top._notes import notes_of
from dawdle.cli.top._picture import HandlerRow, Picture, QueueRow, WorkerRow
from dawdle.cli.top._prices import dollars_a_month, price_of

__all__ = ["Asked", "picture_of"]

MIN_RATE_SECONDS: Final = 1.0
"""Seconds that a worker must have run before what it counted is a rate."""

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
    workers: Sequence[Answer],
    own_dollars: float | None = None,
    own_notes: Sequence[str] = (),
) -> Picture:
    """Put together what the queues and the workers said. `own_notes`: what asking costs, and what is not asked."""
    workers = _without_repeats(workers)
    stats = [each for answer in workers if answer.error is None for each in answer.stats]
    asked = {each.name: each for each in queues}
    told: dict[str, list[tuple[WorkerStats, QueueStats]]] = {name: [] for name in asked}
    for each in stats:
        for queue in each.queues:
            told.setdefault(queue.name, []).append((each, queue))
    rows = tuple(_queue_row(name, asked.get(name), each) for name, each in told.items())
    return Picture(
        time=time,
        app=app,
        queues=rows,
        handlers=_handler_rows(stats) if workers else None,
        workers=tuple(_worker_rows(workers)),
        own_dollars_per_month=own_dollars,
        notes=notes_of(rows, workers_asked=bool(workers), differences=_differences(stats, asked), own_notes=own_notes),
    )


def _without_repeats(answers: Sequence[Answer]) -> list[Answer]:
    """Return the answers without an app that has answered before, at another URL: it would count twice."""
    seen, kept = set[str](), list[Answer]()
    for answer in answers:
        new = [each for each in answer.stats if not each.id or each.id not in seen]
        seen.update(each.id for each in new)
        if new or answer.error is not None or not answer.stats:
            kept.append(answer if len(new) == len(answer.stats) else msgspec.structs.replace(answer, stats=new))
    return kept


def _queue_row(name: str, asked: Asked | None, told: Sequence[tuple[WorkerStats, QueueStats]]) -> QueueRow:
    counts = None if asked is None else asked.counts
    system = (asked.system if asked is not None else "") or next((each.system for _, each in told if each.system), "")
    place = (asked.place if asked is not None else "") or next((each.place for _, each in told if each.place), "")
    in_flight = sum(each.in_flight for _, each in told) if told else None
    minutes = [(each, worker.queue_window) for worker, each in told if worker.queue_window >= MIN_COST_SECONDS]
    requests = _rate((each.recent_requests, window) for each, window in minutes)
    empty = _rate((each.recent_empty_receives, window) for each, window in minutes)
    events = sum(each.recent_events for _, each in told)
    return QueueRow(
        name=name,
        system=system,
        waiting=None if counts is None else counts.waiting,
        delayed=None if counts is None else counts.delayed,
        in_flight=in_flight if counts is None else counts.in_flight,
        oldest=None if asked is None else asked.oldest,
        signaled_per_second=_rate((each.recent_signaled, worker.window) for worker, each in told),
        received_per_second=_rate((each.recent_received, worker.window) for worker, each in told),
        dead_letters=None if asked is None else asked.dead_letters,
        requests_per_event=sum(each.recent_requests for _, each in told) / events if events else None,
        empty_receives_per_minute=None if empty is None else empty * 60,
        dollars_per_month=None if requests is None else dollars_a_month(requests, price_of(system, place)),
        error=None if asked is None else asked.error,
    )


def _handler_rows(stats: Sequence[WorkerStats]) -> tuple[HandlerRow, ...]:
    found: dict[str, list[tuple[WorkerStats, HandlerStats]]] = {}
    for worker in stats:
        for handler in worker.handlers:
            found.setdefault(handler.name, []).append((worker, handler))
    return tuple(_handler_row(name, told) for name, told in found.items())


def _handler_row(name: str, told: Sequence[tuple[WorkerStats, HandlerStats]]) -> HandlerRow:
    handlers = [each for _, each in told]
    durations = handlers[0].durations if len(handlers) == 1 else merged(each.durations for each in handlers)
    return HandlerRow(
        name=name,
        workers=len(handlers),
        rate=_rate((each.recent_runs, worker.window) for worker, each in told),
        running=sum(each.running for each in handlers),
        waited=max((each.recent_waited for each in handlers if each.recent_waited is not None), default=None),
        p50=quantile(durations, 0.5),
        p99=quantile(durations, 0.99),
        runs=sum(each.runs for each in handlers),
        failures=sum(each.failures for each in handlers),
        recent_failures=sum(each.recent_failures for each in handlers),
        retries=sum(each.retries for each in handlers),
        dead_letters=sum(each.dead_letters for each in handlers),
    )


def _worker_rows(answers: Sequence[Answer]) -> Iterable[WorkerRow]:
    for answer in answers:
        if answer.error is not None:
            yield WorkerRow(url=answer.url, error=answer.error)
            continue
        for each in answer.stats:
            yield WorkerRow(
                url=answer.url,
                app=each.app,
                host=each.host,
                pid=each.pid,
                uptime=each.uptime,
                rss=each.rss,
                cpu=each.cpu_seconds / each.uptime if each.uptime >= MIN_RATE_SECONDS else None,
                healthy=each.healthy,
                reasons=each.reasons,
            )


def _rate(counted: Iterable[tuple[int, float]]) -> float | None:
    """Return how many there are in a second on all workers, of what each counted in its window; None: not known yet."""
    rates = [count / window for count, window in counted if window >= MIN_RATE_SECONDS]
    return sum(rates) if rates else None


def _differences(stats: Sequence[WorkerStats], asked: Mapping[str, Asked]) -> list[str]:
    """Return what workers of one app do not have in common, in words, and what this command must not add up."""
    found: list[str] = []
    first: dict[str, WorkerStats] = {}
    for each in stats:
        other = first.setdefault(each.app, each)
        if _takes(each) != _takes(other):
            names = sorted(
                name for name in _takes(each) | _takes(other) if _takes(each).get(name) != _takes(other).get(name)
            )
            found.append(
                f"workers of {each.app or 'one app'} differ: {_who(each)} and {_who(other)} do not have the same "
                f"{', '.join(names)}: workers that share a queue must have the same handlers, unless a deploy is under "
                f"way"
            )
        for queue in each.queues:
            known = asked.get(queue.name)
            if known is not None and known.place and queue.place and known.place != queue.place:
                found.append(
                    f"queue {queue.name} of {_who(each)} is another one ({queue.place}) than the one that is counted "
                    f"here ({known.place}): start this command with the same settings as the worker"
                )
        if each.version > VERSION:
            found.append(f"{_who(each)} runs a later release of dawdle: update this one to be sure of its figures")
    return found


def _takes(stats: WorkerStats) -> dict[str, tuple[str, ...]]:
    return {each.name: tuple(sorted(each.types)) for each in stats.handlers if each.types}


def _who(stats: WorkerStats) -> str:
    return f"process {stats.pid} on {stats.host}"
