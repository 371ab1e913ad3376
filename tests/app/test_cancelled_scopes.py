"""Scopes of anyio cancel again in every turn of the loop; entering and leaving in one take no more turns for it."""

import asyncio
from contextlib import asynccontextmanager, contextmanager

import anyio
import pytest

from dawdle import Dawdle
from dawdle.backends.memory import Memory
from tests.app.events import Placed

pytestmark = pytest.mark.anyio

MOST_TURNS = 300
"""A busy loop takes some ten thousand in the time of these tests."""


@contextmanager
def turns():
    """Count the turns of the event loop."""
    loop, count = asyncio.get_running_loop(), []
    one = loop._run_once

    def counted():
        count.append(None)
        one()

    loop._run_once = counted
    try:
        yield count
    finally:
        del loop._run_once


@pytest.mark.slow
async def test_leaving_in_a_cancelled_scope_settles_everything_and_does_not_spin(registry):
    queue, started, cleaned = Memory(), asyncio.Event(), []

    @registry.on_event
    async def handler(event: Placed):
        started.set()
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.4)
            cleaned.append(event)

    with turns() as count:
        with anyio.move_on_after(10) as scope:
            async with Dawdle(queue, registry=registry, grace=3600) as app:
                await app.signal(Placed(1))
                await started.wait()
                scope.cancel()
                await asyncio.sleep(3600)
        assert scope.cancelled_caught
    assert len(queue._ready) == 1
    assert cleaned == [Placed(1)]
    assert len(count) < MOST_TURNS


@pytest.mark.slow
async def test_entering_in_a_cancelled_scope_cleans_up_once_and_does_not_spin(registry):
    closed = []

    @asynccontextmanager
    async def lifespan(app):
        try:
            await asyncio.sleep(3600)
            yield
        finally:
            await asyncio.sleep(0.4)
            closed.append("lifespan")

    app = Dawdle(Memory(), registry=registry, lifespan=lifespan)
    with turns() as count:
        with anyio.move_on_after(0.05) as scope:
            await app.__aenter__()
        assert scope.cancelled_caught
    assert closed == ["lifespan"]
    assert len(count) < MOST_TURNS
    assert app.health().reasons == ("the app is not entered",)


@pytest.mark.slow
async def test_a_task_that_is_cancelled_in_a_scope_that_is_cancelled_too_leaves_in_order(registry):
    queue, started = Memory(), asyncio.Event()

    @registry.on_event
    async def handler(event: Placed):
        started.set()
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.2)

    async def body():
        with anyio.CancelScope() as scope:
            async with Dawdle(queue, registry=registry, grace=3600) as app:
                await app.signal(Placed(1))
                await started.wait()
                scope.cancel()
                await asyncio.sleep(3600)

    with turns() as count:
        task = asyncio.create_task(body())
        await started.wait()
        await asyncio.sleep(0.05)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0.01)
        await asyncio.wait([task], timeout=60)
    assert task.done()
    assert len(queue._ready) == 1
    assert len(count) < MOST_TURNS


@pytest.mark.parametrize("times", [1, 3])
async def test_a_lifespan_that_is_entered_although_entering_was_cancelled_is_left(registry, times):
    story = []

    @asynccontextmanager
    async def lifespan(app):
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            story.append("goes on")
        yield
        story.append("left")

    app = Dawdle(Memory(), registry=registry, lifespan=lifespan, grace=3600)
    entering = asyncio.create_task(app.__aenter__())
    await asyncio.sleep(0.01)
    for _ in range(times):
        entering.cancel()
        await asyncio.sleep(0)
    await asyncio.wait([entering], timeout=60)
    assert entering.cancelled()
    assert story[0] == "goes on"
