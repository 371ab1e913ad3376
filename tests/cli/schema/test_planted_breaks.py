"""Each of these changes breaks messages, and `schema check` finds it and nothing else; none of the others does."""

# ruff: noqa: E501 - a change is read best in one line

import msgspec
import pytest

from dawdle.cli.schema._compare import compare
from tests.cli.schema.shops import findings, rules, taken_before

pytestmark = pytest.mark.once

PLACED, SHIPPED, CANCELLED = "event orders.placed", "event orders.shipped", "event orders.cancelled"

BREAKS = {
    "a type is removed": (
        ['@dawdle.event("stock.moved")\nclass StockMoved(msgspec.Struct, array_like=True):\n    sku: str\n    place: str\n', "",
         "StockCounted | StockMoved | OrderShipped", "StockCounted | OrderShipped"],
        ("error", "event-removed", "event stock.moved"),
    ),
    "a name on the wire is changed": (
        ['@dawdle.event("stock.counted")', '@dawdle.event("stock.seen")'],
        ("error", "event-removed", "event stock.counted"),
    ),
    "an alias is removed": (
        ['@dawdle.event("orders.placed", aliases=("OrderPlaced",))', '@dawdle.event("orders.placed")'],
        ("error", "event-alias-removed", PLACED),
    ),
    "a field is added without a default": (
        ["    colour: Colour\n", "    colour: Colour\n    currency: str\n"],
        ("error", "field-added", PLACED),
    ),
    "a field loses its default, and may be left out": (
        ["price: Annotated[int, msgspec.Meta(ge=0)] = 0", "price: Annotated[int, msgspec.Meta(ge=0)]"],
        ("error", "field-added", "event prices.set"),
    ),
    "a field is removed, and unknown fields are forbidden": (
        ['    why: Literal["late", "broken"] = "late"\n', ""],
        ("error", "field-removed", CANCELLED),
    ),
    "a required field is removed": (
        ["    parcels: int\n", ""],
        ("warning", "deploy.field-removed", SHIPPED),
    ),
    "a field is added, and old workers forbid unknown ones": (
        ['    why: Literal["late", "broken"] = "late"\n', '    why: Literal["late", "broken"] = "late"\n    by: str = "us"\n'],
        ("warning", "deploy.field-added", CANCELLED),
    ),
    "a field has another name in data": (
        ['OrderPlaced(msgspec.Struct, rename="camel")', 'OrderPlaced(msgspec.Struct, rename={"order_id": "id"})'],
        ("error", "field-renamed", PLACED),
    ),
    "a field is renamed, it seems": (
        ["    total: int = 0\n", "    amount: int = 0\n"],
        ("warning", "field-maybe-renamed", PLACED),
    ),
    "a field is renamed, it seems, in a class within the event": (
        ["    sku: str\n    count: int = 1\n", "    sku: str\n    quantity: int = 1\n"],
        ("warning", "field-maybe-renamed", PLACED),
    ),
    "a type is changed": (
        ["    total: int = 0\n", "    total: str = '0'\n"],
        ("error", "type-changed", PLACED),
    ),
    "a type is narrowed": (
        ["    note: str | None = None\n", "    note: str = ''\n"],
        ("error", "type-changed", PLACED),
    ),
    "a type inside of a field is changed": (
        ["    sku: str\n    count: int = 1\n", "    sku: str\n    count: bool = False\n"],
        ("error", "type-changed", PLACED),
    ),
    "a type of a field is not known any more": (
        ["    price: Annotated[int", "    price: Annotated['Fraction'"],
        ("error", "type-unreadable", "event prices.set"),
    ),
    "a parameter has a type that nothing reads": (
        ["width: int = 64", "width: Line | PriceSet | None = None"],
        ("error", "type-unreadable", "function images.resize"),
    ),
    "a value of an enum is removed": (
        ['    BLUE = "blue"\n', ""],
        ("error", "values-removed", PLACED),
    ),
    "a value of a literal is removed": (
        ['why: Literal["late", "broken"]', 'why: Literal["late"]'],
        ("error", "values-removed", CANCELLED),
    ),
    "a number may have a fraction now, which no old worker reads": (
        ["    total: int = 0\n", "    total: float = 0\n"],
        ("warning", "deploy.type-changed", PLACED),
    ),
    "a limit is narrowed": (
        ["max_length=20", "max_length=10"],
        ("error", "limits-narrowed", CANCELLED),
    ),
    "a member of a union is removed": (
        ["    paid: Card | Cash\n", "    paid: Card\n"],
        ("error", "type-changed", PLACED),
    ),
    "a tag is changed": (
        ['class Cash(msgspec.Struct, tag="cash")', 'class Cash(msgspec.Struct, tag="coins")'],
        ("error", "type-changed", PLACED),
    ),
    "fields change their order in a list": (
        ["    sku: str\n    place: str\n", "    place: str\n    sku: str\n"],
        ("error", "layout-changed", "event stock.moved"),
    ),
    "an object becomes a list": (
        ["class PriceSet(msgspec.Struct, ", "class PriceSet(msgspec.Struct, array_like=True, "],
        ("error", "layout-changed", "event prices.set"),
    ),
    "a default is changed that is left out of data": (
        ["msgspec.Meta(ge=0)] = 0", "msgspec.Meta(ge=0)] = 1"],
        ("error", "default-changed", "event prices.set"),
    ),
    "a version has no upcaster": (
        ["version=3, upcasters={1: lambda data: data, 2: lambda data: data}", "version=4, upcasters={}"],
        ("error", "upcaster-missing", SHIPPED),
    ),
    "an upcaster is removed": (
        ["upcasters={1: lambda data: data, 2: lambda data: data}", "upcasters={2: lambda data: data}"],
        ("error", "upcaster-missing", SHIPPED),
    ),
    "a version is lowered": (
        ["version=3, upcasters={1: lambda data: data, 2: lambda data: data}", "version=2, upcasters={1: lambda data: data}"],
        ("error", "version-lowered", SHIPPED),
    ),
    "a handler is renamed": (
        ['name="stock.update"', 'name="stock.count"'],
        ("error", "handler-removed", "handler stock.update"),
    ),
    "a handler's alias is removed": (
        ['name="mail.send_receipt", aliases=("send_receipt",)', 'name="mail.send_receipt"'],
        ("error", "handler-alias-removed", "handler mail.send_receipt"),
    ),
    "a handler takes a type no more": (
        ["event: OrderPlaced | OrderCancelled", "event: OrderPlaced"],
        ("error", "handler-event-removed", "handler mail.send_receipt"),
    ),
    "a handler moves to another queue": (
        ['name="stock.update"', 'name="stock.update", queue="slow"'],
        ("error", "queue-changed", "handler stock.update"),
    ),
    "a function is removed": (
        ['name="images.resize", aliases=("resize",)', 'name="images.scale", aliases=("resize",)'],
        ("error", "function-removed", "function images.resize"),
    ),
    "a function's alias is removed": (
        ['name="images.resize", aliases=("resize",)', 'name="images.resize"'],
        ("error", "function-alias-removed", "function images.resize"),
    ),
    "a parameter is added without a default": (
        ["path: str, width", "path: str, mode: str, width"],
        ("error", "parameter-added", "function images.resize"),
    ),
    "a parameter is removed": (
        ["path: str, width: int = 64", "path: str"],
        ("error", "parameter-removed", "function images.resize"),
    ),
    "a parameter's type is changed": (
        ["width: int = 64", "width: str = '64'"],
        ("error", "type-changed", "function images.resize"),
    ),
    "a function moves to another queue": (
        ['name="images.resize", ', 'name="images.resize", queue="slow", '],
        ("error", "queue-changed", "function images.resize"),
    ),
}  # fmt: skip

