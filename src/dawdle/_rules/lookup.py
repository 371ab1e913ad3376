"""What the rules ask about an app's handlers. Protocols only: the answers come from `_handlers`, live."""

from typing import Protocol, TypeVar

__all__ = ["HandlerLookup", "Named", "TypeLookup"]


class Named(Protocol):
    """A handler, as far as a rule uses it."""

    @property
    def name(self) -> str:
        """The name that its retries carry."""
        ...

    def matches(self, event_type: type, /) -> bool:
        """Whether it takes events of exactly this class."""
        ...

    @property
    def max_attempts(self) -> int | None:
        """How often it is tried; None: as often as the app says. Only ordered queues ask."""
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
        """Return the handler that has, or once had, a name."""
        ...

    def handlers_for(self, event_type: type[object], queue: str | None, /) -> tuple[H_co, ...]:
        """Return the handlers of events of exactly this class that arrive on a queue of the app; None means any."""
        ...

    def bound_to(self, queue: str, event_type: type[object], /) -> tuple[H_co, ...]:
        """Return those of the handlers that run on this queue and on no other."""
        ...

    def missing_for(self, event_type: type[object], queue: str | None, /, *, only: bool = False) -> tuple[str, ...]:
        """Return the names of handlers that the type names for a queue of the app, and that this app lacks.

        `queue`: None means any. `only`: those that the type names for this queue alone, as `name@queue`.
        """
        ...
