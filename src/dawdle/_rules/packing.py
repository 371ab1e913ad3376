"""Data made smaller, for a letter that would have no room for its reason otherwise. Bytes in, bytes out."""

import zlib
from collections.abc import Mapping
from typing import Final

import msgspec

from dawdle._rules.bounds import require_depth
from dawdle._rules.envelope import rewrite
from dawdle.errors import EventError

__all__ = ["pack", "unpack"]

LARGEST: Final = 64 << 20
"""Bytes of data that are unpacked at the most: a few packed ones may hold a great many."""

_PACKED: Final = b'"dawdlepacked":"'


class _Packed(msgspec.Struct):
    data_base64: bytes
    name: str = msgspec.field(name="dawdlepacked")


_reader = msgspec.json.Decoder(_Packed)
_attributes = msgspec.json.Decoder(dict[str, msgspec.Raw])


def pack(body: bytes, changes: Mapping[str, object]) -> bytes:
    """Return a body with these changes, its data deflated; `dawdlepacked` says which attribute that was."""
    attributes = _attributes.decode(body)
    name = "data_base64" if "data_base64" in attributes else "data"
    deflated = zlib.compress(bytes(attributes.get(name, b"null")))
    return rewrite(body, {**changes, "data": None, "data_base64": deflated, "dawdlepacked": name})


def unpack(body: bytes) -> bytes:
    """Return a body as it was before it was packed; any other as it is. Raises `EventError` for what was not."""
    if _PACKED not in body:
        return body
    require_depth(body)
    try:
        packed = _reader.decode(body)
        inflating = zlib.decompressobj()
        data = inflating.decompress(packed.data_base64, LARGEST)
        if packed.name not in {"data", "data_base64"} or not inflating.eof:
            raise EventError(f"its data was not packed by dawdle, or has more than {LARGEST:,} bytes")
        restored = {"dawdlepacked": None, "data_base64": None, packed.name: msgspec.Raw(data)}
        return rewrite(body, restored)
    except (zlib.error, msgspec.MsgspecError, RecursionError) as error:
        raise EventError(f"its data was not packed by dawdle: {type(error).__name__}") from error
