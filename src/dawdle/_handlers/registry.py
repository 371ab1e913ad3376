"""A set of handlers, like a router in a web framework. Registers them; `AppHandlers` says which of them run.

One thread may change a registry while apps run in others. One lock for all registries guards every change, since a name
is taken in all registries that include each other. A change replaces tuples and dicts and never modifies them, so
reading needs no lock. Observers are called after the lock is released.
"""

import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, Unpack, cast, overload
from weakref import WeakSet

from dawdle._handlers.around import Around, read_around
from dawdle._handlers.changing import CHANGING, Observer
from dawdle._handlers.conflict import require_apart
from dawdle._handlers.function_registry import FunctionRegistry
from dawdle._handlers.handler import Function, Handler, read_handler
from dawdle._handlers.letter_registry import LetterRegistry
from dawdle._handlers.options import HandlerOptions, read_options
from dawdle._handlers.signature import is_function, require_event_class
from dawdle.errors import ConfigurationError, shown

__all__ = ["Decorator", "HandlerOptions", "Registry", "RegistryUser"]

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
F = TypeVar("F")
H = TypeVar("H", bound=Callable[..., object])
R = TypeVar("R")
X = TypeVar("X")
P = ParamSpec("P")


class Decorator(Protocol[E]):  # type: ignore[misc]  # mypy infers covariance, pyright invariance
    """Takes a handler of events of type E, and perhaps of more types, and returns it unchanged."""

    @overload
    def __call__(self, handler: Callable[Concatenate[E | X, P], R], /) -> Callable[Concatenate[E | X, P], R]: ...
    @overload
    def __call__(self, handler: Callable[Concatenate[E, P], R], /) -> Callable[Concatenate[E, P], R]: ...


class RegistryUser(Protocol):
    """An app that uses a registry, and may have handlers of its own that share no name with the registry's."""

    def require_apart(self, handler: Handler) -> None:
        """Raise `ConfigurationError` if the registry must not take this handler."""
        ...


