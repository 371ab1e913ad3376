"""Data of an older version of a type is read as the newest; what has no way there says why, and newer data waits."""

import dataclasses
import datetime as dt
import gzip
import traceback
from decimal import Decimal
from typing import Any

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dawdle import JSON, MessagePack
from dawdle._rules.admission import not_decoded
from dawdle._rules.codec import open_event, seal
from dawdle._rules.envelope import Envelope, open_envelope, rewrite
from dawdle._rules.settlement import Ack, Forward
from dawdle._rules.terms import Terms
from dawdle.errors import ConfigurationError, EventError
from dawdle.events import declaration_of, event, version_of

NOW = 1_750_000_000.0
TERMS = Terms(max_hop=900.0, has_dead_letters=True, shared=True, unclaimed=86400.0, max_body=1_048_576)
CANARY = "canary-77c1"


class Gzipped:
    """A codec of a user's own, which reads no `object`."""

    content_type = "application/x.gzipped-json"

    def encode(self, event):
        return gzip.compress(msgspec.json.encode(event, enc_hook=lambda model: model.model_dump()))

    def decode(self, data, kind):
        values = gzip.decompress(data)
        return kind.model_validate_json(values) if kind is Model else msgspec.json.decode(values, type=kind)


CODECS = {codec.content_type: codec for codec in (JSON(), MessagePack(), Gzipped())}
each_codec = pytest.mark.parametrize("codec", CODECS.values(), ids=["json", "messagepack", "own"])


def one_to_two(data):
    data["total_cents"] = data.pop("total") * 100
    return data


def two_to_three(data):
    return {**data, "currency": "EUR"}


UPCASTERS = {1: one_to_two, 2: two_to_three}


class Old(msgspec.Struct):
    order_id: str
    total: int


class Middle(msgspec.Struct):
    order_id: str
    total_cents: int


@event("upcasting.Placed", version=3, upcasters=UPCASTERS, aliases=("upcasting.Old",))
class Struct(msgspec.Struct, forbid_unknown_fields=True):
    order_id: str
    total_cents: int
    currency: str


@event("upcasting.Data", version=3, upcasters=UPCASTERS)
@dataclasses.dataclass
class Data:
    order_id: str
    total_cents: int
    currency: str


@event("upcasting.Attrs", version=3, upcasters=UPCASTERS)
@attrs.define
class Attrs:
    order_id: str
    total_cents: int
    currency: str


@event("upcasting.Model", version=3, upcasters=UPCASTERS)
class Model(pydantic.BaseModel, extra="forbid"):
    order_id: str
    total_cents: int
    currency: str


STYLES = [Struct, Data, Attrs, Model]
each_style = pytest.mark.parametrize("kind", STYLES, ids=lambda kind: kind.__name__)


def body_of(event, name, codec=CODECS["application/json"], version=None):
    # Another version is put on it afterwards: what is signaled is always of the version that its type has.
    own = version_of(type(event))
    body = seal(
        event,
        codec=codec,
        wire_name=name,
        event_id="e-1",
        source="/shop",
        now=NOW,
        headers={},
        delay_ms=0,
        cause=None,
        max_body=1_048_576,
        codecs=CODECS,
        more={"dawdleversion": own} if own > 1 else None,
    )
    return body if version is None else rewrite(body, {"dawdleversion": version})


def read(body, kind):
    return open_event(open_envelope(body), kind, CODECS)


@each_codec
@each_style
def test_each_version_is_read_as_the_newest(kind, codec):
    name = declaration_of(kind).name
    assert read(body_of(Old("o-1", 12), name, codec), kind) == kind(order_id="o-1", total_cents=1200, currency="EUR")
    middle = body_of(Middle("o-1", 7), name, codec, version=2)
    assert read(middle, kind) == kind(order_id="o-1", total_cents=7, currency="EUR")
    newest = kind(order_id="o-1", total_cents=7, currency="USD")
    assert read(body_of(newest, name, codec), kind) == newest


