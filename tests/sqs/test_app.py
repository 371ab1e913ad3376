"""The app on SQS: real sockets, a held clock where time is the point."""

import asyncio
from collections import Counter

import msgspec
import pytest

from dawdle import BackendError, ConfigurationError, Context, Dawdle, Registry, Retry
from dawdle.backends.sqs import SQS
from dawdle.backends.sqs._connection import Connection
from dawdle.hooks import Forwarded
from dawdle.testing import Probe
from dawdle.testing.sqs import SQSServer

pytestmark = pytest.mark.anyio


class Placed(msgspec.Struct, frozen=True):
    number: int = 0


async def settled(server, *apps):
    """Return once every app waits for a message again, and none has one in hand."""
    async with asyncio.timeout(60):
        quiet = 0
        while quiet < 3:
            await asyncio.sleep(0.001)
            at_rest = not any(app.health().in_hand for app in apps)
            quiet = quiet + 1 if at_rest and server.queue("orders").polls >= len(apps) else 0


@pytest.mark.parametrize("skew", [0, 600, -600])
async def test_forty_minutes_take_three_hops_and_are_not_early_and_at_most_two_seconds_late(server, sqs, clock, skew):
    registry, ran, forwarded = Registry(), [], []

    @registry.on_event(Placed)
    async def handler(event):
        ran.append(clock.monotonic())

    def watch(moment):
        if isinstance(moment, Forwarded):
            forwarded.append(moment.why)

    if skew:
        server.faults.add("skew", seconds=-skew)
    async with Dawdle(sqs(), registry=registry, clock=clock.skewed(skew), grace=0.1, hooks=[watch]) as app:
        await settled(server, app)
        await clock.advance(0.3)
        start = clock.monotonic()
        await app.signal(Placed(), delay=2400)
        while clock.monotonic() < start + 2420:
            near = min(abs(clock.monotonic() - start - hop) for hop in (900, 1800, 2400))
            await clock.advance(0.5 if near < 22 else 20)
            await settled(server, app)
    assert len(ran) == 1
    assert 0 <= ran[0] - start - 2400 <= 2
    assert forwarded == ["delayed", "delayed"]


async def test_only_the_handler_that_failed_is_retried_also_on_another_node(server, sqs, clock):
    runs = Counter()

    def node(name):
        registry = Registry()

        @registry.on_event(Placed, name="good")
        async def good(event):
            runs["good", event.number] += 1

        @registry.on_event(Placed, name="bad", retry=Retry(initial=1, jitter=0))
        async def bad(event, ctx: Context):
            runs["bad", event.number] += 1
            runs[f"bad on {name}"] += 1
            if ctx.attempt < 3:
                raise ValueError

        return Dawdle(sqs(), registry=registry, clock=clock, grace=0.1)

    async with node("one") as one:
        await one.signal_many([Placed(number) for number in range(30)])
        async with asyncio.timeout(60):
            while runs["bad on one"] < 30:
                await asyncio.sleep(0.002)
        await settled(server, one)
    async with node("two") as two:
        for _ in range(20):  # longer than a lease: the polls that node one abandoned have swallowed some
            await clock.advance(5)
            await settled(server, two)
    assert {runs["good", number] for number in range(30)} == {1}
    assert {runs["bad", number] for number in range(30)} == {3}
    assert (runs["bad on one"], runs["bad on two"]) == (30, 60)
    assert len(server.queue("orders")) == len(server.queue("dead")) == 0


async def test_an_event_that_one_of_two_versions_lacks_is_handled_by_the_other(server, sqs, clock):
    old, new, seen = Registry(), Registry(), []
    News = msgspec.defstruct("News", [("number", int)])

    @old.on_event(Placed)
    async def old_handler(event): ...

    @new.on_event(News)
    async def new_handler(event):
        seen.append(event.number)

    async with Dawdle(sqs(), registry=old, clock=clock, grace=0.1) as one:
        async with Dawdle(sqs(), registry=new, clock=clock, grace=0.1, start_listener=False) as signaler:
            await signaler.signal_many([News(number) for number in range(20)])
        for _ in range(10):
            await settled(server, one)
            await clock.advance(1)
        assert seen == []
        async with Dawdle(sqs(), registry=new, clock=clock, grace=0.1) as two:
            async with asyncio.timeout(60):
                while len(seen) < 20:
                    await settled(server, one, two)
                    await clock.advance(5)
    assert sorted(seen) == list(range(20))
    assert len(server.queue("dead")) == 0


