"""What a type can read back, comes back; what cannot travel is refused at the signal, with what and where it is."""

import base64
import dataclasses
import datetime as dt
import enum
import json
import math
import subprocess
import sys
import textwrap
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dawdle._rules.codec import HEADROOM, JSON, MessagePack, media_of, open_event, seal
from dawdle._rules.envelope import headers_of, open_envelope
from dawdle.errors import EventError, EventTooLargeError


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


class Line(msgspec.Struct, frozen=True):
    sku: str
    count: int = 1


class Paid(msgspec.Struct, tag="paid"):
    at: dt.datetime


class Refused(msgspec.Struct, tag="refused"):
    why: str | None = None


@dataclasses.dataclass
class Address:
    street: str
    tags: set[str] = dataclasses.field(default_factory=set)


@attrs.define
class Parcel:
    weight: float
    to: Address | None = None


class Customer(pydantic.BaseModel):
    name: str
    born: dt.date | None = None
    scores: dict[str, int] = {}


class OrderStruct(msgspec.Struct, frozen=True, kw_only=True):
    order_id: str
    total: Decimal
    lines: tuple[Line, ...]
    state: Paid | Refused
    ident: UUID
    when: dt.datetime
    blob: bytes
    colour: Colour
    size: Size | None
    took: dt.timedelta
    address: Address
    parcel: Parcel | None = None
    customer: Customer | None = None
    either: int | str | list[float] | None = None
    note: Annotated[str, msgspec.Meta(max_length=1000)] = ""


@dataclasses.dataclass(frozen=True, slots=True)
class OrderDataclass:
    order_id: str
    lines: list[Line]
    state: Paid | Refused
    ident: UUID | None
    when: dt.datetime
    blob: bytes
    colour: Colour
    address: Address
    customers: dict[str, Customer]
    kind: Literal["a", "b"] = "a"


@attrs.frozen
class OrderAttrs:
    order_id: str
    total: Decimal
    line: Line
    parcels: list[Parcel]
    when: dt.datetime | None
    blob: bytes
    size: Size
    customer: Customer | None = None


class Shipment(pydantic.BaseModel):
    address: Address
    colour: Colour


class OrderModel(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, ser_json_bytes="base64", val_json_bytes="base64")

    order_id: str = pydantic.Field(alias="orderId")
    total: Decimal
    customer: Customer
    shipments: list[Shipment]
    state: int | str | None
    ident: UUID
    when: dt.datetime
    blob: bytes
    size: Size


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
finite = st.floats(allow_nan=False, allow_infinity=False)
whole = st.integers(-(2**53), 2**53)
times = st.datetimes(timezones=st.just(dt.UTC))
money = st.decimals(allow_nan=False, allow_infinity=False)
blobs = st.binary(max_size=20)
lines = st.builds(Line, texts, whole)
states = st.builds(Paid, times) | st.builds(Refused, st.none() | texts)
addresses = st.builds(Address, texts, st.sets(texts, max_size=2))
parcels = st.builds(Parcel, finite, st.none() | addresses)
customers = st.builds(
    Customer, name=texts, born=st.none() | st.dates(), scores=st.dictionaries(texts, whole, max_size=2)
)
spans = st.timedeltas(dt.timedelta(days=-1000), dt.timedelta(days=1000))
structs = st.builds(
    OrderStruct,
    order_id=texts,
    total=money,
    lines=st.lists(lines, max_size=2).map(tuple),
    state=states,
    ident=st.uuids(),
    when=times | st.datetimes(),
    blob=blobs,
    colour=st.sampled_from(Colour),
    size=st.none() | st.sampled_from(Size),
    took=spans,
    address=addresses,
    parcel=st.none() | parcels,
    customer=st.none() | customers,
    either=st.none() | whole | texts | st.lists(finite, max_size=2),
    note=texts,
)
dataclass_events = st.builds(
    OrderDataclass,
    order_id=texts,
    lines=st.lists(lines, max_size=2),
    state=states,
    ident=st.none() | st.uuids(),
    when=times,
    blob=blobs,
    colour=st.sampled_from(Colour),
    address=addresses,
    customers=st.dictionaries(texts, customers, max_size=2),
    kind=st.sampled_from(["a", "b"]),
)
attrs_events = st.builds(
    OrderAttrs,
    order_id=texts,
    total=money,
    line=lines,
    parcels=st.lists(parcels, max_size=2),
    when=st.none() | times,
    blob=blobs,
    size=st.sampled_from(Size),
    customer=st.none() | customers,
)
models = st.builds(
    OrderModel,
    orderId=texts,
    total=money,
    customer=customers,
    shipments=st.lists(st.builds(Shipment, address=addresses, colour=st.sampled_from(Colour)), max_size=2),
    state=st.none() | whole | texts,
    ident=st.uuids(),
    when=times,
    blob=blobs,
    size=st.sampled_from(Size),
)
events = structs | dataclass_events | attrs_events | models
CODECS = {codec.content_type: codec for codec in (JSON(), MessagePack())}