def test_an_alias_leads_to_the_upcasters_too():
    assert read(body_of(Old("o-1", 1), "upcasting.Old"), Struct) == Struct("o-1", 100, "EUR")


def test_a_copy_keeps_the_version_and_the_data_that_it_came_with():
    body = rewrite(body_of(Middle("o-1", 7), "upcasting.Placed", version=2), {"dawdleattempt": 4})
    assert open_envelope(body).version == 2
    assert read(body, Struct) == Struct("o-1", 7, "EUR")


def one_field(kind, upcaster, name):
    return event(name, version=2, upcasters={1: upcaster})(kind)


def test_messagepack_hands_an_upcaster_bytes_and_times_as_they_are():
    class Stamp(msgspec.Struct):
        at: dt.datetime
        blob: bytes

    class Later(msgspec.Struct):
        at: dt.datetime
        blob: bytes

    def an_hour_later(data):
        assert type(data["blob"]) is bytes
        return {**data, "at": data["at"] + dt.timedelta(hours=1)}

    one_field(Later, an_hour_later, "upcasting.Later")
    at = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
    body = body_of(Stamp(at, b"\x00\xff"), "upcasting.Later", CODECS["application/msgpack"])
    assert read(body, Later) == Later(at + dt.timedelta(hours=1), b"\x00\xff")


def test_an_upcaster_may_return_what_the_codec_writes_anyway():
    class Day(msgspec.Struct):
        on: dt.date

    one_field(Day, lambda data: {"on": dt.date(data["year"], 1, 1)}, "upcasting.Day")
    body = body_of(Old("o", 1), "upcasting.Day")
    assert read(rewrite(body, {"data": {"year": 2030}}), Day) == Day(dt.date(2030, 1, 1))


class Row(msgspec.Struct, array_like=True):
    name: str
    count: int


def test_data_that_is_a_list_reaches_the_upcaster_as_one():
    one_field(Row, lambda data: [*data, 1], "upcasting.Row")
    assert read(rewrite(body_of(Old("o", 1), "upcasting.Row"), {"data": ["a"]}), Row) == Row("a", 1)


class Any1(msgspec.Struct):
    value: Any = None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@event("upcasting.Any", version=2, upcasters={1: lambda data: data})
class AnyOfToday(msgspec.Struct):
    value: Any


@each_codec
def test_what_an_upcaster_leaves_alone_arrives_as_it_was_sent(codec):
    @given(json_values)
    def arrives(value):
        back = read(body_of(Any1(value), "upcasting.Any", codec), AnyOfToday).value
        assert (back, type(back)) == (value, type(value))

    arrives()


LONG = "12.345678901234567890123"


class PriceStruct(msgspec.Struct):
    price: Decimal


@attrs.define
class PriceAttrs:
    price: Decimal


@dataclasses.dataclass
class PriceData:
    price: Decimal


class PriceModel(pydantic.BaseModel):
    price: Decimal


def with_number(text, name):
    """The body of an event that another program wrote."""
    return rewrite(body_of(Old("o", 1), name), {"data": msgspec.Raw(f'{{"price":{text}}}'.encode())})


@pytest.mark.parametrize("kind", [PriceStruct, PriceAttrs, PriceData, PriceModel], ids=lambda kind: kind.__name__)
def test_a_number_of_many_digits_keeps_them_through_an_upcaster(kind):
    name = f"upcasting.Kept{kind.__name__}"
    one_field(kind, lambda data: {**data, "unknown": 1}, name)
    assert read(with_number(LONG, name), kind) == kind(price=Decimal(LONG))
    assert read(with_number("1e400", name), kind) == kind(price=Decimal("1e400"))


