"""The shape of a value in the data of a message, and its one text: `list[int(ge=0)] | None`. Knows no class.

A text is a Python expression, so Python's own parser reads it. Names that no value has by itself, of a class or an
enum, are references to the file's `types`.
"""

import ast
from collections.abc import Iterator
from typing import Final

import msgspec

__all__ = [
    "ANY",
    "NONE",
    "SCALARS",
    "Choice",
    "Items",
    "Limits",
    "Map",
    "Opaque",
    "Ref",
    "Row",
    "Scalar",
    "Shape",
    "Union",
    "parse",
    "references",
]

SCALARS: Final = frozenset(
    {
        *("Any", "None", "bool", "int", "float", "str", "bytes"),
        *("Decimal", "UUID", "datetime", "date", "time", "timedelta"),
        *("bytes_utf8", "bytes_base64", "bytes_hex"),
        *("timedelta_float", "timedelta_seconds_float", "timedelta_milliseconds_float"),
    }
)
"""The last ones are ways of pydantic to write what msgspec writes otherwise: as text, in base64 with `-` and `_`, as a
number."""

Limits = tuple[tuple[str, object], ...]
"""What else holds for a value, by name and in the order of the names: `ge`, `max_length`, `pattern`, `tz`, `check`."""


class Scalar(msgspec.Struct, frozen=True):
    """A value without parts."""

    name: str
    limits: Limits = ()

    def __str__(self) -> str:
        return self.name + _called(self.limits)


class Choice(msgspec.Struct, frozen=True):
    """One of some values."""

    values: tuple[str | int | bool | None, ...]

    def __str__(self) -> str:
        return f"Literal[{', '.join(map(repr, self.values))}]"


class Items(msgspec.Struct, frozen=True):
    """Any number of items."""

    name: str
    """`list`, `set` or `tuple`."""
    item: "Shape"
    limits: Limits = ()

    def __str__(self) -> str:
        return f"{self.name}[{self.item}{', ...' if self.name == 'tuple' else ''}]{_called(self.limits)}"


class Row(msgspec.Struct, frozen=True):
    """A tuple with a shape for each item."""

    items: tuple["Shape", ...]

    def __str__(self) -> str:
        return f"tuple[{', '.join(map(str, self.items)) or '()'}]"


class Map(msgspec.Struct, frozen=True):
    """Any number of values by key."""

    key: "Shape"
    value: "Shape"
    limits: Limits = ()

    def __str__(self) -> str:
        return f"dict[{self.key}, {self.value}]{_called(self.limits)}"


class Ref(msgspec.Struct, frozen=True):
    """A class or an enum that the file describes under this name."""

    name: str

    def __str__(self) -> str:
        return self.name if all(map(str.isidentifier, self.name.split("."))) else repr(self.name)


class Opaque(msgspec.Struct, frozen=True):
    """A class that nothing here can look into. It fits itself, and nothing else."""

    name: str
    limits: Limits = ()

    def __str__(self) -> str:
        return f"opaque{_called((('type', self.name), *self.limits))}"


class Union(msgspec.Struct, frozen=True):
    """One of several shapes."""

    members: tuple["Shape", ...]

    def __str__(self) -> str:
        return " | ".join(map(str, self.members))


Shape = Scalar | Choice | Items | Row | Map | Ref | Opaque | Union

ANY: Final = Scalar("Any")
NONE: Final = Scalar("None")


def parse(text: str) -> Shape:
    """Return the shape of a text. Raises `ValueError` for a text that is none."""
    try:
        return _read(ast.parse(text, mode="eval").body)
    except (SyntaxError, TypeError) as error:
        raise ValueError(f"{text!r} is no type") from error


def references(shape: Shape) -> Iterator[str]:
    """Yield the names of the classes and enums in a shape."""
    match shape:
        case Ref():
            yield shape.name
        case Items():
            yield from references(shape.item)
        case Map():
            yield from (*references(shape.key), *references(shape.value))
        case Row() | Union():
            for each in shape.items if isinstance(shape, Row) else shape.members:
                yield from references(each)
        case _:
            pass


def _read(node: ast.expr) -> Shape:
    match node:
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            members = [each for side in (_read(left), _read(right)) for each in _members(side)]
            return Union(tuple(members))
        case ast.Call(func=ast.Name(id="opaque"), keywords=keywords):
            (_, name), *limits = _limits(keywords)
            return Opaque(str(name), tuple(limits))
        case ast.Call(func=func, keywords=keywords):
            bare = _read(func)
            if isinstance(bare, (Scalar, Items, Map)):
                return msgspec.structs.replace(bare, limits=_limits(keywords))
        case ast.Subscript(value=ast.Name(id=name), slice=inner):
            return _subscribed(name, inner.elts if isinstance(inner, ast.Tuple) else [inner])
        case ast.Constant(value=None):
            return NONE
        case ast.Constant(value=str(name)):
            return Ref(name)
        case ast.Name(id=name) if name in SCALARS:
            return Scalar(name)
        case ast.Name() | ast.Attribute():
            return Ref(ast.unparse(node))
        case _:
            pass
    raise ValueError(f"{ast.unparse(node)!r} is no type")


def _subscribed(name: str, inner: list[ast.expr]) -> Shape:
    match name, inner:
        case "Literal", _ if all(isinstance(each, ast.Constant) for each in inner):
            return Choice(tuple(ast.literal_eval(each) for each in inner))
        case ("list" | "set") as kind, [item]:
            return Items(kind, _read(item))
        case "tuple", [item, ast.Constant(value=value)] if value is Ellipsis:
            return Items("tuple", _read(item))
        case "tuple", [ast.Tuple(elts=[])]:
            return Row(())
        case "tuple", _:
            return Row(tuple(map(_read, inner)))
        case "dict", [key, value]:
            return Map(_read(key), _read(value))
        case _:
            raise ValueError(f"{name!r} holds nothing")


def _members(shape: Shape) -> tuple[Shape, ...]:
    return shape.members if isinstance(shape, Union) else (shape,)


def _limits(keywords: list[ast.keyword]) -> Limits:
    return tuple((str(each.arg), ast.literal_eval(each.value)) for each in keywords)


def _called(limits: Limits) -> str:
    return f"({', '.join(f'{name}={value!r}' for name, value in limits)})" if limits else ""
