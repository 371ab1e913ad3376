"""Turns pydantic models into shapes, by their fields and annotations. Does not import pydantic.

pydantic reads more than this says: `"5"` for an int, for example. What passes here is what any value of the old type
needs, and no accident of a value. A validator is code: one in an annotation is a limit that only itself fits, and one
in the model is not seen.
"""

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import types
import typing
import uuid
from collections import abc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

import msgspec

from dawdle.cli.schema._defaults import shown_default
from dawdle.cli.schema._file import Field, Kind
from dawdle.cli.schema._shapes import ANY, NONE, Choice, Items, Map, Opaque, Ref, Row, Scalar, Shape, Union
from dawdle.events import event_style

__all__ = ["model_kind"]

ReferTo = Callable[[type], Shape]
"""Describes a class of a field, and returns the reference to it."""


class Annotations(NamedTuple):
    """What an annotation in one model means."""

    refer_to: ReferTo
    scalars: Mapping[object, str]
    """The names of scalars, which depend on how the model writes bytes and times."""


SCALARS: Final[Mapping[object, str]] = {
    **{each: each.__name__ for each in (bool, int, float, str, bytes, dt.datetime, dt.date, dt.time, dt.timedelta)},
    decimal.Decimal: "Decimal",
    uuid.UUID: "UUID",
}

ITEMS: Final[Mapping[object, str]] = {
    **dict.fromkeys((list, collections.deque, abc.Sequence, abc.MutableSequence), "list"),
    **dict.fromkeys((set, frozenset, abc.Set, abc.MutableSet), "set"),
}

MAPS: Final = (dict, abc.Mapping, abc.MutableMapping)

LIMITS: Final = ("ge", "gt", "le", "lt", "max_length", "min_length", "multiple_of", "pattern")

HARMLESS: Final = frozenset({"NoneType", "Strict", "Discriminator", "Tag", "WithJsonSchema", "Examples"})
"""Classes in annotations that refuse no value that dawdle writes."""


def model_kind(model: type, refer_to: ReferTo) -> Kind:
    """Return what the data of a model looks like, as dawdle writes it: by its serialization aliases."""
    fields: Mapping[str, Any] = cast("Any", model).model_fields
    config: Mapping[str, Any] = cast("Any", model).model_config
    read = Annotations(refer_to, _scalars(config))
    if getattr(model, "__pydantic_root_model__", False):
        return Kind(style="pydantic", root=str(_field_shape(fields["root"], read)))
    return Kind(
        style="pydantic",
        fields={field.serialization_alias or name: _field(name, field, config, read) for name, field in fields.items()},
        forbid_unknown_fields=config.get("extra") == "forbid",
    )


def _field(name: str, field: Any, config: Mapping[str, Any], read: Annotations) -> Field:
    written: str = field.serialization_alias or name
    reads = _names_read(name, field, config)
    return Field(
        type=str(_field_shape(field, read)),
        default=None if field.is_required() else _default(field),
        attribute=None if name == written else name,
        reads=None if reads == (written,) else reads,
        optional=getattr(field, "exclude_if", None) is not None,  # since pydantic 2.12
        written=field.exclude is not True,
    )


def _default(field: Any) -> str:
    if field.default_factory is not None:
        return f"{getattr(field.default_factory, '__name__', '…')}()"
    return shown_default(field.default)


def _scalars(config: Mapping[str, Any]) -> Mapping[object, str]:
    """Return the names of scalars in a model: pydantic has its own ways to write bytes, and a choice for times."""
    seconds = config.get("ser_json_timedelta", "iso8601")
    return {
        **SCALARS,
        bytes: f"bytes_{config.get('ser_json_bytes', 'utf8')}",
        dt.timedelta: "timedelta" if seconds == "iso8601" else f"timedelta_{seconds}",
    }