@pytest.mark.parametrize("kind", [PriceStruct, PriceModel], ids=lambda kind: kind.__name__)
def test_a_decimal_that_an_upcaster_makes_keeps_its_digits(kind):
    name = f"upcasting.Made{kind.__name__}"
    one_field(kind, lambda data: {"price": data["price"] * 3}, name)
    assert read(with_number(LONG, name), kind) == kind(price=Decimal(LONG) * 3)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("1.5", 1.5),
        ("12.50", 12.5),
        ("1e5", 1e5),
        ("-0.0", 0.0),
        ("7", 7),
        ("0.10000000000000001", Decimal("0.10000000000000001")),
    ],
)
def test_an_upcaster_gets_a_float_unless_that_loses_digits(text, seen):
    name, got = "upcasting.Seen", []

    class Seen(msgspec.Struct):
        price: float

    def look(data):
        got.append(data["price"])
        return data

    one_field(Seen, look, name)
    assert read(with_number(text, name), Seen) == Seen(float(text))
    assert (got, type(got[0])) == ([seen], type(seen))


@pytest.mark.parametrize("text", ["1.5", LONG])
def test_a_float_of_a_model_is_read_behind_an_upcaster_whatever_its_digits(text):
    class Model(pydantic.BaseModel):
        price: float

    one_field(Model, lambda data: data, "upcasting.FloatModel")
    assert read(with_number(text, "upcasting.FloatModel"), Model) == Model(price=float(text))


def fails(data):
    raise ValueError(f"no total in {sorted(data)}")


def leaves_no_error_open(data):
    return Model.model_validate(data)


@pytest.mark.parametrize(
    ("upcaster", "said"),
    [
        (lambda data: data["sum"], "the upcaster of 'upcasting.Broken' from version 1 failed: KeyError: 'sum'"),
        (fails, r"failed: ValueError: no total in \['order_id', 'total'\]"),
        (lambda data: None, "from version 1 returned None, and not the data of the next"),
        (lambda data: "text", "from version 1 returned <class 'str'>"),
        (
            lambda data: {"order_id": object()},
            r"dict\[...\] cannot be encoded: there is no encoding",
        ),
        (lambda data: {"order_id": float("nan")}, "nan, for which JSON has no number"),
        (lambda data: {"order_id": "\ud800"}, "lone surrogate"),
        (lambda data: {}, r"the data does not fit .*Broken: Object missing required field `order_id`"),
        (leaves_no_error_open, "failed: ValidationError: Field required"),
    ],
)
def test_what_an_upcaster_does_wrong_is_the_reason_and_shows_no_data(upcaster, said):
    class Broken(msgspec.Struct):
        order_id: str

    one_field(Broken, upcaster, "upcasting.Broken")
    with pytest.raises(EventError, match=said) as caught:
        read(body_of(Old(CANARY, 1), "upcasting.Broken"), Broken)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_data_that_cannot_be_read_as_plain_values_is_an_event_error():
    body = rewrite(body_of(Old("o", 1), "upcasting.Placed"), {"datacontenttype": Gzipped.content_type, "data": "x"})
    with pytest.raises(EventError, match="its data cannot be read: Not a gzipped file"):
        read(body, Struct)


def test_a_version_below_the_oldest_upcaster_is_told():
    class Recent(msgspec.Struct):
        order_id: str

    event("upcasting.Recent", version=4, upcasters={3: lambda data: data})(Recent)
    with pytest.raises(EventError, match=r"it is of version 1, and 'upcasting.Recent' is read from version 3 on: add"):
        read(body_of(Old("o", 1), "upcasting.Recent"), Recent)


def decided(body, kind, terms=TERMS):
    envelope = open_envelope(body)
    with pytest.raises(EventError) as caught:
        open_event(envelope, kind, CODECS)
    return not_decoded(body, envelope, kind, caught.value, now=NOW, terms=terms, random=lambda: 0.0)


