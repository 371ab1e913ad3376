"""Turns a function's signature into the type of its calls: checks and binds arguments, and takes them out again.

The type is a struct with a field for each parameter. An argument that is not given does not travel: the default of the
node that runs the function counts, so a default may be anything, and a parameter with one may be added at any time.

Calls no function.
"""

import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter
from typing import Any, Final, Union, Unpack, cast, get_args, get_origin
from weakref import WeakKeyDictionary

import msgspec

from dawdle._handlers.context import Context
from dawdle._handlers.signature import resolve_annotation
from dawdle._rules.round_trip import require_equal
from dawdle.abc import Codec
from dawdle.errors import ArgumentError, ConfigurationError
from dawdle.events import FunctionCall

__all__ = ["CallSignature", "read_call_signature"]

_BY_POSITION: Final = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


class CallSignature:
    """The parameters of a function as its callers see them, and the type of its calls."""

    def __init__(
        self, name: str, signature: inspect.Signature, call_type: type[FunctionCall], context: str | None
    ) -> None:
        self.name = name
        self.call_type = call_type
        self.context = context
        """The parameter that gets the `Context`; no caller passes it."""
        self._signature = signature
        self._parameters = tuple((each.name, each.kind) for each in signature.parameters.values())
        self._positional_only = sum(kind is Parameter.POSITIONAL_ONLY for _, kind in self._parameters)
        self._rest = next((name for name, kind in self._parameters if kind is Parameter.VAR_POSITIONAL), None)

    def __str__(self) -> str:
        """Return the function as its `def` shows it: `shop.resize(path: str, width: int = 64)`."""
        return f"{self.name}{self._signature.replace(return_annotation=inspect.Signature.empty)}"

    def bind(self, args: Sequence[object], kwargs: Mapping[str, object]) -> FunctionCall:
        """Return the call with these arguments. Raises `ArgumentError` if one is missing or not expected."""
        try:
            call = self.call_type(**self._signature.bind(*args, **kwargs).arguments)
            # `bind` of Python 3.13.0 misses two mistakes with positional-only parameters that are given by name. The
            # struct finds the one, since it asks for its fields, and this the other.
            if self._positional_only > 1:
                self.arguments(call)
        except TypeError as error:
            raise ArgumentError(f"cannot call {self.name}: {error}. It is {self}") from None
        return call

    def given(self, call: FunctionCall) -> dict[str, object]:
        """Return the arguments that a call has, by parameter."""
        both = ((name, getattr(call, name)) for name, _ in self._parameters)
        return {name: value for name, value in both if value is not msgspec.UNSET}

    def arguments(self, call: FunctionCall) -> tuple[list[object], dict[str, object]]:
        """Return the positional and the keyword arguments of a call."""
        given = self.given(call)
        rest = cast("Sequence[object]", given.pop(self._rest, ())) if self._rest else ()
        args: list[object] = []
        kwargs: dict[str, object] = {}
        for name, kind in self._parameters:
            if name not in given:
                # With what follows it moved one place to the left, the function would get wrong arguments.
                if kind in _BY_POSITION and (rest or self._needs_position(name, given)):
                    raise TypeError(f"this call of {self} has no argument {name}, and one after it goes by its place")
            elif kind is Parameter.POSITIONAL_ONLY or (rest and kind is Parameter.POSITIONAL_OR_KEYWORD):
                args.append(given[name])
            elif kind is Parameter.VAR_KEYWORD:
                kwargs.update(cast("Mapping[str, object]", given[name]))
            else:
                kwargs[name] = given[name]
        return [*args, *rest], kwargs

    def wrong_argument(self, call: FunctionCall, codec: Codec) -> str | None:
        """Return which argument of a call cannot travel, and why; None if each can by itself."""
        for name, value in self.given(call).items():
            parameter = self._signature.parameters[name]
            try:
                _try_alone(parameter, value, self.call_type, codec)
            except Exception as error:  # noqa: BLE001 - the codec may be the user's own; the text is shown
                takes = "any JSON value"
                if parameter.annotation is not Parameter.empty:
                    takes = inspect.formatannotation(parameter.annotation)
                what = str(parameter.replace(annotation=Parameter.empty, default=Parameter.empty))
                if what == name:
                    what = f"{name} of the type {type(value).__qualname__}"
                said = str(error).removeprefix(f"the data does not fit {self.call_type.__qualname__}: ")
                return f"cannot call {self.name} with {what} (it takes {takes}): {said}"
        return None

    def _needs_position(self, missing: str, given: Mapping[str, object]) -> bool:
        names = [name for name, _ in self._parameters]
        later = self._parameters[names.index(missing) + 1 :]
        return any(kind is Parameter.POSITIONAL_ONLY and name in given for name, kind in later)


_known: WeakKeyDictionary[Callable[..., object], dict[str, CallSignature]] = WeakKeyDictionary()
"""By function and name: a function that is registered in two registries has calls of one type."""


