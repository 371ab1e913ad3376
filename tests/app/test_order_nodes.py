"""An ordered queue whose nodes have other handlers: an event waits in its place for a node that has all of them."""

import msgspec
import pytest

from dawdle import Dawdle, Registry
from dawdle.backends.memory import Memory
from dawdle.events import event as declare
from tests.faults.shared_memory import Node

pytestmark = pytest.mark.anyio


class Step(msgspec.Struct, frozen=True):
    group: str
    number: int


class Named(msgspec.Struct, frozen=True):
    number: int


declare("test_order_nodes.named", handlers=("here", "there"))(Named)


@pytest.fixture
def queue(clock):
    return Memory(clock=clock, ordered=True)


def node(queue, clock, runs, *handlers, kind=Step, **options):
    registry = Registry()
    for name in handlers:

        async def handler(event, name=name) -> None:
            runs.append((name, event.number))

        registry.on_event(kind, name=name)(handler)
    return Dawdle(Node.of(queue), registry=registry, clock=clock, **options)


class Other(msgspec.Struct, frozen=True):
    pass


async def test_an_event_that_one_node_lacks_waits_for_the_other_and_keeps_its_place(queue, clock):
    runs = []
    async with node(queue, clock, runs, "other", kind=Other) as wrong:
        for number in range(3):
            await wrong.signal(Step("a", number), group="a")
        await clock.advance(100)
        assert runs == []
        assert len(queue.messages()) == 3
        async with node(queue, clock, runs, "right"):
            await clock.advance(2000)
    assert runs == [("right", number) for number in range(3)]


async def test_an_event_that_no_node_wants_is_given_up_and_the_next_one_runs(queue, clock):
    runs = []
    async with node(queue, clock, runs, "right", unclaimed=600) as app:
        await app.signal(Other(), group="a")
        await app.signal(Step("a", 1), group="a")
        await clock.advance(500)
        assert runs == []
        await clock.advance(1000)
    assert runs == [("right", 1)]
    (letter,) = [msgspec.json.decode(body) for body in queue.dead_letters.messages()]
    assert letter["type"] == "Other"
    assert "for 600 s" in letter["dawdleerror"]


async def test_an_event_runs_only_where_all_handlers_are_that_its_type_names(queue, clock):
    runs = []
    async with node(queue, clock, runs, "here", kind=Named) as half:
        for number in range(2):
            await half.signal(Named(number), group="a")
        await clock.advance(60)
        assert runs == []
    async with node(queue, clock, runs, "here", "there", kind=Named):
        await clock.advance(600)
    assert sorted(runs[:2]) == [("here", 0), ("there", 0)]
    assert sorted(runs[2:]) == [("here", 1), ("there", 1)]
