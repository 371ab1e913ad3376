"""The SQL of ordered queues: each group's messages stand in a line, and the line as a whole is visible or not.

    line is visible ──── receive: its first messages ────► hidden: the latest of their leases
          ▲                                                     │ renew: later
          └── all of them acked, released, or their leases over ┘

So a message is received only when none of its group is in flight or hidden. The received messages of a line are always
its first ones, so neither a claim nor an ack looks at the others.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from math import inf
from typing import Final

from dawdle.abc import Delivery, Fault
from dawdle.backends.sqlite._calls import MICROSECONDS, QueueRow, Receipt
from dawdle.backends.sqlite._statements import HIDE, LOST, SHOW, delivery, hide_all
from dawdle.backends.sqlite._storing import due_at

__all__ = ["ack", "claim", "line_up", "next_due", "release", "renew"]

_MAX_RECEIVED: Final = 100
"""Messages of one line that may be received at the same time: no more than one receive may bring."""


def claim(connection: sqlite3.Connection, queue: QueueRow, limit: int, now: float, lease: float) -> list[Delivery]:
    """Receive the first messages of the lines that have been visible for longest, and hide their lines for a lease."""
    lines = connection.execute(
        "SELECT id FROM dawdle_line WHERE queue=? AND visible_at<=? ORDER BY visible_at,id LIMIT ?",
        (queue.id, int(now * MICROSECONDS), limit),
    ).fetchall()
    if not lines:
        return []
    # Each line gets its share, so that a long one does not fill a receive while another group waits.
    share = -(-limit // len(lines))
    rows: list[tuple[int, int, int, str | None, bytes]] = []
    claimed: list[int] = []
    for (line,) in lines:
        room = min(share, limit - len(rows))
        if room <= 0:
            break
        rows += _first_of(connection, line, room)
        claimed.append(line)
    until = due_at(now, lease)
    hide_all(connection, [row[0] for row in rows], until)
    for line in claimed:
        connection.execute("UPDATE dawdle_line SET visible_at=? WHERE id=?", (until, line))
    return [delivery(queue, row, now) for row in rows]


def _first_of(connection: sqlite3.Connection, line: int, limit: int) -> list[tuple[int, int, int, str | None, bytes]]:
    """Return the first messages of a line, as rows: several only if none of them has been received before.

    One that is received again may fail again, and all behind it are given back then. Each such receive would count
    against them, although they were not run.
    """
    rows = connection.execute(
        "SELECT id,receives+1,stored_at,grp,body FROM dawdle_message WHERE line=? ORDER BY id LIMIT ?", (line, limit)
    ).fetchall()
    again = next((index for index, row in enumerate(rows) if row[1] > 1), None)
    return rows if again is None else rows[: max(again, 1)]


def ack(connection: sqlite3.Connection, receipts: Sequence[Receipt], now: float) -> None:
    """Delete messages. An earlier receipt deletes nothing."""
    lines: set[int] = set()
    for receipt in receipts:
        lines.update(
            line
            for (line,) in connection.execute(
                "DELETE FROM dawdle_message WHERE id=? AND receives=? RETURNING line", receipt
            ).fetchall()
        )
    _update(connection, lines, now)


def renew(connection: sqlite3.Connection, receipts: Sequence[Receipt], now: float, lease: float) -> list[Fault | None]:
    """Hide messages, and their lines, for another lease, each one whose lease has not ended."""
    until, at = due_at(now, lease), int(now * MICROSECONDS)
    answers: list[Fault | None] = []
    for number, receives in receipts:
        lines = connection.execute(f"{HIDE} RETURNING line", (until, number, receives, at)).fetchall()
        for line in lines:
            connection.execute("UPDATE dawdle_line SET visible_at=max(visible_at,?) WHERE id=?", (until, *line))
        answers.append(None if lines else LOST)
    return answers


def release(connection: sqlite3.Connection, batch: Sequence[tuple[Receipt, float]], now: float) -> list[Fault | None]:
    """Make messages visible again in so many seconds, each one whose lease has not ended."""
    at = int(now * MICROSECONDS)
    answers: list[Fault | None] = []
    touched: set[int] = set()
    for (number, receives), delay in batch:
        sql, visible_at = (HIDE, due_at(now, delay)) if delay > 0 else (SHOW, at)
        lines = connection.execute(f"{sql} RETURNING line", (visible_at, number, receives, at)).fetchall()
        touched.update(line for (line,) in lines)
        answers.append(None if lines else LOST)
    _update(connection, touched, now)
    return answers


def _update(connection: sqlite3.Connection, lines: Iterable[int], now: float) -> None:
    """Set when lines are visible again, behind those that have waited; delete the empty ones."""
    at = int(now * MICROSECONDS)
    for line in lines:
        ((latest,),) = connection.execute(
            "SELECT max(visible_at) FROM (SELECT visible_at FROM dawdle_message WHERE line=? ORDER BY id LIMIT ?)",
            (line, _MAX_RECEIVED),
        ).fetchall()
        if latest is None:
            connection.execute("DELETE FROM dawdle_line WHERE id=?", (line,))
        else:
            connection.execute("UPDATE dawdle_line SET visible_at=? WHERE id=?", (max(latest, at), line))


def line_up(connection: sqlite3.Connection, queue: int) -> int:
    """Put the messages that stand in no line into those of their groups, and return how many they were.

    An earlier dawdle stored some so, when a process had the empty queue open as not ordered: no receive finds them.
    """
    # By the indexes alone, 0.09 s for a million messages; to look at each of them takes 0.24 s, and longer if large.
    ((ordered, in_line),) = connection.execute(
        "SELECT "
        "(SELECT count(*) FROM dawdle_queue AS q CROSS JOIN dawdle_message AS m ON m.queue=q.id WHERE q.ordered),"
        "(SELECT count(*) FROM dawdle_message WHERE line IS NOT NULL)"
    ).fetchall()
    if ordered == in_line:
        return 0
    stranded = connection.execute(
        "SELECT id,grp,visible_at FROM dawdle_message WHERE +queue=? AND line IS NULL ORDER BY id", (queue,)
    ).fetchall()
    for number, group, visible_at in stranded:
        # Some may be in flight, received while the queue was not ordered: their line is hidden for as long.
        ((line,),) = connection.execute(
            "INSERT INTO dawdle_line(queue,grp,visible_at) VALUES(?,?,?) "
            "ON CONFLICT(queue,grp) DO UPDATE SET visible_at=max(visible_at,excluded.visible_at) RETURNING id",
            (queue, group, visible_at),
        ).fetchall()
        connection.execute("UPDATE dawdle_message SET line=? WHERE id=?", (line, number))
    return len(stranded)


def next_due(connection: sqlite3.Connection, queue: QueueRow) -> float:
    """Return when the next line of a queue is visible, in microseconds; `inf`: it has none."""
    ((first,),) = connection.execute("SELECT min(visible_at) FROM dawdle_line WHERE queue=?", (queue.id,)).fetchall()
    return inf if first is None else first
