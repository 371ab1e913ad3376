"""Carries out calls on a connection, in a transaction that is open, and puts the answer of each into it."""

import sqlite3
from collections.abc import Sequence
from itertools import groupby
from math import inf
from typing import Final

from dawdle.abc import Delivery, Outgoing
from dawdle.backends.sqlite import _lines as lines
from dawdle.backends.sqlite import _statements as statements
from dawdle.backends.sqlite._calls import (
    MICROSECONDS,
    AckCall,
    QueueCall,
    QueueRow,
    Receipt,
    ReceiveCall,
    ReleaseCall,
    RenewCall,
    SendCall,
    receipt_of,
)
from dawdle.backends.sqlite._storing import carry_out, opened_otherwise, storing
from dawdle.errors import ConfigurationError

__all__ = ["execute", "must_sync", "next_due", "oldest", "release_received"]


_ORDERED_AND_DUE: Final = (
    "SELECT ordered,(SELECT min(visible_at) FROM dawdle_message WHERE queue=?) FROM dawdle_queue WHERE id=?"
)
"""How a queue is kept, and when the first of its messages is visible; of an ordered queue that tells nothing."""


def must_sync(calls: Sequence[QueueCall | ReceiveCall]) -> bool:
    """Whether a transaction of these calls must be on the disk before it is answered.

    What is stored and deleted must. A lease need not: a power cut ends all leases, with the processes that hold them.
    """
    return any(isinstance(call, (SendCall, AckCall)) for call in calls)


def execute(connection: sqlite3.Connection, calls: Sequence[QueueCall | ReceiveCall], now: float) -> None:
    """Carry out calls. A receive that finds nothing gets no answer: it may wait."""
    first_due: dict[QueueRow, float] = {}
    calls = _of_queues_as_opened(connection, calls, first_due)
    # What makes room comes first, and what claims messages last: so a message is received in the transaction that
    # stores it, where a receive waits for it.
    _ack(connection, [call for call in calls if isinstance(call, AckCall)], now)
    sends: list[SendCall] = []
    receives: list[ReceiveCall] = []
    for call in calls:
        if isinstance(call, SendCall):
            sends.append(call)
        elif isinstance(call, ReceiveCall):
            receives.append(call)
        elif isinstance(call, RenewCall):
            sql = lines if call.queue.ordered else statements
            call.answer = sql.renew(connection, call.receipts, now, call.lease)
        elif isinstance(call, ReleaseCall):
            sql = lines if call.queue.ordered else statements
            call.answer = sql.release(connection, call.batch, now)
            call.due = (now + min((delay for _, delay in call.batch), default=0.0)) * MICROSECONDS
            first_due[call.queue] = min(first_due[call.queue], call.due)
    _store(connection, sends, receives, now, first_due)
    _claim(connection, [call for call in receives if call.answer is None], now)


def _of_queues_as_opened(
    connection: sqlite3.Connection, calls: Sequence[QueueCall | ReceiveCall], first_due: dict[QueueRow, float]
) -> Sequence[QueueCall | ReceiveCall]:
    """Return the calls that fit their queues, and answer the others with an error. Fills in when each queue is due."""
    # Another process may have opened an empty queue in the other way since. What is stored in one way is not found in
    # the other.
    wrong: dict[QueueRow, ConfigurationError] = {}
    for call in calls:
        queue = call.queue
        if queue in first_due:
            continue
        found = connection.execute(_ORDERED_AND_DUE, (queue.id, queue.id)).fetchall()
        due = found[0][1] if found else None
        first_due[queue] = inf if due is None else due
        error = opened_otherwise(queue, found)
        if error is not None:
            wrong[queue] = error
    if not wrong:
        return calls
    for call in calls:
        if call.queue in wrong:
            call.answer = wrong[call.queue]
    return [call for call in calls if call.queue not in wrong]


def _store(
    connection: sqlite3.Connection,
    sends: Sequence[SendCall],
    receives: Sequence[ReceiveCall],
    now: float,
    first_due: dict[QueueRow, float],
) -> None:
    """Store what single calls send to one queue in as few statements as if one had sent it all."""
    for queue, group in groupby(sends, lambda call: call.queue):
        same = list(group)
        batch = same[0].batch if len(same) == 1 else [message for call in same for message in call.batch]
        waiting = [call for call in receives if call.queue is queue and call.answer is None]
        if waiting and first_due[queue] > now * MICROSECONDS and _are_for_now(queue, batch):
            lease = waiting[0].lease
            waiting = [call for call in waiting if call.lease == lease]
            limit = sum(call.limit for call in waiting)
            _share(statements.store_received(connection, queue, batch[:limit], now, lease), waiting)
            batch = batch[limit:]
        due = carry_out(connection, storing(queue, batch, now)) if batch else inf
        first_due[queue] = min(first_due[queue], due)
        for call in same:
            call.due = due
            call.answer = [None for _ in call.batch]


def _are_for_now(queue: QueueRow, batch: Sequence[Outgoing]) -> bool:
    """Whether a receive that waits, of a queue where nothing else is due, would find just these messages."""
    return not queue.ordered and all(
        message.delay <= 0 and (message.fresh or message.dedup is None) for message in batch
    )


def _ack(connection: sqlite3.Connection, calls: Sequence[AckCall], now: float) -> None:
    plain: list[Receipt] = []
    for call in calls:
        if call.queue.ordered:
            lines.ack(connection, call.receipts, now)
            call.due = now * MICROSECONDS  # the next ones of their groups
        else:
            plain += call.receipts
        call.answer = [None for _ in call.receipts]
    if plain:
        statements.ack(connection, plain)


def _claim(connection: sqlite3.Connection, receives: Sequence[ReceiveCall], now: float) -> None:
    """Share the messages of each queue among its receives, those first that have waited for longest."""
    # One queue may be open with two leases, so it is claimed for each run of equal ones.
    for (queue, lease), group in groupby(receives, lambda call: (call.queue, call.lease)):
        same = list(group)
        sql = lines if queue.ordered else statements
        found = sql.claim(connection, queue, sum(call.limit for call in same), now, lease)
        _share(found, same)


def _share(found: list[Delivery], receives: Sequence[ReceiveCall]) -> None:
    for call in receives:
        if not found:
            break
        call.answer, found = found[: call.limit], found[call.limit :]


def release_received(call: ReceiveCall, now: float, connection: sqlite3.Connection) -> None:
    """Make what a receive was given visible again, since its caller is gone."""
    sql = lines if call.queue.ordered else statements
    received = call.answer if isinstance(call.answer, list) else []
    sql.release(connection, [(receipt_of(each.receipt, call.queue.opening), 0.0) for each in received], now)


def next_due(connection: sqlite3.Connection, queue: QueueRow) -> float:
    """Return when the next message of a queue is visible, in microseconds; `inf`: it has none."""
    return lines.next_due(connection, queue) if queue.ordered else statements.next_due(connection, queue)


def oldest(connection: sqlite3.Connection, queue: QueueRow, now: float) -> float | None:
    """Return for how many seconds a receive could have brought something of a queue; None: it brings nothing now."""
    first = next_due(connection, queue)
    return None if first > now * MICROSECONDS else max(0.0, now - first / MICROSECONDS)
