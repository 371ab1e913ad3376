"""The MD5 digests in SQS responses, by which clients check what arrived."""

import hashlib
import struct
from collections.abc import Mapping

from dawdle.testing.sqs._shapes import MessageAttributeValue

__all__ = ["of_attributes", "of_body"]


def of_body(body: bytes) -> str:
    """Return the digest of a message's body (UTF-8), in hexadecimal."""
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def of_attributes(attributes: Mapping[str, MessageAttributeValue]) -> str:
    """Return the digest of message attributes (or system attributes), in hexadecimal.

    SQS developer guide, "Calculating the MD5 message digest for message attributes": by name in ascending order;
    name, type and value each after its length in four bytes; one byte before the value says whether it is text or
    bytes.
    """
    digest = hashlib.md5(usedforsecurity=False)
    for name in sorted(attributes):
        value = attributes[name]
        digest.update(_with_length(name.encode()))
        digest.update(_with_length(value.data_type.encode()))
        if value.string_value is not None:
            digest.update(b"\x01" + _with_length(value.string_value.encode()))
        else:
            digest.update(b"\x02" + _with_length(value.binary_value or b""))
    return digest.hexdigest()


def _with_length(part: bytes) -> bytes:
    return struct.pack(">I", len(part)) + part
