"""Apps from source, as a user has them before and after a change."""

import sys
from functools import cache
from types import ModuleType

import msgspec

from dawdle.cli.schema._compare import compare
from dawdle.cli.schema._file import as_text, read_text
from dawdle.cli.schema._take import snapshot_of

BEFORE = """
import dataclasses
import enum
from typing import Annotated, Literal

import attrs
import msgspec
import pydantic

import dawdle
from dawdle.backends.memory import Memory


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Card(msgspec.Struct, tag="card"):
    number: str


class Cash(msgspec.Struct, tag="cash"):
    amount: int


class Line(msgspec.Struct):
    sku: str
    count: int = 1


@dawdle.event("orders.placed", aliases=("OrderPlaced",))
class OrderPlaced(msgspec.Struct, rename="camel"):
    order_id: str
    lines: list[Line]
    colour: Colour
    paid: Card | Cash
    total: int = 0
    note: str | None = None


@dawdle.event("orders.shipped", version=3, upcasters={1: lambda data: data, 2: lambda data: data})
@dataclasses.dataclass
class OrderShipped:
    order_id: str
    parcels: int


@dawdle.event("orders.cancelled")
class OrderCancelled(pydantic.BaseModel, extra="forbid"):
    order_id: str = pydantic.Field(max_length=20)
    why: Literal["late", "broken"] = "late"


@dawdle.event("stock.counted")
@attrs.define
class StockCounted:
    sku: str
    count: int | None = None


@dawdle.event("stock.moved")
class StockMoved(msgspec.Struct, array_like=True):
    sku: str
    place: str


@dawdle.event("prices.set")
class PriceSet(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    sku: str
    price: Annotated[int, msgspec.Meta(ge=0)] = 0


registry = dawdle.Registry()


@registry.on_event(name="mail.send_receipt", aliases=("send_receipt",))
async def send_receipt(event: OrderPlaced | OrderCancelled) -> None: ...


@registry.on_event(name="stock.update")
async def update(event: StockCounted | StockMoved | OrderShipped) -> None: ...


@registry.function(name="images.resize", aliases=("resize",))
async def resize(path: str, width: int = 64) -> None: ...


app = dawdle.Dawdle(queues={"default": Memory(), "slow": Memory()}, registry=registry)
"""


def changed(*changes, source=BEFORE):
    """The source after changes: each a text that is in it once, and what stands there instead."""
    for old, new in zip(changes[::2], changes[1::2], strict=True):
        assert source.count(old) == 1, f"{source.count(old)} times: {old}"
        source = source.replace(old, new)
    return source


def taken(source):
    """The snapshot of an app, without what other tests have declared."""
    module = sys.modules["shop"] = ModuleType("shop")
    try:
        exec(compile(source, "shop.py", "exec"), module.__dict__)
        snapshot = snapshot_of(module.app)
    finally:
        del sys.modules["shop"]
    # A class of another test, or of the source before, lives until it is collected, and its declaration with it.
    own = {name: event for name, event in snapshot.events.items() if is_own(module, name)}
    return read_text(as_text(msgspec.structs.replace(snapshot, events=own)))


def is_own(module, name):
    cls = module.app.event_type(name)
    return cls is getattr(module, cls.__qualname__, None)


@cache
def taken_before():
    return taken(BEFORE)


def findings(*changes, deploy=True):
    return compare(taken_before(), taken(changed(*changes)), deploy=deploy)


def rules(found):
    """The rules that found something, without their common beginning, and what they are about."""
    return sorted((each.severity, each.rule.removeprefix("schema."), each.where) for each in found)
