"""Finds the type for a name in a letter: one that the caller named, or one that the app knows. Reads no letter."""

from collections.abc import Sequence

from dawdle._handlers.app_handlers import AppHandlers
from dawdle._handlers.type_names import with_subclasses
from dawdle.errors import ConfigurationError
from dawdle.events import event_style, is_call, wire_name

__all__ = ["LetterTypes"]


class LetterTypes:
    """The types of one call. A type that the caller names needs neither a handler nor a declaration."""

    def __init__(self, handlers: AppHandlers, types: Sequence[type] = ()) -> None:
        self._handlers = handlers
        self._types = tuple(types)
        # `object` is left out here: all classes of the process are its subclasses.
        known = with_subclasses(dict.fromkeys(event_type for event_type in types if event_type is not object))
        self._named = {
            wire_name(event_type): event_type for event_type in (*known, *types) if event_style(event_type) is not None
        }

    def resolve_type(self, name: str) -> type[object] | None:
        """Return the type that a wire name means; None if it means none or two."""
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
        event_type = self.resolve_type(name)
        if event_type is None or is_call(event_type):  # a base class means events
            return event_type in self._types
        return issubclass(event_type, self._types)
