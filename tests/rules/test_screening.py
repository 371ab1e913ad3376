"""Data that is wrong in very many places is refused at the first; what is right, and what is wrong, stays the same."""

import json
import time
from datetime import date
from decimal import Decimal

import msgspec
import pydantic
import pydantic_core
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dawdle import JSON, MessagePack
from dawdle._rules import screening
from dawdle._rules.screening import MANY_VALUES, validated, validated_json
from dawdle.errors import EventError

MANY = MANY_VALUES + 1


class Line(pydantic.BaseModel):
    a: int
    b: int = 0
    c: str
    d: float | None = None


class Other(pydantic.BaseModel, extra="forbid"):
    name: str
    when: date


class Order(pydantic.BaseModel):
    lines: list[Line] = []
    by_name: dict[str, Line | Other] = {}
    seen: set[int] = set()
    pair: tuple[int, str] | None = None
    many: tuple[Line, ...] = ()
    order: "Order | None" = None
    either: list[int] | list[str] | dict[str, int] = []


class Holder(msgspec.Struct):
    order: Order


class Strict(pydantic.BaseModel, strict=True):
    days: list[date]
    prices: dict[str, Decimal] = {}


values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-1, 1) | st.sampled_from(["", "x", "1", "2026-01-01"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "c", "d", "name", "when", *Order.model_fields]), inner, max_size=5)
    ),
    max_leaves=12,
)
lines = st.fixed_dictionaries({"a": st.integers(0, 3), "c": st.sampled_from(["x", "y"])}) | values
orders = st.fixed_dictionaries(
    {},
    optional={
        "lines": st.lists(lines, max_size=4),
        "by_name": st.dictionaries(st.sampled_from("xyz"), lines, max_size=3),
        "seen": st.lists(st.integers(0, 3) | values, max_size=3),
        "pair": st.tuples(st.integers(), st.sampled_from("ab")).map(list) | values,
        "many": st.lists(lines, max_size=3),
        "order": st.just({}) | values,
        "either": st.lists(st.integers(), max_size=3) | st.lists(st.sampled_from("ab"), max_size=3) | values,
    },
)


def plain(model, data):
    try:
        return model.model_validate_json(data)
    except pydantic.ValidationError:
        return None


@pytest.mark.slow
@given(orders | values)
def test_what_is_looked_at_first_is_refused_if_pydantic_refuses_it_and_only_then(data):
    written = json.dumps(data) + " " * 8
    expected = plain(Order, written)
    padded = written.replace("        ", "\n" + " " * 8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(screening, "MANY_VALUES", -1)
        for each in (padded, padded.encode()):
            try:
                assert validated_json(Order, each) == expected
            except pydantic.ValidationError:
                assert expected is None
        try:
            python = Order.model_validate(data)
        except pydantic.ValidationError:
            python = None
        try:
            assert validated(Order, data) == python
        except pydantic.ValidationError:
            assert python is None


WRONG = {
    "a list": {"lines": [{}] * 100_000},
    "a mapping": {"by_name": {f"n{number}": {} for number in range(30_000)}},
    "a tuple": {"many": [{}] * 100_000},
    "within itself": {"order": {"order": {"lines": [{}] * 100_000}}},
    "lists in a list": {"lines": [[{}] * 300] * 300},
    "a set": {"seen": ["x"] * 100_000},
}


def chain(error):
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("codec", [JSON(), MessagePack()], ids=["json", "msgpack"])
@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG)
def test_half_a_million_mistakes_cost_no_more_than_one(codec, data, within):
    kind, whole = (Holder, {"order": data}) if within else (Order, data)
    body = json.dumps(whole).encode() if isinstance(codec, JSON) else msgspec.msgpack.encode(whole)
    began = time.process_time()
    with pytest.raises(EventError, match=f"the data does not fit {kind.__name__}: ") as caught:
        codec.decode(body, kind)
    assert time.process_time() - began < 1
    assert len(str(caught.value)) < 2000
    assert "too many" not in str(caught.value), "and the first mistake is named"
    assert not [each for each in chain(caught.value) if isinstance(each, pydantic.ValidationError)], "it is let go"


def test_bytes_that_no_json_can_hold_are_looked_at_first_as_well():
    data = {"order": {"lines": [{"a": b"\xff"}] * 100_000}}
    began = time.process_time()
    with pytest.raises(EventError):
        MessagePack().decode(msgspec.msgpack.encode(data), Holder)
    assert time.process_time() - began < 1


