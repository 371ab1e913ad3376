"""What counts as inside a handler or a lifespan, and what is waited for there."""

import asyncio
import functools
from contextlib import asynccontextmanager

import msgspec
import pytest

import dawdle
from dawdle import Retry
from dawdle.backends.memory import Memory
from tests.app.events import Cancelled, Placed

pytestmark = pytest.mark.anyio


async def test_idle_in_a_handler_waits_for_all_but_its_own_event(running, registry, clock):
    story = []

    @registry.on_event(Placed)
    async def batch(event):
        await dawdle.signal_many([Cancelled(number) for number in range(3)])
        await dawdle.current().idle()
        story.append("idle")

    @registry.on_event(Cancelled)
    async def item(event):
        await clock.sleep_until(clock.monotonic() + 1)
        story.append(event.number)

    async with running() as app:
        await app.signal(Placed())
        await clock.advance(10)
        await app.idle()
    assert story == [0, 1, 2, "idle"]


async def test_two_handlers_that_wait_for_idle_do_not_wait_for_each_other(running, registry, clock):
    story = []

    @registry.on_event(Placed)
    async def batch(event):
        await dawdle.current().idle()
        story.append(event.number)

    async with running() as app:
        await app.signal_many([Placed(1), Placed(2)])
        await clock.advance(1)
        await app.idle()
    assert sorted(story) == [1, 2]


async def test_idle_in_the_handler_of_another_app_waits_for_the_app_that_is_asked(running, registry, clock):
    others, story = dawdle.Registry(), []

    @others.on_event(Placed)
    async def ask(event):
        await app.idle()
        story.append("idle")

    @registry.on_event(Placed)
    async def slow(event):
        await clock.sleep_until(clock.monotonic() + 5)
        story.append("slow")

    async with running() as app, running(Memory(clock=clock), registry=others) as other:
        await app.signal(Placed())
        await other.signal(Placed())
        await clock.advance(10)
    assert story == ["slow", "idle"]


async def test_what_a_handler_started_is_not_inside_of_it_once_it_has_ended(running, registry, queue, clock):
    go, results = asyncio.Event(), []

    async def pump():
        await go.wait()
        results.append(await dawdle.signal(Cancelled(1)))

    tasks = []

    @registry.on_event(Placed)
    async def first(event):
        tasks.append(asyncio.create_task(pump()))

    async with running() as app:
        await app.signal(Placed())
        await clock.advance(1)
        await app.stop_listener()
    other = Memory(clock=clock)
    async with running(other, start_listener=False):
        go.set()
        await asyncio.gather(*tasks)
        (body,) = map(msgspec.json.decode, other.messages())
    assert "dawdlecause" not in body
    assert body["id"] == results[0]


async def test_signal_works_in_the_apps_own_lifespan_from_its_beginning_to_its_end(make_app, registry, queue, clock):
    seen = []

    @registry.on_event(Placed)
    async def take(event):
        seen.append(event.number)

    @asynccontextmanager
    async def lifespan(app):
        await dawdle.signal(Placed(1))
        await dawdle.signal(Placed(2), direct=True)
        yield
        await dawdle.signal(Placed(3))

    async with make_app(lifespan=lifespan) as app:
        await app.idle()
        assert sorted(seen) == [1, 2]
    assert len(queue.messages()) == 1


async def test_in_a_lifespan_signal_means_its_own_app_also_beside_another(make_app, running, queue, clock):
    other = Memory(clock=clock)

    @asynccontextmanager
    async def lifespan(app):
        await dawdle.signal(Placed(1))
        yield

    async with running(other, start_listener=False), make_app(lifespan=lifespan, start_listener=False):
        assert len(queue.messages()) == 1
        assert other.messages() == []
        with pytest.raises(dawdle.NoAppError, match="2 apps"):
            await dawdle.signal(Placed(2))


async def test_an_app_whose_lifespan_fails_is_not_the_current_one(make_app):
    @asynccontextmanager
    async def lifespan(app):
        raise OSError("no database")
        yield

    with pytest.raises(OSError, match="no database"):
        await make_app(lifespan=lifespan).__aenter__()
    with pytest.raises(dawdle.NoAppError, match="no app is entered"):
        dawdle.current()


def wrapped(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


def bare(function):
    def go(event: Placed):
        return function(event)

    return go


class Callable_:
    def __init__(self, function):
        self.function = function

    def __call__(self, event: Placed):
        return self.function(event)


@pytest.mark.parametrize(
    "decorate",
    [wrapped, bare, Callable_, lambda f: functools.partial(wrapped(f))],
    ids=["wraps", "bare", "object", "partial"],
)
async def test_a_timeout_holds_for_a_coroutine_function_behind_a_plain_decorator(
    running, registry, clock, letters, decorate
):
    ended = []

    async def slow(event: Placed):
        try:
            await clock.sleep_until(clock.monotonic() + 100)
        finally:
            ended.append(clock.monotonic())

    registry.on_event(Placed, name="slow", timeout=2, retry=Retry(max_attempts=1))(decorate(slow))
    async with running() as app:
        await app.signal(Placed())
        for _ in range(100):
            await clock.advance(0.5)
            await asyncio.sleep(0.002)
            if letters():
                break
    assert len(ended) == 1
    assert ended[0] < 50
    assert "longer than its timeout of 2 s" in letters()[0]["dawdleerror"]
