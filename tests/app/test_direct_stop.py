"""A direct event is owed from the call on: whatever ends first, it is handled, or stored, or an error names it."""

import asyncio
import contextlib
import itertools
import logging

import msgspec
import pytest

from dawdle import ConfigurationError, DawdleError, Retry, RetryLater, SignalError
from dawdle._flow import processor
from dawdle._rules import settlement
from dawdle._rules.outcome import Failed
from dawdle.abc import SystemClock
from dawdle.backends.memory import Memory
from dawdle.errors import BackendError
from dawdle.testing import Probe
from tests.app.events import Placed

pytestmark = pytest.mark.anyio


class Away(Memory):
    """A queue that takes nothing while it is away."""

    away = False

    async def send(self, batch):
        if self.away:
            raise BackendError("connection refused")
        return await super().send(batch)


class Silent(Memory):
    """A queue that never answers while it is silent."""

    silent = False

    async def send(self, batch):
        while self.silent:
            await asyncio.sleep(3600)
        return await super().send(batch)


def owed_in(queue):
    """Return the number of the event and the handler of each stored copy."""
    copies = [msgspec.json.decode(body) for body in queue.messages()]
    return sorted((copy["data"]["number"], copy.get("dawdleowed")) for copy in copies)


def deaf_handler(registry):
    """Register a handler that ignores each cancellation until the event is set that is returned."""
    go = asyncio.Event()

    @registry.on_event(Placed, name="deaf")
    async def deaf(event):
        while not go.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await go.wait()

    return go


async def turns(count=20):
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_waits_for_a_slot_when_the_app_is_left_is_handled_within_the_grace(make_app, registry, queue, clock):
    done = []

    @registry.on_event(Placed, name="slow")
    async def slow(event):
        await clock.sleep_until(clock.monotonic() + 1)
        done.append(event.number)

    app = make_app(concurrency=1, grace=10)
    await app.__aenter__()
    calls = [asyncio.create_task(app.signal(Placed(number), direct=True)) for number in range(3)]
    await turns()
    leaving = asyncio.create_task(app.__aexit__(None, None, None))
    await clock.advance(5)
    await leaving
    await asyncio.gather(*calls)
    assert done == [0, 1, 2]
    assert queue.messages() == []


async def test_what_waits_for_a_slot_at_the_end_of_the_grace_is_stored_whole(make_app, registry, queue):
    started = []

    async def stay(event):
        started.append(event.number)
        await asyncio.sleep(3600)

    for name in ("a", "b"):
        registry.on_event(Placed, name=name)(stay)

    async with make_app(concurrency=1, grace=0) as app:
        calls = [asyncio.create_task(app.signal(Placed(number), direct=True)) for number in range(3)]
        await turns()
    await asyncio.gather(*calls)
    assert set(started) == {0}
    assert owed_in(queue) == [(number, name) for number in range(3) for name in ("a", "b")]


async def test_in_whatever_moment_of_a_stop_it_is_signaled_it_is_not_lost(make_app, registry, queue, clock):
    done, ids, refused = set(), {}, 0

    @registry.on_event(Placed, name="h")
    async def handler(event):
        await clock.sleep_until(clock.monotonic() + 0.05)
        done.add(event.number)

    app = make_app(concurrency=2, grace=0.3)
    await app.__aenter__()

    async def signal_some():
        nonlocal refused
        for number in range(200):
            try:
                ids[number] = await app.signal(Placed(number), direct=True)
            except DawdleError:
                refused += 1
            await clock.sleep_until(clock.monotonic() + 0.003)

    async def pass_time():
        while not leaving.done():
            await clock.advance(0.002)

    signaling = asyncio.create_task(signal_some())
    await clock.advance(0.2)
    leaving = asyncio.create_task(app.__aexit__(None, None, None))
    await pass_time()
    await clock.advance(5)
    await signaling
    stored = {number for number, _ in owed_in(queue)}
    assert set(ids) <= done | stored
    assert len(ids) > 10
    assert refused


