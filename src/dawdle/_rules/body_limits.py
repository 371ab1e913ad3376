"""What a body may be before anybody parses it: how large, and how deep. Bytes in; an error, or nothing, out."""

from array import array
from itertools import accumulate
from typing import Final

from dawdle.errors import EventError

__all__ = ["MAX_DEPTH", "require_depth", "require_size"]

MAX_DEPTH: Final = 200
"""Objects and arrays inside each other, the envelope included. pydantic's parser ends there too."""

_OTHERS: Final = bytes(set(range(256)) - set(b'[]{}"'))
_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
"""Up and down, as signed bytes."""


def require_size(body: bytes, limit: int) -> None:
    """Raise `EventError` for a body of more than `limit` bytes."""
    if len(body) > limit:
        raise EventError(f"it is too large to be read: {len(body):,} bytes, and {limit:,} is the most")


def require_depth(body: bytes, what: str = "it") -> None:
    """Raise `EventError` for JSON that is nested deeper than `MAX_DEPTH`. What is no JSON may pass: the parser says so.

    Few bodies have more brackets than may be nested, so counting them answers nearly always.
    """
    if body.count(b"{") + body.count(b"[") <= MAX_DEPTH:
        return
    steps = array("b", _outside_texts(body).translate(_STEPS))
    depth = max(accumulate(steps), default=0)
    if depth > MAX_DEPTH:
        raise EventError(
            f"{what} is nested too deep to be read: {depth:,} objects and arrays, and {MAX_DEPTH} is the most"
        )


def _outside_texts(body: bytes) -> bytes:
    """Return the brackets that are in no text, in a time that grows only as the body does, whatever is in it.

    What is broken somewhere is right up to there, and no parser gets further. A regular expression is no choice here:
    where a text never ends, it looks for the end again from each quote.
    """
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    kept = body.translate(None, _OTHERS).replace(b'""', b"")  # with no bracket between, a text and a gap are nothing
    return b"".join(kept.split(b'"')[::2])
