"""Reads `AWSTraceHeader`, in which SNS, EventBridge, S3 and other producers say which trace of X-Ray a message is of.

It is a system attribute: it counts neither towards a message's size nor as one of its attributes, and a message sent
without one has none. So every receive asks for it.
"""

import re
from typing import Final

__all__ = ["traceparent_of"]

_ROOT: Final = re.compile(r"1-([0-9a-fA-F]{8})-([0-9a-fA-F]{24})")
_PARENT: Final = re.compile(r"[0-9a-fA-F]{16}")


def traceparent_of(header: str) -> str | None:
    """Return the `traceparent` of W3C Trace Context that means the same; None if it names no segment as its parent."""
    fields: dict[str, str] = {}
    for part in header.split(";"):
        name, _, value = part.strip().partition("=")
        fields[name] = value
    root, parent = _ROOT.fullmatch(fields.get("Root", "")), fields.get("Parent", "")
    if root is None or not _PARENT.fullmatch(parent):
        return None
    trace = (root[1] + root[2]).lower()
    if not trace.strip("0") or not parent.strip("0"):
        return None
    # X-Ray's ids have the lengths of W3C's, and its date stands where W3C has random digits.
    return f"00-{trace}-{parent.lower()}-0{int(fields.get('Sampled') == '1')}"
