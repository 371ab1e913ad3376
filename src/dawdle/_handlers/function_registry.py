"""The decorator that registers functions: the part of a registry for `@dawdle.function`."""

import sys
from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, TypeVar, Unpack, overload

from dawdle._handlers.function import Function, FunctionOptions, read_function
from dawdle._handlers.handler import Handler
from dawdle.errors import ConfigurationError

__all__ = ["FunctionDecorator", "FunctionRegistry"]

P = ParamSpec("P")
R = TypeVar("R")


class FunctionDecorator(Protocol):
    """Takes a function, and returns it registered."""

    def __call__(self, function: Callable[P, R], /) -> Function[P, R]: ...


class FunctionRegistry:
    """The part of a registry that registers functions."""

    @overload
    def function(self, function: Callable[P, R], /) -> Function[P, R]: ...
    @overload
    def function(self, /, **options: Unpack[FunctionOptions]) -> FunctionDecorator: ...
    def function(self, *given: Any, **options: Unpack[FunctionOptions]) -> Any:
        """Register a function, so that `dawdle.call` can have it run on any node: `@function`, `@function(retry=…)`.

        `async def` runs in the event loop, `def` in a thread. Arguments travel as events do: each is checked against
        its parameter's annotation before a call is stored, and may be whatever the field of an event may be. Without an
        annotation it is any JSON value. A parameter that is not given is not sent, so it may have any default. A
        parameter annotated `dawdle.Context | None`, with a default, gets the `Context` of the run.

        - `name`: travels with the calls, so keep it; default `module.qualname`.
        - `aliases`: names that the function had before.
        - `retry`: a `Retry`; default: the app's.
        - `timeout`: seconds, or a timedelta, for one run. Then the run is cancelled and has failed. Default: the app's;
          `float("inf")` for none. A thread cannot be cancelled: there a warning is logged, and its result counts.
        - `concurrency`: how many runs of it at once in this process; default: as many as the app runs.
        - `queue`: the queue that its calls are stored in, and on which it runs; default: the app's queue `default`.
          Routes are for events, and say nothing about calls.
        - `around`: a function that takes the `Context` of a run and returns an async context manager, or several,
          outermost first: each run is inside it.

        A function defined again replaces itself, as a handler does. Names of functions and handlers are one set: raises
        `ConfigurationError` for a name that is taken, and for what is no function of its own at the top of a module or
        in another function, such as a lambda, a method, a partial, a class or a generator.
        """
        names = sys._getframe(1).f_locals  # pyright: ignore[reportPrivateUsage] - there is no public way
        if len(given) == 1 and not options:
            return self._register(given[0], options, names)
        if given:
            raise ConfigurationError("function() takes options by name: write @dawdle.function(name=…)")

        def register(function: Any, /) -> Any:
            # Local names for quoted annotations: one may name a class of the function in which this one is defined.
            return self._register(function, options, sys._getframe(1).f_locals)  # pyright: ignore[reportPrivateUsage] - as above

        return register

    def _register(self, given: Any, options: FunctionOptions, names: dict[str, Any]) -> Any:
        function, handler = read_function(given, options, names)
        self.put(handler)
        return function

    def put(self, made: Handler) -> Handler:
        """Add a handler."""
        raise NotImplementedError
