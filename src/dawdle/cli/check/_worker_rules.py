"""Whether the workers of one queue have the same handlers. What workers say of themselves in, findings out."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from dawdle import AppDescription
from dawdle.cli._findings import Finding
from dawdle.cli._snapshot import Answer, WorkerStats

__all__ = ["worker_findings"]


def worker_findings(app: AppDescription, answers: Sequence[Answer]) -> list[Finding]:
    """Return how workers that share a queue differ, and which demanded handlers none of them has."""
    workers = [worker for answer in answers for worker in answer.stats]
    demanded = {name.partition("@")[0] for each in app.event_types for name in each.demanded}
    return [*_silent(answers), *_different(workers, demanded), *_missing(app, workers)]


def _silent(answers: Sequence[Answer]) -> Iterator[Finding]:
    for answer in answers:
        if answer.error is not None:
            yield Finding(
                severity="warning",
                rule="workers.silent",
                where=f"worker {answer.url}",
                what=answer.error,
                why="its handlers could not be compared with those of the others",
                fix=f"curl {answer.url}/ready   # is it the --health-port of a worker?",
            )


def _different(workers: Sequence[WorkerStats], demanded: set[str]) -> Iterator[Finding]:
    """Compare the workers of each queue. The first worker that receives an event decides which handlers it has."""
    sharing: dict[str, list[WorkerStats]] = defaultdict(list)
    for worker in workers:
        for queue in worker.queues:
            if queue.place and queue.slots:
                sharing[queue.place].append(worker)
    for place, those in sharing.items():
        handlers = {
            _called(each): {handler.name: frozenset(handler.types) for handler in each.handlers} for each in those
        }
        for name in sorted({name for known in handlers.values() for name in known} - demanded):
            having = [worker for worker, known in handlers.items() if name in known]
            lacking = [worker for worker in handlers if worker not in having]
            if lacking:
                yield Finding(
                    severity="error",
                    rule="workers.handlers",
                    where=f"handler {name}",
                    what=f"of the workers of {place}, {', '.join(having)} has it and {', '.join(lacking)} lacks it",
                    why="an event that a worker without it receives first is handled without it",
                    fix="deploy one version to all workers, or name the handler in @dawdle.event(handlers=...)",
                )
            elif len({handlers[worker][name] for worker in having}) > 1:
                yield Finding(
                    severity="error",
                    rule="workers.types",
                    where=f"handler {name}",
                    what=f"the workers of {place} take different types with it: "
                    + "; ".join(f"{worker} {', '.join(sorted(handlers[worker][name]))}" for worker in having),
                    why="an event goes to the handler or not, by which worker receives it first",
                    fix="deploy one version to all workers",
                )


def _missing(app: AppDescription, workers: Sequence[WorkerStats]) -> Iterator[Finding]:
    known = {handler.name for worker in workers for handler in worker.handlers}
    for event_type in app.event_types:
        for name in event_type.elsewhere:
            if workers and name.partition("@")[0] not in known:
                yield Finding(
                    severity="error",
                    rule="workers.missing",
                    where=f"event {event_type.name}",
                    what=f"it demands the handler {name}, and none of the {len(workers)} workers has it",
                    why="its copy for that handler is dead-lettered after unclaimed=",
                    fix="start a worker that has the handler",
                )


def _called(worker: WorkerStats) -> str:
    return f"{worker.host}:{worker.pid}"
