"""Event types made at random, in all four styles, with values of them, and changes that people make to such types."""

import dataclasses
import datetime as dt
import enum
import math
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

import attrs
import msgspec
import pydantic
from hypothesis import strategies as st

STYLES = ("struct", "dataclass", "attrs", "pydantic")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class MoreColours(enum.Enum):
    RED = "red"
    BLUE = "blue"
    GREEN = "green"


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


class Hint(NamedTuple):
    """A type of a field, as msgspec and as pydantic have it, and its values."""

    annotation: Any
    values: st.SearchStrategy
    model_annotation: Any = None

    def of(self, style):
        return self.annotation if style != "pydantic" or self.model_annotation is None else self.model_annotation


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=4)
ints = st.integers(-(2**53), 2**53)
floats = st.floats(allow_nan=False, allow_infinity=False)
times = st.datetimes(dt.datetime(1900, 1, 1), timezones=st.just(dt.UTC))  # noqa: DTZ001 - hypothesis adds the zone
decimals = st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**6), max_value=10**6)

HINTS = {
    "int": Hint(int, ints),
    "positive": Hint(Annotated[int, msgspec.Meta(ge=0)], st.integers(0, 99), Annotated[int, pydantic.Field(ge=0)]),
    "more than 3": Hint(Annotated[int, msgspec.Meta(gt=3)], st.integers(4, 99), Annotated[int, pydantic.Field(gt=3)]),
    "float": Hint(float, floats),
    "str": Hint(str, texts),
    "short": Hint(Annotated[str, msgspec.Meta(max_length=4)], texts, Annotated[str, pydantic.Field(max_length=4)]),
    "bool": Hint(bool, st.booleans()),
    "decimal": Hint(Decimal, decimals),
    "uuid": Hint(UUID, st.uuids()),
    "datetime": Hint(dt.datetime, times),
    "date": Hint(dt.date, st.dates()),
    "timedelta": Hint(dt.timedelta, st.integers(0, 10**6).map(lambda seconds: dt.timedelta(seconds=seconds))),
    "bytes": Hint(bytes, texts.map(str.encode)),
    "colour": Hint(Colour, st.sampled_from(Colour)),
    "more colours": Hint(MoreColours, st.sampled_from(MoreColours)),
    "size": Hint(Size, st.sampled_from(Size)),
    "a or b": Hint(Literal["a", "b"], st.sampled_from("ab")),
    "a": Hint(Literal["a"], st.just("a")),
    "any": Hint(Any, st.none() | ints | texts | st.lists(ints, max_size=2)),
}  # fmt: skip
scalars = st.sampled_from(list(HINTS.values()))
keys = st.sampled_from([HINTS["str"], HINTS["a or b"], HINTS["int"]])


def maybe(hint):
    return Hint(hint.annotation | None, hint.values | st.none(), hint.of("pydantic") | None)


def list_of(hint):
    return Hint(list[hint.annotation], st.lists(hint.values, max_size=2), list[hint.of("pydantic")])


def tuple_of(hint):
    values = st.lists(hint.values, max_size=2).map(tuple)
    return Hint(tuple[hint.annotation, ...], values, tuple[hint.of("pydantic"), ...])


def pair_of(one, other):
    values = st.tuples(one.values, other.values)
    return Hint(tuple[one.annotation, other.annotation], values, tuple[one.of("pydantic"), other.of("pydantic")])


def dict_of(key, value):
    values = st.dictionaries(key.values, value.values, max_size=2)
    return Hint(dict[key.annotation, value.annotation], values, dict[key.annotation, value.of("pydantic")])


def either(one, other):
    return Hint(one.annotation | other.annotation, one.values | other.values, one.of("pydantic") | other.of("pydantic"))


unions = st.sampled_from([("int", "str"), ("float", "str"), ("int", "bool"), ("str", "bool"), ("int", "float")])


def no_optional(hint):
    return not isinstance(hint.annotation, type(Any)) and hint is not HINTS["any"]


plain = scalars | unions.map(lambda names: either(*(HINTS[name] for name in names)))
hints = (
    plain
    | plain.filter(no_optional).map(maybe)
    | plain.map(list_of)
    | plain.map(tuple_of)
    | st.builds(pair_of, scalars, scalars)
    | st.builds(dict_of, keys, plain)
    | scalars.map(list_of).map(maybe)
)