def _names_read(name: str, field: Any, config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names under which pydantic looks for a field, in its order. A path into the data is left out."""
    alias = field.validation_alias
    if alias is None:
        return (name,)
    choices: Sequence[object] = getattr(alias, "choices", [alias])
    found = [each for each in choices if isinstance(each, str)] if config.get("validate_by_alias", True) else []
    if config.get("populate_by_name") or config.get("validate_by_name"):
        found.append(name)
    return tuple(dict.fromkeys(found))


def _field_shape(field: Any, read: Annotations) -> Shape:
    return _with_limits(_shape(field.annotation, read), field.metadata)


def _shape(hint: Any, read: Annotations) -> Shape:
    """Return the shape of an annotation."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _with_limits(_shape(arguments[0], read), arguments[1:])
    if hint is None or hint is type(None):
        return NONE
    if hint is Any or hint is object:
        return ANY
    if isinstance(hint, type) and hint in read.scalars:
        return Scalar(read.scalars[hint])
    if origin is typing.Union or origin is types.UnionType:
        return _union(_shape(each, read) for each in arguments)
    if origin is typing.Literal:
        return _choice(arguments)
    for of_another in ("__supertype__", "__value__"):  # a NewType, and `type Name = …`
        if hasattr(hint, of_another):
            return _shape(getattr(hint, of_another), read)
    return _container(origin or hint, arguments, read) or _class(hint, read)


def _container(origin: object, arguments: Sequence[Any], read: Annotations) -> Shape | None:
    if origin in ITEMS:
        return Items(ITEMS[origin], _shape(arguments[0], read) if arguments else ANY)
    if origin in MAPS:
        key, value = arguments or (Any, Any)
        return Map(_key(_shape(key, read)), _shape(value, read))
    if origin is tuple:
        if not arguments:
            return Items("tuple", ANY)
        if arguments[-1] is Ellipsis:
            return Items("tuple", _shape(arguments[0], read))
        return Row(tuple(_shape(each, read) for each in arguments if each != ()))
    return None


def _key(shape: Shape) -> Shape:
    """Return the shape of a key: a model writes every key as text, in MessagePack too, and msgspec does not."""
    if isinstance(shape, Scalar) and shape.name != "str":
        return msgspec.structs.replace(shape, limits=(*shape.limits, ("as_text", True)))
    return shape


def _class(hint: Any, read: Annotations) -> Shape:
    cls = cast("type[object]", hint) if isinstance(hint, type) else object
    is_enum = issubclass(cls, enum.Enum) and all(type(each.value) in {str, int} for each in cls)
    if is_enum or event_style(cls) == "pydantic" or typing.is_typeddict(cls) or dataclasses.is_dataclass(cls):
        return read.refer_to(cls)
    return Opaque(_name_of(hint))


def _name_of(hint: Any) -> str:
    return f"{hint.__module__}.{hint.__qualname__}" if isinstance(hint, type) else str(hint)


def _union(members: Iterable[Shape]) -> Shape:
    flat = [each for member in members for each in (member.members if isinstance(member, Union) else (member,))]
    return flat[0] if len(flat) == 1 else Union(tuple(dict.fromkeys(flat)))


def _choice(values: Sequence[object]) -> Shape:
    """Return the shape of a Literal; one of an enum's members is not looked into."""
    if all(value is None or type(value) in {str, int, bool} for value in values):
        return Choice(tuple(sorted(cast("Sequence[str | int | bool | None]", values), key=repr)))
    return Opaque(f"Literal[{', '.join(map(str, values))}]")


def _with_limits(shape: Shape, metadata: Iterable[object]) -> Shape:
    """Return a shape with what an annotation says beside the type."""
    found = dict(each for piece in metadata for each in _limits_of(piece))
    if not found:
        return shape
    # On `int | None` a limit is for the int.
    if isinstance(shape, Union):
        return Union(tuple(each if each == NONE else _limited(each, found) for each in shape.members))
    return _limited(shape, found)


def _limited(shape: Shape, found: Mapping[str, object]) -> Shape:
    if isinstance(shape, (Scalar, Items, Map, Opaque)):
        return msgspec.structs.replace(shape, limits=tuple(sorted({**dict(shape.limits), **found}.items())))
    if isinstance(shape, Ref) and "check" not in found:
        return shape
    return Opaque(str(shape), tuple(sorted(found.items())))


def _limits_of(piece: object) -> Iterator[tuple[str, object]]:
    """Yield the limits in one piece of an annotation: of annotated_types, of pydantic, or a validator."""
    inside: object = getattr(piece, "metadata", None)
    if isinstance(inside, list):  # a Field(…) in an Annotated keeps them in itself
        yield from (each for one in cast("list[object]", inside) for each in _limits_of(one))
        return
    held = {name: getattr(piece, name, None) for name in LIMITS}
    named = {name: value for name, value in held.items() if value is not None and not callable(value)}
    if "pattern" in named:
        named["pattern"] = str(getattr(named["pattern"], "pattern", named["pattern"]))
    if named:
        yield from ((name, _plain(value)) for name, value in named.items())
    elif type(piece).__name__ not in HARMLESS and not hasattr(piece, "strict"):
        yield "check", _told(piece)


def _plain(value: object) -> object:
    return value if isinstance(value, (int, float, str)) else str(value)


def _told(piece: object) -> str:
    """Return the name of a validator or a serializer in an annotation."""
    function = getattr(piece, "func", None)
    return f"{type(piece).__name__} {getattr(function, '__qualname__', '')}".strip()
