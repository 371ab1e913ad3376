"""Whether the names on the wire tell an app's event types apart, and its handlers. Asked when the app is entered."""

from collections.abc import Iterable, Sequence

from dawdle._handlers.handler import Handler
from dawdle.errors import ConfigurationError
from dawdle.events import declaration_of, declared_as, event_style, name_taken, same_definition, wire_name

__all__ = [
    "handled_types",
    "names_of",
    "require_named_apart",
    "require_named_handlers_take",
    "takers",
    "with_subclasses",
]

_ROOTS = frozenset({"abc", "attr", "builtins", "msgspec", "pydantic", "typing"})
"""Packages whose classes are bases of far more than one program's events."""


def require_named_apart(handlers: Sequence[Handler]) -> None:
    """Raise `ConfigurationError` for two types that one name means, and for a named handler that does not take a type.

    Which types: those that handlers take, what is declared under the same name, and imported subclasses.
    """
    known: dict[str, type] = {}
    handled = handled_types(handlers)
    for kind in handled:
        for name in names_of(kind):
            declared = declared_as(name)
            for other in (known.setdefault(name, kind), kind if declared is None else declared):
                if other is not kind:
                    raise name_taken(name, other, kind, takers(handlers, other, kind))
    for kind in with_subclasses({kind: None for kind in _bases(handlers) if _is_own(kind)}):
        if event_style(kind) is not None:
            for name in names_of(kind):
                other = known.setdefault(name, kind)
                if not same_definition(other, kind):
                    raise name_taken(name, other, kind, takers(handlers, other, kind))
    for kind in handled:
        require_named_handlers_take(kind, handlers)


def require_named_handlers_take(kind: type, handlers: Sequence[Handler]) -> None:
    """Raise `ConfigurationError` where a type names a handler that is here and does not want it."""
    declared = declaration_of(kind)
    for name in () if declared is None else declared.handlers:
        for handler in handlers:
            if name in handler.names and not handler.matches(kind):
                raise ConfigurationError(
                    f"{kind.__qualname__} names the handler {name!r} in handlers=, and handler {handler.name} does not "
                    f"take it: let the handler take {kind.__qualname__}, or take the name from the type"
                )


def names_of(kind: type) -> tuple[str, ...]:
    """Return the names on the wire that mean a type."""
    declared = declaration_of(kind)
    return (wire_name(kind), *(() if declared is None else declared.aliases))


def handled_types(handlers: Iterable[Handler]) -> list[type]:
    """Return the event types that handlers name themselves, each once."""
    return [kind for kind in _bases(handlers) if event_style(kind) is not None and _is_own(kind)]


def takers(handlers: Iterable[Handler], one: type, other: type) -> tuple[str, ...]:
    """Return the names of the handlers that name one of two types, and not both."""
    return tuple(each.name for each in handlers if (one in each.types) != (other in each.types))


def _bases(handlers: Iterable[Handler]) -> dict[type, None]:
    return dict.fromkeys(kind for handler in handlers for kind in handler.types)


def _is_own(kind: type) -> bool:
    return kind.__module__.partition(".")[0] not in _ROOTS


def with_subclasses(bases: dict[type, None]) -> list[type]:
    """Return the bases and every imported subclass of one."""
    found: dict[type, None] = {}
    todo = list(bases)
    while todo:
        kind = todo.pop()
        if kind not in found:
            found[kind] = None
            todo.extend(type.__subclasses__(kind))
    return list(found)
