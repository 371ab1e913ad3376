"""What counts as an event, and the name under which its type travels. Knows no queue and no handler."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeVar, cast, overload
from weakref import WeakKeyDictionary, WeakValueDictionary

import msgspec

from dawdle.errors import ConfigurationError, NotAnEventError, shown

__all__ = ["Declaration", "declaration_of", "declared_as", "event", "kind_of", "require_event_type", "wire_name"]

T = TypeVar("T")

Kind = Literal["struct", "dataclass", "attrs", "pydantic"]
Unclaimed = Literal["retry", "drop"]


class Declaration(msgspec.Struct, frozen=True):
    """What `@event` says about a type."""

    name: str
    aliases: tuple[str, ...] = ()
    unclaimed: Unclaimed = "retry"


_declarations: WeakKeyDictionary[type, Declaration] = WeakKeyDictionary()
_declared: WeakValueDictionary[str, type] = WeakValueDictionary()


@overload
def event(name: type[T], /) -> type[T]: ...
@overload
def event(
    name: str | None = None, /, *, aliases: Sequence[str] = (), unclaimed: Unclaimed = "retry"
) -> Callable[[type[T]], type[T]]: ...
def event(
    name: type[T] | str | None = None, /, *, aliases: Sequence[str] = (), unclaimed: Unclaimed = "retry"
) -> type[T] | Callable[[type[T]], type[T]]:
    """Declare an event type, so that its name on the wire does not change when the class is renamed or moved.

    `@event("orders.placed")` gives the name; without one it is the class's `__qualname__`. `aliases` are
    names under which older messages may still arrive. `unclaimed="drop"` lets an event that this node knows and
    has no handler for be acknowledged; the default keeps it for a node that has one. A node finds the events of
    its handlers of every event among the types that are declared.

    Raises `ConfigurationError` for a name that another class has, and `NotAnEventError` for a class that
    cannot travel.
    """
    if isinstance(name, type):
        return _declare(name, None, (), "retry")
    if name is not None and not isinstance(cast("object", name), str):
        raise ConfigurationError(f"@event takes a wire name, not {shown(name)}: @dawdle.event('orders.placed')")
    if isinstance(aliases, str):
        raise ConfigurationError(f"aliases is a sequence of names: aliases=({aliases!r},)")
    if not isinstance(cast("object", aliases), Iterable):
        raise ConfigurationError(f"aliases is a sequence of names, such as aliases=('old.name',), not {shown(aliases)}")
    return lambda kind: _declare(kind, name, tuple(aliases), unclaimed)


def _declare(kind: type[T], name: str | None, aliases: tuple[str, ...], unclaimed: Unclaimed) -> type[T]:
    require_event_type(kind)
    if unclaimed not in {"retry", "drop"}:
        raise ConfigurationError(f"unclaimed is 'retry' or 'drop', not {unclaimed!r}")
    declaration = Declaration(kind.__qualname__ if name is None else name, aliases, unclaimed)
    for each in (declaration.name, *aliases):
        _require_wire_name(each)
        other = _declared.get(each)
        if other is not None and not same_place(other, kind):
            raise name_taken(each, other, kind)
    for each in (declaration.name, *aliases):
        _declared[each] = kind
    _declarations[kind] = declaration
    return kind


def declared_as(name: str) -> type | None:
    """Return the type declared with `@event` under this name or alias."""
    return _declared.get(name)


def declaration_of(kind: type) -> Declaration | None:
    """Return what `@event` said about exactly this class; a subclass inherits nothing."""
    return _declarations.get(kind)


def wire_name(kind: type) -> str:
    """Return the name under which events of this type travel."""
    declaration = _declarations.get(kind)
    return kind.__qualname__ if declaration is None else declaration.name


def kind_of(kind: type[object]) -> Kind | None:
    """Return how a class is an event, None if it is none. Imports neither attrs nor pydantic."""
    if issubclass(kind, msgspec.Struct):
        return "struct"
    if hasattr(kind, "__pydantic_validator__") and hasattr(kind, "model_validate_json"):
        return "pydantic"
    if hasattr(kind, "__attrs_attrs__"):
        return "attrs"
    if dataclasses.is_dataclass(kind):
        return "dataclass"
    return None


def require_event_type(kind: object) -> type[Any]:
    """Return `kind` if it is an event type; raises `NotAnEventError` otherwise."""
    if isinstance(kind, type) and kind_of(kind) is not None:
        return kind
    named = kind.__qualname__ if isinstance(kind, type) else repr(kind)
    raise NotAnEventError(
        f"{named} is not an event type: an event is a msgspec.Struct, a dataclass, an attrs class or a pydantic "
        f"model, such as `class OrderPlaced(msgspec.Struct, frozen=True): order_id: str`"
    )


def same_place(one: type, other: type) -> bool:
    """Whether two classes are one, defined again: by a reload, or by a function that ran twice."""
    return one is other or (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)


def name_taken(name: str, one: type, other: type) -> ConfigurationError:
    """Return the error for two classes under one wire name."""
    return ConfigurationError(
        f"two event types are named {name!r}: {_place(one)} and {_place(other)}. "
        f"Give one of them a name of its own: @dawdle.event('{other.__module__}.{other.__qualname__}')"
    )


def _place(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _require_wire_name(name: object) -> None:
    if not isinstance(name, str) or not 0 < len(name) <= 200 or not name.isprintable():
        raise ConfigurationError(f"a wire name is 1 to 200 printable characters, not {name!r}")