@pytest.mark.parametrize(("kind", "name"), [(Struct, "upcasting.Placed"), (Middle, "Middle")])
def test_a_newer_version_is_left_to_other_nodes_and_given_up_after_a_day(kind, name):
    body = body_of(Old("o", 1), name, version=9)
    (copy,) = decided(body, kind).copies
    assert (copy.why, copy.reason) == ("unclaimed", f"no node knows version 9 of {name!r}")
    later = open_envelope(copy.body)
    assert (later.version, bytes(later.data)) == (9, b'{"order_id":"o","total":1}')
    old = rewrite(copy.body, {"dawdlesince": "2025-06-13T00:00:00Z"})
    (letter,) = decided(old, kind).copies
    assert (letter.why, open_envelope(letter.body).error) == (
        "dead",
        f"no node knows version 9 of {name!r}, for 86400 s",
    )


def test_a_newer_version_in_memory_is_dead_lettered_since_no_other_node_reads_it():
    settled = decided(body_of(Old("o", 1), "Middle", version=9), Middle, msgspec.structs.replace(TERMS, shared=False))
    assert isinstance(settled, Forward)
    assert not isinstance(settled, Ack)
    assert settled.copies[0].why == "dead"


def test_an_older_version_without_a_way_is_dead_lettered_at_once():
    body = rewrite(body_of(Old("o", 1), "upcasting.Placed"), {"data": {"sum": 1}})
    (letter,) = decided(body, Struct).copies
    assert letter.why == "dead"
    assert open_envelope(letter.body).error == (
        "the upcaster of 'upcasting.Placed' from version 1 failed: KeyError: 'total'"
    )


@pytest.mark.parametrize("version", [0, -1, 2**31, "2", 1.5, True])
def test_a_version_that_is_none_makes_an_event_unreadable(version):
    with pytest.raises(EventError, match="dawdleversion"):
        open_envelope(rewrite(body_of(Old("o", 1), "Old"), {"dawdleversion": version}))


def test_a_version_of_null_counts_as_absent():
    body = rewrite(body_of(Old("o", 1), "Old"), {"dawdleversion": msgspec.Raw(b"null")})
    assert open_envelope(body).version == Envelope(specversion="1.0", id="a", source="b", type="c").version == 1


async def awaited(data):
    return data


def yielding(data):
    yield data


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"version": 0}, "version is a whole number of 1 or more, not 0"),
        ({"version": "2"}, "version is a whole number of 1 or more, not '2'"),
        ({"version": True}, "version is a whole number of 1 or more, not True"),
        (
            {"version": 2},
            r"version=2 without upcasters: .* Write upcasters=\{1: ",
        ),
        ({"version": 3, "upcasters": one_to_two}, "upcasters maps versions to functions"),
        ({"version": 3, "upcasters": {1: one_to_two}}, "upcasters has none for version 2"),
        ({"version": 2, "upcasters": {1: one_to_two, 2: one_to_two}}, "an upcaster stands under the version that it"),
        ({"version": 2, "upcasters": {"1": one_to_two}}, "'1' is none"),
        ({"upcasters": {1: one_to_two}}, "upcasters maps versions below version=1"),
        ({"version": 2, "upcasters": {1: None}}, "the upcaster of version 1 is a function, not None"),
        ({"version": 2, "upcasters": {1: awaited}}, "is a plain function, neither `async def`"),
        ({"version": 2, "upcasters": {1: yielding}}, "is a plain function, neither `async def` nor with a yield"),
    ],
)
def test_a_version_that_cannot_be_read_is_refused_where_it_is_declared(options, said):
    with pytest.raises(ConfigurationError, match=said):
        event("upcasting.Refused", **options)


def test_the_declaration_tells_the_version_and_its_upcasters():
    assert version_of(Struct) == 3
    assert dict(declaration_of(Struct).upcasters) == UPCASTERS
    assert version_of(Old) == 1

    @event("upcasting.Drained", version=2, upcasters={})
    class Drained(msgspec.Struct):
        pass

    assert version_of(Drained) == 2
    with pytest.raises(EventError, match="is read from version 2 on: add the upcaster of version 1"):
        read(body_of(Old("o", 1), "upcasting.Drained"), Drained)