def read_call_signature(function: Callable[..., object], name: str, names: Mapping[str, object]) -> CallSignature:
    """Return the signature of a function, with the type of its calls.

    `names` are local names that a quoted annotation may use. Raises `ConfigurationError` for a method, for an
    annotation that names no type, and for a parameter of `Context` without a default.
    """
    by_name = _known.setdefault(function, {})
    if name not in by_name:
        by_name[name] = _read(function, name, names)
    return by_name[name]


def _read(function: Callable[..., object], name: str, names: Mapping[str, object]) -> CallSignature:
    signature = inspect.signature(function)
    parameters = [
        each.replace(annotation=_annotation_of(each, function, name, names)) for each in signature.parameters.values()
    ]
    if parameters and parameters[0].name in {"self", "cls"}:
        raise ConfigurationError(
            f"function {name} takes {parameters[0].name}, so it is a method, and no object travels with a call: write "
            f"a function outside of the class"
        )
    context = [each for each in parameters if _is_context(each.annotation)]
    for each in context:
        _require_context_apart(each, parameters, name, alone=len(context) == 1)
    parameters = [each for each in parameters if each not in context]
    call_type = msgspec.defstruct(
        function.__qualname__,
        [_field_of(each) for each in parameters],
        bases=(FunctionCall,),
        module=function.__module__,
        kw_only=True,
        # An argument that this version of the function does not know must not be dropped in silence.
        forbid_unknown_fields=True,
        frozen=True,
    )
    return CallSignature(
        name,
        signature.replace(parameters=parameters),
        cast("type[FunctionCall]", call_type),
        context[0].name if context else None,
    )


def _try_alone(parameter: Parameter, value: object, call_type: type[FunctionCall], codec: Codec) -> None:
    """Raise what keeps one argument from coming back as it is."""
    name, annotation, *_ = _field_of(parameter)
    field = [(name, annotation)]
    alone = msgspec.defstruct(call_type.__qualname__, field, bases=(FunctionCall,), module=call_type.__module__)
    event = alone(value)
    data = codec.encode(event)
    read = codec.decode(data, alone)
    require_equal(event, read, lambda: codec.encode(read) == data)


def _annotation_of(
    parameter: Parameter, function: Callable[..., object], name: str, names: Mapping[str, object]
) -> object:
    annotation = resolve_annotation(parameter.annotation, function, names)
    if isinstance(annotation, str):
        raise ConfigurationError(
            f"function {name}: the annotation {annotation!r} of its parameter {parameter.name} names no type that is "
            f"known where the function is defined: define the type above it, and import it outside of "
            f"`if TYPE_CHECKING:`"
        )
    return annotation


def _is_context(annotation: object) -> bool:
    """Whether a parameter is annotated `Context`, or with a union that has it."""
    members = get_args(annotation) if get_origin(annotation) in {Union, types.UnionType} else (annotation,)
    return Context in members


def _require_context_apart(context: Parameter, parameters: Sequence[Parameter], name: str, *, alone: bool) -> None:
    """Raise `ConfigurationError` for a parameter of `Context` that a caller would have to pass, or to step over."""
    after = parameters[parameters.index(context) + 1 :]
    steps_over = context.kind is not Parameter.KEYWORD_ONLY and any(
        each.kind in {*_BY_POSITION, Parameter.VAR_POSITIONAL} for each in after
    )
    by_place_only = context.kind in {Parameter.POSITIONAL_ONLY, Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD}
    if context.default is Parameter.empty or by_place_only or steps_over or not alone:
        raise ConfigurationError(
            f"function {name}: its parameter {context.name} gets the dawdle.Context, which no caller passes: write it "
            f"once, as the last one, `*, {context.name}: dawdle.Context | None = None`"
        )


def _field_of(parameter: Parameter) -> tuple[str, Any] | tuple[str, Any, Any]:
    """Return the field for a parameter, as `defstruct` takes it. One that may be left out travels only if given."""
    annotation: Any = Any if parameter.annotation is Parameter.empty else parameter.annotation
    unpacked = _unpacked(annotation)
    match parameter.kind:
        case Parameter.VAR_POSITIONAL:
            return parameter.name, unpacked or tuple[annotation, ...], msgspec.UNSET
        case Parameter.VAR_KEYWORD:
            return parameter.name, unpacked or dict[str, annotation], msgspec.UNSET
        case _ if parameter.default is Parameter.empty:
            return parameter.name, annotation
        case _:
            return parameter.name, annotation, msgspec.UNSET


def _unpacked(annotation: Any) -> Any:
    """Return the type of all arguments of `*args: *tuple[int, str]` or `**more: Unpack[Options]`; None for others."""
    if get_origin(annotation) is Unpack:
        return get_args(annotation)[0]
    if getattr(annotation, "__unpacked__", False):
        origin: Any = get_origin(annotation)
        return origin[get_args(annotation)]
    return None
