"""One handler: what it takes, what it is called, how it wants to be run. Reads signatures, runs nothing."""

import inspect
import re
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final, Union, cast, get_args, get_origin

import msgspec

from dawdle._rules.context import Context
from dawdle._rules.retry import Retry
from dawdle.errors import ConfigurationError

__all__ = ["Handler", "Options", "read_handler"]

_NAME: Final = re.compile(r"[\w.:-]{1,200}")
_EVERY: Final = (object, Any)
_MOST_PARAMETERS: Final = 2

Function = Callable[..., object]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What `on_event` and `register` take besides types; see `Registry.on_event`."""

    name: str | None = None
    aliases: tuple[str, ...] = ()
    exclude: tuple[type, ...] = ()
    retry: Retry | None = None
    timeout: float | None = None
    concurrency: int | None = None
    queue: str | None = None

    def __post_init__(self) -> None:
        for name in (self.name, *self.aliases):
            if name is not None and not (isinstance(name, str) and _NAME.fullmatch(name)):
                raise ConfigurationError(
                    f"a handler's name is 1 to 200 of letters, digits, '_', '.', ':', '-', not {name!r}"
                )
        if self.retry is not None and not isinstance(self.retry, Retry):
            raise ConfigurationError(f"retry is a dawdle.Retry(…), not {self.retry!r}")
        if self.timeout is not None and not self.timeout > 0:
            raise ConfigurationError(f"timeout is more than 0 seconds, not {self.timeout!r}")
        if self.concurrency is not None and (not isinstance(self.concurrency, int) or self.concurrency < 1):
            raise ConfigurationError(f"concurrency is a whole number of 1 or more, not {self.concurrency!r}")


class Handler(msgspec.Struct, frozen=True):
    """A function that wants events."""

    function: Function
    name: str
    types: tuple[type, ...]
    """Empty: every event."""
    options: Options
    takes_context: bool
    is_async: bool

    def matches(self, kind: type) -> bool:
        """Whether events of exactly this class go to this handler."""
        if self.types and not issubclass(kind, self.types):
            return False
        return not issubclass(kind, self.options.exclude)

    def merged(self, other: "Handler") -> "Handler":
        """Return this handler, wanting the other's types as well: two `on_event` on one function."""
        both = (*self.types, *(kind for kind in other.types if kind not in self.types))
        return msgspec.structs.replace(self, types=both if self.types and other.types else ())

    def is_again(self, other: "Handler") -> bool:
        """Whether the other is the same function, defined once more: a reload, or a function that ran twice."""
        mine, theirs = self.function, other.function
        if mine == theirs:
            return True
        if getattr(mine, "__self__", None) is not getattr(theirs, "__self__", None):
            return False
        return _place(mine) is not None and _place(mine) == _place(theirs)


def read_handler(
    function: Function, kinds: Sequence[type], options: Options, *, every: bool, names: Mapping[str, object]
) -> Handler:
    """Return the handler that a function and its options make.

    Without `kinds` the types come from the first parameter's annotation, or it is `every` event. `names` are local
    names that a quoted annotation may use. Raises `ConfigurationError` for what cannot be called with an event.
    """
    if not callable(function):
        raise ConfigurationError(f"a handler is a function, not {function!r}")
    called = _described(function)
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise ConfigurationError(f"handler {called} yields: a handler is awaited once, so it must not be a generator")
    first, takes_context = _parameters(function, called, names)
    if not kinds and not every:
        kinds = _annotated(first, called)
    for kind in (*kinds, *options.exclude):
        _require_kind(kind, called)
    if object in kinds:
        kinds = ()
    return Handler(
        function=function,
        name=options.name or _default_name(function, called),
        types=tuple(dict.fromkeys(kinds)),
        options=options,
        takes_context=takes_context,
        is_async=_is_async(function),
    )


def _parameters(function: Function, called: str, names: Mapping[str, object]) -> tuple[object, bool]:
    """Return the first parameter's annotation, and whether there is a second that must be given."""
    parameters = list(inspect.signature(function).parameters.values())
    positional = [
        each
        for each in parameters
        if each.kind in {each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD, each.VAR_POSITIONAL}
    ]
    if not positional:
        raise ConfigurationError(f"handler {called} takes no parameter: its first one gets the event")
    required = [each for each in positional if each.default is each.empty and each.kind is not each.VAR_POSITIONAL]
    if positional[0].name == "self" and not hasattr(function, "__self__"):
        raise ConfigurationError(
            f"handler {called} is a method of a class, and no object is there to call it on: "
            f"register the bound method, app.register(object.{called.rpartition('.')[2]}, …)"
        )
    named = [each.name for each in parameters if each.kind is each.KEYWORD_ONLY and each.default is each.empty]
    if len(required) > _MOST_PARAMETERS or named:
        surplus = ", ".join([each.name for each in required[_MOST_PARAMETERS:]] + named)
        raise ConfigurationError(
            f"handler {called} needs {surplus}, which nobody gives: a handler takes the event and, if it has "
            f"a second parameter without a default, the dawdle.Context"
        )
    if len(required) == _MOST_PARAMETERS:
        _require_context(_resolve(required[1].annotation, function, names), required[1].name, called)
    return _resolve(positional[0].annotation, function, names), len(required) == _MOST_PARAMETERS