async def test_idle_waits_for_an_event_that_waits_for_its_slot(running, registry, clock):
    done = []

    @registry.on_event(Placed)
    async def slow(event):
        await clock.sleep_until(clock.monotonic() + 1)
        done.append(event.number)

    async with running(concurrency=1, start_listener=False) as app:
        calls = [asyncio.create_task(app.signal(Placed(number), direct=True)) for number in range(3)]
        await turns()
        assert app.health().in_hand == 3
        idle = asyncio.create_task(app.idle())
        await clock.advance(2.5)
        assert not idle.done()
        await clock.advance(1)
        await idle
        assert done == [0, 1, 2]
        await asyncio.gather(*calls)


@pytest.mark.parametrize("after", [0, 1, 2, 3])
async def test_a_caller_that_is_cancelled_leaves_no_half_of_a_fan_out(running, registry, clock, after):
    done = []

    @registry.on_event(Placed)
    async def first(event):
        done.append("first")

    @registry.on_event(Placed)
    async def second(event):
        done.append("second")

    @registry.on_event(Placed)
    async def third(event):
        done.append("third")

    async with running(concurrency=1) as app:
        call = asyncio.create_task(app.signal(Placed(), direct=True))
        await turns(after)
        call.cancel()
        await asyncio.wait([call])
        await app.idle()
    assert sorted(done) in ([], ["first", "second", "third"])
    assert done or after == 0


async def test_what_fails_while_the_queue_is_away_is_stored_before_the_app_is_left(make_app, registry, clock):
    queue = Away(clock=clock)

    @registry.on_event(Placed, name="bad", retry=Retry(initial=0))
    async def bad(event):
        raise ValueError

    app = make_app(queue, grace=60)
    await app.__aenter__()
    queue.away = True
    await app.signal(Placed(7), direct=True)
    await clock.advance(1)
    leaving = asyncio.create_task(app.__aexit__(None, None, None))
    await clock.advance(1)
    assert queue.messages() == []
    queue.away = False
    await clock.advance(59)
    await leaving
    assert owed_in(queue) == [(7, "bad")]


@pytest.mark.parametrize("kind", [Away, Silent])
async def test_what_cannot_be_stored_until_the_app_is_left_is_an_error_that_names_it(
    make_app, registry, clock, caplog, kind
):
    queue = kind(clock=clock)

    @registry.on_event(Placed, name="bad")
    async def bad(event):
        raise ValueError

    @registry.on_event(Placed, name="slow")
    async def slow(event):
        await asyncio.sleep(3600)

    app = make_app(queue, grace=0.1)
    await app.__aenter__()
    queue.away = queue.silent = True
    event_id = await app.signal(Placed(7), direct=True)
    leaving = asyncio.create_task(app.__aexit__(None, None, None))
    await clock.advance(10)
    await asyncio.wait_for(leaving, 60)
    (told,) = [each.message for each in caplog.records if each.levelno == logging.ERROR and "lost" in each.message]
    assert event_id in told
    assert "bad, slow" in told


async def test_an_event_that_comes_while_its_app_is_left_is_handled_stored_or_refused(make_app, registry, queue):
    seen, ids, refused = [], [], []

    @registry.on_event(Placed)
    async def handler(event):
        seen.append(event.number)

    async def signals():
        """Once in every turn of the loop, until the app is left."""
        for number in itertools.count():
            try:
                await app.signal(Placed(number), direct=True)
                ids.append(number)
            except SignalError:
                refused.append(number)
            except ConfigurationError:
                return
            await asyncio.sleep(0)

    app = make_app()
    await app.__aenter__()
    signaling = asyncio.create_task(signals())
    await asyncio.sleep(0.01)
    await app.__aexit__(None, None, None)
    await signaling
    stored = [number for number, _ in owed_in(queue)]
    assert sorted([*seen, *stored]) == ids
    assert refused


async def test_what_is_unfinished_when_the_app_dies_is_an_error_that_names_it(make_app, registry, caplog):
    @registry.on_event(Placed)
    async def slow(event):
        await asyncio.sleep(3600)

    app = make_app()
    await app.__aenter__()
    event_id = await app.signal(Placed(), direct=True)

    Probe(app).fail(ZeroDivisionError())
    await app.ended()
    assert [each for each in caplog.records if each.levelno == logging.ERROR and event_id in each.message]
    with pytest.raises(ZeroDivisionError):
        await app.__aexit__(None, None, None)