def sealed(event, codec=None, **changes):
    return seal(
        event,
        **{
            "codec": codec or JSON(),
            "wire_name": "orders.placed",
            "event_id": "e-1",
            "source": "/shop",
            "now": 1_750_000_000.0,
            "headers": {},
            "delay_ms": 0,
            "cause": None,
            "max_body": 1_048_576,
            **changes,
        },
    )


def foreign(**attributes):
    core = {"specversion": "1.0", "id": "e-1", "source": "/theirs", "type": "orders.placed"}
    return open_envelope(json.dumps({**core, **attributes}).encode())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["struct", "dataclass", "attrs", "pydantic"])
@pytest.mark.parametrize("media", list(CODECS))
def test_every_event_whose_type_can_read_it_back_comes_back(kind, media):
    @given({"struct": structs, "dataclass": dataclass_events, "attrs": attrs_events, "pydantic": models}[kind])
    def comes_back(event):
        body = sealed(event, CODECS[media])
        assert open_event(open_envelope(body), type(event), CODECS) == event

    comes_back()


@given(
    lines,
    st.sampled_from(list(CODECS)),
    st.none() | texts,
    st.integers(0, 10**12),
    st.dictionaries(st.text("abc", min_size=1, max_size=20), texts, max_size=3),
    st.floats(0, 4e9),
)
def test_a_sealed_event_says_who_what_when_and_how_long(event, media, cause, delay_ms, headers, now):
    body = sealed(event, CODECS[media], cause=cause, delay_ms=delay_ms, headers=headers, now=now)
    envelope = open_envelope(body)
    assert (envelope.specversion, envelope.id, envelope.source, envelope.type) == (
        "1.0",
        "e-1",
        "/shop",
        "orders.placed",
    )
    assert envelope.time.timestamp() == pytest.approx(now, abs=1e-5)
    assert envelope.delay_ms == (str(delay_ms) if delay_ms else None)
    assert (envelope.cause, envelope.attempt, envelope.owed, envelope.due) == (cause, 1, None, None)
    assert headers_of(body) == headers
    assert media_of(envelope) == media
    assert (envelope.data_base64 is None) == (media == "application/json")


def test_json_is_readable_in_a_queue_browser():
    data = json.loads(sealed(Line("a-1", 2)))
    assert data["data"] == {"sku": "a-1", "count": 2}
    assert "datacontenttype" not in data


class Measured(msgspec.Struct):
    name: str
    value: float | None = None
    series: list[float] = []
    by_name: dict[str, float] = {}
    inner: "Measured | None" = None


@dataclasses.dataclass
class MeasuredDataclass:
    inner: Measured
    value: float = 0.0


@attrs.define
class MeasuredAttrs:
    value: float
    nothing: None = None


