"""What a queue and an app allow a settlement to do. Facts; decides nothing."""

import msgspec

__all__ = ["Terms"]


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What the queue and the app allow."""

    max_hop: float
    """Seconds of the longest hop; 0: the queue cannot delay, so a message that must wait is released for that long."""

    has_dead_letters: bool
    """There is a dead-letter queue."""

    durable: bool = True
    """A message outlives the process that has it in flight."""

    shared: bool
    """Other nodes read the queue too, and may have handlers that this one lacks."""

    ordered: bool = False
    """The messages of a group keep their order, so a message waits in its place: a copy would stand at the end."""

    unclaimed: float
    """Seconds after which an event is given up for which no node has a handler."""

    max_attempts: int = 12
    """Attempts of a handler that has no `Retry` of its own."""

    max_body: int
    """Bytes of the largest letter that the dead-letter queue takes, or of the largest message without one."""

    queue: str | None = None
    """The queue's identity, which its letters carry; None: it has none, and does not share its dead-letter queue."""
