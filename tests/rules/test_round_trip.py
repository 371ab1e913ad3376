"""Whatever is sealed comes back equal; whatever would not is refused with the field, and without its value."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import gc
import math
import traceback
import weakref
from collections import OrderedDict
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypedDict, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dawdle import JSON, MessagePack
from dawdle._rules.codec import open_event, seal
from dawdle._rules.envelope import open_envelope
from dawdle._rules.field_types import MAX_TYPES
from dawdle.errors import EventError

if TYPE_CHECKING:
    from fractions import Fraction

T = TypeVar("T")
CANARY = "canary-51d0"
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


class Excluded(pydantic.BaseModel):
    net: int
    cached: int = pydantic.Field(exclude=True)


class ExcludedDefault(pydantic.BaseModel):
    cached: int = pydantic.Field(default=0, exclude=True)


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


SAME = [
    Camel("Ada", ["Lovelace"]),
    Camel(),
    Private(3),
    Row((1, 2)),
    Maybe(),
    Maybe(3),
    ByNumber({1: "one"}),
    Shapes(Point(1, 2), {"word": "w"}),
    Shapes(),
    Anything({"a": [1, 2.5, None, True, {"b": "c"}]}),
    Anything(Colour.RED),
    Anything(OrderedDict(a=1)),
    Computing(4),
    Underscored(7),
    NoEquality(1, [NoEquality(2).net]),
    LooselyEqual(1, "note"),
    Aliased(brutto=3),
    Identity(1.5, {"a": 1}),
    LooseHolder(Loose(1, "note")),
    LineEnv(Line("a")),
    ModelEnv[Inner](payload=Inner(net=1)),
    Holder(Line("a"), [Line("b", 2)], Tagged(1), TaggedMore(2, 3), {"c": Line("d")}),
    Model(inner=Inner(net=1), value=[1, {"a": None}]),
    Extra(net=1, more=[1], note="n"),
    Revealed(token="s"),
    Secret(token=""),
    ExcludedDefault(),
    ApartDefault(),
    ChoicesNamed(orderId="o-1"),
    GeneratedAlike(ORDER_ID="o-1"),
    ByName(orderId="o-1"),
    At(TWICE),
    At(dt.datetime(2026, 6, 1, tzinfo=PARIS)),
]


def test_the_hour_that_is_there_twice_is_one_that_no_other_zone_equals():
    assert TWICE.astimezone(dt.timezone(TWICE.utcoffset())) != TWICE


def fields(event):
    if isinstance(event, pydantic.BaseModel):
        return dict(event)
    return attrs.asdict(event, recurse=False) if attrs.has(type(event)) else msgspec.structs.asdict(event)


@each_codec
@pytest.mark.parametrize("event", SAME, ids=lambda event: type(event).__name__)
def test_what_comes_back_equal_is_sealed(event, codec):
    back = returned(event, codec)
    assert type(back) is type(event)
    if isinstance(event, (NoEquality, Identity, At)):
        assert codec.encode(back) == codec.encode(event)
    else:
        assert back == event


def test_an_attrs_field_that_init_does_not_take_travels():
    event = Later(1)
    event.gross = 9
    assert returned(event, JSON()) == event


@each_codec
def test_what_has_no_equality_of_its_own_is_the_same_if_it_is_written_alike(codec):
    assert returned(Custom(plain=Plain("a")), codec).plain.text == "a"
    with pytest.raises(EventError, match=r"CustomLossy\.plain would not arrive .*serializer"):
        sealed(CustomLossy(plain=Plain("a")), codec)


def test_private_attributes_of_a_model_are_its_own_affair():
    event = Model()
    event._cache["a"] = 1
    assert returned(event, JSON())._cache == {}


class Ratio(pydantic.BaseModel):
    ratio: float


NAN = [Anything(math.nan), Anything([math.nan, 1.0]), Identity(math.nan), Ratio(ratio=math.nan)]


@pytest.mark.parametrize("event", NAN, ids=lambda event: type(event).__name__)
def test_an_event_that_is_not_equal_to_itself_for_a_nan_is_sealed(event):
    assert MessagePack().encode(returned(event, MessagePack())) == MessagePack().encode(event)


class Ratios(msgspec.Struct):
    exact: Decimal = Decimal(0)
    of: set[float] = set()


@pytest.mark.parametrize("event", [Ratios(Decimal("NaN")), Ratios(Decimal("sNaN")), Ratios(of={math.nan, 1.0})])
def test_a_nan_of_another_type_or_in_a_set_is_sealed_too(event):
    sealed(event, MessagePack())


def changed(event, **values):
    for name, value in values.items():
        setattr(event, name, value)
    return event


REFUSED = [
    (Holder(Discounted("a")), "Holder.line", "holds a Discounted, and a Line would be read. Annotate"),
    (Holder(lines=[Line("a"), Discounted("b")]), "Holder.lines[1]", "holds a Discounted"),
    (Holder(by_name={"a": Discounted("a")}), "Holder.by_name[...]", "holds a Discounted"),
    (Anything((1, 2)), "Anything.value", "holds a tuple, and a list would be read. Annotate the field with tuple"),
    (Anything({"a": [{1, 2}]}), "Anything.value[...][0]", "holds a set, and a list"),
    (Anything(Line("a")), "Anything.value", "holds a Line, and a dict would be read. Annotate the field with Line"),
    (Anything(Decimal("1.5")), "Anything.value", "holds a Decimal, and a str"),
    (Anything(UUID(int=1)), "Anything.value", "holds an UUID, and a str"),
    (Anything({"a": object}), "Anything.value[...]", "a type cannot be encoded"),
    (Shapes(words={"word": "w", "other": "o"}), "Shapes.words", "a dict with other keys would be read"),
    (Line(UUID(int=1)), "Line.sku", "holds an UUID, and a str would be read"),
    (Holder(lines=(Line("a"),)), "Holder.lines", "holds a tuple, and a list"),
    (changed(Computing(1), gross=5), "Computing.gross", "holds an int, and another one would be read. What writes"),
    (Growing(1), "Growing.total", "another one would be read"),
    (LooselyEqual(1, (1, 2)), "LooselyEqual.note", "holds a tuple"),
    (NoEquality(1, (1, 2)), "NoEquality.when", "holds a tuple"),
    (LooseHolder(Loose(1, (1,))), "LooseHolder.inner.note", "holds a tuple"),
    (Hiding(1, 7), "Hiding._hidden", "underscore: rename it"),
    (HidingNeeded(7), "HidingNeeded._hidden", "underscore: rename it"),
    (Initial(1), "Initial.rate", "InitVar"),
    (Identity(1.0, (1,)), "Identity.inner", "holds a tuple"),
    (
        Env(Line("a")),
        "Env.payload",
        "holds a Line, and a dict would be read. Write `class EnvOfLine(Env[Line]): ...`",
    ),
    (DataEnv(Line("a")), "DataEnv.payload", "class DataEnvOfLine(DataEnv[Line]): ..."),
    (ModelEnv(payload=Inner(net=1)), "ModelEnv.payload", "Signal ModelEnv[Inner](…)"),
    (OnlyForCheckers(1), "OnlyForCheckers.part", "'Fraction' is not known where OnlyForCheckers is defined"),
    (OnlyForCheckersHolder(OnlyForCheckersData([])), "OnlyForCheckersHolder.inner.part", "TYPE_CHECKING"),
    (Model(inner=Deeper(net=1, more=2)), "Model.inner", "holds a Deeper, and an Inner would be read. Annotate"),
    (Model(value=dt.date(2026, 1, 1)), "Model.value", "holds a date, and a str"),
    (Extra(more=dt.date(2026, 1, 1)), "Extra[...]", "holds a date, and a str"),
    (Secret(token="s"), "Secret.token", "asterisks"),
    (SecretBytes(token=b"s"), "SecretBytes.token", "asterisks"),
    (SecretHolder(Secret(token="s")), "SecretHolder.inner.token", "asterisks"),
    (SecretStruct(pydantic.SecretStr("s")), "SecretStruct.token", "a SecretStr cannot be encoded"),
    (Excluded(net=1, cached=2), "Excluded.cached", "exclude=True"),
    (ExcludedDefault(cached=2), "ExcludedDefault.cached", "exclude=True"),
    (Apart(orderId="o"), "Apart.order_id", "written as 'order_id_out' and read as 'orderId'"),
    (ApartDefault(orderId="o"), "ApartDefault.order_id", "written as 'order_id' and read as 'orderId'"),
    (Choices(orderId="o"), "Choices.order_id", "read as 'orderId' or 'order'"),
    (Path(ids=["o"]), "Path.order_id", "read as an AliasPath"),
    (Generated(ORDER_ID="o"), "Generated.order_id", "written as 'Order_Id' and read as 'ORDER_ID'"),
    (Odd(when=dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)), "Odd.when", "see its serializer"),
    (Twice(net=1), "Twice.net", "see its serializer, validator"),
]


@each_codec
@pytest.mark.parametrize(("event", "path", "why"), REFUSED, ids=[f"{path}-{why[:12]}" for _, path, why in REFUSED])
def test_what_would_not_come_back_equal_is_refused_with_the_field(event, path, why, codec):
    with pytest.raises(EventError) as caught:
        sealed(event, codec)
    assert str(caught.value).startswith(path + " ")
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("event", "where"),
    [
        (Line("a", "3"), "Expected `int`, got `str` - at `$.count`"),
        (Line(None), "Expected `str`, got `null` - at `$.sku`"),
        (Holder(tagged=TaggedMore(1)), "at `$.tagged.type`"),
        (Model.model_construct(inner=3), "at `$.inner`"),
    ],
)
@each_codec
def test_a_value_that_its_own_type_does_not_take_is_refused_in_the_words_of_its_reader(event, where, codec):
    with pytest.raises(EventError, match="could not be read by any handler: the data is not a") as caught:
        sealed(event, codec)
    assert where in str(caught.value) or (codec is not CODECS["application/json"] and "$" in str(caught.value))


@pytest.mark.parametrize(
    ("event", "path"),
    [
        (Anything(b"raw"), "Anything.value"),
        (Anything({1: "one"}), "Anything.value"),
        (Anything(dt.datetime(2026, 1, 1, tzinfo=dt.UTC)), "Anything.value"),
    ],
)
def test_what_json_makes_text_of_is_refused_there_and_travels_in_messagepack(event, path):
    with pytest.raises(EventError, match=rf"^{path} would not arrive as it was signaled"):
        sealed(event, JSON())
    assert returned(event, MessagePack()) == event


TOLD = [
    Anything((CANARY,)),
    Anything({CANARY: (CANARY,)}),
    Line("a", CANARY),
    Holder(Discounted(CANARY)),
    Secret(token=CANARY),
    SecretStruct(pydantic.SecretStr(CANARY)),
    Apart(orderId=CANARY),
    Extra(**{CANARY: dt.date(2026, 1, 1)}),
    Model.model_construct(inner=CANARY),
    changed(Computing(1), gross=CANARY),
]


@each_codec
@pytest.mark.parametrize("event", TOLD, ids=lambda event: type(event).__name__)
def test_an_error_shows_no_value_of_the_event_that_it_refuses(event, codec):
    with pytest.raises(EventError) as caught:
        sealed(event, codec)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
    | st.binary(max_size=3)
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.uuids()
    | st.dates()
    | st.datetimes(timezones=st.sampled_from([dt.UTC, PARIS]))
    | st.just(Colour.RED)
    | st.builds(Line, st.just("a"))
    | st.builds(Discounted, st.just("a"))
)
hashable = st.integers(-5, 5) | st.text("ab", max_size=2)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(hashable, inner, max_size=3)
        | st.sets(hashable, max_size=3)
    ),
    max_leaves=6,
)
events = (
    st.builds(Anything, values)
    | st.builds(LooselyEqual, st.integers(-5, 5), values)
    | st.builds(Identity, st.floats(-5, 5), values)
    | st.builds(Model, value=values)
    | st.builds(Holder, values, values, values)
)


@pytest.mark.slow
@each_codec
def test_whatever_is_in_a_field_it_comes_back_equal_or_is_refused(codec):
    @given(events)
    def is_equal_or_refused(event):
        try:
            back = returned(event, codec)
        except EventError:
            return
        assert type(back) is type(event)
        names = getattr(event, "__struct_fields__", None) or (
            [each.name for each in attrs.fields(type(event))]
            if attrs.has(type(event))
            else list(type(event).__annotations__)
        )
        assert all(getattr(back, name) == getattr(event, name) for name in names if not name.startswith("_"))

    is_equal_or_refused()


class Written:
    """A codec of the user's own."""

    def __init__(self, content_type, write=msgspec.json.encode, read=msgspec.json.decode):
        self.content_type = content_type
        self._write = write
        self._read = read

    def encode(self, event):
        return self._write(event)

    def decode(self, data, kind):
        return self._read(data, type=kind)


