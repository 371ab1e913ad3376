"""What a body may be before anybody parses it: how large, and how deep. Bytes in; an error, or nothing, out."""

import re
from array import array
from itertools import accumulate
from typing import Final

from dawdle.errors import EventError

__all__ = ["DEEPEST", "require_depth", "require_size"]

DEEPEST: Final = 200
"""Objects and arrays inside each other, the envelope included. pydantic's parser ends there too."""

_TEXT: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
"""Up and down, as signed bytes."""


def require_size(body: bytes, limit: int) -> None:
    """Raise `EventError` for a body of more than `limit` bytes."""
    if len(body) > limit:
        raise EventError(f"it is too large to be read: {len(body):,} bytes, and {limit:,} is the most")


def require_depth(body: bytes) -> None:
    """Raise `EventError` for JSON that is nested deeper than `DEEPEST`. What is no JSON may pass: the parser says so.

    Few bodies have more brackets than may be nested, so counting them answers nearly always.
    """
    if body.count(b"{") + body.count(b"[") <= DEEPEST:
        return
    outside = _TEXT.sub(b"", body) if b"\\" in body else b"".join(body.split(b'"')[::2])
    steps = array("b", outside.translate(_STEPS, _NO_BRACKETS))
    depth = max(accumulate(steps), default=0)
    if depth > DEEPEST:
        raise EventError(f"it is nested too deep to be read: {depth:,} objects and arrays, and {DEEPEST} is the most")
