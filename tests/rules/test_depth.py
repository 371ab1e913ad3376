"""What is as deep as may be travels in every kind of type, and what is deeper is an error of ours in all of them."""

import dataclasses
from typing import Any

import attrs
import msgspec
import pydantic
import pytest

from dawdle import JSON, MessagePack
from dawdle._rules.body_limits import MAX_DEPTH
from dawdle._rules.codec import open_event
from dawdle._rules.envelope import open_envelope
from dawdle.errors import EventError
from tests.rules.round_trip_types import returned, sealed

CODECS = {codec.content_type: codec for codec in (JSON(), MessagePack())}
IN_DATA = MAX_DEPTH - 2
"""Levels that a field of an event may have: the envelope is one, and the event another."""


class Struct(msgspec.Struct):
    value: Any = None
    other: str = ""


@dataclasses.dataclass
class Data:
    value: Any = None


@attrs.define
class Attrs:
    value: Any = None


class Model(pydantic.BaseModel):
    value: Any = None


class Chain(msgspec.Struct):
    value: "Chain | None" = None


class ModelChain(pydantic.BaseModel):
    value: "ModelChain | None" = None


class Holder(msgspec.Struct):
    value: Model


EVENT_TYPES = [Struct, Data, Attrs, Model]


def lists(depth):
    value = []
    for _ in range(depth - 1):
        value = [value]
    return value


def mappings(depth):
    value = {}
    for _ in range(depth - 1):
        value = {"[": value}
    return value


def chained(event_type, depth):
    value = event_type()
    for _ in range(depth - 1):
        value = event_type(value=value)
    return value


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
@pytest.mark.parametrize("nested", [lists, mappings])
@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_the_deepest_event_comes_back(event_type, nested, codec):
    event = event_type(value=nested(IN_DATA))
    assert returned(event, codec) == event


@pytest.mark.parametrize("nested", [lists, mappings])
@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_json_one_level_deeper_is_refused_where_it_is_signaled(event_type, nested):
    with pytest.raises(EventError, match=f"{MAX_DEPTH + 1} objects and arrays, and {MAX_DEPTH} is the most"):
        sealed(event_type(value=nested(IN_DATA + 1)), JSON())


@pytest.mark.parametrize("nested", [lists, mappings])
@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_so_is_messagepack(event_type, nested):
    event = event_type(value=nested(MAX_DEPTH - 1))
    assert returned(event, MessagePack()) == event
    with pytest.raises(EventError, match=f"is nested too deep: {MAX_DEPTH} maps and arrays are the most"):
        sealed(event_type(value=nested(MAX_DEPTH)), MessagePack())


def test_much_that_is_side_by_side_is_not_deep():
    event = Struct(value=[{"ü": ["Ü", {}]}] * 1000, other="\u00df\u0090" * 1000)
    assert returned(event, MessagePack()) == event


@pytest.mark.parametrize("event_type", [Chain, ModelChain])
def test_a_chain_of_events_counts_as_what_it_is(event_type):
    event = chained(event_type, MAX_DEPTH - 1)
    assert returned(event, JSON()) == event
    with pytest.raises(EventError):
        sealed(chained(event_type, MAX_DEPTH), JSON())


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
@pytest.mark.parametrize("depth", [20_000, 100_000])  # Python 3.13 goes down to 10,000
@pytest.mark.parametrize("event_type", [*EVENT_TYPES, Holder])
def test_an_abyss_is_an_error_of_ours_and_no_end_of_the_process(event_type, depth, codec):
    event = Holder(Model(value=lists(depth))) if event_type is Holder else event_type(value=lists(depth))
    with pytest.raises(EventError, match=r"cannot be encoded|nested too deep"):
        sealed(event, codec)


@pytest.mark.parametrize(
    "deep",
    [b"\x91" * 100_000 + b"\x90", b"\x81\xa1a" * 100_000 + b"\x80", b"\xdd\x00\x00\x00\x01" * 100_000 + b"\x90"],
    ids=["arrays", "mappings", "long arrays"],
)
@pytest.mark.parametrize("name", ["value", "unknown"])
@pytest.mark.parametrize("event_type", [*EVENT_TYPES, Holder])
def test_an_abyss_of_messagepack_is_an_error_of_ours(event_type, name, deep):
    data = b"\x81" + msgspec.msgpack.encode(name) + deep
    if event_type is Holder:
        data = b"\x81" + msgspec.msgpack.encode("value") + data
    body = msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": "f-1",
            "source": "/elsewhere",
            "type": "Any",
            "datacontenttype": "application/msgpack",
            "data_base64": data,
        }
    )
    with pytest.raises(EventError, match=f"the data does not fit {event_type.__name__}"):
        open_event(open_envelope(body), event_type, CODECS)
