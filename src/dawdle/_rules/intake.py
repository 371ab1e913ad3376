"""What a received body is taken for: verified, opened, and, where a letter was put back as it is, what it was before.

`app.redrive()` writes a letter anew. The console of SQS ("Start DLQ redrive") and other tools move it as it lies there:
the event with the marks of its end, or the wrapper of a body that could not be read. Both are handled as if `redrive()`
had put them back. A wrapper vouches for nothing: with keys, what is in it must be signed like any other message.
"""

from typing import Final

import msgspec

from dawdle._rules.body_limits import require_size
from dawdle._rules.dead_letter import body_in_letter, why_incomplete
from dawdle._rules.envelope import Envelope, open_envelope
from dawdle._rules.redrive import restarted
from dawdle._rules.signing import Signer
from dawdle.errors import EventError

__all__ = ["MAX_WRAPPERS", "Incomplete", "Opened", "Unreadable", "open_message"]

MAX_WRAPPERS: Final = 4
"""How deep a body may be in wrappers. Two happen: an app without keys wrapped it, and one with keys its wrapper."""


class Opened(msgspec.Struct, frozen=True):
    """An event: its message without a signature, and what that says."""

    body: bytes
    envelope: Envelope

    def __repr__(self) -> str:
        return f"<Opened {self.envelope!r}>"


class Unreadable(msgspec.Struct, frozen=True):
    """Bytes that are no event here, and why: those that came, or those in the wrapper that came."""

    body: bytes
    reason: str

    def __repr__(self) -> str:
        return f"<Unreadable: {len(self.body)} bytes>"


class Incomplete(msgspec.Struct, frozen=True):
    """A wrapper that holds only the beginning of a body. It can be given up again, as it is, and nothing else."""

    body: bytes
    envelope: Envelope
    reason: str

    def __repr__(self) -> str:
        return f"<Incomplete {self.envelope!r}>"


def open_message(body: bytes, signer: Signer, max_body: int) -> Opened | Unreadable | Incomplete:
    """Return what a received body of at most `max_body` bytes says."""
    for _ in range(MAX_WRAPPERS + 1):
        try:
            require_size(body, max_body)
            bare = signer.unsigned(body)
            envelope = open_envelope(bare)
            if envelope.dead is None:
                return Opened(bare, envelope)
            inner = body_in_letter(envelope)
            if inner is None:
                bare = restarted(bare)
                return Opened(bare, open_envelope(bare))
        except EventError as error:
            return Unreadable(body, str(error))
        half = why_incomplete(envelope)
        if half is not None:
            return Incomplete(bare, envelope, envelope.error or half)
        body = inner
    return Unreadable(body, f"it is wrapped in more than {MAX_WRAPPERS} dead letters, one in the other")
