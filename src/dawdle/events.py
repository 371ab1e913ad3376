"""Which classes are event types, and the name of each on the wire. Knows no queue and no registered handler.

A call of a function travels as an event of a type of its own, a subclass of `FunctionCall`. Its name on the wire begins
with `call:`, which no event's does.
"""

import contextlib
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from threading import Lock
from typing import Any, Final, Literal, TypeVar, cast, overload
from weakref import WeakKeyDictionary, WeakValueDictionary

import msgspec

from dawdle._versions import Upcaster, read_upcasters
from dawdle.errors import ConfigurationError, NotAnEventError, shown, to_seconds

__all__ = [
    "CALL_PREFIX",
    "HANDLER_NAME",
    "MAX_EXPIRES_SECONDS",
    "PICKLED_HANDLER",
    "PICKLED_PREFIX",
    "QUEUE_NAME",
    "VERSIONED",
    "WITH_ATTRIBUTES",
    "Declaration",
    "Expired",
    "FunctionCall",
    "Upcaster",
    "declaration_of",
    "declared_as",
    "declared_types",
    "event",
    "event_style",
    "is_call",
    "name_call_type",
    "require_event_type",
    "version_of",
    "wire_name",
]

T = TypeVar("T")

EventStyle = Literal["struct", "dataclass", "attrs", "pydantic"]
Unclaimed = Literal["retry", "drop"]
Expired = Literal["drop", "dead"]

HANDLER_NAME: Final = re.compile(r"[\w.:-]{1,200}")
QUEUE_NAME: Final = re.compile(r"[a-z0-9._-]{1,64}")

MAX_EXPIRES_SECONDS: Final = 1000 * 365.25 * 86400
"""As long as the longest delay; with one it still ends in a year that a timestamp can name."""

MAX_HANDLERS: Final = 100
"""Names in one `handlers=`. A worker that has only one of these handlers stores a copy for each of the others."""


CALL_PREFIX: Final = "call:"
"""What the wire name of a function's calls begins with; the function's name follows."""

PICKLED_PREFIX: Final = "pickled:"
"""What the wire name of a pickled call begins with; the version of Python follows."""

PICKLED_HANDLER: Final = "dawdle.pickled"
"""The name of the handler that runs pickled calls, in apps that take them."""


class FunctionCall(msgspec.Struct, frozen=True):
    """The base of the types of calls. Its subclasses are event types, and only their function's handler takes them."""

    def __repr__(self) -> str:
        """Show the arguments that the call has; one that was not given is no part of it."""
        both = ((name, getattr(self, name)) for name in self.__struct_fields__)
        given = ", ".join(f"{name}={value!r}" for name, value in both if value is not msgspec.UNSET)
        return f"{type(self).__qualname__}({given})"


class Declaration(msgspec.Struct, frozen=True):
    """What `@event` says about a type."""

    name: str
    aliases: tuple[str, ...] = ()
    unclaimed: Unclaimed = "retry"
    handlers: tuple[str, ...] = ()
    """Names of the handlers that must handle each event of the type, on any worker."""
    expires: float | None = None
    """Seconds after which an event of the type is not handled any more; None: it is, at any time."""
    expired: Expired = "drop"
    version: int = 1
    """Which version of the type's data the class reads and writes."""
    upcasters: Mapping[int, Upcaster] = {}
    """By an older version of its data, the function that makes the next version of it."""


