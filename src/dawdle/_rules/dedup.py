"""Makes deduplication ids, of events and of copies, for queues that store nothing twice. Values in, text out.

An event is named by its source and its id, as CloudEvents says: two partners may both have an event 1. So it has one
id whether it is signaled for now or comes due, and on whichever node.

One stored message has at most one successor for each handler. Each node that settles it stores the same successor. So
the id is made of the message that a copy comes from. It is not made of the due time, which is partly random. Nor is it
made of the event alone: an event may be given up, redriven and given up again within the minutes for which a queue
remembers ids, and its second letter must be stored. The next attempt and the next hop come from another message.
"""

__all__ = ["dedup_of", "dedup_of_event"]


def dedup_of(event_id: str, handler: str | None, *, key: str | None, origin: str) -> str:
    """Return the deduplication id of a copy: 64 hexadecimal digits, which every queue takes.

    `handler`: the handler that the copy owes; None: it is the whole message again. `key`: the stored message that it
    comes from, in the queue that `origin` names; None: the event was in no queue, so its id is enough.
    """
    import hashlib  # noqa: PLC0415 - only a copy of a message needs it

    return hashlib.sha256(ascii((origin, key, event_id, handler)).encode()).hexdigest()


def dedup_of_event(event_id: str, source: str) -> str:
    """Return the deduplication id of an event that may be stored already: 64 hexadecimal digits."""
    return dedup_of(event_id, None, key=None, origin=source)
