"""`app.describe()`: what an app is made of, as texts and numbers."""

import dataclasses
from contextlib import asynccontextmanager
from typing import Literal

import attrs
import msgspec
import pydantic
import pytest

import dawdle
from dawdle import Dawdle, Registry, Retry
from dawdle.backends.memory import Memory
from dawdle.backends.sqlite import SQLite
from dawdle.backends.sqs import SQS

pytestmark = pytest.mark.anyio


class Item(msgspec.Struct):
    name: str


@dawdle.event("describe.placed", aliases=("describe.old",), handlers=("crm",), expires=60)
class Placed(msgspec.Struct, rename={"total": "sum"}):
    order_id: str
    total: int = 0
    items: list[Item] = msgspec.field(default_factory=list)
    note: str | None = None


class Gift(Placed):
    pass


@dataclasses.dataclass
class Sent:
    order_id: str
    by: Literal["post", "van"] = "post"
    tags: dict[str, int] = dataclasses.field(default_factory=dict)


@attrs.define
class Paid:
    order_id: str
    cents: int = 0
    notes: list[str] = attrs.field(factory=list)


class Seen(pydantic.BaseModel):
    page: str = pydantic.Field(alias="pageName")
    times: int = 1


def described(app):
    return {each.name: each for each in app.describe().event_types}


@pytest.fixture
def registry():
    return Registry()


async def test_handlers_are_described_with_the_options_that_hold(registry):
    @registry.on_event(name="receipt", aliases=("mail",), timeout=5, concurrency=4, retry=Retry(max_attempts=3))
    async def send_receipt(event: Placed): ...

    @registry.on_event(exclude=(Sent,))
    def audit(event: object): ...

    app = Dawdle(Memory(), registry=registry, timeout=30)
    first, second = app.describe().handlers
    assert (first.name, first.aliases, first.events) == ("receipt", ("mail",), ("describe.placed",))
    assert (first.timeout, first.concurrency, first.max_attempts, first.is_async) == (5, 4, 3, True)
    assert first.function.endswith("send_receipt")
    assert first.file == __file__
    assert first.line
    assert (second.events, second.exclude, second.timeout, second.max_attempts) == ((), ("Sent",), 30, 12)
    assert not second.is_async


async def test_event_types_are_described_with_fields_handlers_and_queues(registry):
    registry.on_event(Placed, name="receipt")(lambda event: None)
    app = Dawdle(
        queues={"default": Memory(), "audit": Memory()}, routes={Sent: ("default", "audit")}, registry=registry
    )
    types = described(app)
    placed = types["describe.placed"]
    assert placed.aliases == ("describe.old",)
    assert placed.faults == ()
    assert (placed.style, placed.expires, placed.unclaimed) == ("struct", 60, "retry")
    assert (placed.handlers, placed.elsewhere, placed.queues) == (("receipt",), ("crm",), ("default",))
    assert placed.demanded == ("crm",)
    assert [(each.name, each.encoded_name, each.annotation, each.required, each.default) for each in placed.fields] == [
        ("order_id", "order_id", "str", True, None),
        ("total", "sum", "int", False, "0"),
        ("items", "items", "list[Item]", False, None),
        ("note", "note", "str | None", False, "None"),
    ]
    assert types["Gift"].handlers == ("receipt",)
    assert types["Sent"].queues == ("default", "audit")


@dawdle.event("describe.versions", version=3, upcasters={1: lambda data: data, 2: lambda data: data})
class Versioned(msgspec.Struct):
    order_id: str


async def test_a_version_is_described_with_the_older_ones_that_are_read(registry):
    registry.on_event(Versioned, Sent, name="h")(lambda event: None)
    types = described(Dawdle(Memory(), registry=registry))
    assert (types["describe.versions"].version, types["describe.versions"].upcasters) == (3, (1, 2))
    assert (types["Sent"].version, types["Sent"].upcasters) == (1, ())


@pytest.mark.parametrize(
    ("event_type", "style", "fields"),
    [
        (
            Sent,
            "dataclass",
            [
                ("order_id", "str", True, None),
                ("by", "Literal['post', 'van']", False, "'post'"),
                ("tags", "dict[str, int]", False, None),
            ],
        ),
        (
            Paid,
            "attrs",
            [("order_id", "str", True, None), ("cents", "int", False, "0"), ("notes", "list[str]", False, None)],
        ),
        (Seen, "pydantic", [("page", "str", True, None), ("times", "int", False, "1")]),
    ],
)
async def test_every_style_of_event_type_is_described(registry, event_type, style, fields):
    registry.on_event(event_type, name="h")(lambda event: None)
    found = described(Dawdle(Memory(), registry=registry))[event_type.__name__]
    assert found.style == style
    assert [(each.name, each.annotation, each.required, each.default) for each in found.fields] == fields
    assert found.class_name == f"{event_type.__module__}.{event_type.__qualname__}"