class MeasuredModel(pydantic.BaseModel):
    value: float = 0.0
    series: tuple[float, ...] = ()
    inner: "MeasuredModel | None" = None


class Holder(msgspec.Struct):
    model: MeasuredModel


endless = st.sampled_from([math.nan, math.inf, -math.inf])


@given(
    endless.flatmap(
        lambda bad: st.sampled_from(
            [
                (Measured("x", bad), "Measured.value"),
                (Measured("null", series=[1.0, bad]), "Measured.series[1]"),
                (Measured("x", by_name={"a": bad}), "Measured.by_name[...]"),
                (Measured("x", inner=Measured("y", by_name={"a": 1.0, "b": bad})), "Measured.inner.by_name[...]"),
                (Measured("x", inner=Measured("y", inner=Measured("z", bad))), "Measured.inner.inner.value"),
                (MeasuredDataclass(Measured("x", bad)), "MeasuredDataclass.inner.value"),
                (MeasuredAttrs(bad), "MeasuredAttrs.value"),
                (MeasuredModel(value=bad), "MeasuredModel.value"),
                (MeasuredModel(series=(1.0, bad)), "MeasuredModel.series[1]"),
                (MeasuredModel(inner=MeasuredModel(value=bad)), "MeasuredModel.inner.value"),
                (Holder(MeasuredModel(value=bad)), "Holder.model.value"),
            ]
        )
    )
)
def test_what_json_cannot_carry_is_refused_with_the_path_to_it(case):
    event, path = case
    with pytest.raises(EventError) as caught:
        sealed(event)
    assert str(caught.value).startswith(f"{path} is ")
    assert "MessagePack" in str(caught.value)


@given(st.sampled_from([math.inf, -math.inf]))
def test_messagepack_carries_what_json_cannot(value):
    event = Measured("x", value, [value], {"a": value}, Measured("y", value))
    assert open_event(open_envelope(sealed(event, MessagePack())), Measured, CODECS) == event
    odd = open_event(open_envelope(sealed(Measured("x", math.nan), MessagePack())), Measured, CODECS)
    assert math.isnan(odd.value)


@pytest.mark.slow
@given(events)
def test_none_is_no_reason_to_refuse(event):
    JSON().encode(event)
    JSON().encode(Measured("null", None))


@pytest.mark.parametrize("codec", [JSON(), MessagePack()], ids=["json", "messagepack"])
@pytest.mark.parametrize(
    "event",
    [
        Line("\ud800"),
        Measured("x", by_name={"\udfff": 1.0}),
        Address("a", {"\ud83d"}),
        Customer.model_construct(name="\ud800"),
    ],
)
def test_a_lone_surrogate_is_refused_at_the_signal(event, codec):
    with pytest.raises(EventError, match=f"{type(event).__name__}.*(surrogate|cannot be encoded)"):
        sealed(event, codec)


def test_bytes_of_a_model_that_are_no_text_are_refused_with_the_setting_to_use():
    class Photo(pydantic.BaseModel):
        data: bytes

    class Packed(Photo):
        model_config = pydantic.ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    with pytest.raises(EventError, match=r"Photo\.data holds bytes that are no UTF-8 text.*ser_json_bytes='base64'"):
        sealed(Photo(data=b"\xff"))
    sealed(Packed(data=b"\xff"))


@pytest.mark.parametrize("codec", [JSON(), MessagePack()], ids=["json", "messagepack"])
def test_a_value_of_an_unknown_type_is_refused_at_the_signal(codec):
    with pytest.raises(EventError, match=r"Line\.count cannot be encoded: there is no encoding for the type object"):
        sealed(Line("a", object()), codec)