async def test_with_its_attempts_spent_a_handler_is_in_the_dead_letter_queue(server, sqs, clock):
    registry = Registry()

    @registry.on_event(Placed, name="bad", retry=Retry(max_attempts=1))
    async def bad(event):
        raise ValueError("no stock")

    async with Dawdle(sqs(), registry=registry, clock=clock, grace=0.1) as app:
        await app.signal(Placed(7))
        await settled(server, app)
        async with asyncio.timeout(60):
            while not len(server.queue("dead")):
                await asyncio.sleep(0.002)
    (letter,) = [msgspec.json.decode(message.body) for message in server.queue("dead").messages()]
    assert (letter["dawdleowed"], letter["dawdleerror"], letter["data"]) == (
        "bad",
        "ValueError: no stock",
        {"number": 7},
    )


async def test_a_second_queue_takes_what_is_delayed_and_is_received_from(server, sqs, clock):
    server.create_queue("later")
    registry, seen = Registry(), []

    @registry.on_event(Placed)
    async def handler(event):
        seen.append(event.number)

    queue = sqs(delay_queue_url=server.queue_url("later"))
    async with Dawdle(queue, registry=registry, clock=clock, grace=0.1) as app:
        await settled(server, app)
        await app.signal(Placed(1), delay=30)
        assert (len(server.queue("orders")), server.queue("later").delayed) == (0, 1)
        for _ in range(32):
            await clock.advance(1)
            await settled(server, app)
        async with asyncio.timeout(60):
            while len(server.queue("later")):
                await asyncio.sleep(0.002)
    assert seen == [1]


async def test_an_idle_app_makes_one_request_per_twenty_seconds(server, sqs, clock):
    registry = Registry()

    @registry.on_event(Placed)
    async def handler(event): ...

    async with Dawdle(sqs(), registry=registry, clock=clock, grace=0.1) as app:
        await app.signal_many([Placed(number) for number in range(300)])
        for _ in range(3):
            await settled(server, app)
            await clock.advance(20)
        await settled(server, app)
        server.requests.clear()
        for _ in range(30):
            await clock.advance(20)
            await settled(server, app)
        assert server.requests in ({"ReceiveMessage": 30}, {"ReceiveMessage": 31})  # one of them does not wait


async def test_an_app_that_only_signals_needs_no_more_than_to_send(server, sqs):
    async with Dawdle(sqs(), registry=Registry(), start_listener=False) as app:
        await app.signal_many([Placed(number) for number in range(25)])
    assert server.requests == {"SendMessageBatch": 3}


async def requests_of_4000_events(sqs):
    async with SQSServer(queues=("orders",)) as server:
        registry, count = Registry(), 0

        @registry.on_event(Placed)
        async def handler(event):
            nonlocal count
            count += 1

        async with Dawdle(SQS(server.queue_url("orders")), registry=registry, grace=1) as app:

            async def signaler():
                for number in range(40):
                    await app.signal(Placed(number))

            async with asyncio.timeout(60):
                await asyncio.gather(*(signaler() for _ in range(100)))
                while count < 4000:
                    await asyncio.sleep(0.01)
                await Probe(app).flushed()
    assert count == 4000
    return server.requests


@pytest.mark.slow
async def test_at_saturation_an_event_costs_less_than_half_a_request(sqs):
    """It is 0.31 on a machine that does nothing else. On a busy one receives find fewer messages each."""
    requests = await requests_of_4000_events(sqs)
    assert requests["SendMessageBatch"] == 400
    assert sum(requests.values()) / 4000 < 0.5, requests


async def test_one_object_serves_one_app_at_a_time_and_the_next_afterwards(server, sqs, clock):
    queue = sqs()
    async with Dawdle(queue, registry=Registry(), clock=clock) as app:
        with pytest.raises(ConfigurationError, match="one object serves one app at a time"):
            await Dawdle(queue, registry=Registry(), clock=clock).__aenter__()
        with pytest.raises(ConfigurationError, match="is already open"):
            await queue.__aenter__()
        await app.signal(Placed(1))
    async with Dawdle(queue, registry=Registry(), clock=clock) as app:
        await app.signal(Placed(2))
    assert len(server.queue("orders")) == 2


async def test_a_queue_that_stands_behind_another_is_opened_by_that_one_alone(server, sqs):
    queue = sqs(dead_letter_url=server.queue_url("dead"))
    async with queue:
        with pytest.raises(ConfigurationError, match="is already open"):
            await queue.dead_letters.__aenter__()
        assert await queue.dead_letters.receive(1, 0) == []
    async with queue.dead_letters:
        with pytest.raises(ConfigurationError, match="is already open"):
            await queue.__aenter__()
        assert await queue.dead_letters.receive(1, 0) == []
    async with queue:
        assert await queue.dead_letters.receive(1, 0) == []


async def test_an_object_whose_clients_cannot_be_made_may_be_opened_again(server, sqs, monkeypatch):
    async def fail(connection):
        raise BackendError("no client")

    queue = sqs()
    with monkeypatch.context() as patched:
        patched.setattr(Connection, "open", fail)
        with pytest.raises(BackendError, match="no client"):
            await queue.__aenter__()
    async with queue:
        assert await queue.receive(1, 0) == []