FINE = {
    "nothing": [],
    "a field with a default is added": ["    total: int = 0\n", "    total: int = 0\n    currency: str = 'EUR'\n"],
    "a field with a default is removed": ["    note: str | None = None\n", ""],
    "a style is changed": ["@attrs.define\nclass StockCounted:", "@dataclasses.dataclass\nclass StockCounted:"],
    "a type has a new name and its old one as an alias": [
        '@dawdle.event("stock.counted")', '@dawdle.event("stock.seen", aliases=("stock.counted",))',
    ],
    "a handler has a new name and its old one as an alias": [
        'name="stock.update"', 'name="stock.count", aliases=("stock.update",)',
    ],
    "a handler takes one type more": ["event: OrderPlaced | OrderCancelled", "event: OrderPlaced | OrderCancelled | PriceSet"],
    "a handler is added": ["registry = dawdle.Registry()\n", "registry = dawdle.Registry()\n@registry.on_event(name='new')\nasync def new(event: object): ...\n"],
    "a type is added": ["registry = dawdle.Registry()\n", "@dawdle.event('new')\nclass New(msgspec.Struct): ...\nregistry = dawdle.Registry()\n"],
    "a function has one parameter more, with a default": ["width: int = 64", "width: int = 64, mode: str = 'fit'"],
    "a function's default is changed": ["width: int = 64", "width: int = 32"],
    "parameters change places": ["path: str, width: int = 64", "*, width: int = 64, path: str"],
}  # fmt: skip