@given(st.integers(0, 3000), st.integers(HEADROOM, HEADROOM + 3000), st.sampled_from(list(CODECS)))
def test_an_event_is_too_large_when_it_leaves_no_room_for_what_a_retry_adds(length, max_body, media):
    event = Line("x" * length)
    size = len(sealed(event, CODECS[media]))
    if size <= max_body - HEADROOM:
        assert len(sealed(event, CODECS[media], max_body=max_body)) == size
        return
    with pytest.raises(EventTooLargeError) as caught:
        sealed(event, CODECS[media], max_body=max_body)
    assert (caught.value.size, caught.value.limit) == (size, max_body - HEADROOM)
    assert f"{size:,} bytes" in str(caught.value)
    assert f"takes {max_body - HEADROOM:,}" in str(caught.value)


@pytest.mark.parametrize(
    ("codec", "module"), [(JSON, msgspec.json), (MessagePack, msgspec.msgpack)], ids=["json", "messagepack"]
)
def test_a_decoder_is_compiled_once_per_type(codec, module, monkeypatch):
    compiled = []
    real = module.Decoder

    def counted(kind, **options):
        compiled.append(kind)
        return real(kind, **options)

    made = codec()
    bodies = [(made.encode(event), type(event)) for event in (Line("a"), Measured("x"), Address("street"))]
    monkeypatch.setattr(module, "Decoder", counted)
    for _ in range(3):
        for data, kind in bodies:
            made.decode(data, kind)
    assert compiled == [Line, Measured, Address]


@given(st.binary(max_size=30), st.sampled_from([Line, Address, Parcel, Customer]), st.sampled_from(list(CODECS)))
def test_whatever_data_arrives_it_is_an_event_or_an_error_of_ours(data, kind, media):
    try:
        event = CODECS[media].decode(data, kind)
    except EventError:
        return
    assert isinstance(event, kind)


@pytest.mark.parametrize("kind", [Line, Address, Parcel, Customer])
def test_data_of_another_type_is_an_error_that_names_the_type(kind):
    with pytest.raises(EventError, match=f"the data does not fit {kind.__name__}"):
        open_event(foreign(data={"unlike": "any"}), kind, CODECS)


class Ping(msgspec.Struct):
    note: str = "none"


@pytest.mark.parametrize(
    "attributes",
    [
        {"data": {"sku": "a", "count": 3}},
        {"data": {"sku": "a", "count": 3, "unknown": [1]}, "datacontenttype": "application/json"},
        {"data": {"sku": "a", "count": 3}, "datacontenttype": "Application/JSON; charset=utf-8"},
        {"data": {"sku": "a", "count": 3}, "datacontenttype": "application/vnd.shop+json"},
        {"data_base64": base64.b64encode(b'{"sku":"a","count":3}').decode()},
        {"data_base64": base64.b64encode(b'{"sku":"a","count":3}').decode(), "datacontenttype": "application/json"},
        {
            "data_base64": base64.b64encode(msgspec.msgpack.encode(Line("a", 3))).decode(),
            "datacontenttype": "application/msgpack",
        },
    ],
)
def test_data_of_a_foreign_event_is_read_in_every_way_that_it_may_travel(attributes):
    envelope = foreign(**attributes)
    assert envelope.time is None
    assert open_event(envelope, Line, CODECS) == Line("a", 3)


class Lines:
    """A codec that writes `sku count` as plain text."""

    content_type = "text/plain"

    def encode(self, event):
        return f"{event.sku} {event.count}".encode()

    def decode(self, data, kind):
        sku, count = data.decode().rsplit(" ", 1)
        return kind(sku, int(count))


@given(lines)
def test_a_codec_of_ones_own_reads_what_it_wrote_and_text_that_came_as_text(event):
    codecs = {**CODECS, "text/plain": Lines()}
    body = sealed(event, Lines())
    assert json.loads(body)["datacontenttype"] == "text/plain"
    assert open_event(open_envelope(body), Line, codecs) == event
    as_text = foreign(data=f"{event.sku} {event.count}", datacontenttype="text/plain; charset=utf-8")
    assert open_event(as_text, Line, codecs) == event


