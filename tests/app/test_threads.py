"""`def` handlers run in threads: they hold up no other handler, and keep slot and lease until they return."""

import asyncio
import threading
import time

import pytest

from dawdle import Context, Dawdle, Registry, Retry
from dawdle.backends.memory import Memory
from dawdle.hooks import HandlerFinished
from tests.app.events import Placed

pytestmark = pytest.mark.anyio


@pytest.fixture
def registry():
    return Registry()


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.002)


async def test_a_def_handler_runs_in_a_thread_and_the_loop_goes_on(registry):
    where, release = [], threading.Event()

    @registry.on_event(Placed)
    def blocks(event, ctx: Context):
        where.append((threading.current_thread() is threading.main_thread(), ctx.attempt))
        release.wait(60)

    async with Dawdle(registry=registry) as app:
        await app.signal(Placed())
        await until(lambda: where)
        assert app.running_handlers() == [f"{__name__}.test_a_def_handler_runs_in_a_thread_and_the_loop_goes_on.blocks"]
        release.set()
        await app.idle()
        assert app.running_handlers() == []
    assert where == [(False, 1)]


async def test_a_def_handler_that_raises_has_failed(registry):
    runs = []

    @registry.on_event(Placed, retry=Retry(initial=0))
    def fails(event, ctx: Context):
        runs.append(ctx.attempt)
        if ctx.attempt < 3:
            raise ValueError

    async with Dawdle(registry=registry) as app:
        await app.signal(Placed())
        await app.idle()
    assert runs == [1, 2, 3]


async def test_a_def_handler_over_its_timeout_is_told_and_its_result_counts(registry, caplog):
    moments = []

    @registry.on_event(Placed, timeout=0.01)
    def slow(event):
        time.sleep(0.03)

    async with Dawdle(registry=registry, hooks=[moments.append]) as app:
        await app.signal(Placed())
        await app.idle()
    assert "longer than its timeout of 0.01 s: it runs in a thread, which cannot be stopped" in caplog.text
    assert [each.outcome for each in moments if isinstance(each, HandlerFinished)] == ["done"]


@pytest.mark.slow
async def test_a_def_handler_keeps_its_lease_while_it_runs(registry):
    runs = []

    @registry.on_event(Placed)
    def slow(event):
        runs.append(event)
        time.sleep(0.5)

    async with Dawdle(Memory(lease=0.15), registry=registry) as app:
        await app.signal(Placed())
        await asyncio.sleep(0.3)
        await app.idle()
    assert len(runs) == 1


async def test_at_the_end_of_the_grace_a_thread_is_left_and_its_message_is_visible(registry, caplog):
    release, queue, started = threading.Event(), Memory(), []

    @registry.on_event(Placed, name="hung")
    def hung(event):
        started.append(event)
        release.wait(60)

    app = Dawdle(queue, registry=registry, grace=0.02)
    async with app:
        await app.signal(Placed())
        await until(lambda: started)
    assert app.running_handlers() == ["hung"]
    assert len(queue._ready) == 1
    release.set()
    await until(lambda: not app.running_handlers())


async def test_as_many_threads_run_as_the_app_has_slots(registry):
    now, most, lock = 0, 0, threading.Lock()

    @registry.on_event(Placed)
    def handler(event):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.005)
        with lock:
            now -= 1

    async with Dawdle(registry=registry, concurrency=3) as app:
        await app.signal_many([Placed(number) for number in range(20)])
        await app.idle()
    assert most <= 3


async def test_a_def_handler_that_returns_an_awaitable_has_it_awaited(registry):
    done = []

    async def later(event):
        done.append(event)

    @registry.on_event(Placed)
    def handler(event):
        return later(event)

    async with Dawdle(registry=registry) as app:
        await app.signal(Placed())
        await app.idle()
    assert done == [Placed()]
