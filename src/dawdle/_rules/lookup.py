"""What the rules ask of the handlers that an app has. They are read live, elsewhere; here is only the question."""

from typing import Protocol, TypeVar

__all__ = ["HandlerLookup", "Named", "TypeLookup"]


class Named(Protocol):
    """A handler, as far as a rule needs to know it."""

    @property
    def name(self) -> str:
        """The name that retries know it by."""
        ...


H_co = TypeVar("H_co", bound=Named, covariant=True)


class TypeLookup(Protocol):
    """The event types that a name on the wire may mean."""

    def resolve_type(self, name: str, /) -> type[object] | None:
        """Return the event type of a name; None where there is none, or more than one."""
        ...


class HandlerLookup(Protocol[H_co]):
    """The handlers of one app."""

    def resolve_type(self, name: str, /) -> type[object] | None:
        """Return the event type that a name on the wire means here. Raises `ConfigurationError` where it means two."""
        ...

    def handler_named(self, name: str, /) -> H_co | None:
        """Return the handler that goes, or once went, by a name."""
        ...

    def handlers_for(self, event_type: type[object], queue: str | None, /) -> tuple[H_co, ...]:
        """Return the handlers that want events of exactly this class from a queue, by its name in the app."""
        ...

    def missing_for(self, event_type: type[object], /) -> tuple[str, ...]:
        """Return the handlers that the type names, and that are not here."""
        ...
