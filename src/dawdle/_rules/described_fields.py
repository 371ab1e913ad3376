"""The fields of an event type as texts, for people: names, annotations, defaults. Reads types, never values."""

import contextlib
import inspect
import re
import types
import typing
from typing import Any, cast

import msgspec

from dawdle._rules.description import FieldDescription
from dawdle.events import event_style

__all__ = ["described_fields"]

_MODULES = re.compile(r"\b(?:[a-zA-Z_]\w*\.)+(?=[a-zA-Z_])")
"""What stands before a name: `shop.events.` of `shop.events.Item`."""


def described_fields(cls: type) -> tuple[FieldDescription, ...]:
    """Return the fields of an event type, or the parameters of a call's type; () for another class."""
    match event_style(cls):
        case "struct":
            return tuple(_of_struct(cls))
        case "pydantic":
            return tuple(_of_model(cls))
        case "attrs":
            return tuple(_of_attrs(cls))
        case "dataclass":
            return tuple(_of_dataclass(cls))
        case None:
            return ()


def _of_struct(cls: type) -> "typing.Iterator[FieldDescription]":
    # Not by `msgspec.structs.fields`, which raises if a type is known to type checkers alone. Such a type is shown too.
    hints, struct = _hints(cls), cast("type[msgspec.Struct]", cls)
    names, defaults = struct.__struct_fields__, cast("tuple[Any, ...]", cast("Any", struct).__struct_defaults__)
    missing = (msgspec.NODEFAULT,) * (len(names) - len(defaults))
    for name, encoded, default in zip(names, struct.__struct_encode_fields__, (*missing, *defaults), strict=True):
        # A parameter of a call that has a default is left out of the call, by a default of msgspec's own.
        left_out = default is msgspec.UNSET
        hint = hints.get(name, Any)
        yield FieldDescription(
            name=name,
            encoded_name=encoded,
            annotation=_text(_without_unset(hint) if left_out else hint),
            required=default is msgspec.NODEFAULT,
            default=None
            if left_out or default is msgspec.NODEFAULT or type(default).__name__ == "Factory"
            else _default(default),
        )


def _of_model(cls: type) -> "typing.Iterator[FieldDescription]":
    for name, field in cast("dict[str, Any]", cast("Any", cls).model_fields).items():
        required = field.is_required()
        yield FieldDescription(
            name=name,
            encoded_name=field.serialization_alias or field.alias or name,
            annotation=_text(field.annotation),
            required=required,
            default=None if required or field.default_factory is not None else _default(field.default),
        )


def _of_attrs(cls: type) -> "typing.Iterator[FieldDescription]":
    hints = _hints(cls)
    for each in cast("Any", cls).__attrs_attrs__:
        # attrs' own marks for "no default" and "made anew"; a text compares with both without importing it
        kind = type(each.default).__name__
        required = kind == "_Nothing" or repr(each.default) == "NOTHING"
        yield FieldDescription(
            name=each.name,
            encoded_name=each.name,
            annotation=_text(hints.get(each.name, each.type)),
            required=required,
            default=None if required or kind == "Factory" else _default(each.default),
        )


def _of_dataclass(cls: type) -> "typing.Iterator[FieldDescription]":
    import dataclasses  # noqa: PLC0415 - a program that has dataclasses has loaded it

    hints = _hints(cls)
    for each in dataclasses.fields(cls):
        has_default = each.default is not dataclasses.MISSING
        yield FieldDescription(
            name=each.name,
            encoded_name=each.name,
            annotation=_text(hints.get(each.name, each.type)),
            required=not has_default and each.default_factory is dataclasses.MISSING,
            default=_default(each.default) if has_default else None,
        )


def _hints(cls: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except Exception:  # noqa: BLE001 - an annotation may raise anything; then it is shown as it is written
        found: dict[str, Any] = {}
        for base in reversed(cls.__mro__):
            with contextlib.suppress(Exception):  # from Python 3.14 on this may raise as well
                found.update(inspect.get_annotations(base))
        return found


def _without_unset(hint: object) -> object:
    left = [each for each in typing.get_args(hint) if each is not msgspec.UnsetType]
    if not left or len(left) == len(typing.get_args(hint)):
        return hint
    return typing.Union[tuple(left)]  # noqa: UP007 - `|` takes no tuple


def _text(hint: object) -> str:
    """Return an annotation as one writes it, without the modules of its names."""
    if hint is None or hint is type(None):
        return "None"
    if isinstance(hint, str):
        return hint
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Union or origin is types.UnionType:
        return " | ".join(map(_text, arguments))
    if origin is typing.Annotated:
        return _text(arguments[0])
    if origin is typing.Literal:
        return f"Literal[{', '.join(map(repr, arguments))}]"
    if origin is not None and arguments:
        inner = ", ".join("..." if each is Ellipsis else _text(each) for each in arguments)
        return f"{_text(origin)}[{inner}]"
    return _MODULES.sub("", getattr(hint, "__qualname__", None) or str(hint))


def _default(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
