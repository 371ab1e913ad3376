"""An app writes the version of a type, reads older ones through upcasters, and leaves newer ones to other workers."""

import msgspec
import pytest

import dawdle
from dawdle.abc import Outgoing
from dawdle.backends.sqlite import SQLite

pytestmark = pytest.mark.anyio


def in_cents(data):
    return {"order_id": data["order_id"], "cents": data["total"] * 100}


@dawdle.event("versions.placed", version=2, upcasters={1: in_cents}, aliases=("versions.old",), expires=3600)
class Placed(msgspec.Struct, frozen=True):
    order_id: str
    cents: int


@dawdle.event("versions.first")
class First(msgspec.Struct, frozen=True):
    order_id: str = "o-1"


def message(name, data, **attributes):
    known = {"specversion": "1.0", "id": "e-1", "source": "/shop", "type": name, "time": "2025-06-15T15:00:00Z"}
    return Outgoing(msgspec.json.encode({**known, **attributes, "data": data}))


@pytest.fixture
def got(registry):
    got = []

    @registry.on_event(name="keep", retry=dawdle.Retry(max_attempts=2, initial=1, jitter=0))
    async def keep(event: Placed | First, ctx: dawdle.Context):
        got.append((event, ctx.attempt))
        if event == Placed("again", 100) and ctx.attempt == 1:
            raise ValueError("down")

    return got


async def test_the_version_travels_beside_when_it_expires_and_not_at_all_where_it_is_one(running, queue, got):
    async with running(start_listener=False) as app:
        await app.signal(Placed("o-1", 7))
        await app.signal_many([First()])
    placed, first = map(msgspec.json.decode, queue.messages())
    assert (placed["dawdleversion"], placed["dawdlelifetime"]) == (2, "3600000")
    assert "dawdleversion" not in first


async def test_messages_of_version_one_and_of_an_alias_are_handled_as_the_newest(running, queue, got):
    async with running(start_listener=False) as app:
        await queue.send([message("versions.placed", {"order_id": "o-1", "total": 3})])
        await queue.send([message("versions.old", {"order_id": "o-2", "total": 4}, dawdleversion=1)])
        await app.signal(Placed("o-3", 5))
        await app.start_listener()
        await app.idle()
    assert sorted(event.cents for event, _ in got) == [5, 300, 400]


async def test_a_retry_of_an_old_version_is_upcast_again(running, queue, got, clock):
    async with running() as app:
        await queue.send([message("versions.placed", {"order_id": "again", "total": 1})])
        await app.idle()
        await clock.advance(1)
        await app.idle()
    assert got == [(Placed("again", 100), 1), (Placed("again", 100), 2)]


async def test_a_letter_tells_what_the_upcaster_said_and_a_mended_one_reads_it_after_a_redrive(
    running, queue, got, letters
):
    @dawdle.event("versions.mended", version=2, upcasters={1: lambda data: {"cents": data["sum"]}})
    class Mended(msgspec.Struct):
        cents: int

    async with running(start_listener=False) as app:
        app.register(got.append, Mended, name="mended")
        await queue.send([message("versions.mended", {"total": 3})])
        await app.start_listener()
        await app.idle()
        (letter,) = [each async for each in app.dead_letters()]
        assert letter.error == "the upcaster of 'versions.mended' from version 1 failed: KeyError: 'sum'"
        assert letter.event is None
        dawdle.event("versions.mended", version=2, upcasters={1: lambda data: {"cents": data["total"]}})(Mended)
        (letter,) = [each async for each in app.dead_letters()]
        assert letter.event == Mended(3)
        await app.redrive()
        await app.idle()
    assert got == [Mended(3)]


async def test_a_newer_version_goes_back_to_the_queue_as_it_came_for_a_worker_that_knows_it(
    running, registry, got, moments, tmp_path, clock
):
    backend = SQLite(tmp_path / "events.db", clock=clock)
    async with running(backend) as app:
        body = message("versions.first", {"order_id": "o-9"}, dawdleversion=2)
        await backend.send([body])
        await clock.advance(0.1)
        await app.idle()
        assert got == []
        assert [moment.why for moment in moments if isinstance(moment, dawdle.hooks.Forwarded)] == ["unclaimed"]
        assert [each async for each in app.dead_letters()] == []
