"""The handlers of one app, those that an event goes to, and the type that a name on the wire means. Runs none of them.

They are the handlers of the app's registry, plus those that only this app registered, minus those that it unregistered.
"""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from dawdle._handlers.around import Around
from dawdle._handlers.changing import CHANGING, Observer
from dawdle._handlers.conflict import require_apart
from dawdle._handlers.function import Function as RegisteredFunction
from dawdle._handlers.handler import Function, Handler, read_handler
from dawdle._handlers.options import HandlerOptions, read_options
from dawdle._handlers.registry import Registry
from dawdle._handlers.type_names import handled_types, names_of, require_named_handlers_take, takers, with_subclasses
from dawdle.errors import ConfigurationError
from dawdle.events import (
    declaration_of,
    declared_as,
    event_style,
    is_call,
    is_redefined,
    require_event_type,
    same_definition,
    wire_name,
)
from dawdle.events import name_taken as wire_name_taken

__all__ = ["AppHandlers"]


class _Snapshot:
    """The handlers of an app at one version of its registries, with a cache of answers."""

    # The caches need no lock: a dict assignment is atomic, and two threads that compute the same answer at the same
    # time write equal values. The handlers themselves never change; a new version is a new snapshot.

    __slots__ = ("_matching", "_missing", "_signaled", "all", "learned", "named", "types", "version")

    def __init__(self, version: int, handlers: Sequence[Handler], signaled: Mapping[str, type]) -> None:
        self.version = version
        self.all = tuple(handlers)
        self.named = {handler.name: handler for handler in handlers}
        for handler in handlers:
            for alias in handler.options.aliases:
                self.named.setdefault(alias, handler)  # a handler's own name wins over an alias of another
        self._matching: dict[tuple[type, str | None], tuple[Handler, ...]] = {}
        self._missing: dict[tuple[type, str | None, bool], tuple[str, ...]] = {}
        self._signaled = signaled
        self.types: dict[str, type] = {}
        self.learned: dict[str, type] = {}

    def handlers_for(self, event_type: type, queue: str | None = None) -> tuple[Handler, ...]:
        found = self._matching.get((event_type, queue))
        if found is None:
            found = self._matching[event_type, queue] = tuple(
                handler
                for handler in self.all
                if handler.matches(event_type) and (queue is None or handler.options.queue in {None, queue})
            )
        return found

    def bound_to(self, queue: str, event_type: type) -> tuple[Handler, ...]:
        return tuple(handler for handler in self.handlers_for(event_type, queue) if handler.options.queue is not None)

    def missing_for(self, event_type: type, queue: str | None, *, only: bool = False) -> tuple[str, ...]:
        found = self._missing.get((event_type, queue, only))
        if found is None:
            declared = declaration_of(event_type)
            wanted = () if declared is None else declared.handlers
            here = (
                {name for handler in self.all if handler.matches(event_type) for name in handler.names}
                if wanted
                else ()
            )
            named = [name.partition("@") for name in wanted]
            missing = (
                name
                for name, _, place in named
                if name not in here and (place == queue if only else not place or queue in {None, place})
            )
            found = self._missing[event_type, queue, only] = tuple(dict.fromkeys(missing))
        return found

    def handler_named(self, name: str) -> Handler | None:
        return self.named.get(name)

    def resolve_type(self, name: str) -> type | None:
        found = self.types.get(name)
        if found is None:
            found = _handled(self.all, name, declared_as(name), self._signaled.get(name))
            if found is not None:  # a miss is not cached: a subclass may be imported later, without a new snapshot
                self.types[name] = found
        return found