def test_a_strict_model_takes_much_that_is_right_and_refuses_much_that_is_not():
    days = ["2026-01-01"] * MANY
    assert len(JSON().decode(json.dumps({"days": days}).encode(), Strict).days) == MANY
    prices = {f"p{number}": "1.5" for number in range(MANY)}
    assert JSON().decode(json.dumps({"days": [], "prices": prices}).encode(), Strict).prices["p7"] == Decimal("1.5")
    with pytest.raises(EventError):
        JSON().decode(json.dumps({"days": [1] * MANY}).encode(), Strict)


def test_few_values_are_validated_once_and_all_their_mistakes_named():
    calls = []

    class Counted(pydantic.BaseModel):
        numbers: list[int]

        @pydantic.field_validator("numbers")
        @classmethod
        def check(cls, numbers):
            calls.append(len(numbers))
            return numbers

    JSON().decode(json.dumps({"numbers": [1] * 100}).encode(), Counted)
    assert calls == [100]
    JSON().decode(json.dumps({"numbers": [1] * MANY}).encode(), Counted)
    assert calls == [100, MANY, MANY]
    with pytest.raises(EventError) as caught:
        JSON().decode(b'{"numbers":["x","y"]}', Counted)
    assert str(caught.value).count("unable to parse string") == 2


@pytest.mark.parametrize(("error", "says"), [(KeyError("mine"), "mine"), (ValueError("mine"), "mine")])
def test_the_error_of_a_users_validator_is_shown_as_ever(error, says):
    class Odd(pydantic.BaseModel):
        numbers: list[int]

        @pydantic.field_validator("numbers")
        @classmethod
        def check(cls, numbers):
            raise error

    with pytest.raises(EventError, match=says):
        JSON().decode(json.dumps({"numbers": [1] * MANY}).encode(), Odd)


def test_a_model_that_validates_in_a_way_of_its_own_is_asked_and_nothing_else():
    class Own(pydantic.BaseModel):
        numbers: list[int]

        @classmethod
        def model_validate_json(cls, json_data):
            return cls(numbers=[])

    assert JSON().decode(json.dumps({"numbers": ["x"] * MANY}).encode(), Own) == Own(numbers=[])


def all_in(schema):
    if isinstance(schema, dict):
        yield schema
        schema = list(schema.values())
    if isinstance(schema, list):
        for each in schema:
            yield from all_in(each)


@pytest.mark.parametrize("knows", [{"list", "set"}, set()])
def test_a_pydantic_that_knows_less_of_it_is_asked_for_what_it_knows(monkeypatch, knows):
    made, real = [], pydantic_core.SchemaValidator

    def older(schema, config=None):
        stopping = {each["type"] for each in all_in(schema) if "fail_fast" in each}
        made.append(stopping)
        if not stopping <= knows:
            raise pydantic_core.SchemaError("extra inputs are not permitted")
        return real(schema, config, False)

    class Late(pydantic.BaseModel):
        by_name: dict[str, int] = {}
        numbers: list[int] = []

    monkeypatch.setattr(pydantic_core, "SchemaValidator", older)
    with pytest.raises(EventError) as caught:
        JSON().decode(json.dumps({"numbers": ["x"] * MANY}).encode(), Late)
    assert ("too many to list" in str(caught.value)) is (not knows)
    assert JSON().decode(json.dumps({"numbers": [1] * MANY}).encode(), Late).numbers == [1] * MANY
    assert made[0] == {"list", "dict"}


def test_a_model_that_is_built_anew_is_looked_at_by_its_new_schema():
    class Changing(pydantic.BaseModel):
        numbers: list[int]

    data = json.dumps({"numbers": ["x"] * MANY}).encode()
    with pytest.raises(EventError):
        JSON().decode(data, Changing)
    Changing.model_fields["numbers"].annotation = list[str]
    Changing.model_rebuild(force=True)
    assert JSON().decode(data, Changing).numbers == ["x"] * MANY


def test_mistakes_that_are_more_than_can_be_named_are_counted():
    class Closed(pydantic.BaseModel, extra="forbid"):
        pass

    data = json.dumps({f"canary{number}": 1 for number in range(101)}).encode()
    with pytest.raises(EventError, match="it has 101 mistakes, too many to list$"):
        JSON().decode(data, Closed)
