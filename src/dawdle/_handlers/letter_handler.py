"""Reads the handlers of dead letters, as `@dawdle.on_dead_letter` registers them. Runs none of them.

Such a handler is a `Handler` of its own kind: its types are those of the letters' events, and no event goes to it.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, TypedDict, cast, get_args, get_origin

from dawdle._handlers.handler import Handler
from dawdle._handlers.handler_name import default_name, described
from dawdle._handlers.options import Options, require_known
from dawdle._handlers.signature import (
    is_async,
    members_of,
    require_context,
    require_event_class,
    resolve_annotation,
    yields,
)
from dawdle._handlers.site import current_site
from dawdle._rules.dead_letter import DeadLetter
from dawdle.errors import ConfigurationError, shown

__all__ = ["LETTER_TIMEOUT_SECONDS", "LetterOptions", "read_letter_handler", "takes_letter"]

LETTER_TIMEOUT_SECONDS: Final = 30.0
"""Seconds that a handler of letters may run, unless it has a timeout of its own."""

_ANY_LETTER: Final = (inspect.Parameter.empty, object, Any, DeadLetter)
"""Each of these annotations means every letter."""


class LetterOptions(TypedDict, total=False):
    """The options of `on_dead_letter`; its docstring says what each does."""

    name: str
    timeout: float | timedelta


def read_letter_handler(
    function: Callable[..., object], event_types: Sequence[type], options: LetterOptions, names: Mapping[str, object]
) -> Handler:
    """Return the handler of letters that a function is.

    Without `event_types` they come from its annotation, `DeadLetter[OrderPlaced]`; `DeadLetter` alone means every
    letter. `names` are local names that a quoted annotation may use. Raises `ConfigurationError` for what cannot be
    called with a letter and awaited.
    """
    if isinstance(function, staticmethod):
        function = function.__func__
    if not callable(function):
        raise ConfigurationError(f"on_dead_letter takes an async function, not {shown(function)}")
    called = described(function)
    if yields(function) or not is_async(function):
        raise ConfigurationError(
            f"on_dead_letter handler {called} is no async def function: make it one, since it is awaited in the event "
            f"loop; what blocks goes into asyncio.to_thread(…)"
        )
    annotation, takes_context = _read_parameters(function, called, names)
    if event_types:
        if not isinstance(annotation, str):  # text that names no type here may be one for the type checkers only
            _require_letter(annotation, called)
        types = tuple(event_types)
    else:
        types = _types_in(annotation, called)
    for event_type in types:
        require_event_class(event_type, f"on_dead_letter handler {called}")
    checked = _read_options(options)
    return Handler(
        function=function,
        name=checked.name or default_name(function),
        types=tuple(dict.fromkeys(types)),
        options=checked,
        takes_context=takes_context,
        is_async=True,
        site=current_site(function),
    )


def takes_letter(handler: Handler, letter: DeadLetter) -> bool:
    """Whether a letter goes to a handler: it takes every letter, or the letter has an event of one of its types."""
    return not handler.types or (letter.event is not None and isinstance(letter.event, handler.types))


def _read_parameters(function: Callable[..., object], called: str, names: Mapping[str, object]) -> tuple[object, bool]:
    """Return the first parameter's annotation, and whether there is a second one without a default.

    Raises `ConfigurationError` for a function that cannot be called so.
    """
    try:
        signature = inspect.signature(function)
        parameters = list(signature.parameters.values())
        required = [each for each in parameters if each.default is each.empty and each.kind in _POSITIONAL]
        signature.bind(*[object()] * min(max(len(required), 1), 2))
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"on_dead_letter handler {called} is called with the dawdle.DeadLetter and, if it has a second parameter "
            f"without a default, the dawdle.Context, and cannot be: {error}"
        ) from error
    if parameters[0].name == "self" and not hasattr(function, "__self__"):
        raise ConfigurationError(
            f"on_dead_letter handler {called} is a method of a class, without an object to call it on: register the "
            f"method of an object, on_dead_letter(object.{called.rpartition('.')[2]})"
        )
    if len(required) == 2:
        require_context(resolve_annotation(required[1].annotation, function, names), required[1].name, called)
    return resolve_annotation(parameters[0].annotation, function, names), len(required) == 2


_POSITIONAL: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _types_in(annotation: object, called: str) -> tuple[type, ...]:
    """Return the types of events that an annotation names; () means every letter."""
    _require_letter(annotation, called)
    if any(annotation is each for each in _ANY_LETTER):
        return ()
    types = members_of(get_args(annotation)[0])
    if type(None) in types:
        if object in types or Any in types:  # what `DeadLetter` alone means
            return ()
        raise ConfigurationError(
            f"on_dead_letter handler {called}: a letter whose event cannot be decoded names no type, so it cannot be "
            f"chosen by {shown(annotation)}: write DeadLetter for every letter, and look at letter.event"
        )
    return cast("tuple[type, ...]", types)


def _require_letter(annotation: object, called: str) -> None:
    if get_origin(annotation) is not DeadLetter and not any(annotation is each for each in _ANY_LETTER):
        raise ConfigurationError(
            f"on_dead_letter handler {called} gets a dawdle.DeadLetter, and its parameter is annotated "
            f"{shown(annotation)}: write DeadLetter for every letter, or DeadLetter[SomeEvent]"
        )


def _read_options(options: LetterOptions) -> Options:
    require_known(options, LetterOptions, "on_dead_letter")
    timeout = cast("float", options.get("timeout", LETTER_TIMEOUT_SECONDS))
    return Options(name=options.get("name"), timeout=timeout)