def _require_context(annotation: object, name: str, called: str) -> None:
    if (
        isinstance(annotation, type)
        and annotation is not inspect.Parameter.empty
        and not issubclass(Context, annotation)
    ):
        raise ConfigurationError(
            f"handler {called}: its second parameter {name} gets the dawdle.Context, and is annotated "
            f"{annotation.__qualname__}; give it a default if it is yours"
        )


def _resolve(annotation: object, function: Function, names: Mapping[str, object]) -> object:
    """Return what an annotation stands for; itself if it is text that names nothing here."""
    if not isinstance(annotation, str):
        return annotation
    inner = inspect.unwrap(getattr(function, "__func__", function))
    try:
        found = {**names, **inspect.getclosurevars(inner).nonlocals}
        return eval(annotation, getattr(inner, "__globals__", {}), found)  # noqa: S307 - the user's own annotation, as in typing.get_type_hints
    except Exception:  # noqa: BLE001 - whatever it raises, it cannot be read here
        return annotation


def _annotated(annotation: object, called: str) -> tuple[type, ...]:
    how = f"write @on_event(SomeEvent) on {called}, or @on_event() for every event"
    if annotation is inspect.Parameter.empty:
        raise ConfigurationError(
            f"handler {called} does not say which events it takes: annotate its first parameter, or {how}"
        )
    if isinstance(annotation, str):
        raise ConfigurationError(
            f"handler {called}: its annotation {annotation!r} names nothing that is known where it is defined: {how}"
        )
    if annotation in _EVERY:
        return ()
    kinds = tuple(kind for kind in _members(annotation) if kind is not type(None))
    for kind in kinds:
        if not isinstance(kind, type):
            raise ConfigurationError(f"handler {called}: its annotation {annotation!r} is not made of classes: {how}")
    return cast("tuple[type, ...]", kinds)


def _members(annotation: object) -> tuple[object, ...]:
    """Return the members of a union, however it is spelt."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in {Union, types.UnionType}:
        return tuple(member for each in get_args(annotation) for member in _members(each))
    if type(annotation).__name__ == "TypeAliasType":
        return _members(cast("Any", annotation).__value__)
    return (annotation,)


def _require_kind(kind: object, called: str) -> None:
    if not isinstance(kind, type) or (kind.__module__ == "builtins" and kind is not object):
        raise ConfigurationError(
            f"handler {called} asks for {kind!r}, which is not an event type: name msgspec Structs, dataclasses, "
            f"attrs classes or pydantic models, or a base class of such"
        )


def _default_name(function: Function, called: str) -> str:
    place = _place(function)
    if place is None:
        raise ConfigurationError(f"handler {called} has no name of its own: give it one with name=")
    name = f"{place[0]}.{place[1]}".replace(".<locals>", "").replace("<lambda>", "lambda")
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"handler {called} cannot go by {name!r}: give it a name of 1 to 200 letters with name="
        )
    return name


def _place(function: Function) -> tuple[str, str] | None:
    """Return module and qualname, such that a retry finds the function under any entry point.

    `__main__` is nobody's name: of `python -m shop.worker` it is the module's, of a script its file's stem.
    """
    qualname = getattr(function, "__qualname__", None)
    module = getattr(function, "__module__", None)
    if not qualname or not module:
        return None
    if module == "__main__":
        main = sys.modules.get("__main__")
        spec, path = getattr(main, "__spec__", None), getattr(main, "__file__", None)
        if spec is not None:
            module = spec.name.removesuffix(".__main__")
        elif path is not None:
            stem = path.replace("\\", "/").rpartition("/")[2].partition(".")[0]
            module = stem if _NAME.fullmatch(stem) else "main"  # <stdin>, and the like
    return module, qualname


def _described(function: object) -> str:
    return getattr(function, "__qualname__", None) or repr(function)


def _is_async(function: Function) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004
