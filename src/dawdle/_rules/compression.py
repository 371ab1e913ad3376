"""Data made smaller, for a letter that would have no room for its reason otherwise. Bytes in, bytes out.

A few packed bytes may hold a thousand times as many. What was packed here came in one message, so it is never more
than the queue takes; whoever reads a letter unpacks no more than that, whatever the letter claims.
"""

import zlib
from collections.abc import Mapping
from typing import Final

import msgspec

from dawdle._rules.body_limits import require_depth
from dawdle._rules.envelope import rewrite
from dawdle._rules.foreign import without_mark
from dawdle.errors import EventError

__all__ = ["compress", "decompress"]

_PACKED: Final = b'"dawdlepacked":"'


class _Packed(msgspec.Struct):
    data_base64: bytes
    name: str = msgspec.field(name="dawdlepacked")
    dead: str | None = msgspec.field(default=None, name="dawdledead")


_reader = msgspec.json.Decoder(_Packed)
_attributes = msgspec.json.Decoder(dict[str, msgspec.Raw])


def compress(body: bytes, changes: Mapping[str, object]) -> bytes:
    """Return a body with these changes, its data deflated; `dawdlepacked` says which attribute that was."""
    attributes = _attributes.decode(without_mark(body))
    name = "data_base64" if "data_base64" in attributes else "data"
    deflated = zlib.compress(bytes(attributes.get(name, b"null")))
    return rewrite(body, {**changes, "data": None, "data_base64": deflated, "dawdlepacked": name})


def decompress(body: bytes, largest: int) -> bytes:
    """Return a letter as it was before it was packed; any other body as it is. `largest`: bytes of data at the most.

    Only letters are packed. What says so without being one was moved by the queue itself, just as a stranger wrote it.
    Raises `EventError` for what was not packed here.
    """
    if _PACKED not in body:
        return body
    require_depth(body)
    try:
        packed = _reader.decode(without_mark(body))
        if packed.dead is None:
            return body
        inflating = zlib.decompressobj()
        data = inflating.decompress(packed.data_base64, largest)
        if packed.name not in {"data", "data_base64"} or not inflating.eof:
            raise EventError(f"its data was not packed by dawdle, or has more than {largest:,} bytes")
        restored = {"dawdlepacked": None, "data_base64": None, packed.name: msgspec.Raw(data)}
        return rewrite(body, restored)
    except (zlib.error, msgspec.MsgspecError, RecursionError) as error:
        raise EventError(f"its data was not packed by dawdle: {type(error).__name__}") from error
