"""Finds the fields of a type, and those whose values `==` compares rightly. Looks at types, never at values."""

import datetime as dt
import decimal
import enum
import types
import typing
import uuid
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Any, Final, TypeVar, cast

import msgspec

from dawdle.events import event_style

__all__ = ["MAX_TYPES", "SCALARS", "compared_by_equality", "fields_of", "is_compared_by_equality", "once_a_type"]

R = TypeVar("R")

MAX_TYPES: Final = 1024
"""Types whose answers are cached. A program that makes classes as it runs drops the oldest."""

SCALARS: Final = frozenset(
    {
        *(str, int, float, bool, bytes, type(None)),
        *(decimal.Decimal, uuid.UUID, dt.datetime, dt.date, dt.time, dt.timedelta),
    }
)
"""Types whose `==` is true exactly for equal values."""

_CONTAINERS: Final = frozenset({list, tuple, dict, set, frozenset, Sequence, Mapping, AbstractSet})
_OTHERS: Final = (Any, object, None, msgspec.Raw, msgspec.UnsetType)


def once_a_type(function: Callable[[type], R]) -> Callable[[type], R]:
    """Return the function with a cache of its answers by type."""
    return lru_cache(MAX_TYPES)(function)


@once_a_type
def fields_of(cls: type) -> tuple[str, ...] | None:
    """Return the names of an event type's fields; None for a class that is none."""
    match event_style(cls):
        case "struct":
            return tuple(cast("type[msgspec.Struct]", cls).__struct_fields__)
        case "pydantic":
            return tuple(cast("Any", cls).model_fields)
        case "attrs":
            return tuple(each.name for each in cast("Any", cls).__attrs_attrs__)
        case "dataclass":
            import dataclasses  # noqa: PLC0415 - a program that has dataclasses has loaded it

            return tuple(each.name for each in dataclasses.fields(cls))
        case None:
            return None


@once_a_type
def compared_by_equality(cls: type) -> tuple[str, ...]:
    """Return the fields of an event type whose values are the same, at any depth, if `==` says so.

    These are scalars, containers of them, and structs with only such fields and msgspec's own `==`. Data for a field of
    `Any` is read as builtins. Dataclasses, attrs classes and models are left out: a field may be excluded from their
    `==`.
    """
    hints = _hints_of(cls)
    return tuple(name for name in fields_of(cls) or () if name in hints and _is_comparable(hints[name], set()))


def is_compared_by_equality(cls: type) -> bool:
    """Whether two events of a type are the same if `==` says so."""
    return _is_comparable(cls, set())


def _hints_of(cls: type) -> Mapping[str, object]:
    if event_style(cls) == "pydantic":
        return {name: field.annotation for name, field in cast("Any", cls).model_fields.items()}
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except Exception:  # noqa: BLE001 - an annotation may raise anything; its type is unknown then
        return {}


def _is_comparable(hint: object, known: set[object]) -> bool:
    """Whether `==` is right for values that are read for an annotation. `known`: structs that were visited already."""
    # A struct that holds itself would be visited for ever, so a known one counts as yes. That is right: if any of its
    # fields says no, the visit that is under way says no for the whole type.
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        return _is_comparable(typing.get_args(hint)[0], known)
    if origin is typing.Union or origin is types.UnionType or origin in _CONTAINERS:
        return all(each is Ellipsis or _is_comparable(each, known) for each in typing.get_args(hint))
    if origin is not None:
        return origin is typing.Literal
    if hint in SCALARS or hint in _CONTAINERS or hint in _OTHERS:
        return True
    if not isinstance(hint, type):
        return False
    # Members of an enum are singletons, so any of these three is right. An `__eq__` of its own may say anything.
    if issubclass(hint, enum.Enum):
        return hint.__eq__ in {object.__eq__, str.__eq__, int.__eq__}
    if not issubclass(hint, msgspec.Struct) or hint.__eq__ is not msgspec.Struct.__eq__:
        return False
    if hint in known:
        return True
    known.add(hint)
    hints = _hints_of(hint)
    return all(name in hints and _is_comparable(hints[name], known) for name in hint.__struct_fields__)