# Both weak: a class that a test or a reload has defined must not live on only because it was declared.
_declarations: WeakKeyDictionary[type, Declaration] = WeakKeyDictionary()
_declared: WeakValueDictionary[str, type] = WeakValueDictionary()
WITH_ATTRIBUTES: Final[set[str]] = set()
"""Names on the wire of types that declare `expires` or a version: an event of any other name needs no look at its
declaration when it is signaled."""
VERSIONED: Final[set[str]] = set()
"""Names and aliases of types that declare a version: data under any other name needs no look at it when it arrives."""
_declaring = Lock()  # modules may be imported in several threads


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
    expires: float | timedelta | None = None,
    expired: Expired = "drop",
    version: int = 1,
    upcasters: Mapping[int, Upcaster] | None = None,
) -> Callable[[type[T]], type[T]]: ...
def event(
    name: type[T] | str | None = None,
    /,
    *,
    aliases: Sequence[str] = (),
    unclaimed: Unclaimed = "retry",
    handlers: Sequence[str] = (),
    expires: float | timedelta | None = None,
    expired: Expired = "drop",
    version: int = 1,
    upcasters: Mapping[int, Upcaster] | None = None,
) -> type[T] | Callable[[type[T]], type[T]]:
    """Declare an event type, so that its name on the wire does not change when the class is renamed or moved.

    `@dawdle.event("orders.placed")` above the class gives the name, 1 to 200 printable characters; without one it is
    the class's `__qualname__`. Handlers of every event (`@on_event()`) get events of declared types too.

    - `aliases`: names under which older messages may still arrive.
    - `unclaimed`: what a worker does with an event of this type for which it has no handler. `"retry"`, the default,
      keeps it for a worker that has one; `"drop"` deletes it.
    - `expires`: seconds, or a timedelta, after which an event of this type is not handled any more, counted from when
      it is due; see `signal`. `signal(expires=...)` wins over it.
    - `expired`: what becomes of an event that has expired. `"drop"`, the default, deletes it; `"dead"` dead-letters it.
    - `handlers`: names, or aliases, of up to 100 handlers that must handle each event of this type. Workers that share
      a queue may then have different handlers: the worker that receives an event first stores a copy for each of these
      handlers that it lacks, for the worker that has it. Without it the handlers of an event are those of the worker
      that receives it first. Handlers that are not named run as they do without it. If the events go to several
      queues, a name alone is a handler of the first of them, and `"name@queue"` one that is bound to another.
    - `version`: a whole number, 1 by default. It travels with each event. Raise it with a change of the class that data
      in the queue would not fit. A worker that knows only an older version leaves the event to other workers.
    - `upcasters`: by each older version that may be in the queue, a function that takes its data, as a rule a dict, and
      returns the data of the next version: `version=3, upcasters={1: one_to_two, 2: two_to_three}`. If one raises, the
      event is dead-lettered with the reason. `{}` says that no data of an older version is left.

    Raises `ConfigurationError` for a name that another class has, or that cannot be one, for a version from which no
    upcaster leads on, and `NotAnEventError` for a class that is no struct, dataclass, attrs class or pydantic model.
    """
    if isinstance(name, type):
        return _declare(name, Declaration(name.__qualname__))
    if name is not None and not isinstance(cast("object", name), str):
        raise ConfigurationError(f"@event takes a wire name, not {shown(name)}: write @dawdle.event('orders.placed')")
    seconds = None if expires is None else to_seconds(expires, "expires is", most=MAX_EXPIRES_SECONDS, above=True)
    given = Declaration(
        name or "",
        _names_of("aliases", aliases),
        unclaimed,
        _names_of("handlers", handlers),
        seconds,
        expired,
        version,
        read_upcasters(version, upcasters),
    )
    _require_handler_names(given.handlers)
    return lambda event_type: _declare(
        event_type, msgspec.structs.replace(given, name=event_type.__qualname__) if name is None else given
    )


def _names_of(option: str, given: object) -> tuple[str, ...]:
    if isinstance(given, str):
        raise ConfigurationError(f"{option} is a sequence of names, not one text: write {option}=({given!r},)")
    if not isinstance(given, Iterable):
        raise ConfigurationError(
            f"{option} is a sequence of names, such as {option}=({_EXAMPLES[option]!r},), not {shown(given)}"
        )
    return tuple(cast("Iterable[str]", given))


_EXAMPLES: Final = {"aliases": "old.name", "handlers": "send_receipt"}


def _require_handler_names(names: tuple[object, ...]) -> None:
    for name in names:
        handler, at, queue = name.partition("@") if isinstance(name, str) else ("", "", "")
        if not HANDLER_NAME.fullmatch(handler) or (at and not QUEUE_NAME.fullmatch(queue)):
            raise ConfigurationError(
                f"handlers is a sequence of handler names, each of 1 to 200 letters, digits, '_', '.', ':', '-', not "
                f"{shown(name)}: a handler's name is its name=, or module.qualname without one. Behind it may stand "
                f"the queue that it is bound to, 'name@queue'"
            )
    if len(set(names)) != len(names) or len(names) > MAX_HANDLERS:
        raise ConfigurationError(f"handlers is a sequence of up to {MAX_HANDLERS} names, each once, not {shown(names)}")


def _declare(event_type: type[T], declaration: Declaration) -> type[T]:
    require_event_type(event_type)
    if declaration.unclaimed not in {"retry", "drop"}:
        raise ConfigurationError(f"unclaimed is 'retry' or 'drop', not {declaration.unclaimed!r}")
    if declaration.expired not in {"drop", "dead"}:
        raise ConfigurationError(f"expired is 'drop' or 'dead', not {shown(declaration.expired)}")
    names = (declaration.name, *declaration.aliases)
    for each in names:
        _require_wire_name(each)
    with _declaring:
        for each in names:
            other = _declared.get(each)
            # Of two classes from one place in the code the newer one counts: that module was executed again.
            if other is not None and not same_definition(other, event_type):
                raise name_taken(each, other, event_type)
        for each in names:
            _declared[each] = event_type
        _declarations[event_type] = declaration
        if declaration.expires is not None or declaration.version > 1:
            WITH_ATTRIBUTES.add(declaration.name)
        if declaration.version > 1:
            VERSIONED.update(names)
    return event_type


def is_call(event_type: type[object]) -> bool:
    """Whether a class is the type of a function's calls."""
    return issubclass(event_type, FunctionCall)


def name_call_type(call_type: type[FunctionCall], name: str, aliases: Sequence[str] = ()) -> None:
    """Give the calls of a function their wire name. Only a handler leads from the name to the type.

    Two registries may each have a function of one name, so the name is not taken in the whole process. A type that has
    aliases keeps them: one function may be registered twice.
    """
    known = _declarations.get(call_type)
    both = (*(() if known is None else known.aliases), *aliases)
    _declarations[call_type] = Declaration(name, tuple(dict.fromkeys(both)))


