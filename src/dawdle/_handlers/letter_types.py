"""Which type a name in a letter means: one that the caller named, or one that the app knows. Reads no letter."""

from collections.abc import Sequence

from dawdle._handlers.app_handlers import AppHandlers
from dawdle._handlers.type_names import with_subclasses
from dawdle.errors import ConfigurationError
from dawdle.events import event_style, wire_name

__all__ = ["LetterTypes"]


class LetterTypes:
    """The types of one call: who names a type need not have a handler for it, nor declare it."""

    def __init__(self, handlers: AppHandlers, types: Sequence[type] = ()) -> None:
        self._handlers = handlers
        self._types = tuple(types)
        known = with_subclasses(dict.fromkeys(kind for kind in types if kind is not object))
        self._named = {wire_name(kind): kind for kind in (*known, *types) if event_style(kind) is not None}

    def resolve_type(self, name: str) -> type[object] | None:
        """Return the type that a wire name means; None when nobody here knows, or there are two."""
        found: type[object] | None = self._named.get(name)
        if found is not None:
            return found
        try:
            return self._handlers.resolve_type(name)
        except ConfigurationError:
            return None

    def includes(self, name: str) -> bool:
        """Whether a wire name means one of the types that the caller named, or a subclass of one."""
        if object in self._types:
            return True
        kind = self.resolve_type(name)
        return kind is not None and issubclass(kind, self._types)