def test_data_that_is_no_text_is_no_data_for_a_codec_of_text():
    with pytest.raises(EventError, match="'text/plain' travels as text or in data_base64"):
        open_event(foreign(data={"a": 1}, datacontenttype="text/plain"), Line, {"text/plain": Lines()})


def test_a_content_type_that_no_codec_reads_is_an_error_that_names_those_that_do():
    with pytest.raises(
        EventError, match="this app has no codec for 'text/xml'; it has application/json, application/msgpack"
    ):
        open_event(foreign(data="<a/>", datacontenttype="text/xml"), Line, CODECS)


def test_a_foreign_event_without_data_is_an_error_where_the_type_needs_some():
    with pytest.raises(EventError, match="the data does not fit Line"):
        open_event(foreign(), Line, CODECS)


def test_a_foreign_event_without_data_is_read_where_the_type_needs_none():
    assert open_event(foreign(), Ping, CODECS) == Ping()
    assert open_event(foreign(datacontenttype="application/json"), Ping, CODECS) == Ping()
    with pytest.raises(EventError, match="the data does not fit Ping"):
        open_event(foreign(data=None), Ping, CODECS)


def test_a_foreign_event_without_data_is_no_bytes_for_another_codec():
    class Texts(Lines):
        def decode(self, data, kind):
            return kind(data.decode(), 0)

    assert open_event(foreign(datacontenttype="text/plain"), Line, {"text/plain": Texts()}) == Line("", 0)
    with pytest.raises(EventError, match="the data does not fit Line"):
        open_event(foreign(datacontenttype="application/msgpack"), Line, CODECS)


