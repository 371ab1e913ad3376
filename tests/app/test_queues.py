"""Several queues in one app: where an event goes, which handlers run there, and what a process listens to."""

import asyncio

import msgspec
import pytest

from dawdle import Dawdle
from dawdle.backends.memory import Memory
from dawdle.errors import ConfigurationError
from dawdle.testing.probe import Probe
from tests.app.events import Placed

pytestmark = pytest.mark.anyio


class Uploaded(msgspec.Struct, frozen=True):
    name: str = ""


class Watched(Uploaded, frozen=True):
    pass


class Failing(Memory):
    """Stores nothing: each message gets this answer."""

    def __init__(self, answer, **options):
        super().__init__(**options)
        self.answer = answer

    async def send(self, batch):
        if isinstance(self.answer, Exception):
            raise self.answer
        return [self.answer] * len(batch)


@pytest.fixture
def queues(clock):
    return {name: Memory(clock=clock) for name in ("default", "video", "audit")}


@pytest.fixture
def ran(registry):
    """Which handlers ran, and on which queue."""
    return []


@pytest.fixture
def handler(registry, ran):
    """Register a handler that notes its runs."""

    def register(name, *types, raises=None, **options):
        @registry.on_event(*types, name=name, **options)
        async def handle(event, ctx):
            ran.append((name, ctx.queue))
            if raises is not None:
                raise raises

    return register


@pytest.fixture
def app_of(queues, registry, clock, moments):
    def make(**options):
        return Dawdle(**{"queues": queues, "registry": registry, "clock": clock, "hooks": [moments.append], **options})

    return make


def stored(queues):
    return {name: len(queue.messages()) for name, queue in queues.items() if queue.messages()}


async def test_an_event_goes_to_the_queue_of_its_route_and_without_one_to_the_default(app_of, queues):
    async with app_of(routes={Uploaded: "video"}, start_listener=False) as app:
        await app.signal(Uploaded())
        await app.signal_many([Placed(), Uploaded(), Placed()])
        assert stored(queues) == {"default": 2, "video": 2}


async def test_the_nearest_class_with_a_route_wins_and_a_base_class_serves_its_subclasses(app_of, queues):
    routes = {object: "audit", Uploaded: "video"}
    async with app_of(routes=routes, start_listener=False) as app:
        await app.signal(Watched())
        await app.signal(Placed())
        assert stored(queues) == {"video": 1, "audit": 1}


async def test_a_queue_that_the_call_names_wins_over_the_route(app_of, queues):
    async with app_of(routes={Uploaded: "video"}, start_listener=False) as app:
        await app.signal(Uploaded(), queue="audit")
        await app.signal_many([Uploaded()], queue="audit")
        await app.signal(Placed(), queue=["default", "audit"])
        assert stored(queues) == {"default": 1, "audit": 3}


async def test_the_first_queue_gets_the_event_and_each_other_a_copy_for_its_own_handlers(app_of, queues, handler, ran):
    handler("receipt", Placed)
    handler("log", Placed, queue="audit")
    async with app_of(routes={Placed: ("default", "audit")}) as app:
        await app.signal(Placed(1))
        await app.signal_many([Placed(2)])
        await app.idle()
        assert sorted(ran) == [("log", "audit")] * 2 + [("receipt", "default")] * 2
    assert stored(queues) == {}


async def test_a_handler_that_is_bound_to_another_queue_does_not_run_where_an_event_arrives(app_of, handler, ran):
    handler("thumbnail", Uploaded, queue="video")
    handler("count", Uploaded)
    async with app_of(routes={Uploaded: "video"}) as app:
        await app.signal(Uploaded(), queue="audit")
        await app.idle()
        assert ran == [("count", "audit")]
        await app.signal(Uploaded())
        await app.idle()
        assert sorted(ran[1:]) == [("count", "video"), ("thumbnail", "video")]


async def test_a_process_works_on_the_queues_that_it_listens_to_and_on_no_other(app_of, queues, handler, ran):
    handler("count", Uploaded, Placed)
    async with app_of(routes={Uploaded: "video"}, listen=("video",)) as app:
        await app.signal_many([Uploaded(), Placed()])
        await app.idle()
        assert ran == [("count", "video")]
        assert [each.queue for each in app.health().queues] == ["video"]
    assert stored(queues) == {"default": 1}


async def test_a_process_that_listens_to_nothing_only_signals(app_of, queues, handler, ran):
    handler("count", Placed)
    async with app_of(listen=()) as app:
        await app.signal(Placed())
        await app.idle()
        with pytest.raises(ConfigurationError, match=r"made with listen=\(\): name a queue"):
            await app.start_listener()
        assert not app.health().listening
    assert (ran, stored(queues)) == ([], {"default": 1})


@pytest.mark.parametrize("concurrency", [2, {"video": 2}, {"video": 2, "default": 1}])
async def test_a_queue_whose_handlers_hang_leaves_the_others_their_slots(app_of, queues, registry, clock, concurrency):
    done, running = [], 0

    @registry.on_event(Uploaded, name="encode")
    async def encode(event):
        nonlocal running
        running += 1
        await asyncio.Event().wait()

    @registry.on_event(Placed, name="receipt")
    def receipt_in_a_thread(event):
        done.append(event)

    @registry.on_event(Placed, name="bill")
    async def bill(event):
        done.append(event)

    async with app_of(routes={Uploaded: "video"}, concurrency=concurrency, grace=0) as app:
        await app.signal_many([Uploaded() for _ in range(50)])
        await clock.advance(1)
        await app.signal_many([Placed(number) for number in range(10)])
        async with asyncio.timeout(10):  # the last of them is settled after its thread has returned
            while len(done) < 20 or app.health().in_hand > 2:
                await clock.advance(0.1)
                await asyncio.sleep(0.001)
        assert running == 2
        health = app.health()
        assert (health.oldest_queue, health.oldest_handlers) == ("video", ("encode",))
        assert {each.queue: each.in_hand for each in health.queues} == {"default": 0, "video": 2, "audit": 0}
        assert {each.queue: each.slots for each in health.queues}["video"] == 2
    assert stored(queues) == {"video": 50}


async def test_an_event_that_waits_for_a_handlers_limit_takes_no_slot_of_another_queue(app_of, registry, clock):
    @registry.on_event(Uploaded, Placed, name="encode", concurrency=1)
    async def encode(event):
        await asyncio.Event().wait()

    async with app_of(routes={Uploaded: "video"}, concurrency={"video": 8, "default": 8}, grace=0) as app:
        await app.signal_many([Uploaded() for _ in range(20)])
        await clock.advance(0.01)
        assert Probe(app).waiting == {"encode": 4}  # half of the slots of its queue
        await app.signal_many([Placed(number) for number in range(20)])
        await clock.advance(0.01)
        assert Probe(app).waiting == {"encode": 8}