def test_a_codec_of_ones_own_is_read_as_a_node_reads_it():
    codec = Written("application/x.mine")
    codecs = {**CODECS, codec.content_type: codec}
    sealed(Line("a"), codec, codecs)
    with pytest.raises(EventError, match=r"^Anything\.value would not arrive as it was signaled: it holds a tuple"):
        sealed(Anything((1,)), codec, codecs)


@pytest.mark.parametrize(
    ("codec", "why"),
    [
        (Written("text/plain; charset=utf-8"), "no codec here reads 'text/plain'"),
        (Written("application/json", lambda event: b"\xef\xbb\xbf{}"), "not a CloudEvent 1.0 in JSON"),
        (Written("application/json", lambda event: b"{"), "not a CloudEvent 1.0 in JSON"),
        (Written("application/vnd.mine+json", msgspec.msgpack.encode), "malformed"),
        (Written("application/x.mine", read=lambda *data, **options: 1 / 0), "division by zero"),
        (Written("application/x.mine", read=lambda *data, **options: None), "a NoneType would be read"),
    ],
)
def test_a_codec_of_ones_own_whose_data_no_node_can_read_is_told_so_at_the_signal(codec, why):
    with pytest.raises(EventError) as caught:
        sealed(Line("a"), codec, {**CODECS, codec.content_type: codec})
    assert "Line" in str(caught.value)


@pytest.mark.slow
def test_types_that_are_made_as_the_program_runs_are_forgotten_again():
    codec = JSON()

    def seal_one(number):
        kind = msgspec.defstruct(f"Made{number}", [("value", Any)])
        sealed(kind(number), codec)
        return weakref.ref(kind)

    first = seal_one(0)
    for number in range(MAX_TYPES + 1):
        seal_one(number)
    gc.collect()
    assert first() is None


class Literally(msgspec.Struct):
    kind: Literal["a"] = "a"


def test_a_value_that_is_no_literal_of_its_field_is_refused():
    with pytest.raises(EventError, match=r"at `\$\.kind`"):
        sealed(Literally("b"), JSON())
