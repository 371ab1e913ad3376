"""A handler's own limit: what waits in memory, what goes back at once, and what a stop makes of it."""

import asyncio
import random
from collections import Counter

import msgspec
import pytest

from dawdle import Retry
from dawdle.hooks import Forwarded, HandlerFinished
from dawdle.testing import Probe
from tests.app.events import Cancelled, Placed

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def the_same_chance():
    state = random.getstate()
    random.seed(7)
    yield
    random.setstate(state)


def crowded(moments):
    return [moment for moment in moments if isinstance(moment, Forwarded) and moment.why == "crowded"]


def takes(clock, seconds, started):
    async def handle(event):
        started.append(event.number)
        await clock.sleep_until(clock.monotonic() + seconds)

    return handle


async def test_what_finds_room_in_memory_waits_for_as_long_as_the_runs_before_it_take(
    running, registry, clock, moments
):
    started = []
    registry.on_event(Placed, name="slow", concurrency=1)(takes(clock, 1000, started))
    async with running(concurrency=8) as app:
        await app.signal_many([Placed(number) for number in range(3)])
        await clock.advance(2500)
        assert started == [0, 1, 2]
        assert not crowded(moments)
        await clock.advance(1000)
        await app.idle()


async def test_what_finds_no_room_goes_back_at_once_for_this_handler_alone_and_says_how_it_was_counted(
    running, registry, clock, queue, moments
):
    seen = []
    registry.on_event(Placed, name="slow", concurrency=1)(takes(clock, 10, []))
    registry.on_event(Placed, name="quick")(takes(clock, 0, seen))
    async with running(concurrency=8) as app:
        await app.signal_many([Placed(number) for number in range(8)])
        await clock.advance(0)
        assert app.health().in_hand == 1 + 2
        assert sorted(seen) == list(range(8))
        assert [moment.handler for moment in crowded(moments)] == ["slow"] * 5
        copies = [msgspec.json.decode(body) for body in queue.messages()]
        copies = [copy for copy in copies if "dawdlecrowded" in copy]
        assert [(copy["dawdleowed"], copy["dawdleattempt"]) for copy in copies] == [("slow", 1)] * 5
        assert {copy["dawdlecrowded"] for copy in copies} == {90_000}, "0.1 s, less a tenth: nothing has ended yet"
        await clock.advance(400)
        await app.idle()
    runs = Counter(moment.handler for moment in moments if isinstance(moment, HandlerFinished))
    assert runs == {"slow": 8, "quick": 8}


@pytest.mark.slow
async def test_a_backlog_is_worked_off_without_pause_while_others_have_their_slots(running, registry, clock, moments):
    started, others = [], []
    registry.on_event(Placed, name="slow", concurrency=1)(takes(clock, 0.2, started))

    @registry.on_event(Cancelled)
    async def other(event):
        others.append(clock.monotonic())

    async with running(concurrency=20) as app:
        began = clock.monotonic()
        await app.signal_many([Placed(number) for number in range(200)])
        for _ in range(20):
            await clock.advance(1)
            asked = clock.monotonic()
            await app.signal(Cancelled())
            await clock.advance(0)
            assert others[-1] == asked
        while len(started) < 200:
            await clock.advance(0.2)
        assert clock.monotonic() - began <= 200 * 0.2 / 0.9
        await clock.advance(1)
        await app.idle()
    assert sorted(started) == list(range(200))
    assert len(crowded(moments)) <= 4 * 200


@pytest.mark.slow
async def test_waiting_events_hold_a_quarter_of_the_slots_for_one_handler_and_half_for_all(running, registry, clock):
    for name in "abcd":
        registry.on_event(Placed, name=name, concurrency=1)(takes(clock, 50, []))
    async with running(concurrency=16, grace=0) as app:
        probe = Probe(app)
        await app.signal_many([Placed(number) for number in range(100)])
        most = Counter()
        for _ in range(60):
            await clock.advance(2)
            for name, waiting in probe.waiting.items():
                most[name] = max(most[name], waiting)
            most["all"] = max(most["all"], sum(probe.waiting.values()))
        assert max(most[name] for name in "abcd") <= 4
        assert most["all"] == 8


