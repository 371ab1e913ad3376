"""expires=: what is late by the queue's clock is not run, and a hook, a count or a dead letter tells."""

import asyncio
import re
from datetime import datetime, timedelta

import msgspec
import pytest

import dawdle
from dawdle import ConfigurationError, Registry, Retry, from_thread
from dawdle.backends.memory import Memory
from dawdle.backends.sqlite import SQLite
from dawdle.hooks import DeadLettered, Expired, Forwarded
from tests.app.events import Placed

pytestmark = pytest.mark.anyio


@dawdle.event("expiry.offer", expires=60)
class Offer(msgspec.Struct, frozen=True):
    number: int = 0


@dawdle.event("expiry.invoice", expires=timedelta(minutes=1), expired="dead")
class Invoice(msgspec.Struct, frozen=True):
    number: int = 0


@pytest.fixture
def ran(registry, clock):
    ran = []

    @registry.on_event(Placed, Offer, Invoice, name="handle")
    async def handle(event):
        ran.append((event, clock.monotonic()))

    return ran


def of_type(moments, kind):
    return [moment for moment in moments if isinstance(moment, kind)]


@pytest.mark.parametrize("skew", [0, 600, -600])
@pytest.mark.parametrize(("expires", "waited", "runs"), [(60, 59.9, True), (60, 60.1, False), (0.5, 0.6, False)])
async def test_an_event_runs_until_it_expires_by_the_queues_clock(
    make_app, ran, clock, moments, skew, expires, waited, runs
):
    async with make_app(start_listener=False, clock=clock.skewed(skew)) as app:
        event_id = await app.signal(Placed(), expires=expires)
        await clock.advance(waited)
        await app.start_listener()
        await app.idle()
        assert bool(ran) == runs
        assert app.health().expired == (not runs)
        assert app.health().healthy
    found = of_type(moments, Expired)
    assert [(moment.queue, moment.event_id, moment.event_type, moment.handler) for moment in found] == (
        [] if runs else [("default", event_id, "Placed", None)]
    )
    assert all(moment.late == pytest.approx(0.1, abs=0.01) for moment in found)


@pytest.mark.parametrize("skew", [0, 600, -600])
@pytest.mark.parametrize("late", [-1, 1])
async def test_with_a_delay_it_counts_from_when_the_event_is_due(make_app, ran, clock, skew, late):
    backend = Memory(clock=clock, max_delay=900)
    async with make_app(backend, start_listener=False, clock=clock.skewed(skew)) as app:
        await app.signal(Placed(), delay=3600, expires=60)
        await app.start_listener()
        await clock.advance(2000)  # some hops on the way
        await app.stop_listener()
        await clock.advance(1660 + late)
        await app.start_listener()
        await clock.advance(0.01)
        await app.idle()
        assert bool(ran) == (late < 0)
        assert app.health().expired == (late > 0)


async def test_a_retry_that_would_be_late_is_not_run(running, registry, clock, moments):
    attempts = []

    @registry.on_event(Placed, retry=Retry(initial=40, factor=1, jitter=0), name="fails")
    async def fails(event):
        attempts.append(clock.monotonic())
        raise OSError

    @registry.on_event(Placed, name="works")
    async def works(event): ...

    async with running() as app:
        await app.signal(Placed(), expires=100)
        await clock.advance(1000)
        await app.idle()
        assert attempts == [0, 40, 80]
        assert app.health().expired == 1
    assert [moment.handler for moment in of_type(moments, Expired)] == ["fails"]
    assert [moment.why for moment in of_type(moments, Forwarded)] == ["retry"] * 3


async def test_an_event_that_expires_in_its_place_lets_its_group_go_on(make_app, registry, clock):
    ran = []

    @registry.on_event(Placed, retry=Retry(initial=40, factor=1, jitter=0))
    async def handle(event):
        ran.append((event.number, round(clock.monotonic())))
        if event.number == 1:
            raise OSError

    async with make_app(Memory(clock=clock, ordered=True)) as app:
        await app.signal(Placed(1), group="g", expires=100)
        await app.signal(Placed(2), group="g")
        await clock.advance(200)
        await app.idle()
        assert ran == [(1, 0), (1, 40), (1, 80), (2, 120)]
        assert app.health().expired == 1


async def test_what_runs_already_is_not_ended(running, registry, clock):
    story = []

    @registry.on_event(Placed)
    async def slow(event):
        await clock.sleep_until(100)
        story.append("done")

    async with running() as app:
        await app.signal(Placed(), expires=5)
        await clock.advance(100)
        await app.idle()
        assert story == ["done"]
        assert app.health().expired == 0


async def test_a_retry_of_a_direct_event_expires_as_if_the_event_had_been_stored(running, registry, queue, clock):
    @registry.on_event(Placed, retry=Retry(initial=1, factor=1, jitter=0))
    async def slow(event):
        await clock.sleep_until(clock.monotonic() + 70)
        raise OSError

    async with running() as app:
        await app.signal(Placed(), direct=True, expires=60)
        await clock.advance(200)
        await app.idle()
        assert app.health().expired == 1
    assert queue.messages() == []


async def test_a_direct_events_early_copy_lives_for_what_is_left(running, registry, queue, clock):
    @registry.on_event(Placed)
    async def fails(event):
        await clock.sleep_until(clock.monotonic() + 40)
        raise OSError

    @registry.on_event(Placed)
    async def slow(event):
        await clock.sleep_until(clock.monotonic() + 50)

    async with running(start_listener=False) as app:
        await app.signal(Placed(), direct=True, expires=60)
        await clock.advance(45)
        (copy,) = map(msgspec.json.decode, queue.messages())
        assert int(copy["dawdlelifetime"]) == pytest.approx(19_000, abs=10), "stored a second after the failure"
        await clock.advance(10)


