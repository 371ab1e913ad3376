"""Checks that each name on the wire means one event type of an app. Called when the app is entered; changes nothing."""

from collections.abc import Iterable, Sequence

from dawdle._handlers.handler import Handler
from dawdle.errors import ConfigurationError
from dawdle.events import FunctionCall, declaration_of, declared_as, event_style, name_taken, same_definition, wire_name

__all__ = [
    "handled_types",
    "names_of",
    "require_named_apart",
    "require_named_handlers_take",
    "takers",
    "with_subclasses",
]

_ROOTS = frozenset({"abc", "attr", "builtins", "msgspec", "pydantic", "typing"})
"""Packages whose classes are bases of many other classes than a program's events."""


def require_named_apart(handlers: Sequence[Handler]) -> None:
    """Raise `ConfigurationError` if a name means two types, or a type names a handler that does not take it.

    The types are those that handlers take, those that are declared under the same names, and imported subclasses.
    """
    known: dict[str, type] = {}
    handled = handled_types(handlers)
    for event_type in handled:
        for name in names_of(event_type):
            declared = declared_as(name)
            for other in (known.setdefault(name, event_type), event_type if declared is None else declared):
                if other is not event_type:
                    raise name_taken(name, other, event_type, takers(handlers, other, event_type))
    for event_type in with_subclasses({event_type: None for event_type in _bases(handlers) if _is_own(event_type)}):
        if event_style(event_type) is not None:
            for name in names_of(event_type):
                other = known.setdefault(name, event_type)
                if not same_definition(other, event_type):
                    raise name_taken(name, other, event_type, takers(handlers, other, event_type))
    for event_type in handled:
        require_named_handlers_take(event_type, handlers)


def require_named_handlers_take(event_type: type, handlers: Sequence[Handler]) -> None:
    """Raise `ConfigurationError` if a type names a handler of this app that does not take it."""
    declared = declaration_of(event_type)
    for named in () if declared is None else declared.handlers:
        name = named.partition("@")[0]
        for handler in handlers:
            if name in handler.names and not handler.matches(event_type):
                raise ConfigurationError(
                    f"{event_type.__qualname__} names the handler {name!r} in handlers=, and handler {handler.name} "
                    f"does not take it: let the handler take {event_type.__qualname__}, or take the name from the type"
                )


def names_of(event_type: type) -> tuple[str, ...]:
    """Return the names on the wire that mean a type: its wire name and its aliases."""
    declared = declaration_of(event_type)
    return (wire_name(event_type), *(() if declared is None else declared.aliases))


def handled_types(handlers: Iterable[Handler]) -> list[type]:
    """Return the event types that handlers name, each once, without their subclasses."""
    return [
        event_type for event_type in _bases(handlers) if event_style(event_type) is not None and _is_own(event_type)
    ]


def takers(handlers: Iterable[Handler], one: type, other: type) -> tuple[str, ...]:
    """Return the names of the handlers that take one of two types, and not both."""
    return tuple(each.name for each in handlers if (one in each.types) != (other in each.types))


def _bases(handlers: Iterable[Handler]) -> dict[type, None]:
    return dict.fromkeys(event_type for handler in handlers for event_type in handler.types)


def _is_own(event_type: type) -> bool:
    return event_type.__module__.partition(".")[0] not in _ROOTS


def with_subclasses(bases: dict[type, None]) -> list[type]:
    """Return the bases and all of their imported subclasses, but for those that are the calls of functions."""
    found: dict[type, None] = {}
    todo = list(bases)
    while todo:
        event_type = todo.pop()
        if event_type not in found:
            found[event_type] = None
            # Asked of `type`: a metaclass may define its own.
            subclasses: list[type] = type.__subclasses__(event_type)
            todo.extend(each for each in subclasses if each is not FunctionCall)
    return list(found)
