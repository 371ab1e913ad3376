"""Whether what is read is what was sent, of a wider type perhaps."""

import datetime as dt
import enum
from decimal import Decimal

import msgspec


def means_the_same(one, other):
    """Whether a value that is read is the one that was sent, of a wider type perhaps."""
    if isinstance(one, enum.Enum) or isinstance(other, enum.Enum):
        return getattr(one, "value", one) == getattr(other, "value", other)
    if isinstance(one, dict):
        return [*map(str, one)] == [*map(str, other)] and all(map(means_the_same, one.values(), other.values()))
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(means_the_same, one, other))
    if isinstance(one, dt.timedelta) and isinstance(other, str):  # there are several ways to write one
        return msgspec.convert(other, dt.timedelta) == one
    if isinstance(other, str):
        return other == msgspec.to_builtins(one)
    return one == other or (isinstance(other, Decimal) and float(other) == float(one))
