"""Shapes are texts and back; classes that hold themselves, generic ones, and those of other kinds have shapes too."""

import dataclasses
import enum
from typing import Annotated, Generic, Literal, NamedTuple, NewType, NotRequired, TypedDict, TypeVar

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dawdle.cli.schema._classes import Classes
from dawdle.cli.schema._fits import gaps_between
from dawdle.cli.schema._limits import keeps
from dawdle.cli.schema._shapes import SCALARS, Choice, Items, Map, Opaque, Ref, Row, Scalar, Union, parse

T = TypeVar("T")

limits = st.dictionaries(
    st.sampled_from(["ge", "max_length", "pattern"]), st.integers(0, 9) | st.text(max_size=3), max_size=2
).map(lambda found: tuple(sorted(found.items())))
names = st.sampled_from(["shop.Line", "shop.<locals>.Line", "shop.Env[int]", "Line"])
leaves = (
    st.builds(Scalar, st.sampled_from(sorted(SCALARS - {"None"})), limits)
    | st.just(Scalar("None"))
    | st.lists(st.integers(0, 9) | st.text(max_size=3) | st.booleans() | st.none(), min_size=1, max_size=3)
    .map(tuple)
    .map(Choice)
    | st.builds(Ref, names)
    | st.builds(Opaque, names, limits)
)


def members(shape):
    return st.lists(shape, min_size=2, max_size=3).map(lambda found: Union(tuple(flat(found))))


def flat(found):
    for each in found:
        yield from each.members if isinstance(each, Union) else (each,)


shapes = st.recursive(
    leaves,
    lambda inner: (
        st.builds(Items, st.sampled_from(["list", "set"]), inner, limits)
        | st.builds(Items, st.just("tuple"), inner, limits)
        | st.lists(inner, max_size=3).map(tuple).map(Row)
        | st.builds(Map, inner, inner, limits)
        | members(inner)
    ),
    max_leaves=6,
)


@given(shapes)
def test_the_text_of_a_shape_is_read_as_that_shape(shape):
    assert parse(str(shape)) == shape


@pytest.mark.parametrize("text", ["", "int |", "lst[int]", "dict[int]", "f(x=1)", "1 + 2", "int()(", "Literal[x]", "5"])
def test_another_text_is_refused(text):
    with pytest.raises(ValueError, match="is no type|holds nothing"):
        parse(text)


@given(st.integers(-3, 3), st.integers(-3, 3), st.sampled_from(["ge", "gt"]), st.sampled_from(["ge", "gt"]))
def test_a_lower_limit_is_kept_exactly_if_each_value_within_the_other_is_within_it(one, other, name, other_name):
    def within(value, limit, called):
        return value > limit if called == "gt" else value >= limit

    values = [each / 2 for each in range(-10, 11)]
    expected = all(within(value, other, other_name) for value in values if within(value, one, name))
    assert keeps(((name, one),), ((other_name, other),)) == expected


@pytest.mark.parametrize(
    ("written", "read", "kept"),
    [
        ((), (), True),
        ((("ge", 1),), (), True),
        ((), (("ge", 1),), False),
        ((("le", 5),), (("lt", 6),), True),
        ((("lt", 5),), (("le", 5),), True),
        ((("le", 5),), (("lt", 5),), False),
        ((("max_length", 3),), (("max_length", 4),), True),
        ((("max_length", 4),), (("max_length", 3),), False),
        ((("min_length", 2),), (("min_length", 1),), True),
        ((), (("min_length", 0),), True),
        ((("multiple_of", 10),), (("multiple_of", 5),), True),
        ((("multiple_of", 5),), (("multiple_of", 10),), False),
        ((("pattern", "a"),), (("pattern", "a"),), True),
        ((("pattern", "a"),), (("pattern", "b"),), False),
        ((("tz", True),), (("tz", False),), False),
        ((("tz", True),), (), True),
        ((("ge", 1),), (("check", "f"),), False),
    ],
)
def test_limits(written, read, kept):
    assert keeps(written, read) == kept


class Tree(msgspec.Struct):
    left: "Tree | None" = None
    more: list["Tree"] = []


class Env(msgspec.Struct, Generic[T]):
    payload: T


class Options(TypedDict):
    name: str
    size: NotRequired[int]


class Point(NamedTuple):
    x: int
    y: int = 0


class Kind(enum.Enum):
    ONE = "one"
    TWO = "two"


class Mixed(enum.Enum):
    ONE = 1
    TWO = "two"


