"""What counts as an event, and the name under which its type travels. Knows no queue and no handler."""

import contextlib
import dataclasses
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from threading import Lock
from typing import Any, Final, Literal, TypeVar, cast, overload
from weakref import WeakKeyDictionary, WeakValueDictionary

import msgspec

from dawdle.errors import ConfigurationError, NotAnEventError, shown

__all__ = [
    "HANDLER_NAME",
    "Declaration",
    "declaration_of",
    "declared_as",
    "event",
    "event_style",
    "require_event_type",
    "wire_name",
]

T = TypeVar("T")

Style = Literal["struct", "dataclass", "attrs", "pydantic"]
Unclaimed = Literal["retry", "drop"]

HANDLER_NAME: Final = re.compile(r"[\w.:-]{1,200}")

MAX_HANDLERS: Final = 100
"""Names in one `handlers=`: a node that has none of them but one stores a copy for each of the others."""


class Declaration(msgspec.Struct, frozen=True):
    """What `@event` says about a type."""

    name: str
    aliases: tuple[str, ...] = ()
    unclaimed: Unclaimed = "retry"
    handlers: tuple[str, ...] = ()
    """Names of the handlers that must handle each event of the type, on whichever node they are."""


_declarations: WeakKeyDictionary[type, Declaration] = WeakKeyDictionary()
_declared: WeakValueDictionary[str, type] = WeakValueDictionary()
_declaring = Lock()


@overload
def event(name: type[T], /) -> type[T]: ...
@overload
def event(
    name: str | None = None,
    /,
    *,
    aliases: Sequence[str] = (),
    unclaimed: Unclaimed = "retry",
    handlers: Sequence[str] = (),
) -> Callable[[type[T]], type[T]]: ...
def event(
    name: type[T] | str | None = None,
    /,
    *,
    aliases: Sequence[str] = (),
    unclaimed: Unclaimed = "retry",
    handlers: Sequence[str] = (),
) -> type[T] | Callable[[type[T]], type[T]]:
    """Declare an event type, so that its name on the wire does not change when the class is renamed or moved.

    `@event("orders.placed")` gives the name; without one it is the class's `__qualname__`. `aliases` are
    names under which older messages may still arrive. `unclaimed="drop"` lets an event that this node knows and
    has no handler for be acknowledged; the default keeps it for a node that has one. A node finds the events of
    its handlers of every event among the types that are declared.

    `handlers` says who must handle the type: up to 100 names of handlers, or aliases of them. Nodes that share a queue
    may then have different handlers: the node that first handles an event stores a copy for each name that it lacks,
    which goes to the node that has it. Without it the handlers of an event are those of the node that first handles
    it. Handlers that are not named run as they do without it.

    Raises `ConfigurationError` for a name that another class has, or that cannot be one, and `NotAnEventError` for a
    class that cannot travel.
    """
    if isinstance(name, type):
        return _declare(name, Declaration(name.__qualname__))
    if name is not None and not isinstance(cast("object", name), str):
        raise ConfigurationError(f"@event takes a wire name, not {shown(name)}: @dawdle.event('orders.placed')")
    given = Declaration(name or "", _names("aliases", aliases), unclaimed, _names("handlers", handlers))
    _require_handlers(given.handlers)
    return lambda event_type: _declare(
        event_type, msgspec.structs.replace(given, name=event_type.__qualname__) if name is None else given
    )


def _names(option: str, given: object) -> tuple[str, ...]:
    if isinstance(given, str):
        raise ConfigurationError(f"{option} is a sequence of names: {option}=({given!r},)")
    if not isinstance(given, Iterable):
        raise ConfigurationError(
            f"{option} is a sequence of names, such as {option}=({_EXAMPLES[option]!r},), not {shown(given)}"
        )
    return tuple(cast("Iterable[str]", given))


_EXAMPLES: Final = {"aliases": "old.name", "handlers": "send_receipt"}


def _require_handlers(names: tuple[object, ...]) -> None:
    for name in names:
        if not isinstance(name, str) or not HANDLER_NAME.fullmatch(name):
            raise ConfigurationError(
                f"handlers holds the names of handlers, 1 to 200 of letters, digits, '_', '.', ':', '-' each, not "
                f"{shown(name)}: a handler's name is its name=, or else module.qualname"
            )
    if len(set(names)) != len(names) or len(names) > MAX_HANDLERS:
        raise ConfigurationError(f"handlers holds up to {MAX_HANDLERS} names, each once, not {shown(names)}")


