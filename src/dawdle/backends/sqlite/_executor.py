"""Carries out calls on a connection, in a transaction that is open, and puts the answer of each into it."""

import sqlite3
from collections.abc import Sequence
from itertools import groupby

from dawdle.backends.sqlite import _statements as statements
from dawdle.backends.sqlite._calls import AckCall, QueueCall, Receipt, ReceiveCall, ReleaseCall, RenewCall, SendCall

__all__ = ["execute"]


def execute(connection: sqlite3.Connection, calls: Sequence[QueueCall | ReceiveCall], now: float) -> None:
    """Carry out calls. A receive that finds nothing gets no answer: it may wait."""
    # What makes room comes first, and what claims messages last: so a message is received in the transaction that
    # stores it, where a receive waits for it.
    acks: list[Receipt] = []
    receives: list[ReceiveCall] = []
    for call in calls:
        if isinstance(call, AckCall):
            acks += call.receipts
            call.answer = [None] * len(call.receipts)
    if acks:
        statements.ack(connection, acks)
    for call in calls:
        if isinstance(call, SendCall):
            call.due = statements.store(connection, call.queue, call.batch, now)
            call.answer = [None] * len(call.batch)
        elif isinstance(call, ReceiveCall):
            receives.append(call)
        elif isinstance(call, RenewCall):
            call.answer = statements.renew(connection, call.receipts, now, call.lease)
        elif isinstance(call, ReleaseCall):
            call.answer = statements.release(connection, call.batch, now)
    # One queue may be open with two leases, so it is claimed for each run of equal ones.
    for (_, lease), group in groupby(receives, lambda call: (call.queue.id, call.lease)):
        same = list(group)
        found = statements.claim(connection, same[0].queue, sum(call.limit for call in same), now, lease)
        for call in same:
            if not found:
                break
            call.answer, found = found[: call.limit], found[call.limit :]
