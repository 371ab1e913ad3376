"""Compares an event that was read back with the one that was signaled. Two events in; an error, or nothing, out.

`==` alone is not enough: NaN is not equal to itself, some types have no `==` or leave fields out of it, and datetimes
of two time zones are never equal in an hour that a clock shows twice. So types and fields are compared one by one. `==`
is used where it compares all, since it is much faster.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from itertools import zip_longest
from operator import attrgetter
from typing import Any, Final, cast

from dawdle._rules.field_types import SCALARS, compared_by_equality, fields_of, is_compared_by_equality, once_a_type
from dawdle._rules.lost_fields import Lost, Missing, not_equal
from dawdle.events import event_style

__all__ = ["require_equal"]

Doubts = list[Lost] | None
"""Pairs of values of one type that has no `==`: they are the same if both events are written alike. None: they are not
written alike, so such a pair differs."""

_Compare = Callable[[Any, Any, Doubts], Lost | None]

_Values = Callable[[object], object]

_MISSING: Final = Missing()
_NO_EQUALITY: Final = object.__eq__
_ORDERED: Final = (list, tuple, deque)


def require_equal(sent: object, read: object, is_written_alike: Callable[[], bool]) -> None:
    """Raise `EventError`, with the field and what to do, if the event that is read differs from the one that was sent.

    `is_written_alike`: whether both are encoded as the same data. It is called only for values without `==`.
    """
    # Encoding the event again is the most expensive check. So it is done once, after all others, and only if some
    # values have no `==`.
    doubts: Doubts = []
    lost = _comparer(type(read))(sent, read, doubts)
    if lost is None and doubts and not is_written_alike():
        lost = _compare(sent, read, None)
    if lost is not None:
        raise not_equal(sent, lost)


def _compare(sent: object, read: object, doubts: Doubts) -> Lost | None:
    """Return where two values differ; None if they are the same."""
    if sent is read:
        return None
    return _comparer(type(read))(sent, read, doubts)


@once_a_type
def _comparer(cls: type) -> _Compare:
    """Return the function that compares values of a class that was read with those that were sent."""
    if cls in SCALARS:
        return _compare_scalars
    if event_style(cls) is not None:
        return _comparer_of_events(cls)
    if issubclass(cls, _ORDERED):
        return _compare_in_order
    if issubclass(cls, Mapping):
        return _compare_mappings
    if issubclass(cls, AbstractSet):
        return _compare_sets
    return _compare_scalars


def _comparer_of_events(cls: type) -> _Compare:
    names, compared = fields_of(cls) or (), compared_by_equality(cls)
    others = tuple(name for name in names if name not in compared)
    by_equality, values, has_extra = is_compared_by_equality(cls), _values_of(compared), _may_have_extra(cls)

    # All that depends on the type alone is worked out once, out here: this runs at each signal.
    def compare(sent: object, read: object, doubts: Doubts) -> Lost | None:
        if by_equality and _is_equal(sent, read):
            return None
        if type(sent) is not cls and _class_of(sent) is not _class_of(read):
            return _differing(sent, read)
        is_equal = values is not None and _is_equal(sent, read, values)
        for name in others if is_equal else names:
            lost = _compare(getattr(sent, name, _MISSING), getattr(read, name, _MISSING), doubts)
            if lost is not None:
                return lost.below(f".{name}", cls, name)
        if has_extra:
            one, other = (getattr(each, "__pydantic_extra__", None) for each in (sent, read))
            lost = _compare(one or {}, other or {}, doubts)
            return lost and lost.below("", cls)
        return None

    return compare


def _values_of(names: Sequence[str]) -> _Values | None:
    return attrgetter(*names) if names else None


def _may_have_extra(cls: type) -> bool:
    return event_style(cls) == "pydantic" and cast("Any", cls).model_config.get("extra") == "allow"


@once_a_type
def _values_that_tell(cls: type) -> _Values | None:
    """Return a function that takes all fields from an event; None unless `==` of the fields compares two events."""
    by_equality = compared_by_equality(cls)
    return None if len(by_equality) != len(fields_of(cls) or ()) or _may_have_extra(cls) else _values_of(by_equality)


def _is_equal(sent: object, read: object, values: _Values | None = None) -> bool:
    """Whether two values, or some of their fields, are equal by `==`. An error of `==` counts as no."""
    try:
        return bool(sent == read if values is None else values(sent) == values(read))
    except Exception:  # noqa: BLE001 - a signaling NaN, a field that was never set, an array
        return False


def _are_equal(sent: Sequence[object], read: Sequence[object]) -> bool:
    """Whether many values are equal by one `==` that compares all. It is much faster than one by one."""
    classes = set(map(type, read))
    if classes <= SCALARS:
        return _is_equal(sent, read)
    values = _values_that_tell(next(iter(classes))) if len(classes) == 1 else None
    if values is None or set(map(type, sent)) != classes:
        return False
    try:
        return list(map(values, sent)) == list(map(values, read))
    except Exception:  # noqa: BLE001 - as above
        return False


def _class_of(value: object) -> object:
    """Return the class of an event. pydantic makes a class for each `Env[Order]`; here all of them count as `Env`."""
    cls = type(value)
    generic = getattr(cls, "__pydantic_generic_metadata__", None)
    return (generic and generic["origin"]) or cls


def _compare_in_order(sent: object, read: object, doubts: Doubts) -> Lost | None:
    family = next(each for each in _ORDERED if issubclass(type(read), each))
    if not isinstance(sent, family):
        return _differing(sent, read)
    one, other = cast("Sequence[object]", sent), cast("Sequence[object]", read)
    if _are_equal(one, other):
        return None
    for index, (each, its_other) in enumerate(zip_longest(one, other, fillvalue=_MISSING)):
        lost = _compare(each, its_other, doubts)
        if lost is not None:
            return lost.below(f"[{index}]")
    return None


def _compare_mappings(sent: object, read: object, doubts: Doubts) -> Lost | None:
    if not isinstance(sent, Mapping):
        return _differing(sent, read)
    one, other = cast("Mapping[object, object]", sent), cast("Mapping[object, object]", read)
    if one.keys() != other.keys():
        return _differing(one, other, keys=True)
    if _are_equal([one[key] for key in other], list(other.values())):
        return None
    for key, its_other in other.items():
        lost = _compare(one[key], its_other, doubts)
        if lost is not None:
            return lost.below("[...]")
    return None


def _compare_sets(sent: object, read: object, doubts: Doubts) -> Lost | None:
    if not isinstance(sent, AbstractSet):
        return _differing(sent, read)
    one, other = cast("AbstractSet[object]", sent), cast("AbstractSet[object]", read)
    # Only members that no `==` finds are compared with each other, which is quadratic; sets of such values are rare.
    left = [each for each in other if each not in one]  # NaN, and values without `==`
    for each in one:
        if each in other:
            continue
        same = next((its_other for its_other in left if _compare(each, its_other, doubts) is None), _MISSING)
        if same is _MISSING:
            return _differing(one, other)
        left = [its_other for its_other in left if its_other is not same]
    return _differing(one, other) if left else None


def _differing(sent: object, read: object, *, keys: bool = False) -> Lost:
    return Lost(type(sent), type(read), keys=keys)


def _compare_scalars(sent: object, read: object, doubts: Doubts) -> Lost | None:
    alike = type(sent) is type(read)
    try:
        if sent == read or _is_same_time(sent, read):
            return None
        if alike and sent != sent and read != read:  # noqa: PLR0124 - NaN, of float and of Decimal
            return None
        is_equal = getattr(type(read), "__eq__", None) is not _NO_EQUALITY
    except Exception:  # noqa: BLE001 - an array, a signaling NaN: `==` says neither yes nor no
        is_equal = False
    lost = _differing(sent, read)
    if is_equal or not alike or doubts is None:
        return lost
    doubts.append(lost)
    return None


def _is_same_time(sent: object, read: object) -> bool:
    """Whether two datetimes are the same time. In an hour that a clock shows twice, `==` says no for two time zones."""
    if not (isinstance(sent, datetime) and isinstance(read, datetime) and sent.tzinfo and read.tzinfo):
        return False
    return sent.astimezone(UTC) == read.astimezone(UTC)