class Registry(FunctionRegistry, LetterRegistry):
    """A set of handlers. Every app that uses it finds a handler that is added later too.

    `dawdle.on_event` writes to the default registry, and `Dawdle(registry=…)` uses another. `around` is entered about
    each run of its handlers, also of those that it includes; see the option of `on_event`.
    """

    def __init__(self, *, around: Around | Sequence[Around] = ()) -> None:
        super().__init__()
        self._around = read_around(around)
        self._handlers: dict[str, Handler] = {}
        self._aliases: dict[str, str] = {}
        self._included: tuple[Registry, ...] = ()
        # Weak: the default registry lives as long as the program, and a test suite makes thousands of apps.
        self._includers: WeakSet[Registry] = WeakSet()
        self._observers: WeakSet[Observer] = WeakSet()
        self._users: WeakSet[RegistryUser] = WeakSet()
        self.version = 0
        """Grows with every change, here or in an included registry."""

    # One TypeVar for each type, so that a handler of `A | B` passes both type checkers. Six are enough for all but very
    # few handlers; more go into a base class.
    @overload
    def on_event(self, /, **options: Unpack[HandlerOptions]) -> Callable[[H], H]: ...
    @overload
    def on_event(self, a: type[A], /, **options: Unpack[HandlerOptions]) -> Decorator[A]: ...
    @overload
    def on_event(self, a: type[A], b: type[B], /, **options: Unpack[HandlerOptions]) -> Decorator[A | B]: ...
    @overload
    def on_event(
        self, a: type[A], b: type[B], c: type[C], /, **options: Unpack[HandlerOptions]
    ) -> Decorator[A | B | C]: ...
    @overload
    def on_event(
        self, a: type[A], b: type[B], c: type[C], d: type[D], /, **options: Unpack[HandlerOptions]
    ) -> Decorator[A | B | C | D]: ...
    @overload
    def on_event(
        self, a: type[A], b: type[B], c: type[C], d: type[D], e: type[E], /, **options: Unpack[HandlerOptions]
    ) -> Decorator[A | B | C | D | E]: ...
    @overload
    def on_event(
        self,
        a: type[A],
        b: type[B],
        c: type[C],
        d: type[D],
        e: type[E],
        f: type[F],
        /,
        **options: Unpack[HandlerOptions],
    ) -> Decorator[A | B | C | D | E | F]: ...
    @overload
    def on_event(self, handler: H, /) -> H: ...
    def on_event(self, *event_types: Any, **options: Unpack[HandlerOptions]) -> Any:
        """Register a handler: `@on_event`, `@on_event(OrderPlaced, OrderCancelled)`, `@on_event(retry=…)`.

        The function gets the event and, if it has a second parameter without a default, the `Context`. Without types
        they come from the first parameter's annotation: `object` and `Any` mean every event, and so does no annotation
        under `@on_event()`. A base class takes its subclasses. `async def` runs in the event loop, `def` in a thread.

        - `name`: travels with the handler's retries, so keep it; default `module.qualname`.
        - `aliases`: names that the handler had before.
        - `exclude`: types that it does not take.
        - `retry`: a `Retry`; default: the app's.
        - `timeout`: seconds, or a timedelta, for one run. Then the run is cancelled and has failed. Default: the app's;
          `float("inf")` for none. A thread cannot be cancelled: there a warning is logged, and its result counts.
        - `concurrency`: how many runs of it at once in this process; default: as many as the app runs. A few events
          wait for it in memory, and the rest of a backlog comes back later, as delayed copies.
        - `queue`: the name of the queue on which it runs, and on no other; default: where its event arrives.
        - `around`: a function that takes the `Context` and returns an async context manager, or several, outermost
          first. Each run is inside it, within the timeout. The app's and the registry's are further out.

        The same function object again adds types and options. The same function defined again replaces itself, when its
        module is executed again: by a reload, or as a cell of a notebook. Raises `ConfigurationError` for another
        function under a taken name or alias, also in a registry that includes this one or is included (a factory that
        runs twice makes such a function); for an option that is given twice with different values; and for an object
        that cannot be a handler.
        """
        # The locals of the caller are needed for quoted annotations: one may name a class of the function in which the
        # handler is defined.
        if len(event_types) == 1 and is_function(event_types[0]):
            names = sys._getframe(1).f_locals  # pyright: ignore[reportPrivateUsage] - there is no public way
            self.add(event_types[0], (), options, every=False, names=names)
            return event_types[0]
        for event_type in event_types:
            require_event_class(event_type, "on_event")

        def register(*given: H, **fields: object) -> H:
            if len(given) != 1 or fields:  # `@on_event` stands above an event class, and an instance of that is made
                called = ", ".join(event_type.__qualname__ for event_type in event_types)
                raise ConfigurationError(
                    f"on_event({called}) was called without one handler: write @on_event above functions. "
                    f"Above an event class write @dawdle.event, or nothing"
                )
            names = sys._getframe(1).f_locals  # pyright: ignore[reportPrivateUsage] - there is no public way
            self.add(given[0], event_types, options, every=True, names=names)
            return given[0]

        return register

    def add(
        self,
        function: Function,
        event_types: Sequence[type],
        options: HandlerOptions,
        *,
        every: bool,
        names: Mapping[str, object] | None = None,
    ) -> Handler:
        """Register a function. `every`: without types and without an annotation it takes every event."""
        return self.put(read_handler(function, event_types, read_options(options), every=every, names=names or {}))

    def put(self, made: Handler) -> Handler:
        """Add a handler, and return it with all of its types, also those that it had here before."""
        with CHANGING:
            self._require_apart(made)
            known = self._handlers.get(made.name)
            if known is not None and known.function == made.function:
                made = known.merged(made)
            self._replace({**self._handlers, made.name: made})
            self._changed()
        return made

    def include(self, other: "Registry") -> None:
        """Use another registry's handlers as well, also those that it gets later.

        Raises `ConfigurationError` for a registry that includes this one, and for a handler's name or alias that
        both have.
        """
        if not isinstance(cast("object", other), Registry):
            raise ConfigurationError(f"include() takes a dawdle.Registry, not {shown(other)}")
        with CHANGING:
            if any(each is self for each in other._with_included()):
                raise ConfigurationError("a registry cannot include itself, directly or through another")
            for handler in other:
                self._require_apart(handler)
            self.require_letters_apart(list(other.letter_handlers()))
            if any(each is other for each in self._included):
                return
            self._included = (*self._included, other)
            other._includers.add(self)
            self._changed()

    def clear(self) -> None:
        """Remove every handler, those of letters too, and every included registry.

        Events in flight for them become unclaimed.
        """
        with CHANGING:
            for other in self._included:
                other._includers.discard(self)
            self._included = ()
            self._letter_handlers = {}
            self._replace({})
            self._changed()

    @contextmanager
    def restored(self) -> Generator[None]:
        """Within the block handlers may come and go. After it the registry has those that it had before, and no other.

        For tests whose functions register handlers. Registries that it includes are not restored.
        """
        handlers, included, of_letters = self._handlers, self._included, self._letter_handlers
        try:
            yield
        finally:
            self._letter_handlers = of_letters
            if self._handlers is not handlers or self._included is not included:
                with CHANGING:
                    for other in self._included:
                        other._includers.discard(self)
                    for other in included:
                        other._includers.add(self)
                    self._included = included
                    self._replace(handlers)
                    self._changed()

    def remove(self, name: str) -> None:
        """Remove one of the registry's own handlers. Raises `KeyError` if it has none of this name."""
        with CHANGING:
            left = dict(self._handlers)
            del left[name]
            self._replace(left)
            self._changed()

    def going_by(self, name: str) -> Iterator[Handler]:
        """Return the handlers, own and included, with this name or alias."""
        for each in self._with_included():
            found = each._handlers.get(name) or each._handlers.get(each._aliases.get(name, ""))
            if found is not None:
                yield found

    def observe(self, observer: "Observer") -> None:
        """Call the observer's `changed()` after every change. The reference to it is weak."""
        with CHANGING:
            self._observers.add(observer)

    def used_by(self, user: RegistryUser) -> None:
        """Ask the user before every registration, here and in included registries. The reference to it is weak."""
        with CHANGING:
            self._users.add(user)

    def _replace(self, handlers: dict[str, Handler]) -> None:
        self._aliases = {alias: each.name for each in handlers.values() for alias in each.options.aliases}
        self._handlers = handlers

    def _changed(self) -> None:
        """Count a change, here and in all registries that include this one."""
        for each in self._with_includers():
            each.version += 1
            CHANGING.tell(each._observers)

    def __iter__(self) -> Iterator[Handler]:
        for each in self._with_included():
            yield from each._handlers.values()

    def with_around(self) -> Iterator[tuple[Handler, tuple[Around, ...]]]:
        """Return each handler with the `around` of the registries that lead to it, outermost first."""
        # Nearest first, so a registry is reached after the one that includes it. Of two ways to it the shorter counts.
        around = {id(self): self._around}
        for each in self._with_included():
            for other in each._included:
                around.setdefault(id(other), (*around[id(each)], *other._around))
            for handler in each._handlers.values():
                yield handler, around[id(each)]

    def __repr__(self) -> str:
        return f"<Registry of {', '.join(handler.name for handler in self) or 'no handlers'}>"

    def _with_included(self) -> "list[Registry]":
        return self._with_all(lambda each: each._included)

    def _with_includers(self) -> "list[Registry]":
        return self._with_all(lambda each: each._includers)

    def _with_all(self, next_to: "Callable[[Registry], Iterable[Registry]]") -> "list[Registry]":
        """Return this registry and all that can be reached from it, nearest first, each once."""
        # By identity, and not by a set: two registries may include a third, and reach it twice.
        found: list[Registry] = []
        todo: list[Registry] = [self]
        while todo:
            each = todo.pop(0)
            if not any(each is known for known in found):
                found.append(each)
                todo.extend(next_to(each))
        return found

    def _require_apart(self, handler: Handler) -> None:
        """Raise `ConfigurationError` if another handler that an app finds beside this one has one of its names."""
        # An includer has this registry's handlers and those of all that it includes, so a name must be free in each.
        for each in self._with_includers():
            for name in handler.names:
                for known in each.going_by(name):
                    require_apart(handler, known)
            for user in list(each._users):
                user.require_apart(handler)