async def test_a_stop_gives_back_at_once_what_waits_and_lets_what_runs_end(running, registry, clock, queue, moments):
    started = []
    registry.on_event(Placed, name="slow", concurrency=1)(takes(clock, 20, started))
    async with running(concurrency=16, grace=25) as app:
        await app.signal_many([Placed(number) for number in range(4)])
        await clock.advance(1)
        assert app.health().in_hand == 4
        stopping = asyncio.create_task(app.stop_listener())
        await clock.advance(0)
        assert app.health().in_hand == 1
        assert len(await queue.receive(10, 0)) == 3, "visible now"
        await clock.advance(20)
        await stopping
    assert started == [0]
    assert [moment.outcome for moment in moments if isinstance(moment, HandlerFinished)] == ["done"]
    assert not crowded(moments)


async def test_a_direct_event_takes_its_place_in_the_line_as_any_other(running, registry, clock, queue, moments):
    started = []
    registry.on_event(Placed, name="slow", concurrency=1)(takes(clock, 5, started))
    async with running(concurrency=8) as app:
        for number in range(6):
            await app.signal(Placed(number), direct=True)
        await clock.advance(0)
        assert started == [0]
        assert app.health().in_hand == 3
        assert len(crowded(moments)) == 3
        await clock.advance(300)
        await app.idle()
    assert sorted(started) == list(range(6))


async def test_a_direct_event_waits_on_at_a_stop_and_what_is_not_run_in_the_grace_is_stored(
    make_app, registry, clock, queue
):
    started = []
    registry.on_event(Placed, name="slow", concurrency=1)(takes(clock, 5, started))
    app = make_app(concurrency=16, grace=7)
    async with app:
        for number in range(4):
            await app.signal(Placed(number), direct=True)
        await clock.advance(4)
        leaving = asyncio.create_task(app.__aexit__(None, None, None))
        await clock.advance(0)
        assert app.health().in_hand == 4, "no queue has them to give them back"
        await clock.advance(6)
        assert started == [0, 1, 2]
        assert queue.messages() == []
        await clock.advance(20)
        await leaving
        kept = [msgspec.json.decode(body) for body in queue.messages()]
        assert [copy["dawdleowed"] for copy in kept] == ["slow"] * 2, "one was cut off, and one waited"
        await app.__aenter__()
        await clock.advance(20)
    assert sorted(started) == [0, 1, 2, 2, 3]


async def test_a_limit_that_is_raised_while_events_wait_lets_them_run(running, registry, clock):
    started = []
    handle = takes(clock, 60, started)
    async with running(concurrency=16) as app:
        app.register(handle, Placed, name="slow", concurrency=1)
        await app.signal_many([Placed(number) for number in range(4)])
        await clock.advance(1)
        assert started == [0]
        app.unregister(handle)
        app.register(handle, Placed, name="slow", concurrency=3)
        await app.signal(Placed(4))
        await clock.advance(1)
        assert started == [0, 1, 2]
        await clock.advance(200)
        await app.idle()


async def test_a_run_that_fails_or_runs_out_of_time_gives_its_slot_to_the_next(running, registry, clock, letters):
    started = []

    @registry.on_event(Placed, name="slow", concurrency=1, timeout=3, retry=Retry(max_attempts=2))
    async def slow(event):
        started.append((event.number, clock.monotonic()))
        if event.number % 2:
            raise ValueError(event.number)
        await clock.sleep_until(clock.monotonic() + 100)

    async with running(concurrency=16) as app:
        await app.signal_many([Placed(number) for number in range(4)])
        await clock.advance(4)
        assert [number for number, _ in started] == [0, 1, 2]
        await clock.advance(600)
        await app.idle()
    assert len(letters()) == 4


async def test_a_wait_that_is_cut_off_at_the_end_of_the_grace_leaves_no_trace(make_app, registry, clock, queue):
    """The task of the oldest waiter is cancelled in the very step in which it was to begin."""
    started = []

    @registry.on_event(Placed, name="slow", concurrency=1)
    async def slow(event):
        started.append(event.number)
        try:
            await clock.sleep_until(clock.monotonic() + 100)
        finally:
            await asyncio.sleep(0)

    app = make_app(concurrency=16, start_listener=False)
    async with app:
        for number in range(3):
            await app.signal(Placed(number), direct=True)
        await clock.advance(1)
        probe = Probe(app)
        probe.interrupt()
        await clock.advance(0)
        assert set(probe.waiting.values()) <= {0}
        assert app.health().in_hand == 0
        assert len(queue.messages()) == 3
        await clock.advance(0)
    assert started[0] == 0