def declared_as(name: str) -> type | None:
    """Return the type declared with `@event` under this name or alias."""
    return _declared.get(name)


def declared_types() -> list[type]:
    """Return the types that `@event` has declared in this process, each once."""
    with _declaring:
        return list(dict.fromkeys(_declared.values()))


def declaration_of(event_type: type) -> Declaration | None:
    """Return what `@event` said about exactly this class; a subclass inherits nothing."""
    return _declarations.get(event_type)


def wire_name(event_type: type) -> str:
    """Return the name under which events of this type travel."""
    declaration = _declarations.get(event_type)
    return event_type.__qualname__ if declaration is None else declaration.name


def version_of(event_type: type) -> int:
    """Return the version of a type's data: what `@event` said, else 1."""
    declaration = _declarations.get(event_type)
    return 1 if declaration is None else declaration.version


def event_style(event_type: type[object]) -> EventStyle | None:
    """Return which style of event type a class is, None if it is none. Imports none of the packages that make them."""
    if issubclass(event_type, msgspec.Struct):
        return "struct"
    if hasattr(event_type, "__pydantic_validator__") and hasattr(event_type, "model_validate_json"):
        return "pydantic"
    if hasattr(event_type, "__attrs_attrs__"):
        return "attrs"
    if hasattr(event_type, "__dataclass_fields__"):
        return "dataclass"
    return None


def require_event_type(event_type: object) -> type[Any]:
    """Return `event_type` if it is one. Raises `NotAnEventError` otherwise."""
    if isinstance(event_type, type) and event_style(event_type) is not None:
        return event_type
    named = event_type.__qualname__ if isinstance(event_type, type) else repr(event_type)
    holds_several = isinstance(event_type, type) and issubclass(event_type, (list, tuple, set, frozenset))
    raise NotAnEventError(
        f"{named} is not an event type: an event is a msgspec.Struct, a dataclass, an attrs class or a pydantic "
        f"model, such as `class OrderPlaced(msgspec.Struct, frozen=True): order_id: str`"
        + ("; for several events write signal_many(…)" if holds_several else "")
    )


def same_definition(one: type, other: type) -> bool:
    """Whether two classes are from one place in the code: its module was executed again, or a function ran twice."""
    return one is other or (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)


def is_redefined(one: type, other: type) -> bool:
    """Whether one of two classes was defined again as the other: their module now holds one of them under the name."""
    if not same_definition(one, other):
        return False
    found: object = sys.modules.get(one.__module__)
    for part in one.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is one or found is other


def name_taken(name: str, one: type, other: type, handlers: Sequence[str] = ()) -> ConfigurationError:
    """Return the error for two classes under one wire name. `handlers`: names of handlers that take one of them."""
    conflict = f"two event types are named {name!r}: {_with_location(one)} and {_with_location(other)}. "
    takers = f" They are handled by {' and '.join(handlers)}." if handlers else ""
    if same_definition(one, other):
        return ConfigurationError(
            f"{conflict}It is one class, defined twice: define it once, at the top of its module. If that module was "
            f"executed again, by a reload or as a notebook's cell, execute again what imports the class from it."
            f"{takers}"
        )
    file = _source_file(one)
    if one.__qualname__ == other.__qualname__ and file is not None and file == _source_file(other):
        return ConfigurationError(
            f"{conflict}Their file is imported twice, as {one.__module__!r} and as {other.__module__!r}: import it by "
            f"one name only, and move what other modules import from a program into a module of its own.{takers}"
        )
    return ConfigurationError(
        f"{conflict}Give one of them a name of its own: @dawdle.event('{other.__module__}.{other.__qualname__}')"
    )


def _with_location(event_type: type) -> str:
    """Return a class's name with the file and line of its definition, as far as they are known."""
    file = _source_file(event_type)
    line = getattr(event_type, "__firstlineno__", None)  # from Python 3.13 on
    if file is not None and line is None:
        with contextlib.suppress(OSError, TypeError, SyntaxError):
            line = inspect.getsourcelines(event_type)[1]
    where = "" if file is None else f" ({file})" if line is None else f" ({file}, line {line})"
    return f"{event_type.__module__}.{event_type.__qualname__}{where}"


def _source_file(event_type: type) -> str | None:
    return getattr(sys.modules.get(event_type.__module__), "__file__", None)


def _require_wire_name(name: object) -> None:
    if not isinstance(name, str) or not 0 < len(name) <= 200 or not name.isprintable():
        raise ConfigurationError(f"a wire name is 1 to 200 printable characters, not {name!r}")
    if name.startswith((CALL_PREFIX, PICKLED_PREFIX)):
        raise ConfigurationError(
            f"the wire name {name!r} begins as those of calls do: choose one that begins with neither {CALL_PREFIX!r} "
            f"nor {PICKLED_PREFIX!r}"
        )
