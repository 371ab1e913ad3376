"""Reads a handler's signature: which events it takes, and how it is called. Runs no handler."""

import functools
import inspect
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Final, Union, cast, get_args, get_origin

from dawdle._handlers.context import Context
from dawdle._rules.lost_fields import class_for
from dawdle.errors import ConfigurationError, shown
from dawdle.events import event_style

__all__ = [
    "ANY_EVENT",
    "is_async",
    "is_function",
    "members_of",
    "read_annotation",
    "read_parameters",
    "require_context",
    "require_event_class",
    "resolve_annotation",
    "yields",
]

ANY_EVENT: Final = (object, Any)
"""Each of these means every event, as a type and as an annotation."""

_MAX_PARAMETERS: Final = 2

Function = Callable[..., object]


def is_function(value: object) -> bool:
    """Whether a value is a handler and not a type. `list[A]` is callable too, and is a type."""
    return callable(value) and not isinstance(value, type) and get_origin(value) is None


def is_async(function: Function) -> bool:
    """Whether a call of a function must be awaited."""
    # Both are asked: a decorator may mark the outer function, and of an object only its `__call__` says it.
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(_code_of(function))


def yields(function: Function) -> bool:
    """Whether a call of a function makes a generator."""
    code = _code_of(function)
    return inspect.isasyncgenfunction(code) or inspect.isgeneratorfunction(code)


def _code_of(function: object) -> object:
    """Return the function that a call of a handler runs; for an object it is the `__call__` of its class."""
    while isinstance(function, functools.partial):
        function = cast("functools.partial[object]", function).func
    return function if inspect.isroutine(function) else getattr(type(function), "__call__", function)  # noqa: B004 - its code is wanted


