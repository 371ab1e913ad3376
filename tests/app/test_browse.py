"""A queue that keeps copies is looked at and replayed to one handler: it keeps them all, and hides none."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from dawdle import ConfigurationError, Context, Dawdle, EventError, StoredEvent
from dawdle.abc import Outgoing
from dawdle.backends.memory import Memory
from dawdle.backends.sqlite import SQLite
from tests.app.events import Cancelled, Placed

pytestmark = pytest.mark.anyio

NOW = datetime.fromtimestamp(1_750_000_000, UTC)
ROUTES = {Placed: ("default", "audit"), Cancelled: ("default", "audit")}


@pytest.fixture
def runs(registry):
    """Who ran: (handler, number, attempt, whether it was a replay)."""
    found = []

    @registry.on_event(Placed, name="receipt")
    async def receipt(event, ctx: Context):
        found.append(("receipt", event.number, ctx.attempt, "replayed" in ctx.headers))

    @registry.on_event(Placed, name="shipping", aliases=("shop.shipping",))
    async def shipping(event, ctx: Context):
        found.append(("shipping", event.number, ctx.attempt, "replayed" in ctx.headers))

    @registry.on_event(Cancelled, name="refund")
    async def refund(event, ctx: Context):
        found.append(("refund", event.number, ctx.attempt, "replayed" in ctx.headers))

    return found


@pytest.fixture
def audit(clock):
    return Memory(clock=clock)


@pytest.fixture
def make_audited(queue, audit, registry, clock):
    def make(**options):
        given = {"queues": {"default": queue, "audit": audit}, "routes": ROUTES, "listen": ("default",)}
        return Dawdle(**{**given, "registry": registry, "clock": clock, **options})

    return make


async def found_by(app, *types, **options):
    return [event async for event in app.browse(*types, **{"queue": "audit", **options})]


async def test_an_event_that_a_queue_keeps_says_all_that_is_known(make_audited, audit, clock, runs):
    async with make_audited() as app:
        event_id = await app.signal(Placed(7), headers={"tenant": "t-1"}, group="g")
        await clock.advance(60)
        await app.idle()
        (found,) = await found_by(app)
        assert (found.event_id, found.event_type, found.event, found.handler) == (event_id, "Placed", Placed(7), None)
        assert (found.signaled_at, found.stored_at) == (NOW, NOW)
        assert (found.headers, found.queue, found.group) == ({"tenant": "t-1"}, "audit", "g")
        assert found.body == audit.messages()[0]
        assert repr(found) == f"<StoredEvent Placed {event_id} in audit, stored 2025-06-15 15:06:40+0000>"
        assert (await audit.receive(1, 0))[0].receive_count == 1, "nobody has received it before"
        assert await found_by(app) == [found], "nor does it matter that it is in flight now"


async def test_stored_events_are_chosen_by_type_and_by_when_they_were_stored(make_audited, clock, runs):
    async with make_audited() as app:
        for number in range(3):
            await app.signal_many([Placed(number), Cancelled(number)])
            await clock.advance(60)

        async def numbers(*types, **options):
            return [each.event.number for each in await found_by(app, *types, **options)]

        minute = timedelta(minutes=1)
        assert await numbers() == [0, 0, 1, 1, 2, 2]
        assert await numbers(Placed) == await numbers("Placed") == [0, 1, 2]
        assert await numbers(Placed, "Cancelled", since=NOW + 2 * minute) == [2, 2]
        assert await numbers(msgspec.Struct, since=NOW + minute, until=NOW + 2 * minute) == [1, 1]
        assert await numbers("Unheard") == await numbers(until=NOW) == []


async def test_events_that_are_stored_during_a_look_are_not_in_it(make_audited, clock, runs):
    async with make_audited() as app:
        await app.signal(Placed(0))
        await clock.advance(1)
        seen = []
        async for each in app.browse(queue="audit"):
            seen.append(each.event.number)
            await clock.advance(1)
            await app.signal(Placed(len(seen)))
        assert seen == [0]


async def test_a_replay_runs_one_handler_at_attempt_one_and_the_copies_stay(make_audited, audit, clock, runs):
    async with make_audited() as app:
        event_ids = await app.signal_many([Placed(number) for number in range(250)])
        await app.idle()
        kept = audit.messages()
        runs.clear()
        seen = await found_by(app, Placed)
        for event in seen:
            await app.replay(event, handler="shop.shipping")
        await app.idle()
        assert [each.event_id for each in seen] == event_ids
        assert sorted(runs) == [("shipping", number, 1, True) for number in range(250)]
        assert audit.messages() == kept


async def test_a_replay_is_marked_and_has_neither_the_delay_nor_the_expiry_of_the_event(
    make_audited, queue, clock, runs
):
    async with make_audited(start_listener=False, signing_keys={"k": b"x" * 32}) as app:
        await app.signal(Placed(7), delay=600, expires=60, headers={"tenant": "t-1"})
        await clock.advance(3600)
        (event,) = await found_by(app)
        await app.replay(event, handler="shipping")
        copy, first = map(msgspec.json.decode, queue.messages())
        assert copy.pop("replayed") == "2025-06-15T16:06:40.000Z"
        assert copy.pop("dawdleowed") == "shipping"
        assert copy.pop("dawdlesignature") != first.pop("dawdlesignature")
        assert first == copy | {name: first[name] for name in ("dawdledelay", "dawdlelifetime")}


async def test_a_replay_goes_to_the_queue_that_its_handler_is_bound_to(clock, registry):
    ran = []

    @registry.on_event(Placed, name="encode", queue="video")
    async def encode(event, ctx: Context):
        ran.append((ctx.handler, ctx.queue, event.number))

    @registry.on_event(Placed, name="other")
    async def other(event): ...

    queues = {name: Memory(clock=clock) for name in ("default", "video", "audit")}
    routes = {Placed: ("default", "video", "audit")}
    async with Dawdle(queues=queues, routes=routes, listen=("default", "video"), registry=registry, clock=clock) as app:
        await app.signal(Placed(7))
        await app.idle()
        ran.clear()
        (event,) = await found_by(app)
        await app.replay(event, handler="encode")
        await app.idle()
        assert ran == [("encode", "video", 7)]


async def test_what_waits_is_in_flight_or_delayed_is_seen_in_a_file_too(tmp_path, registry, clock):
    registry.on_event(Placed, name="receipt")(lambda event: None)
    async with Dawdle(SQLite(tmp_path / "a.db"), registry=registry, clock=clock, start_listener=False) as app:
        await app.signal_many([Placed(number) for number in range(250)])
        await app.signal(Placed(250), delay=60)
        assert [each.event.number for each in await found_by(app, queue="default")] == list(range(251))


@pytest.mark.parametrize("make", [lambda path: SQLite(path / "b.db", ordered=True), lambda _: Memory(ordered=True)])
async def test_delayed_events_of_an_ordered_queue_stand_where_they_were_stored(tmp_path, registry, clock, make):
    registry.on_event(Placed, name="receipt")(lambda event: None)
    async with Dawdle(make(tmp_path), registry=registry, clock=clock, start_listener=False) as app:
        for number in range(250):
            await app.signal(Placed(number), delay=3600 if number % 7 in {0, 1} else None, group="g")
            await clock.advance(1)
        assert [each.event.number for each in await found_by(app, queue="default")] == list(range(250))
        later = await found_by(app, queue="default", since=NOW + timedelta(seconds=100))
        assert [each.event.number for each in later] == list(range(100, 250))


async def test_what_is_no_event_is_shown_and_cannot_be_replayed(make_audited, audit, runs):
    async with make_audited() as app:
        unheard = {"specversion": "1.0", "id": "e-1", "source": "/shop", "type": "Unheard", "data": {}}
        await audit.send([Outgoing(b"garbage"), Outgoing(msgspec.json.encode(unheard))])
        garbage, unheard = await found_by(app)
        assert (garbage.event_type, garbage.event, garbage.body) == ("dawdle.undecodable", None, b"garbage")
        assert (unheard.event_type, unheard.event) == ("Unheard", None)
        for event in (garbage, unheard):
            with pytest.raises(EventError, match="does not know the type"):
                await app.replay(event, handler="receipt")


async def test_mistakes_are_told_at_once(make_audited, make_app, queue, clock, runs):
    async with make_audited() as app:
        await app.signal(Cancelled(7))
        (event,) = await found_by(app)
        for name, text in (("refundd", "did you mean 'refund'"), ("x", "it has receipt, shipping, refund"), (7, "has")):
            with pytest.raises(ConfigurationError, match=text):
                await app.replay(event, handler=name)
        with pytest.raises(ConfigurationError, match="receipt does not take Cancelled"):
            await app.replay(event, handler="receipt")
        with pytest.raises(ConfigurationError, match="takes what app.browse"):
            await app.replay(Placed(7), handler="receipt")
        for options, text in (
            ({"queue": "audits"}, "did you mean 'audit'"),
            ({"queue": "audit", "since": NOW.replace(tzinfo=None)}, "since=2025-06-15T15:06:40 has no time zone"),
            ({"queue": "audit", "until": 5}, "until=, an aware datetime, not 5"),
        ):
            with pytest.raises(ConfigurationError, match=text):
                app.browse(**options)
        with pytest.raises(ConfigurationError, match="browse"):
            app.browse(7, queue="audit")
        (held,) = await found_by(app, queue="default")
        with pytest.raises(ConfigurationError, match="which holds event"):
            await app.replay(held, handler="refund")
        assert isinstance(held, StoredEvent)


async def test_a_queue_that_can_only_be_received_from_says_what_to_use_instead(registry):
    class Sealed(Memory):
        browse = None

    async with Dawdle(Sealed(), registry=registry) as app:
        with pytest.raises(ConfigurationError, match="Sealed, is no dawdle.abc.Browsable"):
            app.browse(queue="default")
