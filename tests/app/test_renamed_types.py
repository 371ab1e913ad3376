"""A call that names a type by a text, its name or an alias, means what is stored under any of its names."""

import msgspec
import pytest

import dawdle
from dawdle import Reject
from dawdle.abc import Outgoing
from tests.app.events import Cancelled

pytestmark = pytest.mark.anyio

NAMES = ("renamed.placed", "RenamedPlaced", "renamed.bought")


@dawdle.event("renamed.placed", aliases=("RenamedPlaced", "renamed.bought"))
class Placed(msgspec.Struct, frozen=True):
    number: int


@pytest.fixture
def refuses(registry):
    @registry.on_event(Placed, Cancelled, name="receipt")
    async def receipt(event):
        raise Reject("closed")


def message(name, number):
    event = {"specversion": "1.0", "id": f"e-{number}", "source": "/shop", "type": name, "data": {"number": number}}
    return Outgoing(msgspec.json.encode(event))


async def store_one_of_each_name(queue):
    """Store an event under each name that its type has had, and one of another type."""
    names = (*NAMES, "Cancelled")
    await queue.send([message(name, number) for number, name in enumerate(names)])


@pytest.mark.parametrize("name", NAMES)
async def test_events_are_found_under_all_names_of_their_type(running, queue, refuses, name):
    async with running(start_listener=False) as app:
        await store_one_of_each_name(queue)
        found = [event async for event in app.browse(name, queue="default")]
        assert [(each.event_type, each.event) for each in found] == [
            (name, Placed(number)) for number, name in enumerate(NAMES)
        ]
        assert len([event async for event in app.browse(name, "Cancelled", queue="default")]) == 4


@pytest.mark.parametrize("name", NAMES)
async def test_letters_are_found_redriven_and_purged_under_all_names_of_their_type(running, queue, refuses, name):
    async with running() as app:
        await store_one_of_each_name(queue)
        await app.idle()
        letters = [letter async for letter in app.dead_letters(name)]
        assert sorted(letter.event_type for letter in letters) == sorted(NAMES)
        assert await app.redrive(name, where=lambda letter: letter.event_type != name) == 2
        await app.idle()
        assert await app.purge(name) == 3
        assert [letter.event_type async for letter in app.dead_letters()] == ["Cancelled"]


async def test_a_function_is_found_under_all_names_of_its_calls(running, queue, registry):
    @registry.function(name="shop.resize", aliases=("shop.scale",))
    def resize(number: int) -> None: ...

    async with running(start_listener=False) as app:
        await app.call(resize, 7)
        (call,) = [event async for event in app.browse(queue="default")]
        await queue.send([message(call.event_type.replace("resize", "scale"), 8)])
        found = [event async for event in app.browse(call.event_type, queue="default")]
        assert [each.event_type for each in found] == ["call:shop.resize", "call:shop.scale"]