def read_parameters(function: Function, called: str, names: Mapping[str, object]) -> tuple[object, bool]:
    """Return the first parameter's annotation, and whether there is a second parameter without a default.

    `names` are local names that a quoted annotation may use. Raises `ConfigurationError` for a function that cannot be
    called with an event.
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"handler {called} has no readable signature: call it in a function of your own"
        ) from error
    positional = [
        each
        for each in parameters
        if each.kind in {each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD, each.VAR_POSITIONAL}
    ]
    if not positional:
        raise ConfigurationError(f"handler {called} takes no positional parameter: give it one for the event")
    required = [each for each in positional if each.default is each.empty and each.kind is not each.VAR_POSITIONAL]
    # `@on_event` in a class body registers a plain function, before there is any object to call it on.
    if positional[0].name == "self" and not hasattr(function, "__self__"):
        raise ConfigurationError(
            f"handler {called} is a method of a class, without an object to call it on: "
            f"register the bound method, app.register(object.{called.rpartition('.')[2]}, …)"
        )
    _refuse_dependencies(parameters, called)
    named = [each.name for each in parameters if each.kind is each.KEYWORD_ONLY and each.default is each.empty]
    if len(required) > _MAX_PARAMETERS or named:
        surplus = ", ".join([each.name for each in required[_MAX_PARAMETERS:]] + named)
        raise ConfigurationError(
            f"handler {called} needs {surplus}, which dawdle does not pass: give these parameters defaults. A handler "
            f"gets the event and, if it has a second parameter without a default, the dawdle.Context"
        )
    if len(required) == _MAX_PARAMETERS:
        require_context(resolve_annotation(required[1].annotation, function, names), required[1].name, called)
    return resolve_annotation(positional[0].annotation, function, names), len(required) == _MAX_PARAMETERS


def _refuse_dependencies(parameters: Iterable[inspect.Parameter], called: str) -> None:
    """Raise `ConfigurationError` for a default that only FastAPI fills: a handler would get the marker itself."""
    for each in parameters:
        kind = cast("type[object]", type(each.default))
        if kind.__name__ == "Depends" and kind.__module__.partition(".")[0] == "fastapi":
            raise ConfigurationError(
                f"handler {called} is no endpoint, so {each.name} gets no Depends(…): take the dawdle.Context as the "
                f"second parameter, and write ctx.state(SomeType) for what a lifespan yields or an around= provides"
            )


def require_context(annotation: object, name: str, called: str) -> None:
    """Raise `ConfigurationError` for a second parameter whose annotation says that it is no `Context`."""
    if (
        isinstance(annotation, type)
        and annotation is not inspect.Parameter.empty
        and not issubclass(Context, annotation)
    ):
        raise ConfigurationError(
            f"handler {called}: its second parameter {name} gets the dawdle.Context, and is annotated "
            f"{annotation.__qualname__}: give it a default if it is your own"
        )


def resolve_annotation(annotation: object, function: Function, names: Mapping[str, object]) -> object:
    """Return the type that an annotation means; the annotation itself if it is text that names no type here."""
    if not isinstance(annotation, str):
        return annotation
    # Only this annotation is evaluated. `typing.get_type_hints` evaluates all of them, and fails if another one names a
    # type that is imported for type checkers only.
    code = _code_of(function)
    inner = inspect.unwrap(cast("Function", getattr(code, "__func__", code)))
    try:
        found = {**names, **inspect.getclosurevars(inner).nonlocals}
        return eval(annotation, getattr(inner, "__globals__", {}), found)  # noqa: S307 - the user's own annotation, as in typing.get_type_hints
    except Exception:  # noqa: BLE001 - an annotation may raise anything; it cannot be read then
        return annotation


def read_annotation(annotation: object, called: str, *, every: bool) -> tuple[type, ...]:
    """Return the types that an annotation names; () means every event. `every`: a missing annotation means it too."""
    how = f"write @on_event(SomeEvent) on {called}, or annotate it with object for every event"
    if annotation is inspect.Parameter.empty:
        if every:
            return ()
        raise ConfigurationError(
            f"handler {called} does not say which events it takes: annotate its first parameter, or write "
            f"@on_event(SomeEvent) on {called}, or @on_event() for every event"
        )
    if isinstance(annotation, str):
        raise ConfigurationError(
            f"handler {called}: its annotation {annotation!r} names no type that is known where it is defined: {how}"
        )
    members = members_of(annotation)
    if any(each is event_type for each in members for event_type in ANY_EVENT):
        return ()
    event_types = tuple(event_type for event_type in members if event_type is not type(None))
    if not event_types:
        raise ConfigurationError(f"handler {called}: its annotation is None, which is no event: {how}")
    for event_type in event_types:
        if _generic_of(event_type) is not None:
            raise _of_generic(event_type, f"handler {called}")
        if not isinstance(event_type, type):
            raise ConfigurationError(f"handler {called}: its annotation {annotation!r} is not made of classes: {how}")
    return cast("tuple[type, ...]", event_types)


def _generic_of(event_type: object) -> type | None:
    """Return the class `Env` of an annotation `Env[Order]`; None for any other annotation."""
    origin = get_origin(event_type)
    return origin if isinstance(origin, type) and event_style(origin) is not None else None


def _of_generic(event_type: object, subject: str) -> ConfigurationError:
    """Return the error for `Env[Order]`. Its instances are of the class `Env`, and do not know `Order`."""
    generic = cast("type", get_origin(event_type))
    of = [each.__name__ if isinstance(each, type) else str(each) for each in get_args(event_type)]
    return ConfigurationError(
        f"{subject} asks for {generic.__name__}[{', '.join(of)}], and an event of {generic.__name__} does not know its "
        f"type arguments: write {class_for(generic, *of)}, signal that, and ask for it"
    )


def members_of(annotation: object) -> tuple[object, ...]:
    """Return the members of a union, in any spelling; the annotation alone if it is none."""
    if get_origin(annotation) is Annotated:
        return members_of(get_args(annotation)[0])
    if get_origin(annotation) in {Union, types.UnionType}:
        return tuple(member for each in get_args(annotation) for member in members_of(each))
    if type(annotation).__name__ == "TypeAliasType":
        return members_of(cast("Any", annotation).__value__)
    return (annotation,)


def require_event_class(event_type: object, subject: str) -> None:
    """Raise `ConfigurationError` unless events can be instances of a class, and `issubclass` works with it."""
    if _generic_of(event_type) is not None:
        raise _of_generic(event_type, subject)
    if not isinstance(event_type, type) or (event_type.__module__ == "builtins" and event_type is not object):
        raise ConfigurationError(
            f"{subject} asks for {shown(event_type)}, which is not an event type: name msgspec Structs, dataclasses, "
            f"attrs classes or pydantic models, or a base class of such"
        )
    # Each event is matched with `issubclass`. A class that makes it raise, such as a protocol with attributes, must
    # fail here and not at the first event. Any class serves for the check.
    try:
        issubclass(Context, event_type)
    except Exception as error:
        raise ConfigurationError(
            f"{subject} asks for {event_type.__qualname__}, and issubclass() with it fails: {error}. "
            f"Name a base class, or a @runtime_checkable protocol of methods"
        ) from error
