"""What the workers said, added up: their handlers, themselves, and in what they differ. Made once for each answer."""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from dawdle.cli._snapshot import VERSION, Answer, HandlerStats, QueueStats, WorkerStats, merged, quantile
from dawdle.cli.top._picture import HandlerRow, WorkerRow

__all__ = ["Fleet", "rate_of", "who"]

MIN_RATE_SECONDS: Final = 1.0
"""Seconds that a worker must have run before what it counted is a rate."""


class Fleet:
    """The answers of all workers that were asked."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        answers = _without_repeats(answers)
        self.stats = [each for answer in answers if answer.error is None for each in answer.stats]
        self.handlers = _handler_rows(self.stats) if answers else None
        """None: no worker was asked."""
        self.workers = tuple(_worker_rows(answers))
        self.differences = _differences(self.stats)
        """What is not alike on workers of one app, in words."""

    def told_of(self, names: Iterable[str]) -> dict[str, list[tuple[WorkerStats, QueueStats]]]:
        """Return what each worker said of each queue: of those with these names, and then of others."""
        told: dict[str, list[tuple[WorkerStats, QueueStats]]] = {name: [] for name in names}
        for worker in self.stats:
            for queue in worker.queues:
                told.setdefault(queue.name, []).append((worker, queue))
        return told


def _without_repeats(answers: Sequence[Answer]) -> list[Answer]:
    """Return the answers without an app that has answered before, at another URL: it would count twice."""
    seen, kept = set[str](), list[Answer]()
    for answer in answers:
        new = [each for each in answer.stats if not each.id or each.id not in seen]
        seen.update(each.id for each in new)
        if new or answer.error is not None or not answer.stats:
            kept.append(answer if len(new) == len(answer.stats) else msgspec.structs.replace(answer, stats=new))
    return kept


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
        processes=len(handlers),
        rate=rate_of((each.recent_runs, worker.window) for worker, each in told),
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


def rate_of(counted: Iterable[tuple[int, float]]) -> float | None:
    """Return how many there are in a second on all workers, of what each counted in its window; None: not known yet."""
    rates = [count / window for count, window in counted if window >= MIN_RATE_SECONDS]
    return sum(rates) if rates else None


def _differences(stats: Sequence[WorkerStats]) -> list[str]:
    """Return what workers of one app do not have in common, in words."""
    found: list[str] = []
    first: dict[str, WorkerStats] = {}
    for each in stats:
        other = first.setdefault(each.app, each)
        if _takes(each) != _takes(other):
            names = sorted(
                name for name in _takes(each) | _takes(other) if _takes(each).get(name) != _takes(other).get(name)
            )
            found.append(
                f"workers of {each.app or 'one app'} differ: {who(each)} and {who(other)} do not have the same "
                f"{', '.join(names)}: workers that share a queue must have the same handlers, unless a deploy is under "
                f"way"
            )
        if each.version > VERSION:
            found.append(f"{who(each)} runs a later release of dawdle: update this one to be sure of its figures")
    return found


def _takes(stats: WorkerStats) -> dict[str, tuple[str, ...]]:
    return {each.name: tuple(sorted(each.types)) for each in stats.handlers if each.types}


def who(stats: WorkerStats) -> str:
    """Return which process it is, in words."""
    return f"process {stats.pid} on {stats.host}"
