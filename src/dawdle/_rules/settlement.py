"""What is done with a message, as values: what a verdict says, and what a queue and an app allow it to say."""

from typing import Literal

import msgspec
from msgspec.structs import force_setattr

from dawdle._rules.envelope import clip
from dawdle.errors import shown

__all__ = ["Ack", "Copy", "Forward", "Release", "Settlement", "Terms", "Why"]

Why = Literal["retry", "later", "crowded", "interrupted", "delayed", "unclaimed", "missing", "trial", "dead", "kept"]


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What the queue and the app allow."""

    reach: float
    """Seconds of the longest hop; 0: the queue cannot delay, and a message waits by being released later."""

    keeps_dead: bool
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


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """A message to be stored before the one in hand is acked."""

    body: bytes
    delay: float
    why: Why
    handler: str | None = None
    reason: str | None = None
    """Why, as a letter, the log and the hooks tell it: cut, since a stranger's text may be in it."""
    as_is: bool = False
    """Its body was not written here and nobody answers for it: it goes out byte for byte, and is never signed."""

    def __post_init__(self) -> None:
        if self.reason is not None:
            force_setattr(self, "reason", clip(self.reason))

    def __repr__(self) -> str:
        return f"<Copy of {len(self.body)} bytes, {self.why}, in {self.delay:g} s, for {shown(self.handler)}>"

    @property
    def is_letter(self) -> bool:
        """Whether it goes to the dead-letter queue."""
        return self.why == "dead"


class Ack(msgspec.Struct, frozen=True):
    """Nobody is owed anything any more. `reason`, when nobody ran: why nobody is."""

    reason: str | None = None


class Release(msgspec.Struct, frozen=True):
    """The message itself comes back in so many seconds."""

    seconds: float


class Forward(msgspec.Struct, frozen=True):
    """Store all copies, then ack. If that fails, the message itself comes back in `otherwise` seconds."""

    copies: tuple[Copy, ...]
    otherwise: float


Settlement = Ack | Release | Forward
