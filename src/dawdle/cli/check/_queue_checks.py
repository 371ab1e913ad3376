"""Opens each queue of an app and asks it what a worker needs of it. Stores, receives and changes nothing."""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Final

from dawdle import BackendError, ConfigurationError, Dawdle
from dawdle.abc import Backend, Countable, Pingable
from dawdle.cli._app import missing_file
from dawdle.cli._findings import Finding
from dawdle.cli.sqs._aws import AwsError
from dawdle.errors import FaultKind

__all__ = ["queue_findings"]

ANSWER_SECONDS: Final = 30.0
"""Seconds in which a queue must answer one question."""

_FIXES: Final[dict[FaultKind, str]] = {
    "denied": "aws sts get-caller-identity   # which credentials are these? dawdle sqs doctor tries each permission",
    "missing": "dawdle sqs create NAME",
    "unavailable": "check the address and the network: the queue did not answer",
    "throttled": "wait, and ask again: the queue gets too many requests",
}


async def queue_findings(app: Dawdle) -> list[Finding]:
    """Return what is wrong with the queues of an app. It must not be entered."""
    found: list[Finding] = []
    described = app.describe()
    works = described.handlers and described.settings.get("start_listener") != "False"
    listened = {queue.name for queue in described.queues if queue.listened and works}
    for name, backend in app.backends.items():
        path = missing_file(backend)
        if path is not None:
            found.append(_not_there_yet(f"queue {name}", path))
            continue
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                denied = await _denied(backend, is_worked_on=name in listened)
                async with backend:
                    found += denied or [finding async for finding in _open_queue(name, backend)]
        except (AwsError, BackendError, ConfigurationError, TimeoutError) as error:
            found.append(_cannot_use(f"queue {name}", error))
    if not found:
        try:  # two names of one queue show only when both are open
            async with app.connected():
                pass
        except ConfigurationError as error:
            found.append(_cannot_use("app", error))
    return found


def _not_there_yet(where: str, path: str) -> Finding:
    return Finding(
        severity="note",
        rule="queue.no-file",
        where=where,
        what=f"there is no file {path}",
        why="the first signal or worker makes it; if there should be events in it, the path is wrong",
        fix="look at DAWDLE_SQLITE_PATH, or at SQLite(...) in the app, and at the current directory",
    )


async def _denied(backend: Backend, *, is_worked_on: bool) -> list[Finding]:
    """Return the permissions that the credentials lack on a queue of SQS."""
    if "dawdle.backends.sqs" not in sys.modules:  # no queue can be one of SQS
        return []
    from dawdle.backends.sqs import SQS  # noqa: PLC0415 - as above
    from dawdle.cli.sqs._doctor.ask import permission_findings  # noqa: PLC0415 - as above

    return (
        await permission_findings(backend, "worker" if is_worked_on else "signaler") if isinstance(backend, SQS) else []
    )


def _cannot_use(where: str, error: Exception) -> Finding:
    kind = error.kind if isinstance(error, BackendError) else None
    slow = isinstance(error, TimeoutError)
    return Finding(
        severity="error",
        rule=f"queue.{kind or ('unavailable' if slow else 'settings')}",
        where=where,
        what=f"no answer in {ANSWER_SECONDS:g} s" if slow else " ".join(str(error).split()),
        why="no event can be stored or handled",
        fix=_FIXES["unavailable"]
        if slow
        else "correct the settings of the queue"
        if kind is None
        else _FIXES.get(kind, ""),
    )


async def _open_queue(name: str, backend: Backend) -> AsyncIterator[Finding]:
    where = f"queue {name}"
    if isinstance(backend, Pingable):
        await backend.ping()
    await backend.prepare_receive()
    limits = backend.limits
    letters = backend.dead_letters
    if not limits.shared:
        return
    if letters is None:
        yield Finding(
            severity="warning",
            rule="queue.no-dead-letters",
            where=where,
            what="it has no dead-letter queue",
            why="an event that is given up stays in the queue, and is tried again at the longest back-off for ever",
            fix="dawdle sqs create NAME   # makes one, and connects it",
        )
    elif isinstance(letters, Countable):
        counts = await letters.count()
        if total := counts.waiting + counts.in_flight:
            yield Finding(
                severity="note",
                rule="queue.letters",
                where=where,
                what=f"{total:,} dead letters wait",
                why="events that were given up do nothing until they are redriven or purged",
                fix="dawdle dead list",
            )
    if limits.max_delay == 0 and backend.delayed is None:
        yield Finding(
            severity="warning",
            rule="queue.no-delays",
            where=where,
            what="it cannot delay messages, and has no second queue that can",
            why="signal(delay=...) is refused, and a retry waits in its place",
            fix="dawdle sqs create NAME.fifo   # makes a delay queue too; name it in DAWDLE_SQS_DELAY_QUEUE_URL",
        )