async def test_a_direct_event_whose_handler_nothing_can_end_is_stored_before_the_app_is_left(make_app, registry, queue):
    go = deaf_handler(registry)

    @registry.on_event(Placed, name="good")
    async def good(event):
        pass

    app = make_app(grace=0)
    await app.__aenter__()
    await app.signal(Placed(3), direct=True)
    await app.__aexit__(None, None, None)
    assert app.unfinished() == ["deaf"]
    assert owed_in(queue) == [(3, "deaf")]
    go.set()
    await Probe(app).over()


async def test_a_queued_event_whose_handler_nothing_can_end_is_given_back_before_the_app_is_left(
    make_app, registry, queue, clock
):
    go = deaf_handler(registry)

    app = make_app(grace=0)
    await app.__aenter__()
    await app.signal(Placed(3))
    await clock.advance(1)
    await app.__aexit__(None, None, None)
    assert len(queue._ready) == 1
    go.set()
    await Probe(app).over()
    assert len(queue._ready) == 1


async def test_an_interrupted_handler_that_takes_a_while_to_end_is_settled_with_its_answer(make_app, registry, queue):
    @registry.on_event(Placed, name="tidy")
    async def tidy(event):
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.05)

    async with make_app(grace=0) as app:
        await app.signal(Placed(3), direct=True)
    assert owed_in(queue) == [(3, "tidy")]


async def pass_both(clock, seconds):
    """Let the held clock pass with the machine's."""
    for _ in range(int(seconds * 20)):
        await asyncio.sleep(0.05)
        await clock.advance(0.05)


def let_die(app):
    """Let an app die of a bug, in the next turns of the loop."""
    Probe(app).fail(ZeroDivisionError())


async def test_what_waits_for_a_slot_when_the_app_dies_is_not_told_as_handled(make_app, registry, queue):
    @registry.on_event(Placed)
    async def stay(event):
        await asyncio.sleep(3600)

    app = make_app(concurrency=1)
    await app.__aenter__()
    await app.signal(Placed(0), direct=True)
    call = asyncio.create_task(app.signal(Placed(1), direct=True))
    await turns()
    let_die(app)
    with pytest.raises(SignalError) as raised:
        await call
    assert raised.value.not_stored == raised.value.ids
    with pytest.raises(ZeroDivisionError):
        await app.__aexit__(None, None, None)
    assert queue.messages() == []


@pytest.mark.parametrize("before", range(4))
async def test_whoever_signals_as_the_app_dies_is_told_in_whatever_turn_that_is(make_app, registry, before):
    @registry.on_event(Placed)
    async def stay(event):
        await asyncio.sleep(3600)

    app = make_app()
    await app.__aenter__()
    let_die(app)
    await turns(before)
    call = asyncio.create_task(app.signal(Placed(), direct=True))
    await turns()
    assert call.done()
    with contextlib.suppress(SignalError, ZeroDivisionError):
        await call
    with pytest.raises(ZeroDivisionError):
        await app.__aexit__(None, None, None)


async def test_what_waits_for_a_slot_and_cannot_be_stored_is_not_told_as_handled(make_app, registry, clock):
    queue = Away(clock=clock)

    @registry.on_event(Placed)
    async def stay(event):
        await asyncio.sleep(3600)

    app = make_app(queue, concurrency=1, grace=0)
    await app.__aenter__()
    await app.signal(Placed(0), direct=True)
    call = asyncio.create_task(app.signal(Placed(1), direct=True))
    await turns()
    queue.away = True
    leaving = asyncio.create_task(app.__aexit__(None, None, None))
    await clock.advance(10)
    await leaving
    with pytest.raises(SignalError) as raised:
        await call
    assert raised.value.uncertain == raised.value.ids


