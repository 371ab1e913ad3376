"""Whatever is sealed comes back equal; whatever would not is refused with the field."""

import datetime as dt
import math
from collections import OrderedDict
from decimal import Decimal
from typing import Literal
from uuid import UUID

import msgspec
import pydantic
import pytest

from dawdle import JSON, MessagePack
from dawdle.errors import EventError
from tests.rules.round_trip_types import (
    CODECS,
    PARIS,
    TWICE,
    Aliased,
    Anything,
    Apart,
    ApartDefault,
    At,
    ByName,
    ByNumber,
    Calling,
    Camel,
    Choices,
    ChoicesNamed,
    Colour,
    Computing,
    Custom,
    CustomLossy,
    DataEnv,
    Deeper,
    Described,
    Discounted,
    Env,
    Excluded,
    ExcludedDefault,
    ExcludedToo,
    Extra,
    Generated,
    GeneratedAlike,
    Growing,
    Hiding,
    HidingNeeded,
    Holder,
    Identity,
    Initial,
    Inner,
    Later,
    Line,
    LineEnv,
    Loose,
    LooseHolder,
    LooselyEqual,
    LooseRing,
    LooseRingBack,
    LooseTwice,
    Maybe,
    Misspelt,
    Model,
    ModelEnv,
    NoEquality,
    Odd,
    OnlyForCheckers,
    OnlyForCheckersData,
    OnlyForCheckersHolder,
    Path,
    Plain,
    Point,
    Private,
    Revealed,
    Row,
    Secret,
    SecretBytes,
    SecretHolder,
    SecretStruct,
    Shapes,
    Tagged,
    TaggedMore,
    Twice,
    Underscored,
    changed,
    each_codec,
    returned,
    sealed,
)

BEHIND = tuple(map(int, msgspec.__version__.split(".")[:3])) < (0, 18, 4)
"""An msgspec that leaves out fields of dataclasses, or writes some offsets wrong, so that such events are refused."""

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
    *([] if BEHIND else [Underscored(7), At(TWICE), At(dt.datetime(2026, 6, 1, tzinfo=PARIS))]),
    NoEquality(1, [NoEquality(2).net]),
    LooselyEqual(1, "note"),
    Aliased(brutto=3),
    Identity(1.5, {"a": 1}),
    LooseHolder(Loose(1, "note")),
    LooseRing(LooseRingBack(LooseRing(loose=Loose(1, "note")))),
    Described([3]),
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
]


def test_the_hour_that_is_there_twice_is_one_that_no_other_zone_equals():
    assert TWICE.astimezone(dt.timezone(TWICE.utcoffset())) != TWICE


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


REFUSED = [
    (Holder(Discounted("a")), "Holder.line", "holds a Discounted, and a Line would be read. Annotate"),
    (Holder(lines=[Line("a"), Discounted("b")]), "Holder.lines[1]", "holds a Discounted"),
    (Holder(by_name={"a": Discounted("a")}), "Holder.by_name[...]", "holds a Discounted"),
    (Anything((1, 2)), "Anything.value", "holds a tuple, and a list would be read. Annotate the field with tuple"),
    (Anything({"a": [{1, 2}]}), "Anything.value[...][0]", "holds a set, and a list"),
    (Anything(Line("a")), "Anything.value", "holds a Line, and a dict would be read. Annotate the field with Line"),
    (Anything(Decimal("1.5")), "Anything.value", "holds a Decimal, and a str"),
    (Anything(UUID(int=1)), "Anything.value", "holds a UUID, and a str"),
    (Anything({"a": object}), "Anything.value[...]", "there is no encoding for the type type"),
    (Shapes(words={"word": "w", "other": "o"}), "Shapes.words", "a dict with other keys would be read"),
    (Line(UUID(int=1)), "Line.sku", "holds a UUID, and a str would be read"),
    (Holder(lines=(Line("a"),)), "Holder.lines", "holds a tuple, and a list"),
    (changed(Computing(1), gross=5), "Computing.gross", "holds an int, and another one would be read. It is written"),
    (Growing(1), "Growing.total", "another one would be read"),
    (LooselyEqual(1, (1, 2)), "LooselyEqual.note", "holds a tuple"),
    (NoEquality(1, (1, 2)), "NoEquality.when", "holds a tuple"),
    (LooseHolder(Loose(1, (1,))), "LooseHolder.inner.note", "holds a tuple"),
    (LooseTwice(LooseHolder(Loose(1)), LooseHolder(Loose(1, (1,)))), "LooseTwice.other.inner.note", "holds a tuple"),
    (LooseRing(LooseRingBack(LooseRing(loose=Loose(1, (1,))))), "LooseRing.ring.ring.loose.note", "holds a tuple"),
    (LooseRingBack(LooseRing(loose=Loose(1, (1,)))), "LooseRingBack.ring.loose.note", "holds a tuple"),
    (Misspelt(3), "Misspelt.when", "its type 'dt.Datetime' cannot be read: module 'datetime' has no attribute"),
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
    (
        Extra(more=dt.date(2026, 1, 1)),
        "Extra[...]",
        "holds a date, and a str would be read. Name the field in the model",
    ),
    (Secret(token="s"), "Secret.token", "asterisks"),
    (SecretBytes(token=b"s"), "SecretBytes.token", "asterisks"),
    (SecretHolder(Secret(token="s")), "SecretHolder.inner.token", "asterisks"),
    (SecretStruct(pydantic.SecretStr("s")), "SecretStruct.token", "there is no encoding for the type SecretStr"),
    (Calling(call=len), "Calling.call", "cannot be encoded"),
    (Calling(inner=Calling(call=[len])), "Calling.inner.call", "cannot be encoded"),
    (Anything([Calling(call=len)]), "Anything.value[0].call", "cannot be encoded"),
    (Excluded(net=1, cached=2), "Excluded.cached", "exclude=True"),
    (ExcludedDefault(cached=2), "ExcludedDefault.cached", "exclude=True"),
    (Apart(orderId="o"), "Apart.order_id", "written as 'order_id_out' and read as 'orderId'"),
    (ApartDefault(orderId="o"), "ApartDefault.order_id", "written as 'order_id' and read as 'orderId'"),
    (Choices(orderId="o"), "Choices.order_id", "read as 'orderId' or 'order'"),
    (Path(ids=["o"]), "Path.order_id", "read as an AliasPath"),
    (Generated(ORDER_ID="o"), "Generated.order_id", "written as 'Order_Id' and read as 'ORDER_ID'"),
    (Odd(when=dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)), "Odd.when", "look at its serializer"),
    (Twice(net=1), "Twice.net", "look at its serializer, validator"),
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
        (ExcludedToo.model_construct(net="x"), "at `$.net`"),
    ],
)
@each_codec
def test_a_value_that_its_own_type_does_not_take_is_refused_in_the_words_of_its_reader(event, where, codec):
    with pytest.raises(EventError, match="cannot be read back, so no handler could get it: ") as caught:
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


class Literally(msgspec.Struct):
    kind: Literal["a"] = "a"


def test_a_value_that_is_no_literal_of_its_field_is_refused():
    with pytest.raises(EventError, match=r"at `\$\.kind`"):
        sealed(Literally("b"), JSON())
