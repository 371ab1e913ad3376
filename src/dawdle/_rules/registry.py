"""A set of handlers, as a router is in a web framework. Registers; which handlers run is the roster's to say."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, Protocol, TypedDict, TypeVar, Unpack, overload
from weakref import WeakSet

from dawdle._rules.handler import Function, Handler, Options, read_handler
from dawdle._rules.retry import Retry
from dawdle.errors import ConfigurationError

__all__ = ["Decorator", "HandlerOptions", "Observer", "Registry", "name_taken"]

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
F = TypeVar("F")
H = TypeVar("H", bound=Callable[..., object])
R = TypeVar("R")
P = ParamSpec("P")


class HandlerOptions(TypedDict, total=False):
    """The options of `on_event` and `register`; the docstring of `Registry.on_event` says what each does."""

    name: str
    aliases: Sequence[str]
    exclude: Sequence[type]
    retry: Retry
    timeout: float
    concurrency: int
    queue: str


class Decorator(Protocol[E]):
    """Takes a handler of events of type E, or of a base of it, and returns it as it was."""

    def __call__(self, handler: Callable[Concatenate[E, P], R], /) -> Callable[Concatenate[E, P], R]:
        """Register the handler."""
        ...


class Observer(Protocol):
    """Somebody who wants to know that a registry changed: a registry that includes it, or an app."""

    def changed(self) -> None:
        """Take note; called in the thread that made the change."""
        ...


class Registry:
    """A set of handlers. Read live: a handler added later is found by every app that uses the registry.

    `dawdle.on_event` writes to the default registry, and `Dawdle(registry=…)` uses another.
    """

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}
        self._included: list[Registry] = []
        self._observers: WeakSet[Observer] = WeakSet()
        self.version = 0
        """Grows with every change, here or in an included registry."""

    @overload
    def on_event(self, /, **options: Unpack[HandlerOptions]) -> Decorator[object]: ...
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
    def on_event(self, *kinds: Any, **options: Unpack[HandlerOptions]) -> Any:
        """Register a handler: `@on_event`, `@on_event(OrderPlaced, OrderCancelled)`, `@on_event()` for every event.

        The function gets the event and, if it has a second parameter without a default, the `Context`. Bare, the
        types come from the first parameter's annotation. A base class takes its subclasses. `async def` runs in
        the event loop, `def` in a thread.

        - `name`: travels with the handler's retries, so keep it; `module.qualname` without one.
        - `aliases`: names under which it was known before.
        - `exclude`: types that it does not want.
        - `retry`: a `Retry`; the app's without one.
        - `timeout`: seconds for one run, after which it is cancelled and has failed. A thread cannot be
          cancelled: there a warning is logged, and what it returns counts.
        - `concurrency`: how many runs of it at once in this process; without one, as many as the app runs.
        - `queue`: where it runs; without one, where its event arrives.

        The same function again replaces itself, as after a reload; the same function object again adds the types.
        Raises `ConfigurationError` for another function under a taken name, and for what cannot be a handler.
        """
        if len(kinds) == 1 and not isinstance(kinds[0], type) and callable(kinds[0]):
            # A quoted annotation may name a class of the function in which the handler is defined.
            names = sys._getframe(1).f_locals  # pyright: ignore[reportPrivateUsage] - there is no public way
            self.add(kinds[0], (), options, every=False, names=names)
            return kinds[0]

        def register(handler: H) -> H:
            self.add(handler, kinds, options, every=not kinds)
            return handler

        return register

    def add(
        self,
        function: Function,
        kinds: Sequence[type],
        options: HandlerOptions,
        *,
        every: bool,
        names: Mapping[str, object] | None = None,
    ) -> Handler:
        """Register a function; `every`: without types it wants every event, and its annotation is not asked."""
        made = read_handler(function, kinds, read_options(options), every=every, names=names or {})
        known = self._handlers.get(made.name)
        if known is not None:
            if not made.is_again(known):
                raise name_taken(known, made)
            if known.function is made.function:
                made = known.merged(made)
        self._handlers[made.name] = made
        self.changed()
        return made

    def include(self, other: "Registry") -> None:
        """Use another registry's handlers as well, also those that it gets later.

        Raises `ConfigurationError` for a registry that includes this one, and for a handler's name that both have.
        """
        if any(each is self for each in other._with_included()):
            raise ConfigurationError("a registry cannot include itself, directly or through another")
        mine = {handler.name: handler for handler in self}
        for handler in other:
            known = mine.get(handler.name)
            if known is not None and not handler.is_again(known):
                raise name_taken(known, handler)
        if not any(each is other for each in self._included):
            self._included.append(other)
            other.observe(self)
            self.changed()

    def clear(self) -> None:
        """Forget every handler and every included registry. Events in flight for them become unclaimed."""
        for other in self._included:
            other._observers.discard(self)
        self._included.clear()
        self._handlers.clear()
        self.changed()

    def remove(self, name: str) -> None:
        """Forget one handler of this registry's own."""
        del self._handlers[name]
        self.changed()

    def observe(self, observer: "Observer") -> None:
        """Call the observer's `changed()` after every change, for as long as somebody else holds it."""
        self._observers.add(observer)

    def changed(self) -> None:
        """Count a change and tell who observes."""
        self.version += 1
        for observer in list(self._observers):
            observer.changed()

    def __iter__(self) -> Iterator[Handler]:
        for each in self._with_included():
            yield from list(each._handlers.values())

    def __repr__(self) -> str:
        return f"<Registry of {', '.join(handler.name for handler in self) or 'no handlers'}>"

    def _with_included(self) -> "list[Registry]":
        found: list[Registry] = []
        todo: list[Registry] = [self]
        while todo:
            each = todo.pop(0)
            if not any(each is known for known in found):
                found.append(each)
                todo.extend(each._included)
        return found


def read_options(options: HandlerOptions) -> Options:
    """Return the options as given, checked. Raises `ConfigurationError` for one that does not exist."""
    unknown = set(options) - set(HandlerOptions.__annotations__)
    if unknown:
        raise ConfigurationError(
            f"a handler has no option {', '.join(sorted(unknown))}; it has {', '.join(HandlerOptions.__annotations__)}"
        )
    if isinstance(options.get("aliases"), str):
        raise ConfigurationError("aliases is a sequence of names, such as aliases=('old.name',)")
    exclude = options.get("exclude", ())
    return Options(
        name=options.get("name"),
        aliases=tuple(options.get("aliases", ())),
        exclude=(exclude,) if isinstance(exclude, type) else tuple(exclude),
        retry=options.get("retry"),
        timeout=options.get("timeout"),
        concurrency=options.get("concurrency"),
        queue=options.get("queue"),
    )


def name_taken(known: Handler, new: Handler) -> ConfigurationError:
    """Return the error for two functions under one name."""
    return ConfigurationError(
        f"the handler name {new.name!r} is taken by {known.function!r}: give {new.function!r} another with name=, "
        f"or mark it an alias of the one that replaces it"
    )
