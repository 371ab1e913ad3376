"""direct=True: here and now, past the queue; only what fails goes there."""

import asyncio
from contextlib import asynccontextmanager

import msgspec
import pytest

from dawdle import Context, Dawdle, Retry
from dawdle.abc import Fault
from dawdle.backends.memory import Memory
from dawdle.errors import BackendError
from tests.app.events import Placed

pytestmark = pytest.mark.anyio


async def test_direct_starts_the_handlers_and_returns_when_they_have_started(running, registry, queue, clock):
    story = []

    @registry.on_event(Placed)
    async def first(event):
        story.append("first started")
        await clock.sleep_until(5)
        story.append("first done")

    @registry.on_event(Placed)
    async def second(event):
        story.append("second started")

    async with running(start_listener=False) as app:
        await app.signal(Placed(), direct=True)
        assert sorted(story) == ["first started", "second started"]
        assert queue.messages() == []
        await clock.advance(5)
    assert story[-1] == "first done"


async def test_a_direct_handler_that_fails_is_forwarded_owing_just_itself(running, registry, queue, clock):
    runs = []

    @registry.on_event(Placed, name="good")
    async def good(event):
        runs.append("good")

    @registry.on_event(Placed, name="bad", retry=Retry(initial=10, jitter=0))
    async def bad(event, ctx: Context):
        runs.append(("bad", ctx.attempt, clock.monotonic()))
        if ctx.attempt == 1:
            raise ValueError

    async with running() as app:
        event_id = await app.signal(Placed(3), direct=True)
        await app.idle()
        (copy,) = [msgspec.json.decode(body) for body in queue.messages()]
        assert (copy["id"], copy["dawdleowed"], copy["dawdleattempt"]) == (event_id, "bad", 2)
        await clock.advance(10)
        await app.idle()
    assert runs == ["good", ("bad", 1, 0.0), ("bad", 2, 10.0)]
    assert queue.messages() == []


async def test_a_direct_event_cut_by_a_stop_is_forwarded_whole(make_app, registry, queue, clock):
    @registry.on_event(Placed, name="slow")
    async def slow(event):
        await clock.sleep_until(10**9)

    async with make_app(grace=0) as app:
        await app.signal(Placed(), direct=True)
        await clock.advance(1)
    (copy,) = [msgspec.json.decode(body) for body in queue.messages()]
    assert (copy["dawdleowed"], copy["dawdleattempt"]) == ("slow", 1)


async def test_a_direct_event_without_a_handler_here_goes_to_the_queue(running, queue):
    async with running() as app:
        await app.signal(Placed(), direct=True)
        assert len(queue.messages()) == 1


async def test_a_direct_failure_is_tried_until_the_queue_stores_it(running, registry, clock):
    class Down(Memory):
        failures = 5

        async def send(self, batch):
            if self.failures:
                self.failures -= 1
                raise BackendError("down")
            return await super().send(batch)

    @registry.on_event(Placed)
    async def bad(event):
        raise ValueError

    queue = Down(clock=clock)
    async with running(queue) as app:
        await app.signal(Placed(), direct=True)
        await clock.advance(60)
        await app.idle()
        assert queue.failures == 0


async def test_direct_takes_a_slot_and_waits_for_one(running, registry, clock):
    @registry.on_event(Placed)
    async def slow(event):
        await clock.sleep_until(clock.monotonic() + 10)

    async with running(concurrency=1, start_listener=False) as app:
        await app.signal(Placed(), direct=True)
        second = asyncio.create_task(app.signal(Placed(), direct=True))
        await clock.advance(5)
        assert not second.done()
        await clock.advance(6)
        assert second.done()
        await clock.advance(10)


async def test_direct_inside_a_handler_does_not_wait_for_the_slot_that_its_caller_holds(running, registry, clock):
    seen = []

    @registry.on_event(Placed)
    async def outer(event):
        if event.number == 0:
            await app.signal(Placed(1), direct=True)
        seen.append(event.number)

    async with running(concurrency=1) as app:
        await app.signal(Placed(0))
        await clock.advance(0)
        await app.idle()
    assert sorted(seen) == [0, 1]


async def test_direct_does_not_wait_for_slots_that_a_waiting_receive_has_taken(running, registry, clock):
    seen = []

    @registry.on_event(Placed)
    async def handler(event):
        seen.append(event.number)

    async with running(concurrency=1) as app:
        await clock.advance(5)
        await app.signal(Placed(1), direct=True)
        await app.signal(Placed(2), direct=True)
        await clock.advance(0)
        assert seen == [1, 2]


