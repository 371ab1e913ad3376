"""The decorator that registers handlers of dead letters: the part of a registry for `@dawdle.on_dead_letter`."""

import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, Unpack, overload

from dawdle._handlers.changing import CHANGING
from dawdle._handlers.conflict import require_apart
from dawdle._handlers.handler import Handler
from dawdle._handlers.letter_handler import LetterOptions, read_letter_handler
from dawdle._handlers.signature import is_function, require_event_class
from dawdle._rules.dead_letter import DeadLetter
from dawdle.errors import ConfigurationError

__all__ = ["LetterDecorator", "LetterRegistry"]

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
E = TypeVar("E")
L = TypeVar("L", bound=Callable[Concatenate[DeadLetter[Any], ...], Awaitable[object]])
R = TypeVar("R", bound=Awaitable[object])
P = ParamSpec("P")


class LetterDecorator(Protocol[E]):
    """Takes a handler of letters whose event is of type E, and returns it unchanged."""

    def __call__(
        self, handler: Callable[Concatenate[DeadLetter[E], P], R], /
    ) -> Callable[Concatenate[DeadLetter[E], P], R]: ...


class LetterRegistry:
    """The part of a registry that registers handlers of dead letters."""

    def __init__(self) -> None:
        self._letter_handlers: dict[str, Handler] = {}

    @overload
    def on_dead_letter(self, /, **options: Unpack[LetterOptions]) -> Callable[[L], L]: ...
    @overload
    def on_dead_letter(  # type: ignore[overload-overlap]  # a class is no async function, and mypy cannot know it
        self, a: type[A], /, **options: Unpack[LetterOptions]
    ) -> LetterDecorator[A]: ...
    @overload
    def on_dead_letter(self, a: type[A], b: type[B], /, **options: Unpack[LetterOptions]) -> LetterDecorator[A | B]: ...
    @overload
    def on_dead_letter(
        self, a: type[A], b: type[B], c: type[C], /, **options: Unpack[LetterOptions]
    ) -> LetterDecorator[A | B | C]: ...
    @overload
    def on_dead_letter(self, handler: L, /) -> L: ...
    def on_dead_letter(self, *event_types: Any, **options: Unpack[LetterOptions]) -> Any:
        """Register a handler of dead letters: `@on_dead_letter`, `@on_dead_letter(OrderPlaced)`.

        The `async def` function gets each `DeadLetter` that this process stores, after the queue has it, and the
        `Context` if it has a second parameter without a default. With types, or with the annotation
        `DeadLetter[OrderPlaced]`, it gets only those whose event is of one of them; a base class takes its subclasses.
        Without, every letter, also one whose event cannot be decoded.

        It is called once at most: it is not tried again, and a process that dies loses the call, not the letter. What
        it raises is logged and changes nothing. No event and no settling waits for it; `idle()` and a stop do, the
        latter within `grace`. Letters that SQS moves by itself are not seen by any process, so nothing is called.

        - `name`: default `module.qualname`.
        - `timeout`: seconds or a timedelta for one letter, default 30; `float("inf")` for none. Then it is cancelled.

        Raises `ConfigurationError` for another function under a taken name, and for what is no async function of one
        argument.
        """
        if len(event_types) == 1 and is_function(event_types[0]):
            names = sys._getframe(1).f_locals  # pyright: ignore[reportPrivateUsage] - there is no public way
            self.put_letter_handler(read_letter_handler(event_types[0], (), options, names))
            return event_types[0]
        for event_type in event_types:
            require_event_class(event_type, "on_dead_letter")

        def register(*given: Any, **fields: object) -> Any:
            if len(given) != 1 or fields:
                raise ConfigurationError("on_dead_letter(…) was called without one function: write it above functions")
            names = sys._getframe(1).f_locals  # pyright: ignore[reportPrivateUsage] - as above
            self.put_letter_handler(read_letter_handler(given[0], event_types, options, names))
            return given[0]

        return register

    def put_letter_handler(self, made: Handler) -> None:
        """Add a handler of letters. Raises `ConfigurationError` for a name that is taken."""
        with CHANGING:
            self.require_letters_apart([made])
            known = self._letter_handlers.get(made.name)
            if known is not None and known.function == made.function:
                made = known.merged(made)
            self._letter_handlers = {**self._letter_handlers, made.name: made}

    def require_letters_apart(self, handlers: Sequence[Handler]) -> None:
        """Raise `ConfigurationError` if a handler of letters has the name of another that an app finds beside it."""
        for each in self._with_includers():
            for known in each.letter_handlers():
                for made in handlers:
                    if made.name == known.name:
                        require_apart(made, known)

    def letter_handlers(self) -> Iterator[Handler]:
        """Return the handlers of letters, own and included."""
        for each in self._with_included():
            yield from each._letter_handlers.values()

    def _with_included(self) -> "Sequence[LetterRegistry]":
        raise NotImplementedError

    def _with_includers(self) -> "Sequence[LetterRegistry]":
        raise NotImplementedError