async def test_one_that_is_to_wait_for_longer_than_there_is_time_is_stored(running, registry, queue):
    @registry.on_event(Placed, name="h")
    async def handler(event):
        raise RetryLater(1e306)

    async with running(start_listener=False) as app:
        await app.signal(Placed(7), direct=True)
        await app.idle()
    assert owed_in(queue) == [(7, "h")]


async def test_a_mistake_of_ours_about_its_outcome_stores_it_and_does_not_end_the_app(
    running, registry, queue, monkeypatch, caplog
):
    def settle(body, envelope, results, **options):
        if any(isinstance(result.outcome, Failed) for result in results):
            raise ZeroDivisionError
        return settlement.settle(body, envelope, results, **options)

    monkeypatch.setattr(processor, "settle", settle)

    @registry.on_event(Placed, name="bad")
    async def bad(event):
        raise ValueError

    @registry.on_event(Placed, name="good")
    async def good(event):
        pass

    async with running(start_listener=False) as app:
        await app.signal(Placed(7), direct=True)
        await app.idle()
        assert app.health().healthy
    assert owed_in(queue) == [(7, "bad")]
    assert "ZeroDivisionError" in caplog.text


async def test_an_app_that_dies_is_left_though_a_handler_made_a_failure_of_it_and_the_queue_is_away(
    make_app, registry, clock, caplog
):
    queue = Away(clock=clock)

    @registry.on_event(Placed)
    async def stubborn(event):
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            raise ValueError from None

    app = make_app(queue)
    await app.__aenter__()
    event_id = await app.signal(Placed(), direct=True)
    queue.away = True
    let_die(app)
    passing = asyncio.create_task(pass_both(clock, 6))
    await app.ended()
    assert not passing.done()
    with pytest.raises(ZeroDivisionError):
        await app.__aexit__(None, None, None)
    assert [each for each in caplog.records if "lost" in each.message and event_id in each.message]
    passing.cancel()


async def test_an_app_that_dies_is_left_though_a_handler_ignores_it(make_app, registry, queue):
    go = deaf_handler(registry)

    app = make_app()
    await app.__aenter__()
    await app.signal(Placed(3), direct=True)
    let_die(app)
    await asyncio.wait_for(app.ended(), 60)
    with pytest.raises(BackendError, match="the app has died, and deaf ignores its cancellation"):
        await app.__aexit__(None, None, None)
    assert owed_in(queue) == [(3, "deaf")]
    go.set()
    await turns()
    await asyncio.sleep(0.05)


async def test_a_handler_that_ends_late_leaves_its_event_the_time_of_a_flush(make_app, registry, queue):
    class Slow(Memory):
        async def send(self, batch):
            await asyncio.sleep(1.5)
            return await super().send(batch)

    queue = Slow()

    @registry.on_event(Placed, name="late")
    async def late(event):
        until = asyncio.get_running_loop().time() + 3.3
        try:
            await asyncio.sleep(3600)
        finally:
            while asyncio.get_running_loop().time() < until:
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(0.05)

    app = make_app(queue, grace=0, clock=SystemClock())
    await app.__aenter__()
    await app.signal(Placed(3), direct=True)
    await app.__aexit__(None, None, None)
    assert app.unfinished() == []
    assert owed_in(queue) == [(3, "late")]


async def test_a_message_that_is_left_with_a_deaf_handler_comes_back_though_its_queue_was_silent(
    make_app, registry, clock
):
    queue, go = Silent(clock=clock, lease=60), asyncio.Event()

    @registry.on_event(Placed, name="deaf")
    async def deaf(event):
        while not go.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await go.wait()

    @registry.on_event(Placed, name="bad")
    async def bad(event):
        raise ValueError

    app = make_app(queue, grace=0)
    await app.__aenter__()
    await app.signal(Placed(3))
    await clock.advance(0.5)
    queue.silent = True
    leaving = asyncio.create_task(app.__aexit__(None, None, None))
    await asyncio.wait([leaving], timeout=60)
    await clock.advance(120)
    waiting = (await queue.count()).waiting
    go.set()
    queue.silent = False
    await clock.advance(10)
    await asyncio.wait_for(Probe(app).over(), 60)
    assert waiting == 1
