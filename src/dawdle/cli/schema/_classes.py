"""Turns classes into shapes: structs, dataclasses, attrs classes, typed dicts and enums, as msgspec reads them.

A class that is met in a field is described once, under its name, and referred to. pydantic's are in `_models`.
"""

import enum
import typing
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import msgspec
from msgspec import inspect as types

from dawdle.cli.schema._defaults import shown_default
from dawdle.cli.schema._file import Field, Kind
from dawdle.cli.schema._models import model_kind
from dawdle.cli.schema._shapes import ANY, Choice, Items, Limits, Map, Opaque, Ref, Row, Scalar, Shape, Union
from dawdle.events import event_style

__all__ = ["Classes"]

LIMITS: Final = ("ge", "gt", "le", "lt", "max_length", "min_length", "multiple_of", "pattern", "tz")

SCALAR_TYPES: Final[Mapping[type[types.Type], str]] = {
    types.AnyType: "Any",
    types.RawType: "Any",
    types.NoneType: "None",
    types.BoolType: "bool",
    types.IntType: "int",
    types.FloatType: "float",
    types.StrType: "str",
    types.BytesType: "bytes",
    types.ByteArrayType: "bytes",
    types.MemoryViewType: "bytes",
    types.DateTimeType: "datetime",
    types.DateType: "date",
    types.TimeType: "time",
    types.TimeDeltaType: "timedelta",
    types.UUIDType: "UUID",
    types.DecimalType: "Decimal",
}

ITEM_TYPES: Final[Mapping[type[types.Type], str]] = {
    types.ListType: "list",
    types.SetType: "set",
    types.FrozenSetType: "set",
    types.VarTupleType: "tuple",
}

CLASS_TYPES: Final = (
    types.EnumType,
    types.StructType,
    types.DataclassType,
    types.TypedDictType,
    types.NamedTupleType,
)


class Classes:
    """Describes classes, and keeps those that their fields refer to."""

    def __init__(self) -> None:
        self.kinds: dict[str, Kind] = {}
        """What was referred to, by name."""

    def kind_of(self, cls: type) -> Kind:
        """Return what the data of an event type looks like, or that of a function's calls."""
        before = dict(self.kinds)
        try:
            if event_style(cls) == "pydantic":
                return model_kind(cls, self.refer_to)
            return self._kind(types.type_info(cls))
        except Exception:  # noqa: BLE001 - an annotation may raise anything; nothing reads such a type
            self.kinds = before
            return Kind(style=event_style(cls) or "", unreadable=True)

    def refer_to(self, cls: type) -> Shape:
        """Return the reference to a class, described. Another class than those here is opaque."""
        if event_style(cls) == "pydantic":
            return self._refer(cls, lambda: model_kind(cls, self.refer_to))
        if issubclass(cls, enum.Enum):  # pydantic takes some that msgspec refuses
            return self._refer(cls, lambda: enum_kind(cls))
        return self._shape(types.type_info(cls))

    def _refer(self, cls: Any, describe: Callable[[], Kind]) -> Ref:
        name = f"{cls.__module__}.{cls.__qualname__}" if isinstance(cls, type) else str(cls)
        if name not in self.kinds:
            self.kinds[name] = Kind()  # a class may refer to itself
            self.kinds[name] = describe()
        return Ref(name)

    def _shape(self, found: types.Type) -> Shape:
        match found:
            case types.Metadata():
                return self._shape(found.type)
            case types.LiteralType():
                return Choice(tuple(sorted(found.values, key=repr)))
            case types.UnionType():
                return Union(tuple(map(self._shape, found.types)))
            case types.TupleType():
                return Row(tuple(map(self._shape, found.item_types)))
            case types.DictType():
                return Map(self._shape(found.key_type), self._shape(found.value_type), limits_of(found))
            case types.ListType() | types.SetType() | types.FrozenSetType() | types.VarTupleType():
                return Items(ITEM_TYPES[type(found)], self._shape(found.item_type), limits_of(found))
            case types.CustomType():
                return self._custom(found.cls)
            case _ if type(found) in SCALAR_TYPES:
                return Scalar(SCALAR_TYPES[type(found)], limits_of(found))
            case _ if isinstance(found, CLASS_TYPES):
                return self._refer(found.cls, lambda: self._kind(found))
            case _:
                return Opaque(type(found).__name__)

    def _custom(self, cls: type) -> Shape:
        if cls is object:
            return ANY
        if event_style(cls) == "pydantic":
            return self._refer(cls, lambda: model_kind(cls, self.refer_to))
        return Opaque(f"{cls.__module__}.{cls.__qualname__}")

    def _kind(self, found: types.Type) -> Kind:
        match found:
            case types.EnumType():
                return enum_kind(found.cls)
            case types.StructType():
                own = cast("Any", typing.get_origin(found.cls) or found.cls)
                omits = bool(own.__struct_config__.omit_defaults)
                return Kind(
                    style="struct",
                    fields=self._fields(found.fields, omits=omits),
                    tag_field=found.tag_field,
                    tag=found.tag,
                    array_like=found.array_like,
                    forbid_unknown_fields=found.forbid_unknown_fields,
                )
            case types.DataclassType():
                style = event_style(typing.get_origin(found.cls) or found.cls) or "dataclass"
                return Kind(style=style, fields=self._fields(found.fields, omits=False))
            case types.TypedDictType():
                return Kind(style="typed dict", fields=self._fields(found.fields, omits=True))
            case types.NamedTupleType():
                return Kind(style="named tuple", fields=self._fields(found.fields, omits=False), array_like=True)
            case _:
                raise AssertionError(found)

    def _fields(self, fields: tuple[types.Field, ...], *, omits: bool) -> dict[str, Field]:
        return {each.encode_name: self._field(each, omits=omits) for each in fields}

    def _field(self, field: types.Field, *, omits: bool) -> Field:
        has_value = field.default is not msgspec.NODEFAULT
        has_factory = field.default_factory is not msgspec.NODEFAULT
        # msgspec shows no default where it is UNSET, and a field that is UNSET is not written.
        is_unset = not field.required and not has_value and not has_factory
        return Field(
            type=str(self._shape(field.type)),
            default=None
            if field.required
            else shown_default(field.default)
            if has_value
            else f"{getattr(field.default_factory, '__name__', '…')}()"
            if has_factory
            else "UNSET",
            attribute=None if field.name == field.encode_name else field.name,
            optional=is_unset or (omits and not field.required),
        )


def enum_kind(cls: type[enum.Enum]) -> Kind:
    """Return what an enum is in data: one of its values, each a text or a whole number."""
    return Kind(style="enum", values=tuple(sorted((cast("str | int", each.value) for each in cls), key=repr)))


def limits_of(found: object) -> Limits:
    """Return the limits that one of msgspec's types has."""
    return tuple((name, value) for name in LIMITS if (value := getattr(found, name, None)) is not None)