async def test_what_arrives_while_direct_events_fill_the_app_waits_for_its_turn(running, registry, clock):
    now, most = 0, 0

    @registry.on_event(Placed)
    async def handler(event):
        nonlocal now, most
        now += 1
        most = max(most, now)
        await clock.sleep_until(clock.monotonic() + 1)
        now -= 1

    async with running(concurrency=3) as app:
        await clock.advance(1)
        for number in range(3):
            await app.signal(Placed(number), direct=True)
        await app.signal_many([Placed(number) for number in range(10)])
        await clock.advance(20)
        await app.idle()
    assert most == 3


async def test_direct_from_the_end_of_the_lifespan_goes_to_the_queue(make_app, registry, queue, clock):
    seen = []

    @registry.on_event(Placed)
    async def handler(event):
        seen.append(event)

    @asynccontextmanager
    async def lifespan(app):
        yield
        await app.signal(Placed(1), direct=True)

    async with make_app(lifespan=lifespan):
        await clock.advance(0)
    assert seen == []
    assert len(queue.messages()) == 1


async def test_a_stop_gives_back_at_once_all_that_waits_for_the_slots_of_direct_events(running, registry, queue, clock):
    @registry.on_event(Placed)
    async def handler(event):
        await clock.sleep_until(20)

    async with running(concurrency=2, grace=100) as app:
        await clock.advance(1)
        await app.signal(Placed(0), direct=True)
        await app.signal(Placed(1), direct=True)
        await app.signal_many([Placed(2), Placed(3)])
        await clock.advance(1)
        stopping = asyncio.create_task(app.stop_listener())
        await clock.advance(1)
        assert len(queue._in_flight) == 0
        assert len(queue.messages()) == 2
        await clock.advance(30)
        await stopping


@pytest.mark.parametrize("offset", [-86_400, 86_400])
async def test_a_direct_failure_waits_as_long_as_it_should_whatever_the_nodes_clock_says(registry, clock, offset):
    """Its copy may take several hops, and until its first one no queue has said what time it is."""
    runs = []

    @registry.on_event(Placed, name="bad", retry=Retry(max_attempts=2, initial=3000, max_delay=3000, jitter=0))
    async def bad(event, ctx: Context):
        runs.append(clock.monotonic())
        raise ValueError

    async with Dawdle(Memory(clock=clock, max_delay=900), clock=clock.skewed(offset), registry=registry) as app:
        await app.signal(Placed(), direct=True)
        await clock.advance(10_000)
    assert runs == [0.0, pytest.approx(3000, abs=0.1)]


class Loses(Memory):
    """A queue that gives away what is held, once it loses."""

    loses = False

    async def renew(self, receipts):
        if self.loses:
            return [Fault("lost", "another receive has it")] * len(receipts)
        return await super().renew(receipts)


async def test_a_message_that_loses_its_lease_while_it_waits_for_its_turn_holds_nothing_any_more(
    running, registry, clock
):
    queue, gate, ran = Loses(clock=clock, lease=60), asyncio.Event(), []

    @registry.on_event(Placed)
    async def handler(event):
        ran.append(event.number)
        await gate.wait()

    async with running(queue, concurrency=2) as app:
        await clock.advance(0)  # the receive has reserved both slots
        for number in range(2):
            await app.signal(Placed(number), direct=True)
        await app.signal(Placed(2))
        await clock.advance(1)
        assert (app.health().in_hand, ran) == (3, [0, 1])
        queue.loses = True
        await clock.advance(25)
        queue.loses = False
        assert app.health().in_hand == 2
        gate.set()
        await clock.advance(60)
        assert (app.health().in_hand, ran) == (0, [0, 1, 2])


async def test_the_copies_of_a_direct_event_keep_its_group(running, registry, clock, monkeypatch):
    sent = []
    send = Memory.send

    async def noted(self, batch):
        sent.extend(batch)
        return await send(self, batch)

    monkeypatch.setattr(Memory, "send", noted)

    @registry.on_event(Placed, retry=Retry(max_attempts=2, initial=1, jitter=0))
    async def fails(event):
        raise OSError

    async with running() as app:
        await app.signal(Placed(), direct=True, group="customer-7")
        await clock.advance(10)
        await app.idle()
    assert [outgoing.group for outgoing in sent] == ["customer-7"] * 2, "the retry, and the letter"
