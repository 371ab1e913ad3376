"""A probe tells what goes on inside an app, and lets a part of it fail."""

import asyncio

import pytest

from dawdle import ConfigurationError
from dawdle.testing import Probe
from tests.app.events import Placed

pytestmark = pytest.mark.anyio


async def test_a_probe_counts_what_is_in_flight_the_slots_and_what_waits_for_a_limit(running, registry, clock):
    @registry.on_event(Placed, name="slow", concurrency=1)
    async def slow(event):
        await clock.sleep_until(clock.monotonic() + 10)

    async with running(concurrency=8, start_listener=False) as app:
        probe = Probe(app)
        assert (probe.in_flight, probe.slots, probe.free_slots, dict(probe.waiting)) == (0, 8, 8, {})
        for number in range(3):
            await app.signal(Placed(number), direct=True)
        await clock.advance(1)
        assert (probe.in_flight, probe.slots, probe.free_slots, dict(probe.waiting)) == (3, 8, 5, {"slow": 2})
        await clock.advance(60)
        assert (probe.in_flight, probe.free_slots, dict(probe.waiting)) == (0, 8, {"slow": 0})


async def test_an_app_dies_of_a_part_that_fails(make_app):
    app = make_app()
    await app.__aenter__()
    probe = Probe(app)
    probe.fail(ZeroDivisionError())
    await probe.over()
    with pytest.raises(ZeroDivisionError):
        await app.__aexit__(None, None, None)


async def test_a_probe_waits_for_a_handler_that_ignores_its_cancellation(make_app, registry):
    go = asyncio.Event()

    @registry.on_event(Placed)
    async def deaf(event):
        while not go.is_set():
            try:
                await go.wait()
            except asyncio.CancelledError:
                continue

    app = make_app(grace=0)
    await app.__aenter__()
    await app.signal(Placed(), direct=True)
    await app.__aexit__(None, None, None)
    over = asyncio.create_task(Probe(app).over())
    await asyncio.sleep(0.01)
    assert not over.done()
    go.set()
    await over


async def test_an_app_that_was_never_entered_has_nothing_to_look_at(make_app):
    with pytest.raises(ConfigurationError, match="was never entered"):
        Probe(make_app())


async def test_a_probe_refuses_an_app_whose_queue_could_not_be_opened(make_app, queue):
    async with queue:
        app = make_app()
        with pytest.raises(ConfigurationError):
            await app.__aenter__()
    with pytest.raises(ConfigurationError, match="never entered"):
        Probe(app).in_flight