class EnvOfInt(Env[int]):
    pass


UserId = NewType("UserId", int)


class Held(msgspec.Struct, tag_field="what", tag="held"):
    tree: Tree
    env: Env[int]
    options: Options
    point: Point
    kind: Kind
    raw: msgspec.Raw
    anything: object
    maybe: int | msgspec.UnsetType = msgspec.UNSET


@dataclasses.dataclass
class Data:
    x: int


class Names(pydantic.RootModel[list[str]]):
    pass


class Node(pydantic.BaseModel):
    user: UserId
    nodes: "list[Node]" = []
    names: Names
    point: Data
    mixed: Mixed
    even: Annotated[int, pydantic.AfterValidator(abs)] = 2
    secret: pydantic.SecretStr | None = None
    small: Annotated[str, pydantic.StringConstraints(max_length=3, pattern="^a")] = "a"
    either: Literal["a", 1, None] = None  # noqa: PYI061 - as people write it
    key: dict[int, pydantic.PositiveInt] = pydantic.Field(default_factory=dict, max_length=2)
    moved: int = pydantic.Field(0, validation_alias=pydantic.AliasChoices("moved", "old"), serialization_alias="moved")


def described(cls):
    classes = Classes()
    return classes.kind_of(cls), classes.kinds


def types_of(cls):
    return {name: field.type for name, field in described(cls)[0].fields.items()}


def test_structs_and_what_they_hold_have_shapes():
    here = __name__
    assert types_of(Held) == {
        "tree": f"{here}.Tree",
        "env": f"'{here}.Env[int]'",
        "options": f"{here}.Options",
        "point": f"{here}.Point",
        "kind": f"{here}.Kind",
        "raw": "Any",
        "anything": "Any",
        "maybe": "int",
    }
    kind, kinds = described(Held)
    assert (kind.tag_field, kind.tag) == ("what", "held")
    assert kind.fields["maybe"].optional
    assert kinds[f"{here}.Tree"].fields["more"].type == f"list[{here}.Tree]"
    assert kinds[f"{here}.Env[int]"].fields["payload"].type == "int"
    assert kinds[f"{here}.Options"].fields["size"].optional
    assert kinds[f"{here}.Point"].array_like
    assert kinds[f"{here}.Kind"].values == ("one", "two")


def test_models_have_shapes_by_their_annotations():
    here = __name__
    assert types_of(Node) == {
        "user": "int",
        "nodes": f"list[{here}.Node]",
        "names": f"{here}.Names",
        "point": f"{here}.Data",
        "mixed": f"{here}.Mixed",
        "even": "int(check='AfterValidator abs')",
        "secret": "opaque(type='pydantic.types.SecretStr') | None",
        "small": "str(max_length=3, pattern='^a')",
        "either": "Literal['a', 1, None]",
        "key": "dict[int(as_text=True), int(gt=0)](max_length=2)",
        "moved": "int",
    }
    kind, kinds = described(Node)
    assert kinds[f"{here}.Names"].root == "list[str]"
    assert kinds[f"{here}.Mixed"].values == ("two", 1)
    assert kind.fields["moved"].reads == ("moved", "old")


class Unordered(msgspec.Struct):
    names: frozenset[str] = frozenset({"one", "two", "three", "four"})
    none: frozenset[str] = frozenset()
    long: str = "x" * 200
    made: object = object()


def test_a_default_is_the_same_text_in_each_process():
    assert {name: field.default for name, field in described(Unordered)[0].fields.items()} == {
        "names": "frozenset({'four', 'one', 'three', 'two'})",
        "none": "frozenset()",
        "long": "'" + "x" * 78 + "…",
        "made": "…",
    }


@pytest.mark.parametrize("cls", [Held, Node, Tree, EnvOfInt, Names])
def test_a_type_fits_itself(cls):
    kind, kinds = described(cls)
    assert gaps_between(kind, kind, kinds, kinds) == []


def test_a_class_that_holds_itself_and_changes_is_told_once_for_each_place():
    class Tree(msgspec.Struct, kw_only=True):
        left: "Tree | None" = None
        more: list["Tree"] = []
        weight: int

    @dataclasses.dataclass
    class Other:
        tree: Tree

    before, after = described(dataclasses.make_dataclass("Other", [("tree", globals()["Tree"])])), described(Other)
    gaps = gaps_between(before[0], after[0], before[1], after[1])
    assert [(gap.place, gap.problem) for gap in gaps] == [("tree.weight", "missing")]