class AppHandlers:
    """The handlers of one app. Every question is answered from a snapshot, which a change of any registry replaces.

    Only making a snapshot takes the lock. Until then other threads see the handlers as they were before the change.
    """

    def __init__(self, registry: Registry, around: tuple[Around, ...] = ()) -> None:
        self._around = around
        self._shared = registry
        self._own = Registry()
        self._hidden: frozenset[str] = frozenset()
        self._signaled: dict[str, type] = {}
        self._unregistered = 0
        self._snapshot = _Snapshot(-1, (), self._signaled)
        registry.used_by(self)

    def copy(self, registry: Registry, around: tuple[Around, ...]) -> "AppHandlers":
        """Return the same handlers for another app, on which they may change apart; on another registry, if given."""
        made = AppHandlers(registry, around)
        with CHANGING:
            made._hidden = self._hidden
            for handler in self._own:
                made.add(handler)
        return made

    def take_changes(self, other: "AppHandlers", *, since: "AppHandlers") -> None:
        """Make the changes here by which another app's own handlers differ from those that it had before.

        Raises `ConfigurationError` for a handler whose name another one has here.
        """
        for handler in other._own:
            if handler not in since._own:
                self.add(handler)
        self._hidden |= other._hidden - since._hidden

    def observe(self, observer: Observer) -> None:
        """Call the observer's `changed()` after every change. The reference to it is weak."""
        self._shared.observe(observer)
        self._own.observe(observer)

    @property
    def has_own(self) -> bool:
        """Whether there are handlers that only this app has."""
        return any(True for _ in self._own)

    @property
    def handlers(self) -> tuple[Handler, ...]:
        """Every handler, in the order of registration."""
        return self.snapshot().all

    @property
    def of_letters(self) -> tuple[Handler, ...]:
        """Every handler of dead letters, in the order of registration."""
        return tuple(self._shared.letter_handlers())

    def register(self, function: Function, event_types: Sequence[type], options: HandlerOptions) -> Handler:
        """Add a handler to this app only. Raises `ConfigurationError` as `read` and `add` do."""
        return self.add(self.read(function, event_types, options))

    def read(self, function: Function, event_types: Sequence[type], options: HandlerOptions) -> Handler:
        """Return the handler that a function is, for `add`. Raises `ConfigurationError` for what cannot be one."""
        return read_handler(function, event_types, read_options(options), every=False, names={})

    def merged(self, made: Handler) -> Handler:
        """Return a handler as it is once it is added: with the types that the same function takes here already."""
        known = self.snapshot().named.get(made.name)
        return made if known is None or known.function != made.function else known.merged(made)

    def add(self, made: Handler) -> Handler:
        """Add a handler to this app only. Raises `ConfigurationError` for a name that the app's registry has."""
        with CHANGING:
            # The registry does not know this app's own handlers, so both sides check: here, and in `require_apart`.
            for name in made.names:
                for known in self._shared.going_by(name):
                    if known.name not in self._hidden:
                        require_apart(made, known)
            return self._own.put(made)

    def require_apart(self, handler: Handler) -> None:
        """Raise `ConfigurationError` if this app has a handler of its own with a name of this one, of its registry."""
        if handler.name not in self._hidden:
            for name in handler.names:
                for known in self._own.going_by(name):
                    require_apart(handler, known)

    def unregister(self, function: Function) -> None:
        """Remove a function's handlers from this app only. Raises `ConfigurationError` if it has none here."""
        with CHANGING:
            found = [handler for handler in self.handlers if _runs(handler, function)]
            if not found:
                names = ", ".join(handler.name for handler in self.handlers) or "none"
                raise ConfigurationError(f"{function!r} is not a handler of this app; its handlers: {names}")
            own, shared = ({handler.name for handler in each} for each in (self._own, self._shared))
            for handler in found:
                if handler.name in own:
                    self._own.remove(handler.name)
            # The registry may serve other apps, so its handlers stay in it and are hidden here.
            self._hidden = self._hidden.union(handler.name for handler in found if handler.name in shared)
            self._unregistered += 1

    def snapshot(self) -> "_Snapshot":
        """Return the handlers as they are now: it answers several questions by one look at the registries."""
        # Each part of the version only grows, so an equal sum means that nothing has changed.
        snapshot = self._snapshot
        version = self._shared.version + self._own.version + self._unregistered
        return snapshot if snapshot.version == version else self._new_snapshot()

    def handlers_for(self, event_type: type, queue: str | None = None) -> tuple[Handler, ...]:
        """Return the handlers of events of exactly this class; with `queue`, only those that run on it."""
        return self.snapshot().handlers_for(event_type, queue)

    def bound_to(self, queue: str, event_type: type) -> tuple[Handler, ...]:
        """Return the handlers of events of exactly this class that run on this queue only."""
        return self.snapshot().bound_to(queue, event_type)

    def missing_for(self, event_type: type, queue: str | None, *, only: bool = False) -> tuple[str, ...]:
        """Return the names in the `handlers=` of exactly this class, for a queue, that no handler of this app has."""
        return self.snapshot().missing_for(event_type, queue, only=only)

    def handler_named(self, name: str) -> Handler | None:
        """Return the handler with this name or alias."""
        return self.snapshot().handler_named(name)

    def learn(self, event_type: type) -> str:
        """Return the wire name of a type that is being signaled, and remember the type.

        Raises `NotAnEventError` for a class that is no event type, and `ConfigurationError` if the name means another
        type here, or the type names a handler of this app that does not take it.
        """
        name, snapshot = wire_name(event_type), self.snapshot()
        # Each signal comes by here, so the checks are made once a snapshot.
        if snapshot.learned.get(name) is event_type:
            return name
        # A call is known by its name alone. Its function may be defined again, and those who call it still have the old
        # one.
        if is_call(event_type):
            return name
        require_event_type(event_type)
        other = snapshot.resolve_type(name)
        if other is not None and other is not event_type and not self._may_replace(snapshot, other, event_type):
            raise wire_name_taken(name, other, event_type, takers(snapshot.all, other, event_type))
        require_named_handlers_take(event_type, snapshot.all)
        self._signaled[name] = snapshot.learned[name] = event_type
        snapshot.types.pop(name, None)  # it may be the type that this one replaces
        return name

    def resolve_type(self, name: str) -> type | None:
        """Return the type that a name on the wire means here; None if there is none.

        It is declared, handled, a subclass of a handled type, or was signaled here. Nothing else is looked up, and
        nothing is imported: a message chooses among known types. Raises `ConfigurationError` if two types match.
        """
        return self.snapshot().resolve_type(name)

    def _may_replace(self, snapshot: _Snapshot, other: type, event_type: type) -> bool:
        """Whether a signaled type may replace another of its name, as a reload makes one. A handled type stays."""
        if other in handled_types(snapshot.all):
            return False
        known = other is self._signaled.get(wire_name(event_type)) or other is declared_as(wire_name(event_type))
        return is_redefined(other, event_type) if known else same_definition(other, event_type)

    def _new_snapshot(self) -> _Snapshot:
        with CHANGING:
            handlers: dict[str, Handler] = {}
            around: dict[str, tuple[Around, ...]] = {}
            shared = [each for each in self._shared.with_around() if each[0].name not in self._hidden]
            for handler, outer in (*shared, *self._own.with_around()):
                known = handlers.get(handler.name)  # it is the same function, since another one is refused
                same = known is not None and known.function == handler.function
                handlers[handler.name] = known.merged(handler) if known is not None and same else handler
                around.setdefault(handler.name, outer)
            for name, handler in handlers.items():
                every = (*self._around, *around[name], *handler.options.around)
                if every:
                    handlers[name] = msgspec.structs.replace(handler, around=every)
            version = self._shared.version + self._own.version + self._unregistered
            self._snapshot = snapshot = _Snapshot(version, tuple(handlers.values()), self._signaled)
            return snapshot


def _runs(handler: Handler, function: Callable[..., object]) -> bool:
    if isinstance(function, RegisteredFunction):
        return handler.is_function and handler.name == function.name
    return handler.function == function


def _handled(handlers: Sequence[Handler], name: str, declared: type | None, signaled: type | None) -> type | None:
    """Return the type of a name: one that a handler takes, else a declared one, a signaled one, or a subclass."""
    found = declared
    for event_type in handled_types(handlers):
        if name in names_of(event_type):
            if found is not None and found is not event_type:
                raise wire_name_taken(name, found, event_type, takers(handlers, found, event_type))
            found = event_type
    found = found or signaled
    for event_type in with_subclasses(
        dict.fromkeys(event_type for handler in handlers for event_type in handler.types)
    ):
        if event_style(event_type) is not None and wire_name(event_type) == name:
            if found is not None and not same_definition(found, event_type):
                raise wire_name_taken(name, found, event_type, takers(handlers, found, event_type))
            found = found or event_type
    return found
