"""Finds the type for a name in a message: one that the caller named, or one that the app knows. Reads no message."""

from collections.abc import Sequence

from dawdle._handlers.app_handlers import AppHandlers
from dawdle._handlers.type_names import names_of, with_subclasses
from dawdle.errors import ConfigurationError
from dawdle.events import event_style, is_call, wire_name

__all__ = ["LetterTypes"]


class LetterTypes:
    """The types of one call: classes, each with its subclasses, and names on the wire.

    A class that the caller names needs neither a handler nor a declaration. A name means all that its type has had.
    """

    def __init__(self, handlers: AppHandlers, types: Sequence[type | str] = ()) -> None:
        self._handlers = handlers
        texts = [each for each in types if isinstance(each, str)]
        self._types = tuple(each for each in types if isinstance(each, type))
        # `object` is left out here: all classes of the process are its subclasses.
        known = with_subclasses(dict.fromkeys(event_type for event_type in self._types if event_type is not object))
        self._named = {
            wire_name(event_type): event_type
            for event_type in (*known, *self._types)
            if event_style(event_type) is not None
        }
        self._texts = frozenset(name for text in texts for name in self._names_of(text))

    def resolve_type(self, name: str) -> type[object] | None:
        """Return the type that a wire name means; None if it means none or two."""
        found: type[object] | None = self._named.get(name)
        if found is not None:
            return found
        try:
            return self._handlers.resolve_type(name)
        except ConfigurationError:
            return None

    def is_named(self, name: str) -> bool:
        """Whether a wire name is one that the caller gave as a text, or another one of the same type."""
        return name in self._texts

    def includes(self, name: str) -> bool:
        """Whether a wire name means one of the types that the caller named, or a subclass of a class."""
        if name in self._texts or object in self._types:
            return True
        event_type = self.resolve_type(name)
        if event_type is None or is_call(event_type):  # a base class means events
            return event_type in self._types
        return issubclass(event_type, self._types)

    def _names_of(self, text: str) -> tuple[str, ...]:
        """Return the names under which events of a type were ever stored, given one of them."""
        event_type = self.resolve_type(text)
        return (text,) if event_type is None else (text, *names_of(event_type))