def _declare(event_type: type[T], declaration: Declaration) -> type[T]:
    require_event_type(event_type)
    if declaration.unclaimed not in {"retry", "drop"}:
        raise ConfigurationError(f"unclaimed is 'retry' or 'drop', not {declaration.unclaimed!r}")
    names = (declaration.name, *declaration.aliases)
    for each in names:
        _require_wire_name(each)
    with _declaring:
        for each in names:
            other = _declared.get(each)
            if other is not None and not same_place(
                other, event_type
            ):  # which of two in one place counts: its handlers say
                raise name_taken(each, other, event_type)
        for each in names:
            _declared[each] = event_type
        _declarations[event_type] = declaration
    return event_type


def declared_as(name: str) -> type | None:
    """Return the type declared with `@event` under this name or alias."""
    return _declared.get(name)


def declaration_of(event_type: type) -> Declaration | None:
    """Return what `@event` said about exactly this class; a subclass inherits nothing."""
    return _declarations.get(event_type)


def wire_name(event_type: type) -> str:
    """Return the name under which events of this type travel."""
    declaration = _declarations.get(event_type)
    return event_type.__qualname__ if declaration is None else declaration.name


def event_style(event_type: type[object]) -> Style | None:
    """Return how a class is an event, None if it is none. Imports neither attrs nor pydantic."""
    if issubclass(event_type, msgspec.Struct):
        return "struct"
    if hasattr(event_type, "__pydantic_validator__") and hasattr(event_type, "model_validate_json"):
        return "pydantic"
    if hasattr(event_type, "__attrs_attrs__"):
        return "attrs"
    if dataclasses.is_dataclass(event_type):
        return "dataclass"
    return None


def require_event_type(event_type: object) -> type[Any]:
    """Return `event_type` if it is an event type; raises `NotAnEventError` otherwise."""
    if isinstance(event_type, type) and event_style(event_type) is not None:
        return event_type
    named = event_type.__qualname__ if isinstance(event_type, type) else repr(event_type)
    raise NotAnEventError(
        f"{named} is not an event type: an event is a msgspec.Struct, a dataclass, an attrs class or a pydantic "
        f"model, such as `class OrderPlaced(msgspec.Struct, frozen=True): order_id: str`"
    )


def same_place(one: type, other: type) -> bool:
    """Whether two classes are defined in one place: the module was executed again, or a function ran twice."""
    return one is other or (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)


def is_defined_again(one: type, other: type) -> bool:
    """Whether two classes are one, defined again: their module has one of them in the place of the other."""
    if not same_place(one, other):
        return False
    found: object = sys.modules.get(one.__module__)
    for part in one.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is one or found is other


def name_taken(name: str, one: type, other: type, handlers: Sequence[str] = ()) -> ConfigurationError:
    """Return the error for two classes under one wire name; `handlers` take one of them."""
    text = f"two event types are named {name!r}: {_where_written(one)} and {_where_written(other)}. "
    takers = f" They are taken by {' and '.join(handlers)}." if handlers else ""
    if same_place(one, other):
        return ConfigurationError(
            f"{text}It is one class, defined twice: define it once, at the top of its module. Where that module was "
            f"executed again, by a reload or as a cell of a notebook, execute again what imports the class from it."
            f"{takers}"
        )
    if one.__qualname__ == other.__qualname__ and _file_of(one) is not None and _file_of(one) == _file_of(other):
        return ConfigurationError(
            f"{text}Their file is imported twice, as {one.__module__!r} and as {other.__module__!r}: import it by one "
            f"name, and move what others import out of a program, into a module of its own.{takers}"
        )
    return ConfigurationError(
        f"{text}Give one of them a name of its own: @dawdle.event('{other.__module__}.{other.__qualname__}')"
    )


def _where_written(event_type: type) -> str:
    """Return a class with the file and the line of its definition, as far as they are known."""
    file, line = (
        _file_of(event_type),
        getattr(event_type, "__firstlineno__", None),
    )  # the line is known from Python 3.13 on
    if file is not None and line is None:
        with contextlib.suppress(OSError, TypeError, SyntaxError):
            line = inspect.getsourcelines(event_type)[1]
    where = "" if file is None else f" ({file})" if line is None else f" ({file}, line {line})"
    return f"{event_type.__module__}.{event_type.__qualname__}{where}"


def _file_of(event_type: type) -> str | None:
    return getattr(sys.modules.get(event_type.__module__), "__file__", None)


def _require_wire_name(name: object) -> None:
    if not isinstance(name, str) or not 0 < len(name) <= 200 or not name.isprintable():
        raise ConfigurationError(f"a wire name is 1 to 200 printable characters, not {name!r}")