NOTED = {
    "a default is changed": (
        ["    total: int = 0\n", "    total: int = 1\n"],
        ("note", "default-changed", PLACED),
    ),
    "a new version has an upcaster": (
        ["version=3, upcasters={1: lambda data: data, 2: lambda data: data}",
         "version=4, upcasters={1: lambda data: data, 2: lambda data: data, 3: lambda data: data}",
         "    parcels: int\n", "    boxes: int\n"],
        ("note", "upcasters-unseen", SHIPPED),
    ),
    "an enum has a value more, which old workers do not know": (
        ['    BLUE = "blue"\n', '    BLUE = "blue"\n    GREEN = "green"\n'],
        ("note", "deploy.values-added", PLACED),
    ),
    "a type may be None now, which old workers do not read": (
        ["    total: int = 0\n", "    total: int | None = 0\n"],
        ("note", "deploy.type-changed", PLACED),
    ),
    "a union has a member more": (
        ["    paid: Card | Cash\n", "    paid: Card | Cash | Gift\n",
         "class Line(", 'class Gift(msgspec.Struct, tag="gift"):\n    code: str\n\n\nclass Line('],
        ("note", "deploy.type-changed", PLACED),
    ),
    "a limit is widened": (
        ["max_length=20", "max_length=40"],
        ("note", "deploy.limits-widened", CANCELLED),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BREAKS)
def test_a_break_is_found_and_nothing_else(name):
    changes, found = BREAKS[name]
    assert rules(findings(*changes)) == [found]


@pytest.mark.parametrize("name", FINE)
def test_what_breaks_nothing_is_not_told(name):
    assert rules(findings(*FINE[name])) == []


@pytest.mark.parametrize("name", NOTED)
def test_what_is_to_be_known_and_breaks_nothing_is_a_note(name):
    changes, found = NOTED[name]
    assert rules(findings(*changes)) == [found]


def test_an_alias_that_means_another_type_now_is_found_if_that_does_not_read_the_data():
    # Without the code: in this process the class of before still has the alias.
    before = taken_before()
    placed, prices = (before.events[name] for name in ("orders.placed", "prices.set"))
    moved = {
        "orders.placed": msgspec.structs.replace(placed, aliases=()),
        "prices.set": msgspec.structs.replace(prices, aliases=("OrderPlaced",)),
    }
    after = msgspec.structs.replace(before, events={**before.events, **moved})
    assert rules(compare(before, after)) == [("error", "event-alias-moved", PLACED)]
    moved["prices.set"] = msgspec.structs.replace(placed, aliases=("OrderPlaced",))
    after = msgspec.structs.replace(before, events={**before.events, **moved})
    assert PLACED not in {where for _, _, where in rules(compare(before, after))}


def test_all_breaks_at_once_are_all_found():
    together = ["an alias is removed", "a type is changed", "a handler is renamed", "a required field is removed"]
    changes = [text for name in together for text in BREAKS[name][0]]
    assert rules(findings(*changes)) == sorted(BREAKS[name][1] for name in together)


def test_without_old_workers_only_what_breaks_the_queue_is_told():
    for name in ("a required field is removed", "a field is added, and old workers forbid unknown ones"):
        assert rules(findings(*BREAKS[name][0], deploy=False)) == []
    changes, found = BREAKS["a type is changed"]
    assert rules(findings(*changes, deploy=False)) == [found]


def test_there_are_enough_of_them():
    assert len(BREAKS) >= 20


@pytest.mark.parametrize("name", [*BREAKS, *NOTED])
def test_each_finding_says_what_and_why_and_what_to_write_in_one_line_each(name):
    (found,) = findings(*{**BREAKS, **NOTED}[name][0])
    for text in (found.what, found.why, found.fix):
        assert text == " ".join(text.split())
        assert "shop." not in text
    assert found.why.endswith(".")
