"""Limits the size and the depth of a body before it is parsed. Bytes in; an error, or nothing, out."""

from array import array
from collections.abc import Iterable
from itertools import accumulate
from typing import Final, cast

import msgspec

from dawdle.errors import EventError

__all__ = ["MAX_DEPTH", "require_depth", "require_messagepack_depth", "require_size"]

MAX_DEPTH: Final = 200
"""Objects and arrays inside each other, the envelope included. pydantic's own parser has the same limit."""

_OTHERS: Final = bytes(set(range(256)) - set(b'[]{}"'))
_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
"""An opening bracket is one step down, a closing one is one step up, as signed bytes."""

_NO_CONTAINERS: Final = bytes(set(range(256)) - {*range(0x80, 0xA0), *range(0xDC, 0xE0)})
"""The bytes that begin no map and no array in MessagePack (its specification, "Formats")."""


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


def require_messagepack_depth(data: bytes, what: str = "the data") -> None:
    """Raise `EventError` for MessagePack nested deeper than `MAX_DEPTH`. The decoder refuses other bytes.

    From Python 3.14 on the depth at which msgspec gives up depends on the thread's stack: tens of thousands of levels.
    """
    # An upper bound, by bytes that may also stand in texts and numbers. It settles nearly all data.
    if len(data.translate(None, _NO_CONTAINERS)) <= MAX_DEPTH:
        return
    try:
        level = _containers_in([msgspec.msgpack.decode(data)])
    except msgspec.MsgspecError:
        return
    except RecursionError:
        raise EventError(f"{what} is nested too deep: {MAX_DEPTH} maps and arrays are the most") from None
    depth = 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise EventError(f"{what} is nested too deep: {MAX_DEPTH} maps and arrays are the most")
        level = _containers_in(inner for each in level for inner in (each.values() if isinstance(each, dict) else each))


def _containers_in(values: Iterable[object]) -> list[list[object] | dict[object, object]]:
    return [cast("list[object] | dict[object, object]", each) for each in values if isinstance(each, (list, dict))]


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
