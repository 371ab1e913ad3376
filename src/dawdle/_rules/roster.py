"""Which handlers an app has, which of them an event goes to, and which type a name on the wire means.

A roster is a registry seen by one app: plus what only that app registered, less what it unregistered.
"""

from collections.abc import Sequence

from dawdle._rules.conflict import require_apart
from dawdle._rules.handler import Function, Handler, read_handler
from dawdle._rules.options import HandlerOptions, read_options
from dawdle._rules.registry import Observer, Registry
from dawdle._rules.type_names import handled_types, names_of, require_takers, takers, with_subclasses
from dawdle.errors import ConfigurationError
from dawdle.events import (
    declaration_of,
    declared_as,
    is_defined_again,
    kind_of,
    require_event_type,
    same_place,
    wire_name,
)
from dawdle.events import name_taken as wire_name_taken

__all__ = ["Roster"]


class Roster:
    """The handlers of one app. Every question is answered from a cache that a change of any registry empties."""

    def __init__(self, registry: Registry) -> None:
        self._shared = registry
        self._own = Registry()
        self._hidden: set[str] = set()
        self._signaled: dict[str, type] = {}
        self._seen = -1
        self._named: dict[str, Handler] = {}
        self._all: tuple[Handler, ...] = ()
        self._matching: dict[type, tuple[Handler, ...]] = {}
        self._missing: dict[type, tuple[str, ...]] = {}
        self._kinds: dict[str, type] = {}
        registry.live_beside(self)

    def observe(self, observer: Observer) -> None:
        """Call the observer's `changed()` after every change, for as long as somebody else holds it."""
        self._shared.observe(observer)
        self._own.observe(observer)

    @property
    def handlers(self) -> tuple[Handler, ...]:
        """Every handler, in the order of registration."""
        self._refresh()
        return self._all

    def register(self, function: Function, kinds: Sequence[type], options: HandlerOptions) -> Handler:
        """Add a handler to this app only."""
        made = read_handler(function, kinds, read_options(options), every=False, names={})
        for name in made.names:
            for known in self._shared.going_by(name):
                if known.name not in self._hidden:
                    require_apart(made, known)
        return self._own.put(made)

    def require_apart(self, handler: Handler) -> None:
        """Raise `ConfigurationError` if the shared registry must not take this handler, since this app has another."""
        if handler.name not in self._hidden:
            for name in handler.names:
                for known in self._own.going_by(name):
                    require_apart(handler, known)

    def unregister(self, function: Function) -> None:
        """Take a function's handlers from this app only. Raises `ConfigurationError` if it has none here."""
        found = [handler for handler in self.handlers if handler.function == function]
        if not found:
            names = ", ".join(handler.name for handler in self.handlers) or "none"
            raise ConfigurationError(f"{function!r} is not a handler of this app; its handlers: {names}")
        own = {handler.name for handler in self._own}
        for handler in found:
            if handler.name in own:
                self._own.remove(handler.name)
            if any(handler.name == each.name for each in self._shared):
                self._hidden.add(handler.name)
        self._seen = -1

    def matching(self, kind: type) -> tuple[Handler, ...]:
        """Return the handlers that want events of exactly this class."""
        self._refresh()
        found = self._matching.get(kind)
        if found is None:
            found = self._matching[kind] = tuple(handler for handler in self._all if handler.matches(kind))
        return found

    def missing(self, kind: type) -> tuple[str, ...]:
        """Return the names that events of exactly this class say must handle them, and that no handler here goes by."""
        self._refresh()
        found = self._missing.get(kind)
        if found is None:
            declared = declaration_of(kind)
            here = {name for handler in self.matching(kind) for name in handler.names}
            wanted = () if declared is None else declared.handlers
            found = self._missing[kind] = tuple(name for name in wanted if name not in here)
        return found

    def named(self, name: str) -> Handler | None:
        """Return the handler that goes, or once went, by this name."""
        self._refresh()
        return self._named.get(name)

    def learn(self, kind: type) -> str:
        """Return the wire name of a type that is being signaled, and know the type from now on.

        Raises `NotAnEventError` for what is none, `ConfigurationError` when the name means another type here, or the
        type names a handler that is here and does not take it.
        """
        name = wire_name(kind)
        if self._signaled.get(name) is kind and self._seen == self._version():
            return name
        require_event_type(kind)
        other = self.kind_named(name)
        if other is not None and other is not kind and not self._may_replace(other, kind):
            raise wire_name_taken(name, other, kind, takers(self._all, other, kind))
        require_takers(kind, self._all)
        self._signaled[name] = kind
        self._kinds.pop(name, None)
        return name

    def _may_replace(self, other: type, kind: type) -> bool:
        """Whether a type that is signaled may stand for another of its name: never for one that a handler takes."""
        if other in handled_types(self._all):
            return False
        known = other is self._signaled.get(wire_name(kind)) or other is declared_as(wire_name(kind))
        return is_defined_again(other, kind) if known else same_place(other, kind)

    def kind_named(self, name: str) -> type | None:
        """Return the type that a name on the wire means here.

        It is declared, handled, a subclass of a handled one, or was signaled here. None when there is no such type.
        Raises `ConfigurationError` when there are two.
        """
        self._refresh()
        found = self._kinds.get(name)
        if found is None:
            found = self._handled(name, declared_as(name), self._signaled.get(name))
            if found is not None:
                self._kinds[name] = found
        return found

    def _handled(self, name: str, declared: type | None, signaled: type | None) -> type | None:
        """Return the type of a name: one that a handler takes, or else what is declared, or signaled, or a subclass."""
        found = declared
        for kind in handled_types(self._all):
            if name in names_of(kind):
                if found is not None and found is not kind:
                    raise wire_name_taken(name, found, kind, takers(self._all, found, kind))
                found = kind
        found = found or signaled
        bases = dict.fromkeys(kind for handler in self._all for kind in handler.types)
        for kind in with_subclasses(bases):
            if kind_of(kind) is not None and wire_name(kind) == name:
                if found is not None and not same_place(found, kind):
                    raise wire_name_taken(name, found, kind, takers(self._all, found, kind))
                found = found or kind
        return found

    def _version(self) -> int:
        return self._shared.version + self._own.version

    def _refresh(self) -> None:
        version = self._version()
        if version == self._seen:
            return
        handlers: dict[str, Handler] = {}
        for handler in (*(each for each in self._shared if each.name not in self._hidden), *self._own):
            known = handlers.get(handler.name)  # the same function once more, since others are refused
            same = known is not None and known.function == handler.function
            handlers[handler.name] = known.merged(handler) if known is not None and same else handler
        named = dict(handlers)
        for handler in handlers.values():
            for alias in handler.options.aliases:
                named.setdefault(alias, handler)
        self._all, self._named = tuple(handlers.values()), named
        self._matching.clear()
        self._missing.clear()
        self._kinds.clear()
        self._seen = version
