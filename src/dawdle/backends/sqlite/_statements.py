"""The SQL that moves messages of plain queues. Each function runs in the transaction that its caller has begun.

sqlite3 lets go of the interpreter for each row that it stores, and must win it back from a busy event loop, for up to
5 ms each time. So many rows go in one statement wherever that can be.
"""

import sqlite3
from collections.abc import Sequence
from functools import cache
from math import ceil, inf
from typing import Final

from dawdle.abc import Counts, Delivery, Fault, Outgoing
from dawdle.backends.sqlite._calls import MICROSECONDS, QueueRow, Receipt

__all__ = ["ack", "claim", "count", "due_at", "next_due", "release", "renew", "store"]

_MAX_ROWS: Final = 64
"""Rows in one INSERT. With powers of two there are seven statements, which stay compiled."""

_LATEST: Final = 1 << 62
"""The last time that a message may be due, 146,000 years from now: an integer of SQLite holds no more."""

_LOST: Final = Fault("lost", "the lease has ended, and another receive may have the message")


def due_at(now: float, delay: float) -> int:
    """Return when a delay ends, in microseconds: rounded up, so that nothing is early."""
    at = (now + delay) * MICROSECONDS
    return ceil(at) if at < _LATEST else _LATEST


@cache
def _insert(rows: int) -> str:
    values = ",".join(["(?,?,?,?,?)"] * rows)
    return f"INSERT INTO dawdle_message(queue,visible_at,stored_at,grp,body) VALUES{values}"  # noqa: S608 - no value in it


def store(connection: sqlite3.Connection, queue: QueueRow, batch: Sequence[Outgoing], now: float) -> float:
    """Store messages, and return when the first of them is due, in microseconds."""
    stored_at = int(now * MICROSECONDS)
    first = inf
    first_row = 0
    while first_row < len(batch):
        rows = min(_MAX_ROWS, 1 << ((len(batch) - first_row).bit_length() - 1))
        values: list[object] = []
        for message in batch[first_row : first_row + rows]:
            visible_at = stored_at if message.delay <= 0 else due_at(now, message.delay)
            first = min(first, visible_at)
            values += (queue.id, visible_at, stored_at, message.group, message.body)
        connection.execute(_insert(rows), values)
        first_row += rows
    return first


def claim(connection: sqlite3.Connection, queue: QueueRow, limit: int, now: float, lease: float) -> list[Delivery]:
    """Receive the messages that have been visible for longest, and hide them for a lease of so many seconds."""
    rows = connection.execute(
        "SELECT id,receives+1,stored_at,grp,body FROM dawdle_message WHERE queue=? AND visible_at<=? "
        "ORDER BY visible_at LIMIT ?",
        (queue.id, int(now * MICROSECONDS), limit),
    ).fetchall()
    if not rows:
        return []
    connection.execute(
        "UPDATE dawdle_message SET visible_at=?,receives=receives+1 WHERE id IN (SELECT value FROM json_each(?))",
        (due_at(now, lease), f"[{','.join([str(row[0]) for row in rows])}]"),
    )
    return [delivery(row, now) for row in rows]


def delivery(row: tuple[int, int, int, str | None, bytes], now: float) -> Delivery:
    """Return a message as it is received: a row of id, receives, stored_at, grp, body."""
    number, receives, stored_at, group, body = row
    return Delivery(f"{number}.{receives}", str(number), body, receives, stored_at / MICROSECONDS, now, group)


def ack(connection: sqlite3.Connection, receipts: Sequence[Receipt]) -> None:
    """Delete messages, of any queues of the file. An earlier receipt deletes nothing."""
    if len(receipts) == 1:
        connection.execute("DELETE FROM dawdle_message WHERE id=? AND receives=?", receipts[0])
        return
    # JSON's keys may come twice, as a receipt may.
    pairs = ",".join([f'"{number}":{receives}' for number, receives in receipts])
    connection.execute(
        "DELETE FROM dawdle_message WHERE id IN (SELECT m.id FROM json_each(?) AS r CROSS JOIN dawdle_message AS m "
        "ON m.id=CAST(r.key AS INTEGER) WHERE m.receives=r.value)",
        (f"{{{pairs}}}",),
    )


_HIDE: Final = "UPDATE dawdle_message SET visible_at=? WHERE id=? AND receives=? AND visible_at>?"
# At once means: before all others, as it was received before them. `min`: the clock may have been set back.
_SHOW: Final = "UPDATE dawdle_message SET visible_at=min(stored_at,?) WHERE id=? AND receives=? AND visible_at>?"


def renew(connection: sqlite3.Connection, receipts: Sequence[Receipt], now: float, lease: float) -> list[Fault | None]:
    """Hide messages for another lease of so many seconds, each one whose lease has not ended."""
    until, at = due_at(now, lease), int(now * MICROSECONDS)
    return [
        None if connection.execute(_HIDE, (until, number, receives, at)).rowcount else _LOST
        for number, receives in receipts
    ]


def release(connection: sqlite3.Connection, batch: Sequence[tuple[Receipt, float]], now: float) -> list[Fault | None]:
    """Make messages visible again in so many seconds, each one whose lease has not ended."""
    at = int(now * MICROSECONDS)
    answers: list[Fault | None] = []
    for (number, receives), delay in batch:
        sql, visible_at = (_HIDE, due_at(now, delay)) if delay > 0 else (_SHOW, at)
        done = connection.execute(sql, (visible_at, number, receives, at)).rowcount
        answers.append(None if done else _LOST)
    return answers


def next_due(connection: sqlite3.Connection, queue: QueueRow) -> float:
    """Return when the next message of a queue is visible, in microseconds; `inf`: it holds none."""
    ((first,),) = connection.execute("SELECT min(visible_at) FROM dawdle_message WHERE queue=?", (queue.id,)).fetchall()
    return inf if first is None else first


def count(connection: sqlite3.Connection, queue: QueueRow, now: float) -> Counts:
    """Count the messages of a queue."""
    at = int(now * MICROSECONDS)
    ((waiting, leased, delayed),) = connection.execute(
        "SELECT count(*) FILTER (WHERE visible_at<=:now), count(*) FILTER (WHERE visible_at>:now AND receives>0), "
        "count(*) FILTER (WHERE visible_at>:now AND receives=0) FROM dawdle_message WHERE queue=:queue",
        {"queue": queue.id, "now": at},
    ).fetchall()
    return Counts(waiting=waiting, in_flight=leased, delayed=delayed)
