"""Turns the data of an older version of an event type into that of the version which the class reads. Plain values.

No version travels with an event of version 1, so events from before a type had versions are of version 1 too.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from math import isfinite
from typing import cast

from dawdle._rules.redaction import cause_without_data, without_data
from dawdle._versions import Upcaster
from dawdle.errors import EventError, shown
from dawdle.events import declaration_of, version_of, wire_name

__all__ = ["exact_number", "is_older", "upcast"]


def is_older(version: int, event_type: type[object]) -> bool:
    """Whether data of a version needs upcasters.

    Raises `EventError` for a newer version than the type has, and for one from which no upcasters lead to it.
    """
    latest = version_of(event_type)
    if version > latest:
        raise EventError(f"it is of version {version}, and this app knows {wire_name(event_type)!r} up to {latest}")
    if version < latest and version not in _upcasters_of(event_type):
        oldest = min(_upcasters_of(event_type), default=latest)
        raise EventError(
            f"it is of version {version}, and {wire_name(event_type)!r} is read from version {oldest} on: add the "
            f"upcaster of version {version}"
        )
    return version < latest


def upcast(data: object, version: int, event_type: type[object]) -> object:
    """Return the data of an event as the newest version of its type has it.

    Raises `EventError` for an upcaster that raises, or returns something other than a dict or a list.
    """
    upcasters, name = _upcasters_of(event_type), wire_name(event_type)
    for each in range(version, version_of(event_type)):
        data = _run(upcasters[each], data, f"the upcaster of {name!r} from version {each}")
    return data


def exact_number(text: str) -> float | Decimal:
    """Return a number with a fraction or an exponent as an upcaster gets it: a float if that has all its digits."""
    value, exact = float(text), Decimal(text)
    return value if isfinite(value) and Decimal(repr(value)) == exact else exact


def _run(upcaster: Upcaster, data: object, called: str) -> object:
    try:
        made = cast("object", upcaster(data))
    except Exception as error:  # noqa: BLE001 - it is the user's own; raised again, as ours
        failure = EventError(f"{called} failed: {type(error).__qualname__}: {without_data(error)}")
        cause = cause_without_data(error)
    else:
        if isinstance(made, (Mapping, Sequence)) and not isinstance(made, (str, bytes, bytearray)):
            return cast("object", made)
        returned = "None" if made is None else shown(type(made))
        raise EventError(f"{called} returned {returned}, and not the data of the next version: end it with a return")
    # Raised outside of the `except`, or the error with the data in it would show up as this one's context.
    raise failure from cause


def _upcasters_of(event_type: type[object]) -> Mapping[int, Upcaster]:
    declared = declaration_of(event_type)
    return {} if declared is None else declared.upcasters