@dataclasses.dataclass(frozen=True)
class FieldSpec:
    """A field: its name in Python and in data, its type, and whether it has a default."""

    name: str
    hint: Hint
    default: Any = ...
    """A value; `...`: it is required."""
    encoded: str | None = None


@dataclasses.dataclass(frozen=True)
class Spec:
    """A type of events."""

    style: str
    fields: tuple[FieldSpec, ...]
    forbids: bool = False
    omits: bool = False

    def make(self):
        return MAKERS[self.style](self)

    def values(self, cls):
        """Values of the type: a field with a default is left out at times."""
        required = {each.name: each.hint.values for each in self.fields if each.default is ...}
        optional = {each.name: each.hint.values for each in self.fields if each.default is not ...}
        if self.style == "pydantic":
            return st.fixed_dictionaries(required, optional=optional).map(lambda given: model_of(cls, given))
        return st.fixed_dictionaries(required, optional=optional).map(lambda given: cls(**given))


def model_of(cls, given):
    """A model takes its fields by their aliases."""
    known = cls.model_fields
    return cls(**{known[name].alias or name: value for name, value in given.items()})


def make_struct(spec):
    fields = [
        (
            each.name,
            each.hint.annotation,
            msgspec.field(name=each.encoded)
            if each.default is ...
            else msgspec.field(default=each.default, name=each.encoded),
        )
        for each in spec.fields
    ]
    options = {"forbid_unknown_fields": spec.forbids, "omit_defaults": spec.omits}
    return msgspec.defstruct("Made", fields, kw_only=True, module=__name__, **options)


def make_dataclass(spec):
    fields = [
        (each.name, each.hint.annotation)
        if each.default is ...
        else (each.name, each.hint.annotation, dataclasses.field(default=each.default))
        for each in spec.fields
    ]
    return dataclasses.make_dataclass("Made", fields, kw_only=True)


def make_attrs(spec):
    fields = {
        each.name: attrs.field(
            type=each.hint.annotation, default=attrs.NOTHING if each.default is ... else each.default
        )
        for each in spec.fields
    }
    cls = attrs.make_class("Made", fields, kw_only=True)
    cls.__annotations__ = {each.name: each.hint.annotation for each in spec.fields}
    return cls


def make_model(spec):
    fields = {
        each.name: (each.hint.of("pydantic"), pydantic.Field(default=each.default, alias=each.encoded))
        for each in spec.fields
    }
    config = pydantic.ConfigDict(extra="forbid") if spec.forbids else None
    return pydantic.create_model("Made", __config__=config, __module__=__name__, **fields)


MAKERS = {"struct": make_struct, "dataclass": make_dataclass, "attrs": make_attrs, "pydantic": make_model}

NAMES = ("alpha", "beta", "gamma", "delta")


@st.composite
def field_specs(draw, name, style):
    hint = draw(hints)
    default = draw(hint.values) if draw(st.booleans()) else ...
    if isinstance(default, (list, dict)):  # dataclasses and attrs take none of these
        default = ...
    encoded = draw(st.sampled_from([None, None, name.title()])) if style in {"struct", "pydantic"} else None
    return FieldSpec(name, hint, default, encoded)


@st.composite
def specs(draw, styles=STYLES):
    style = draw(st.sampled_from(styles))
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True))
    fields = tuple(draw(field_specs(name, style)) for name in names)
    can = style in {"struct", "pydantic"}
    return Spec(style, fields, can and draw(st.booleans()), style == "struct" and draw(st.booleans()))


def widened(hint):
    """The types to which a type is often changed."""
    wider = {
        "int": [either(HINTS["int"], HINTS["str"]), HINTS["float"], maybe(HINTS["int"]), HINTS["positive"],
                HINTS["decimal"]],
        "positive": [HINTS["int"], HINTS["more than 3"], HINTS["float"]],
        "more than 3": [HINTS["positive"], HINTS["int"]],
        "float": [HINTS["int"], either(HINTS["int"], HINTS["float"]), HINTS["decimal"]],
        "str": [maybe(HINTS["str"]), HINTS["a or b"], HINTS["short"], HINTS["colour"]],
        "short": [HINTS["str"]],
        "colour": [HINTS["more colours"], HINTS["str"], HINTS["a or b"]],
        "more colours": [HINTS["colour"]],
        "a": [HINTS["a or b"], HINTS["str"]],
        "a or b": [HINTS["a"], HINTS["str"]],
        "size": [HINTS["int"], HINTS["float"]],
        "uuid": [HINTS["str"]],
        "date": [HINTS["str"], HINTS["datetime"]],
        "datetime": [HINTS["str"]],
        "decimal": [HINTS["str"], HINTS["float"]],
        "timedelta": [HINTS["str"], HINTS["int"]],
    }  # fmt: skip
    known = next((wider[name] for name, each in HINTS.items() if each is hint and name in wider), [])
    others = scalars | hints | st.just(HINTS["any"])
    return st.sampled_from(known) | others if known else others


