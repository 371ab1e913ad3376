"""Reads a received body as a message: checks its size and its signature, and opens it. Decides nothing further.

`app.redrive()` writes a letter anew. The console of SQS ("Start DLQ redrive") and other tools move it unchanged: as the
event with the marks of a letter, or as the wrapper of a body that could not be read. Both are read as if `redrive()`
had put them back. A wrapper proves nothing: with keys, the body in it must be signed like any other message.
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
"""Wrappers around one body. Two can happen: an app without keys wraps it, and an app with keys wraps the wrapper."""


class Opened(msgspec.Struct, frozen=True):
    """An event: its body without the signature, and its envelope."""

    body: bytes
    envelope: Envelope

    def __repr__(self) -> str:
        return f"<Opened {self.envelope!r}>"


class Unreadable(msgspec.Struct, frozen=True):
    """A body that is no event, and why. It is the body that came, or the one in the wrapper that came."""

    body: bytes
    reason: str

    def __repr__(self) -> str:
        return f"<Unreadable: {len(self.body)} bytes>"


class Incomplete(msgspec.Struct, frozen=True):
    """A wrapper that holds only the beginning of a body. It can only be given up again, unchanged."""

    body: bytes
    envelope: Envelope
    reason: str

    def __repr__(self) -> str:
        return f"<Incomplete {self.envelope!r}>"


def open_message(body: bytes, signer: Signer, max_body: int) -> Opened | Unreadable | Incomplete:
    """Return what a received body is. One of more than `max_body` bytes is unreadable."""
    for _ in range(MAX_WRAPPERS + 1):
        try:
            # The cheap check comes first, and the signature before anything is parsed: a parser is the larger target.
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
    return Unreadable(body, f"the message is wrapped in more than {MAX_WRAPPERS} dead letters, one in the other")
