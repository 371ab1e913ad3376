"""The SQL that stores messages, as steps that any driver can carry out: ours, or that of a caller's transaction."""

import sqlite3
from collections.abc import Generator, Sequence
from functools import cache
from math import ceil, inf
from typing import Final

from dawdle.abc import Outgoing
from dawdle.backends.sqlite._calls import MICROSECONDS, QueueRow
from dawdle.errors import ConfigurationError

__all__ = ["DEDUP_SECONDS", "MAX_ROWS", "Steps", "carry_out", "due_at", "storing"]

Steps = Generator[tuple[str, Sequence[object]], Sequence[Sequence[object]], float]
"""Yields statements and their values, and is sent the rows of each. Returns when the first message is due."""

DEDUP_SECONDS: Final = 300.0
"""Seconds for which a deduplication id is remembered, as long as on a FIFO queue of SQS."""

MAX_ROWS: Final = 64
"""Rows in one INSERT. There is a statement for each number of rows up to it, and all of them stay compiled."""

_LATEST: Final = 1 << 62
"""The last time that a message may be due, 146,000 years from now: an integer of SQLite holds no more."""

_REMEMBER: Final = (
    "INSERT INTO dawdle_dedup(queue,dedup,stored_at) VALUES(?,?,?) ON CONFLICT(queue,dedup) DO NOTHING RETURNING id"
)
_FORGET: Final = "DELETE FROM dawdle_dedup WHERE queue=? AND dedup=? AND stored_at<?"
_FORGET_OLDEST: Final = (
    "DELETE FROM dawdle_dedup WHERE id IN (SELECT id FROM dawdle_dedup ORDER BY id LIMIT ?) AND stored_at<?"
)
# An UPDATE that changes nothing, since only a row that was written is returned.
_STAND_IN_LINE: Final = (
    "INSERT INTO dawdle_line(queue,grp,visible_at) VALUES(?,?,?) "
    "ON CONFLICT(queue,grp) DO UPDATE SET grp=grp RETURNING id"
)


def due_at(now: float, delay: float) -> int:
    """Return when a delay ends, in microseconds: rounded up, so that nothing is early."""
    at = (now + delay) * MICROSECONDS
    return ceil(at) if at < _LATEST else _LATEST


def carry_out(connection: sqlite3.Connection, steps: Steps) -> float:
    """Carry out steps on our own connection, and return their result."""
    try:
        sql, values = next(steps)
        while True:
            sql, values = steps.send(connection.execute(sql, values).fetchall())
    except StopIteration as end:
        return float(end.value)


def ordered_now(queue: QueueRow) -> tuple[str, Sequence[object]]:
    """Return the statement that tells how a queue is kept."""
    return "SELECT ordered FROM dawdle_queue WHERE id=?", (queue.id,)


def opened_otherwise(queue: QueueRow, rows: Sequence[Sequence[object]]) -> ConfigurationError | None:
    """Return the error for a queue that another process has opened in the other way since, by the rows of that."""
    if [bool(row[0]) for row in rows] == [queue.ordered]:
        return None
    return ConfigurationError(
        f"the queue {queue.name!r} was opened with ordered={queue.ordered} here, and with ordered={not queue.ordered} "
        f"elsewhere since: give all of its SQLite objects the same ordered=, in every process, and restart this one"
    )


def storing_if_as_opened(queue: QueueRow, batch: Sequence[Outgoing], now: float) -> Steps:
    """Store messages in the caller's transaction. Raises `ConfigurationError` for a queue that is kept otherwise."""
    error = opened_otherwise(queue, (yield ordered_now(queue)))
    if error is not None:
        raise error
    return (yield from storing(queue, batch, now))


def storing(queue: QueueRow, batch: Sequence[Outgoing], now: float) -> Steps:
    """Store messages, but none twice whose deduplication id may come again."""
    stored_at = int(now * MICROSECONDS)
    if not all(message.fresh or message.dedup is None for message in batch):
        batch = yield from _first_of_each(queue, batch, stored_at)
    lines: Sequence[object] | None = None
    if queue.ordered:
        lines = yield from _lines_of(queue, batch, stored_at)
    first = inf
    for start in range(0, len(batch), MAX_ROWS):
        part = batch[start : start + MAX_ROWS]
        times = [stored_at if message.delay <= 0 else due_at(now, message.delay) for message in part]
        first = min(first, *times)
        values: list[object] = []
        for index, message in enumerate(part):
            values += (queue.id, times[index], stored_at, message.group, message.body)
            if lines is not None:
                values.append(lines[start + index])
        yield _insert(len(part), in_line=lines is not None), values
    return first


@cache
def _insert(rows: int, *, in_line: bool) -> str:
    # sqlite3 lets go of the interpreter at each step, and must win it back from a busy event loop, which takes up to
    # 5 ms: so many rows are one step. It also takes 2.6 µs for a message, where one row each takes 3.5 to 5.7.
    columns, row = ("grp,body,line", "(?,?,?,?,?,?)") if in_line else ("grp,body", "(?,?,?,?,?)")
    return f"INSERT INTO dawdle_message(queue,visible_at,stored_at,{columns}) VALUES{','.join([row] * rows)}"


def _first_of_each(
    queue: QueueRow, batch: Sequence[Outgoing], stored_at: int
) -> Generator[tuple[str, Sequence[object]], Sequence[Sequence[object]], list[Outgoing]]:
    """Return the messages that are not stored yet, and remember their deduplication ids."""
    forgotten = stored_at - int(DEDUP_SECONDS * MICROSECONDS)
    first: list[Outgoing] = []
    for message in batch:
        if message.dedup is not None and not message.fresh:
            yield _FORGET, (queue.id, message.dedup, forgotten)
            new = yield _REMEMBER, (queue.id, message.dedup, stored_at)
            if not new:
                continue
        first.append(message)
    # Two old ones go for each that comes, so the table stays as small as the ids of five minutes need.
    yield _FORGET_OLDEST, (2 * len(batch), forgotten)
    return first


def _lines_of(
    queue: QueueRow, batch: Sequence[Outgoing], stored_at: int
) -> Generator[tuple[str, Sequence[object]], Sequence[Sequence[object]], list[object]]:
    """Return the line that each message stands in. One without a group has a line of its own."""
    known: dict[str, object] = {}
    lines: list[object] = []
    for message in batch:
        group = message.group
        line = None if group is None else known.get(group)
        if line is None:
            ((line,),) = yield _STAND_IN_LINE, (queue.id, group, stored_at)
            if group is not None:
                known[group] = line
        lines.append(line)
    return lines
