"""What would not be read back equal is told to the caller and not stored; what is stored comes back, ever again."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import attrs
import msgspec
import pydantic
import pytest

import dawdle
from dawdle import EventError, Reject
from dawdle.hooks import Signaled
from tests.app.events import Placed

pytestmark = pytest.mark.anyio
T = TypeVar("T")
CODECS = [dawdle.JSON(), dawdle.MessagePack()]


class Env(msgspec.Struct, Generic[T]):
    payload: T


@dataclass
class Noted:
    note: Any


@attrs.define
class Hiding:
    _token: str = ""


class Login(pydantic.BaseModel):
    token: pydantic.SecretStr


class Invoice(pydantic.BaseModel, extra="forbid"):
    net: int
    lines: pydantic.Json[list[int]]

    @pydantic.computed_field
    @property
    def gross(self) -> int:
        return self.net * 2


class Bill(msgspec.Struct):
    invoice: Invoice


INVOICE = Invoice(net=3, lines="[1, 2]")
REFUSED = [
    (Env(Placed(1)), r"Env\.payload"),
    (Noted((1, 2)), r"Noted\.note"),
    (Hiding("t"), r"Hiding\._token"),
    (Login(token="t"), r"Login\.token"),
    (Placed("seven"), r"at `\$\.number`"),
]


@pytest.mark.parametrize("codec", CODECS, ids=["json", "messagepack"])
@pytest.mark.parametrize(("event", "field"), REFUSED, ids=[field for _, field in REFUSED])
async def test_nothing_is_stored_of_what_would_not_be_read_back(running, registry, queue, moments, event, field, codec):
    ran = []

    @registry.on_event()
    async def handler(event: object):
        ran.append(event)

    async with running(codec=codec) as app:
        for options in ({}, {"delay": 5}, {"direct": True}):
            with pytest.raises(EventError, match=field):
                await app.signal(event, **options)
        with pytest.raises(EventError, match=field):
            await app.signal_many([Placed(1), event, Placed(2)])
        await app.idle()
    assert queue.messages() == []
    assert queue.dead_letters.messages() == []
    assert ran == []
    assert not [moment for moment in moments if isinstance(moment, Signaled)]


async def test_one_event_of_a_type_may_travel_and_another_not(running, registry, queue):
    got = []

    @registry.on_event(Noted)
    async def handler(event):
        got.append(event)

    async with running() as app:
        await app.signal(Noted([1, 2]))
        with pytest.raises(EventError, match=r"Noted\.note would not arrive as it was signaled: it holds a tuple"):
            await app.signal(Noted((1, 2)))
        await app.idle()
    assert got == [Noted([1, 2])]


@pytest.mark.parametrize("codec", CODECS, ids=["json", "messagepack"])
@pytest.mark.parametrize("event", [INVOICE, Bill(INVOICE)], ids=["model", "in a struct"])
async def test_what_is_given_up_is_read_back_from_its_letter_and_once_more_when_it_is_redriven(
    running, registry, event, codec
):
    got = []

    @registry.on_event(type(event), name="file")
    async def handler(event):
        got.append(event)
        if len(got) == 1:
            raise Reject("closed")

    async with running(codec=codec) as app:
        await app.signal(event)
        await app.idle()
        assert [letter.event async for letter in app.dead_letters()] == [event]
        assert await app.redrive() == 1
        await app.idle()
        assert [letter async for letter in app.dead_letters()] == []
    assert got == [event, event]


async def test_a_retry_and_a_hop_of_a_delay_bring_the_same_event(running, registry, clock):
    got = []

    @registry.on_event(Invoice, retry=dawdle.Retry(initial=1, jitter=0))
    async def handler(event):
        got.append(event)
        if len(got) == 1:
            raise ConnectionError

    async with running() as app:
        await app.signal(INVOICE, delay=2000)
        await clock.advance(2010)
    assert got == [INVOICE, INVOICE]
