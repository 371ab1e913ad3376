"""Types of events whose fields come back, come back changed, or do not come back; and how one is sealed and read."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from typing import TYPE_CHECKING, Annotated, Any, Generic, NamedTuple, TypedDict, TypeVar
from zoneinfo import ZoneInfo

import attrs
import msgspec
import pydantic
import pytest

from dawdle import JSON, MessagePack
from dawdle._rules.codec import open_event, seal
from dawdle._rules.envelope import open_envelope

if TYPE_CHECKING:
    from fractions import Fraction

T = TypeVar("T")
CODECS = {codec.content_type: codec for codec in (JSON(), MessagePack())}
each_codec = pytest.mark.parametrize("codec", CODECS.values(), ids=["json", "messagepack"])


def sealed(event, codec, codecs=None):
    return seal(
        event,
        codec=codec,
        wire_name="any",
        event_id="e-1",
        source="/shop",
        now=1_750_000_000.0,
        headers={},
        delay_ms=0,
        cause=None,
        max_body=1_048_576,
        codecs=codecs,
    )


def returned(event, codec):
    return open_event(open_envelope(sealed(event, codec)), type(event), CODECS)


def changed(event, **values):
    for name, value in values.items():
        setattr(event, name, value)
    return event


class Colour(enum.StrEnum):
    RED = "red"


class Line(msgspec.Struct, frozen=True):
    sku: str
    count: int = 1


class Discounted(Line, frozen=True):
    percent: int = 5


class Anything(msgspec.Struct):
    value: Any = None


class Camel(msgspec.Struct, rename="camel", tag="camel", omit_defaults=True, forbid_unknown_fields=True):
    first_name: str = ""
    last_names: list[str] = []


class Private(msgspec.Struct):
    _hidden: int


class Row(msgspec.Struct, array_like=True):
    cells: tuple[int, ...]


class Maybe(msgspec.Struct):
    value: int | msgspec.UnsetType = msgspec.UNSET


class ByNumber(msgspec.Struct):
    names: dict[int, str]


class Point(NamedTuple):
    x: int
    y: int


class Words(TypedDict, total=False):
    word: str


class Shapes(msgspec.Struct):
    point: Point | None = None
    words: Words | None = None
    raw: msgspec.Raw = msgspec.Raw(b"1")


@dataclasses.dataclass
class Computing:
    net: int
    gross: int = dataclasses.field(init=False)

    def __post_init__(self):
        self.gross = self.net * 2


@dataclasses.dataclass
class Growing:
    total: int

    def __post_init__(self):
        self.total += 1


@dataclasses.dataclass
class Underscored:
    _hidden: int = 5


@dataclasses.dataclass
class Initial:
    net: int
    rate: dataclasses.InitVar[int] = 2


@dataclasses.dataclass(eq=False)
class NoEquality:
    net: int
    when: object = None


@dataclasses.dataclass
class LooselyEqual:
    net: int
    note: object = dataclasses.field(default=None, compare=False)


@attrs.define
class Hiding:
    net: int
    _hidden: int = 5


@attrs.define
class HidingNeeded:
    _hidden: int


@attrs.define
class Aliased:
    net: int = attrs.field(alias="brutto")


@attrs.define
class Later:
    net: int
    gross: int = attrs.field(default=3, init=False)


@attrs.define(eq=False)
class Identity:
    net: float
    inner: Any = None


class Loose(msgspec.Struct):
    net: int
    note: Any = None

    def __eq__(self, other):
        return isinstance(other, Loose) and self.net == other.net

    __hash__ = None


class LooseHolder(msgspec.Struct):
    inner: Loose


class LooseTwice(msgspec.Struct):
    one: LooseHolder
    other: LooseHolder


class LooseRing(msgspec.Struct):
    ring: LooseRingBack | None = None
    loose: Loose | None = None


class LooseRingBack(msgspec.Struct):
    ring: LooseRing | None = None


class Described(msgspec.Struct):
    counts: list[Annotated[int, ["a description that has no hash"]]] = []


class Misspelt(msgspec.Struct):
    when: dt.Datetime


class Env(msgspec.Struct, Generic[T], frozen=True):
    payload: T


class LineEnv(Env[Line], frozen=True):
    pass


@dataclasses.dataclass
class DataEnv(Generic[T]):
    payload: T


class ModelEnv(pydantic.BaseModel, Generic[T]):
    payload: T


class OnlyForCheckers(msgspec.Struct):
    part: Fraction


@dataclasses.dataclass
class OnlyForCheckersData:
    part: list[Fraction]


class OnlyForCheckersHolder(msgspec.Struct):
    inner: OnlyForCheckersData


class Tagged(msgspec.Struct, tag=True):
    net: int


class TaggedMore(Tagged, tag=True):
    more: int = 0


class Holder(msgspec.Struct):
    line: Line | None = None
    lines: list[Line] = []
    tagged: Tagged | None = None
    either: Tagged | TaggedMore | None = None
    by_name: dict[str, Line] = {}


class Inner(pydantic.BaseModel):
    net: int


class Deeper(Inner):
    more: int = 0


class Model(pydantic.BaseModel):
    inner: Inner | None = None
    value: Any = None
    _cache: dict = pydantic.PrivateAttr(default_factory=dict)


class Extra(pydantic.BaseModel, extra="allow"):
    net: int = 0


class Secret(pydantic.BaseModel):
    token: pydantic.SecretStr


class SecretBytes(pydantic.BaseModel):
    token: pydantic.SecretBytes


class Revealed(pydantic.BaseModel):
    token: pydantic.SecretStr

    @pydantic.field_serializer("token", when_used="json")
    def reveal(self, token: pydantic.SecretStr) -> str:
        return token.get_secret_value()


class SecretHolder(msgspec.Struct):
    inner: Secret


class SecretStruct(msgspec.Struct):
    token: pydantic.SecretStr


class Calling(pydantic.BaseModel):
    call: Any = None
    inner: Calling | None = None


class Excluded(pydantic.BaseModel):
    net: int
    cached: int = pydantic.Field(exclude=True)


class ExcludedDefault(pydantic.BaseModel):
    cached: int = pydantic.Field(default=0, exclude=True)


class ExcludedToo(ExcludedDefault):
    net: int


class Tags(msgspec.Struct):
    tags: set[str]


class Apart(pydantic.BaseModel):
    order_id: str = pydantic.Field(validation_alias="orderId", serialization_alias="order_id_out")


class ApartDefault(pydantic.BaseModel):
    order_id: str = pydantic.Field("none", validation_alias="orderId")


class Choices(pydantic.BaseModel):
    order_id: str = pydantic.Field(validation_alias=pydantic.AliasChoices("orderId", "order"))


class ChoicesNamed(pydantic.BaseModel):
    order_id: str = pydantic.Field(
        validation_alias=pydantic.AliasChoices("orderId", "order"), serialization_alias="order"
    )


class Path(pydantic.BaseModel):
    order_id: str = pydantic.Field(validation_alias=pydantic.AliasPath("ids", 0))


class Generated(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(
        alias_generator=pydantic.AliasGenerator(validation_alias=str.upper, serialization_alias=str.title)
    )

    order_id: str


class GeneratedAlike(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(alias_generator=str.upper)

    order_id: str


class ByName(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(populate_by_name=True)

    order_id: str = pydantic.Field(validation_alias="orderId")


class Odd(pydantic.BaseModel):
    when: dt.datetime

    @pydantic.field_serializer("when")
    def day(self, when: dt.datetime) -> str:
        return when.date().isoformat()


class Twice(pydantic.BaseModel):
    net: int

    @pydantic.field_validator("net")
    @classmethod
    def double(cls, net: int) -> int:
        return net * 2


class Plain:
    """A class of the user's own, without `==`."""

    def __init__(self, text):
        self.text = text


class Custom(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)

    plain: Plain

    @pydantic.field_validator("plain", mode="before")
    @classmethod
    def read(cls, value):
        return Plain(value) if isinstance(value, str) else value

    @pydantic.field_serializer("plain")
    def write(self, plain: Plain) -> str:
        return plain.text


class CustomLossy(Custom):
    @pydantic.field_serializer("plain")
    def write(self, plain: Plain) -> str:
        return "cut: " + plain.text


PARIS = ZoneInfo("Europe/Paris")
TWICE = dt.datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=PARIS)


class At(msgspec.Struct):
    when: dt.datetime
