"""What a queue that stores nothing twice knows a copy by. Values in, text out.

One stored message has at most one successor for each handler: whichever node settles it, and however often, stores the
same one. So the dedup of a copy is made of the message that it comes from. It is not made of when it is due, which is
left to chance, nor of the event alone: an event may be given up, redriven and given up again within the minutes for
which a queue remembers, and its second letter must be stored. The next attempt and the next hop come from another
message.
"""

import hashlib

__all__ = ["dedup_of"]


def dedup_of(event_id: str, handler: str | None, *, key: str | None, origin: str) -> str:
    """Return the dedup of a copy: 64 hexadecimal digits, which every queue takes.

    `handler`: whom it is owed to; None: it is the whole message again. `key`: the stored message that it comes from, in
    the queue that `origin` names; None: the event was in no queue, and its id says all.
    """
    return hashlib.sha256(ascii((origin, key, event_id, handler)).encode()).hexdigest()
