"""Reads what other producers write and dawdle never does. Bytes and attributes in and out.

A byte order mark before the body, an attribute that is null, a leap second, 24:00: each has one meaning. A `time` that
cannot be read is dropped, and the event keeps all else: no handler runs or waits because of its `time`.
"""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

import msgspec

__all__ = ["MARK", "as_meant"]

MARK: Final = b"\xef\xbb\xbf"
"""The byte order mark that .NET, for example, writes before a body."""

_STEERING: Final = ("dawdledue", "dawdlesince", "dawdledead")
"""Times that decide something. One that cannot be read stays, so that the reader refuses the message."""

_TURN: Final = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)[Tt ](?:(?P<midnight>24:00:00(?:\.0+)?)|(?P<minute>\d\d:\d\d):60)(?P<rest>.*)", re.ASCII
)
"""The two times of day that RFC 3339 or ISO 8601 has and Python has not: the end of a day, and a leap second."""


def as_meant(attributes: Mapping[str, msgspec.Raw]) -> dict[str, object]:
    """Return a message's attributes without those that are null, and with its times as Python can read them.

    `data` may be null. An attribute that is still wrong makes the message unreadable.
    """
    meant: dict[str, object] = {
        name: raw for name, raw in attributes.items() if name == "data" or bytes(raw) != b"null"
    }
    for name in ("time", *_STEERING):
        if name in meant:
            time = _time(attributes[name])
            if time is not None:
                meant[name] = time
            elif name not in _STEERING:
                del meant[name]
    return meant


def _time(raw: msgspec.Raw) -> datetime | None:
    """Return the time in an attribute, None if it cannot be read. A leap second counts as the second after it."""
    try:
        text = msgspec.json.decode(raw, type=str)
        turn = _TURN.fullmatch(text)
        if turn is None:
            return msgspec.convert(text, datetime)
        if turn["midnight"]:
            return msgspec.convert(f"{turn['day']}T00:00:00{turn['rest']}", datetime) + timedelta(days=1)
        return msgspec.convert(f"{turn['day']}T{turn['minute']}:59{turn['rest']}", datetime) + timedelta(seconds=1)
    except (msgspec.MsgspecError, OverflowError):
        return None