async def test_the_type_says_how_long_its_events_live_and_the_signal_wins(running, ran, clock):
    async with running(start_listener=False) as app:
        await app.signal(Offer(1))
        await app.signal(Offer(2), expires=120)
        await app.signal_many([Offer(3), Offer(4)], expires=timedelta(seconds=120))
        await app.signal_many([Offer(5), Placed(6)])
        await clock.advance(61)
        await app.start_listener()
        await app.idle()
        assert sorted(event.number for event, _ in ran) == [2, 3, 4, 6]
        assert app.health().expired == 2


async def test_expired_dead_makes_a_letter_that_runs_after_its_redrive(running, ran, clock, moments, letters):
    async with running(start_listener=False) as app:
        event_id = await app.signal(Invoice(1))
        await app.signal(Invoice(2), expires=3600)
        await clock.advance(61)
        await app.start_listener()
        await app.idle()
        assert [event.number for event, _ in ran] == [2]
        assert (app.health().dead_letters, app.health().expired) == (1, 0)
        (moment,) = of_type(moments, DeadLettered)
        assert (moment.event_id, moment.handler) == (event_id, None)
        assert moment.reason == "it expired 1 s before it was received; its handlers do not run any more"
        assert [letter["id"] for letter in letters()] == [event_id]
        await clock.advance(1000)
        await app.redrive()
        await app.idle()
        assert [event.number for event, _ in ran] == [2, 1]


async def test_the_signaling_node_decides_so_a_node_without_the_type_drops_it_too(make_app, queue, clock):
    shared = Memory(clock=clock)
    async with make_app(shared, registry=Registry(), start_listener=False) as signals:
        await signals.signal(Offer())
        await clock.advance(61)
    assert len(shared.messages()) == 1
    other = Registry()
    other.on_event(Placed, name="another")(lambda event: None)
    async with make_app(shared, registry=other) as app:
        await app.idle()
        assert app.health().expired == 1
    assert shared.messages() == []


async def test_what_travels_says_the_lifetime_first_and_the_time_later(running, registry, queue, clock):
    @registry.on_event(Placed)
    async def fails(event):
        raise OSError

    async with running(start_listener=False) as app:
        began = clock.now()
        await app.signal(Placed(), delay=1, expires=60)
        (body,) = map(msgspec.json.decode, queue.messages())
        assert (body["dawdledelay"], body["dawdlelifetime"]) == ("1000", "61000")
        assert "dawdleexpires" not in body
        await clock.advance(5)
        await app.start_listener()
        await app.idle()
        (body,) = map(msgspec.json.decode, queue.messages())
        assert "dawdlelifetime" not in body
        at = datetime.fromisoformat(body["dawdleexpires"])
        assert at.timestamp() == pytest.approx(began + 61, abs=0.01)


@pytest.mark.slow
async def test_an_event_in_a_file_expires_in_another_app(tmp_path, ran, registry):
    path = tmp_path / "app.db"
    async with dawdle.Dawdle(SQLite(path), registry=registry, start_listener=False) as app:
        await app.signal_many([Placed(1), Placed(2)], expires=0.05)
        await app.signal(Placed(3), expires=30)
        await app.signal(Placed(4), expires=30, delay=0.2)
    await asyncio.sleep(0.1)
    async with dawdle.Dawdle(SQLite(path), registry=registry) as app:
        while len(ran) < 2:
            await asyncio.sleep(0.01)
        assert [event.number for event, _ in ran] == [3, 4]
        assert app.health().expired == 2


async def test_an_event_that_does_not_expire_says_nothing_of_it(running, queue):
    async with running(start_listener=False) as app:
        await app.signal(Placed())
    assert not [name for name in msgspec.json.decode(queue.messages()[0]) if name.startswith("dawdle")]


@pytest.mark.parametrize("expires", [0, -1, float("nan"), "5", True, timedelta(0)])
async def test_a_wrong_lifetime_is_refused_before_anything_is_stored(running, queue, expires):
    async with running(start_listener=False) as app:
        for signaling in (
            lambda: app.signal(Placed(), expires=expires),
            lambda: app.signal_many([Placed()], expires=expires),
            lambda: dawdle.signal(Placed(), expires=expires),
            lambda: dawdle.signal_many([Placed()], expires=expires),
        ):
            with pytest.raises(ConfigurationError, match="expires is "):
                await signaling()
    assert queue.messages() == []


async def test_a_source_of_its_own_travels_with_an_event(running, queue):
    async with running(start_listener=False, source="/app") as app:
        await app.signal(Placed(), source="/shop/checkout?step=%32#top")
        await app.signal_many([Placed()], source="urn:isbn:0451450523")
        await dawdle.signal(Placed(), source="../x")
        await asyncio.to_thread(from_thread.signal, Placed(), source="/thread", expires=5)
        await app.signal(Placed())
    sources = [msgspec.json.decode(body)["source"] for body in queue.messages()]
    assert sources == ["/shop/checkout?step=%32#top", "urn:isbn:0451450523", "../x", "/thread", "/app"]


@pytest.mark.parametrize("source", ["", " ", "a b", "ä", "%", "%1", "%zz", "a\n", "x" * 1001, 5, b"/x", True])
async def test_what_is_no_uri_reference_is_refused_as_a_source(running, queue, source):
    async with running(start_listener=False) as app:
        for signaling in (
            lambda: app.signal(Placed(), source=source),
            lambda: app.signal_many([Placed()], source=source),
        ):
            with pytest.raises(ConfigurationError, match=re.escape("source is a URI-reference of 1 to 1,000 char")):
                await signaling()
    assert queue.messages() == []
