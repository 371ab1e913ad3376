"""Reading back is right for any value and any codec, shows nothing of the event, and keeps no type for ever."""

import datetime as dt
import gc
import traceback
import weakref
from typing import Any

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dawdle import JSON
from dawdle._rules.field_types import MAX_TYPES
from dawdle.errors import EventError
from tests.rules.round_trip_types import (
    CODECS,
    PARIS,
    Anything,
    Apart,
    Colour,
    Computing,
    Discounted,
    Extra,
    Holder,
    Identity,
    Line,
    LooselyEqual,
    Model,
    Secret,
    SecretStruct,
    Tags,
    changed,
    each_codec,
    returned,
    sealed,
)

CANARY = "canary-51d0"

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


def test_a_set_that_comes_back_with_more_or_less_than_it_had_is_refused():
    event = Tags({"a", "b"})
    for tags in ({"a"}, {"a", "b", "c"}, {"a", "c"}):
        codec = Written("application/x.mine", read=lambda *data, tags=tags, **options: Tags(tags))
        with pytest.raises(EventError, match=r"^Tags\.tags would not arrive as it was signaled: it holds a set"):
            sealed(event, codec)


@pytest.mark.parametrize(
    ("codec", "why"),
    [
        (Written("text/plain; charset=utf-8"), "this app has no codec for 'text/plain'"),
        (Written("application/json", lambda event: b"\xef\xbb\xbf{}"), "not a CloudEvent 1.0 in JSON"),
        (Written("application/json", lambda event: b"{"), "not a CloudEvent 1.0 in JSON"),
        (Written("application/vnd.mine+json", msgspec.msgpack.encode), "malformed"),
        (Written("application/x.mine", read=lambda *data, **options: 1 / 0), "division by zero"),
        (
            Written("application/x.mine", read=lambda *data, **options: None),
            "it holds a Line, and None would be read. Its codec writes and reads it differently",
        ),
    ],
)
def test_an_own_codec_whose_data_no_node_can_read_is_an_error_of_the_signal(codec, why):
    with pytest.raises(EventError) as caught:
        sealed(Line("a"), codec, {**CODECS, codec.content_type: codec})
    assert str(caught.value).startswith(
        ("this Line cannot be read back, so no handler could get it: ", "Line would not arrive")
    )
    assert why in str(caught.value)


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
