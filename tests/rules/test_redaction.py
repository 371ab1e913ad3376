"""What is said of data that cannot be read or written repeats nothing of it, and no traceback shows it."""

import math
import traceback
import warnings
from typing import Annotated, Literal

import msgspec
import pydantic
import pytest

from dawdle import JSON, MessagePack
from dawdle._rules.codec import open_event
from dawdle._rules.envelope import check_headers, open_envelope
from dawdle._rules.redaction import cause_without_data, without_data
from dawdle.errors import ConfigurationError, EventError
from tests.rules.round_trip_types import sealed

CANARY = "canary-7f3a"
CODECS = {codec.content_type: codec for codec in (JSON(), MessagePack())}


class Model(pydantic.BaseModel):
    number: int = pydantic.Field(0, alias="theNumber")


class Elsewhere(pydantic.BaseModel):
    number: int = pydantic.Field(validation_alias=pydantic.AliasPath("numbers", 0))
    name: str = pydantic.Field(validation_alias=pydantic.AliasChoices("theName", "name"))


class Prices(pydantic.RootModel[dict[str, int]]):
    pass


class Open(pydantic.BaseModel, extra="allow"):
    __pydantic_extra__: dict[str, int]


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]


class Owner(pydantic.BaseModel):
    pet: Annotated[Cat | Dog, pydantic.Field(discriminator="kind")]


class Holder(msgspec.Struct):
    model: Model | None = None
    by_name: dict[str, float] = {}


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    colour: Literal["red"] = "red"


class Circle(msgspec.Struct, tag="circle"):
    pass


class Square(msgspec.Struct, tag="square"):
    pass


class Drawing(msgspec.Struct):
    shape: Circle | Square


def message(data, media):
    attributes = {"specversion": "1.0", "id": "f-1", "source": "/elsewhere", "type": "Any"}
    if media == "application/json":
        return msgspec.json.encode({**attributes, "data": data})
    return msgspec.json.encode({**attributes, "datacontenttype": media, "data_base64": msgspec.msgpack.encode(data)})


@pytest.mark.parametrize("media", CODECS)
@pytest.mark.parametrize(
    ("kind", "data", "says"),
    [
        (Model, {"theNumber": CANARY}, "unable to parse string as an integer - at `$.theNumber`"),
        (Prices, {CANARY: CANARY}, "unable to parse string as an integer"),
        (Open, {CANARY: CANARY}, "unable to parse string as an integer"),
        (Owner, {"pet": {"kind": CANARY}}, "union_tag_invalid - at `$.pet`"),
        (
            Holder,
            {"model": {"theNumber": CANARY}},
            "unable to parse string as an integer - at `$.theNumber` - at `$.model`",
        ),
        (Holder, {"model": CANARY}, "Input should be an object - at `$.model`"),
        (Holder, {"by_name": {CANARY: CANARY}}, "Expected `float`, got `str` - at `$.by_name[...]`"),
        (Strict, {"colour": CANARY}, "Invalid enum value - at `$.colour`"),
        (Strict, {"colour": f"it's - at `{CANARY}"}, "Invalid enum value - at `$.colour`"),
        (Strict, {CANARY: 1}, "Object contains unknown field"),
        (Strict, {f"a`{CANARY}": 1}, "Object contains unknown field"),
        (Strict, {f"{CANARY} Invalid value": 1}, "Object contains unknown field"),
        (Drawing, {"shape": {"type": CANARY}}, "Invalid value - at `$.shape.type`"),
    ],
)
def test_data_that_does_not_fit_is_described_by_its_place(kind, data, says, media):
    with pytest.raises(EventError) as caught:
        open_event(open_envelope(message(data, media)), kind, CODECS)
    told = str(caught.value)
    assert told.startswith(f"the data does not fit {kind.__name__}: ")
    assert told.endswith(says)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
@pytest.mark.parametrize(
    "event",
    [
        Holder(by_name={CANARY: math.nan}),
        Holder(by_name={CANARY: object()}),
        Holder(Model.model_construct(number=CANARY)),
        Model.model_construct(number=CANARY),
        Model.model_construct(number=CANARY + "\udc80"),
    ],
)
def test_an_event_that_does_not_travel_is_described_without_its_data(event, codec):
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            sealed(event, codec)
            told = ""
        except EventError as error:
            told = "".join(traceback.format_exception(error))
    assert CANARY not in told
    assert not [str(each.message) for each in warned if CANARY in str(each.message)]


@pytest.mark.parametrize("value", [CANARY.encode(), [CANARY], {CANARY: 1}])
def test_a_header_that_is_no_text_is_described_by_its_type(value):
    with pytest.raises(ConfigurationError, match=f"'tenant' is text, not {type(value).__name__}") as caught:
        check_headers({"tenant": value})
    assert CANARY not in str(caught.value)


def test_what_others_say_is_theirs_also_if_they_have_errors_of_their_own_kind():
    class OddError(Exception):
        def errors(self):
            return ["odd"]

    odd = OddError("as they say")
    assert without_data(odd) == "as they say"
    assert cause_without_data(odd) is odd


def test_a_long_name_is_cut_out_as_fast_as_a_short_one():
    name = " - at `$Invalid value" * 50_000
    with pytest.raises(EventError, match=r"^the data does not fit Strict: Object contains unknown field") as caught:
        open_event(open_envelope(message({name: 1}, "application/json")), Strict, CODECS)
    assert len(str(caught.value)) < 100


def test_a_model_with_aliases_that_are_paths_is_described_like_any_other():
    with pytest.raises(EventError, match="the data does not fit Elsewhere: Field required; Field required"):
        JSON().decode(b"{}", Elsewhere)
