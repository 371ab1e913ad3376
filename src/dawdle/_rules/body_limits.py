"""Limits the size and the depth of a body before it is parsed. Bytes in; an error, or nothing, out."""

from array import array
from itertools import accumulate
from typing import Final

from dawdle.errors import EventError

__all__ = ["MAX_DEPTH", "require_depth", "require_size"]

MAX_DEPTH: Final = 200
"""Objects and arrays inside each other, the envelope included. pydantic's own parser has the same limit."""

_OTHERS: Final = bytes(set(range(256)) - set(b'[]{}"'))
_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
"""An opening bracket is one step down, a closing one is one step up, as signed bytes."""


def require_size(body: bytes, limit: int) -> None:
    """Raise `EventError` for a body of more than `limit` bytes."""
    if len(body) > limit:
        raise EventError(f"the message is too large: {len(body):,} bytes, and {limit:,} is the most")


def require_depth(body: bytes, what: str = "the message") -> None:
    """Raise `EventError` for JSON nested deeper than `MAX_DEPTH`. Other bytes may pass: the parser refuses them."""
    # Parsers recurse, and each ends at a depth of its own. This limit is the same on every node, so that an event which
    # one node signals can be read by all. Few bodies have more than 200 brackets, so this count settles nearly all.
    if body.count(b"{") + body.count(b"[") <= MAX_DEPTH:
        return
    steps = array("b", _outside_texts(body).translate(_STEPS))
    depth = max(accumulate(steps), default=0)
    if depth > MAX_DEPTH:
        raise EventError(f"{what} is nested too deep: {depth:,} objects and arrays, and {MAX_DEPTH} is the most")


def _outside_texts(body: bytes) -> bytes:
    """Return the brackets that are outside of strings. Takes a time in proportion to the body, whatever is in it.

    A body that is broken somewhere is read correctly up to there, and no parser gets further.
    """
    # A regular expression takes quadratic time for strings that never end: it searches for the end from each quote.
    # Escapes go first, or an escaped quote would end a string.
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    kept = body.translate(None, _OTHERS).replace(b'""', b"")  # an empty string, or an empty gap between two
    return b"".join(kept.split(b'"')[::2])
