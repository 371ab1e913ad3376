"""What a queue and an app allow a settlement to be. Facts; decides nothing."""

import msgspec

__all__ = ["Terms"]


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What the queue and the app allow."""

    max_hop: float
    """Seconds of the longest hop; 0: the queue cannot delay, and a message waits by being released later."""

    has_dead_letters: bool
    """There is a dead-letter queue."""

    durable: bool = True
    """A message outlives the process that has it in hand."""

    shared: bool
    """Another node may have what this one lacks."""

    unclaimed: float
    """Seconds after which an event that no node has a handler for is given up."""

    max_body: int
    """Bytes of the largest letter that the dead-letter queue takes, or of the largest message without one."""

    queue: str | None = None
    """The queue's identity, which its letters say; None: it has none, and a dead-letter queue to itself."""
