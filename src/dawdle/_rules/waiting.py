"""Reads how long an event has waited for its handler, where its message tells that. Decides nothing."""

from dawdle._rules.delay import due_of
from dawdle._rules.envelope import Envelope, to_epoch

__all__ = ["waited"]


def waited(envelope: Envelope, attempt: int, stored_at: float, now: float) -> float | None:
    """Return the seconds since an event could be handled, by the queue's clock; None where its message does not say.

    A copy of several hops says when it is due, and a first copy how long it is delayed. A copy of one hop says neither:
    its wait is the delay with which it was sent, and no receive brings that.
    """
    if envelope.due is not None:
        return max(0.0, now - to_epoch(envelope.due))
    is_first = envelope.owed is None and envelope.since is None and not envelope.trial and attempt == 1
    if not is_first:
        return None
    due = due_of(None, None if envelope.delay_ms is None else int(envelope.delay_ms), stored_at)
    return max(0.0, now - (stored_at if due is None else due))