@st.composite
def changed(draw, spec):
    """A change that people make to a type, or several."""
    for _ in range(draw(st.integers(1, 2))):
        spec = draw(one_change(spec))
    return spec


@st.composite
def one_change(draw, spec):
    at = draw(st.integers(0, len(spec.fields) - 1))
    field, others = spec.fields[at], (*spec.fields[:at], *spec.fields[at + 1 :])
    free = [name for name in NAMES if name not in {each.name for each in spec.fields}]
    match draw(
        st.sampled_from(["add", "remove", "type", "type", "default", "rename", "style", "order", "forbid", "omit"])
    ):
        case "add" if free:
            return dataclasses.replace(spec, fields=(*spec.fields, draw(field_specs(free[0], spec.style))))
        case "remove" if others:
            return dataclasses.replace(spec, fields=others)
        case "type":
            hint = draw(widened(field.hint))
            new = FieldSpec(
                field.name, hint, ... if field.default is ... else draw(scalar_default(hint)), field.encoded
            )
            return dataclasses.replace(spec, fields=(*spec.fields[:at], new, *spec.fields[at + 1 :]))
        case "default":
            new = dataclasses.replace(field, default=draw(st.just(...) | scalar_default(field.hint)))
            return dataclasses.replace(spec, fields=(*spec.fields[:at], new, *spec.fields[at + 1 :]))
        case "rename" if spec.style in {"struct", "pydantic"}:
            new = dataclasses.replace(field, encoded=None if field.encoded else field.name.title())
            return dataclasses.replace(spec, fields=(*spec.fields[:at], new, *spec.fields[at + 1 :]))
        case "style":
            style = draw(st.sampled_from(STYLES))
            can = style in {"struct", "pydantic"}
            fields = spec.fields if can else tuple(dataclasses.replace(each, encoded=None) for each in spec.fields)
            return Spec(style, fields, can and spec.forbids, style == "struct" and spec.omits)
        case "order":
            return dataclasses.replace(spec, fields=tuple(draw(st.permutations(spec.fields))))
        case "forbid" if spec.style in {"struct", "pydantic"}:
            return dataclasses.replace(spec, forbids=not spec.forbids)
        case "omit" if spec.style == "struct":
            return dataclasses.replace(spec, omits=not spec.omits)
        case _:
            return spec


def scalar_default(hint):
    return hint.values.filter(lambda value: not isinstance(value, (list, dict)) and not is_nan(value))


def is_nan(value):
    return isinstance(value, float) and math.isnan(value)


@dataclasses.dataclass(frozen=True)
class Outer:
    """A type of events that holds another one in several ways."""

    style: str
    inner: Spec

    @property
    def fields(self):
        return ()

    def make(self):
        inner = self.inner.make()
        held = {"one": inner, "many": list[inner], "named": dict[str, inner], "maybe": inner | None}
        fields = tuple(FieldSpec(name, Hint(annotation, st.nothing())) for name, annotation in held.items())
        return Spec(self.style, fields).make()

    def values(self, cls):
        inner = cls.__annotations__["one"] if self.style != "pydantic" else cls.model_fields["one"].annotation
        one = self.inner.values(inner)
        many, named = st.lists(one, max_size=2), st.dictionaries(st.text("ab", max_size=2), one, max_size=2)
        return st.builds(cls, one=one, many=many, named=named, maybe=one | st.none())


@st.composite
def pairs(draw):
    """A type and a change of it; at times they are inside of another type, which stays."""
    before = draw(specs())
    after = draw(changed(before))
    inside = {before.style, after.style}
    outer = draw(st.sampled_from([None, None, *(["pydantic"] if inside <= {"pydantic", "dataclass"} else STYLES[:3])]))
    return (before, after) if outer is None else (Outer(outer, before), Outer(outer, after))