@pytest.mark.slow
def test_importing_dawdle_and_encoding_a_struct_touches_neither_attrs_nor_pydantic():
    code = """
        import sys, msgspec, dawdle
        from dawdle.events import event_style, require_event_type
        from dawdle._rules.codec import JSON

        class Line(msgspec.Struct):
            sku: str

        codec = JSON()
        assert event_style(Line) == "struct"
        assert event_style(int) is None
        assert codec.decode(codec.encode(Line("a")), Line) == Line("a")
        loaded = {"attr", "attrs", "pydantic", "pydantic_core", "botocore", "aiobotocore", "aiohttp"} & set(sys.modules)
        assert not loaded, loaded
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=60)


class Constants(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(ser_json_inf_nan="constants")

    value: float


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_model_that_writes_nan_itself_makes_no_unreadable_message(value):
    with pytest.raises(EventError, match=r"Constants\.value is (nan|inf|-inf), for which JSON has no number"):
        sealed(Constants(value=value))


class Strings(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(ser_json_inf_nan="strings")

    value: float
    name: str = "NaN, not Infinity"


class Secretive(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(ser_json_inf_nan="constants")

    @pydantic.field_serializer("value", when_used="json")
    def written(self, value: float) -> float:
        return math.nan

    value: float = 0.0


def test_a_model_that_says_nan_in_words_travels_and_one_that_hides_it_does_not():
    event = Strings(value=math.inf)
    assert open_event(open_envelope(sealed(event)), Strings, CODECS) == event
    with pytest.raises(EventError, match="Secretive cannot be encoded"):
        sealed(Secretive())


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)

    when: dt.datetime
    ident: UUID


class StrictHolder(msgspec.Struct):
    strict: Strict


STRICT = Strict(when=dt.datetime(2026, 1, 1, tzinfo=dt.UTC), ident=UUID(int=1))


def test_a_strict_model_comes_back_from_json():
    assert open_event(open_envelope(sealed(STRICT)), Strict, CODECS) == STRICT


@pytest.mark.parametrize(
    ("event", "codec"), [(STRICT, MessagePack()), (StrictHolder(STRICT), JSON())], ids=["messagepack", "in a struct"]
)
def test_a_strict_model_comes_back_from_messagepack_and_from_inside_a_struct(event, codec):
    assert open_event(open_envelope(sealed(event, codec)), type(event), CODECS) == event


class Odd(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    number: float
    blob: bytes
    counts: dict[int, int]


def test_a_model_travels_in_messagepack_with_what_json_cannot_say():
    event = Odd(number=math.inf, blob=b"\xff\x00", counts={5: 1})
    assert open_event(open_envelope(sealed(event, MessagePack())), Odd, CODECS) == event
    body = msgspec.msgpack.encode({"number": 1.0, "blob": b"raw", "counts": {5: 1}})
    assert MessagePack().decode(body, Odd).blob == b"raw", "as another program may write it"


class Forbids(pydantic.BaseModel, extra="forbid"):
    net: int

    @pydantic.computed_field
    @property
    def gross(self) -> int:
        return self.net * 2


class Allows(Forbids, extra="allow"):
    pass


class Ratio(pydantic.BaseModel):
    @pydantic.computed_field
    @property
    def ratio(self) -> float:
        return math.nan


class Outer(pydantic.BaseModel, extra="forbid"):
    inner: Forbids
    payload: pydantic.Json[list[int]]


class ForbidsHolder(msgspec.Struct):
    model: Outer


OUTER = Outer(inner=Forbids(net=2), payload="[1, 2]")


@pytest.mark.parametrize("codec", [JSON(), MessagePack()], ids=["json", "messagepack"])
@pytest.mark.parametrize("event", [Forbids(net=1), Allows(net=1), Ratio(), OUTER, ForbidsHolder(OUTER)])
def test_a_model_comes_back_without_what_it_computes_and_with_what_it_reads_as_json(event, codec):
    assert open_event(open_envelope(sealed(event, codec)), type(event), CODECS) == event


class Whatever(msgspec.Struct):
    value: object
    raw: msgspec.Raw = msgspec.Raw(b"1")
    more: list[object] | None = None


@pytest.mark.parametrize("codec", [JSON(), MessagePack()], ids=["json", "messagepack"])
def test_a_field_of_object_holds_what_one_of_any_does_and_raw_data_stays_as_it_is(codec):
    event = Whatever({"a": [1, None]}, more=["b", 2.5])
    assert open_event(open_envelope(sealed(event, codec)), Whatever, CODECS) == event


class One(msgspec.Struct):
    a: int


class Other(msgspec.Struct):
    a: int


class Ambiguous(msgspec.Struct):
    either: One | Other


@pytest.mark.parametrize("codec", [JSON(), MessagePack()], ids=["json", "messagepack"])
def test_a_type_that_cannot_be_read_back_is_an_error_of_ours(codec):
    with pytest.raises(EventError, match="the data does not fit Ambiguous: If a type union contains"):
        codec.decode(codec.encode(Ambiguous(One(1))), Ambiguous)
    with pytest.raises(
        EventError, match=r"Ambiguous\.either would not arrive: msgspec cannot read its type \(.*type union"
    ):
        sealed(Ambiguous(One(1)), codec)


class Broken(Lines):
    """A codec that keeps to no contract."""

    def encode(self, event):
        raise KeyError(event.sku)

    def decode(self, data, kind):
        raise ZeroDivisionError(data)


def test_whatever_a_codec_of_ones_own_raises_is_an_error_of_ours():
    with pytest.raises(EventError, match="this Line cannot be encoded"):
        sealed(Line("a"), Broken())
    with pytest.raises(EventError, match="the data does not fit Line"):
        open_event(foreign(data="a 1", datacontenttype="text/plain"), Line, {"text/plain": Broken()})


class TextCodec:
    """A mistake that is easily made: `json.dumps` returns text."""

    content_type = "application/json"

    def encode(self, event):
        return json.dumps({"number": 1})

    def decode(self, data, event_type):
        raise NotImplementedError


def test_a_codec_that_returns_text_is_told_so():
    with pytest.raises(EventError, match=r"^the codec TextCodec returned text for this Line, and encode\(\) returns"):
        sealed(Line("a"), TextCodec())