async def test_the_name_of_a_pydantic_field_in_a_message_is_its_alias(registry):
    registry.on_event(Seen, name="h")(lambda event: None)
    found = described(Dawdle(Memory(), registry=registry))["Seen"]
    assert [each.encoded_name for each in found.fields] == ["pageName", "times"]


@attrs.define
class Card:
    _number: str


class Receipt(pydantic.BaseModel):
    note: str = pydantic.Field(default="", exclude=True)


class Charged(msgspec.Struct):
    cards: list[Card]
    receipt: Receipt | None = None


async def test_fields_that_cannot_travel_are_told_with_the_reason_at_any_depth(registry):
    registry.on_event(Charged, name="h")(lambda event: None)
    first, second = described(Dawdle(Memory(), registry=registry))["Charged"].faults
    assert first.startswith("$.cards._number: msgspec does not write attrs fields")
    assert second.startswith("$.receipt.note: the option exclude=True")


async def test_a_type_that_only_type_checkers_see_is_described_as_it_is_written(registry):
    class Hidden(msgspec.Struct):
        order_id: str
        part: "Fraction | None" = None  # noqa: F821

    registry.on_event(Hidden)(print)
    (found,) = [each for each in Dawdle(Memory(), registry=registry).describe().event_types if "Hidden" in each.name]
    assert [(field.name, field.required, field.default) for field in found.fields] == [
        ("order_id", True, None),
        ("part", False, "None"),
    ]
    assert found.fields[1].annotation == "Fraction | None"


async def test_functions_are_described_with_their_parameters(registry):
    @registry.function(name="resize", queue="video", timeout=9)
    async def resize(path: str, width: int = 64): ...

    app = Dawdle(queues={"default": Memory(), "video": Memory()}, registry=registry)
    (found,) = app.describe().functions
    assert (found.name, found.queue, found.timeout) == ("resize", "video", 9)
    assert [(each.name, each.annotation, each.required) for each in found.parameters] == [
        ("path", "str", True),
        ("width", "int", False),
    ]
    assert app.describe().handlers == ()


async def test_queues_are_described_and_show_no_credentials(registry, tmp_path):
    app = Dawdle(
        queues={
            "default": SQLite(tmp_path / "app.db"),
            "heavy": SQS("https://sqs.eu-west-1.amazonaws.com/123456789012/heavy"),
            "here": Memory(),
        },
        listen=("heavy",),
        concurrency={"heavy": 3},
        registry=registry,
    )
    default, heavy, here = app.describe().queues
    assert (default.name, default.listened, default.concurrency, default.shared) == ("default", False, 100, True)
    assert (heavy.listened, heavy.concurrency) == (True, 3)
    assert "app.db" in default.backend
    assert "heavy" in heavy.backend
    assert (here.shared, here.durable) == (False, False)


async def test_settings_are_those_that_differ_and_nothing_secret(registry):
    @asynccontextmanager
    async def database(app):
        yield

    assert Dawdle(Memory(), registry=registry).describe().settings == {}
    app = Dawdle(
        Memory(),
        registry=registry,
        grace=5,
        concurrency=7,
        lifespan=database,
        headers={"tenant": "secret-1"},
        signing_keys={"a": "secret-2" * 8},
        codec=dawdle.MessagePack(),
    )
    found = app.describe()
    assert found.settings["grace"] == "5 s"
    assert found.settings["concurrency"] == "7"
    assert found.settings["lifespan"].endswith("database")
    assert found.settings["codec"] == "MessagePack"
    assert set(found.settings) == {"grace", "concurrency", "lifespan", "headers", "signing_keys", "codec"}
    text = msgspec.json.encode(found).decode()
    assert "secret-1" not in text
    assert "secret-2" not in text


async def test_a_description_travels_as_json(registry):
    registry.on_event(Placed, name="receipt")(lambda event: None)
    found = Dawdle(Memory(), registry=registry).describe()
    assert msgspec.json.decode(msgspec.json.encode(found), type=dawdle.AppDescription) == found


async def test_a_type_is_found_by_its_name_on_the_wire(registry):
    registry.on_event(Placed, name="receipt")(lambda event: None)
    app = Dawdle(Memory(), registry=registry)
    assert app.event_type("describe.placed") is Placed
    assert app.event_type("describe.old") is Placed
    assert app.event_type("Gift") is Gift
    assert app.event_type("describe.none") is None
