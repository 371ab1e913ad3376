"""Reads `around=`: what is entered before each run of a handler and left after it. Enters nothing."""

import contextlib
import inspect
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractAsyncContextManager
from types import FunctionType
from typing import Final, cast

from dawdle._handlers.context import Context
from dawdle._handlers.handler_name import described
from dawdle._handlers.signature import is_async, yields
from dawdle.errors import ConfigurationError, shown

__all__ = ["Around", "read_around"]

Around = Callable[[Context], AbstractAsyncContextManager[object]]
"""A function that takes the context of one run, and returns the async context manager about it."""

_DECORATED: Final = "an async generator function with @contextlib.asynccontextmanager above it"


def read_around(given: object) -> tuple[Around, ...]:
    """Return what is given as `around=`, one function or a sequence of them, the outermost first.

    Raises `ConfigurationError` for what cannot work, as far as that shows without a call.
    """
    several: Sequence[object] = (given,)
    if isinstance(given, Sequence) and not isinstance(given, str):
        several = cast("Sequence[object]", given)
    for each in several:
        _require_around(each)
    return tuple(cast("Sequence[Around]", several))


def _require_around(given: object) -> None:
    if isinstance(given, AbstractAsyncContextManager):
        # Made once, it could be entered once.
        raise ConfigurationError(
            f"around takes a function that makes an async context manager for each run, not one that is made already: "
            f"write around=unit_of_work, not around=unit_of_work(…); it got {shown(cast('object', given))}"
        )
    if not callable(given):
        raise ConfigurationError(
            f"around is a function that takes the dawdle.Context, as a rule {_DECORATED}, or a list of such functions, "
            f"not {shown(given)}"
        )
    function: Callable[..., object] = given
    called = described(function)
    if isinstance(given, type):
        if not (hasattr(given, "__aenter__") and hasattr(given, "__aexit__")):
            raise ConfigurationError(f"around={called}: the class has no __aenter__ and __aexit__: give it both")
    elif inspect.isasyncgenfunction(given):
        raise ConfigurationError(f"around={called}: write @contextlib.asynccontextmanager above it")
    elif yields(function) or getattr(given, "__code__", None) is _SYNC:
        raise ConfigurationError(f"around={called} is not async: make it {_DECORATED}")
    elif is_async(function):
        raise ConfigurationError(f"around={called} is awaited, and must be entered: make it {_DECORATED}")
    _require_one_parameter(function, called)


def _require_one_parameter(given: Callable[..., object], called: str) -> None:
    try:
        parameters = inspect.signature(given).parameters.values()
    except (TypeError, ValueError):  # such as a class in C: the first call shows it
        return
    positional = [each for each in parameters if each.kind not in {each.KEYWORD_ONLY, each.VAR_KEYWORD}]
    if not positional:
        raise ConfigurationError(
            f"around={called} takes no positional parameter: give it one for the dawdle.Context of the run"
        )
    surplus = [
        each.name
        for each in parameters
        if each is not positional[0] and each.default is each.empty and each.kind not in _VARIADIC
    ]
    if surplus:
        raise ConfigurationError(
            f"around={called} needs {', '.join(surplus)}, which dawdle does not pass: give these parameters defaults. "
            f"It is called with the dawdle.Context of the run"
        )


_VARIADIC: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _nothing() -> Generator[None]:
    yield


_SYNC: Final = cast("FunctionType", contextlib.contextmanager(_nothing)).__code__
"""The code that all functions under `@contextlib.contextmanager` share."""
