"""An `around` is cancelled with its handler: by a timeout, a stop, a lost lease. Its exit is awaited all the same."""

import asyncio
import threading
from contextlib import asynccontextmanager
from contextvars import ContextVar

import anyio
import msgspec
import pytest

from dawdle import Context, Dawdle, Retry
from dawdle.backends.memory import Memory
from dawdle.hooks import HandlerFinished
from dawdle.testing import Probe
from tests.app.events import Placed

pytestmark = pytest.mark.anyio

request_id = ContextVar("request_id", default=None)


class Story(list):
    """What happened. It is an `around` whose exit waits, as that of a database does."""

    def __init__(self, clock, enter=0, leave=0):
        self.clock = clock
        self.enter = enter
        self.leave = leave

    @asynccontextmanager
    async def around(self, ctx):
        self.append("enter")
        try:
            await self.sleep(self.enter)
            yield
            self.append("commit")
            await self.sleep(self.leave)
            self.append("committed")
        except BaseException as error:
            self.append(type(error).__name__)
            await asyncio.sleep(0)
            self.append("rolled back")
            raise

    async def sleep(self, seconds):
        if seconds:
            await self.clock.sleep_until(self.clock.monotonic() + seconds)


@pytest.fixture
def story(clock):
    return Story(clock)


def finished(moments):
    return [(moment.outcome, moment.error) for moment in moments if isinstance(moment, HandlerFinished)]


TIMED_OUT = [("failed", "TimeoutError: it ran longer than its timeout of 5 s")]


@pytest.mark.parametrize("part", ["enter", "handler", "leave"])
async def test_the_timeout_is_for_all_of_it_and_its_exit_is_awaited(running, registry, clock, moments, story, part):
    seconds = {"enter": 1, "handler": 1, "leave": 1, part: 10}
    story.enter, story.leave = seconds["enter"], seconds["leave"]

    @registry.on_event(Placed, around=story.around, timeout=5, retry=Retry(max_attempts=1))
    async def handler(event):
        story.append("handler")
        await story.sleep(seconds["handler"])

    async with running() as app:
        await app.signal(Placed(1))
        await clock.advance(20)
        await app.idle()
    begun = {"enter": ["enter"], "handler": ["enter", "handler"], "leave": ["enter", "handler", "commit"]}[part]
    assert story == [*begun, "CancelledError", "rolled back"]
    assert finished(moments) == TIMED_OUT


async def test_a_timeout_that_it_swallows_is_a_failure(running, registry, clock, moments, story):
    @asynccontextmanager
    async def around(ctx):
        try:
            yield
        except asyncio.CancelledError:
            story.append("swallowed")

    @registry.on_event(Placed, around=around, timeout=5, retry=Retry(max_attempts=1))
    async def handler(event):
        await story.sleep(10)

    async with running() as app:
        await app.signal(Placed(1))
        await clock.advance(20)
        await app.idle()
    assert story == ["swallowed"]
    assert finished(moments) == TIMED_OUT


async def test_a_deadline_of_its_own_ends_its_handler(running, registry, moments):
    @asynccontextmanager
    async def around(ctx):
        with anyio.move_on_after(0.01):
            yield

    @registry.on_event(Placed, around=around, retry=Retry(max_attempts=1))
    async def handler(event):
        await asyncio.sleep(60)

    async with running() as app:
        await app.signal(Placed(1))
        await app.idle()
    ((outcome, error),) = finished(moments)
    assert (outcome, error.partition(":")[0]) == ("failed", "CancelledError")


@pytest.mark.parametrize("part", ["enter", "handler", "leave"])
async def test_a_stop_cancels_it_and_the_event_goes_back_with_its_attempt(
    make_app, registry, queue, moments, story, part
):
    never = 3600
    story.enter, story.leave = (never if part == each else 0 for each in ("enter", "leave"))

    @registry.on_event(Placed, around=story.around)
    async def handler(event):
        await story.sleep(never if part == "handler" else 0)

    async with make_app(grace=0) as app:
        await app.signal(Placed(1))
        while not story:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert story[-2:] == ["CancelledError", "rolled back"]
    assert finished(moments) == [("interrupted", None)]
    (body,) = queue.messages()
    assert "dawdleattempt" not in msgspec.json.decode(body)


async def test_a_stop_that_it_swallows_is_an_interruption(make_app, registry, queue, moments, story):
    @asynccontextmanager
    async def around(ctx):
        try:
            yield
        except asyncio.CancelledError:
            story.append("swallowed")

    @registry.on_event(Placed, around=around)
    async def handler(event):
        story.append("handler")
        await story.sleep(3600)

    async with make_app(grace=0) as app:
        await app.signal(Placed(1))
        while not story:
            await asyncio.sleep(0)
    assert story == ["handler", "swallowed"]
    assert finished(moments) == [("interrupted", None)]
    assert len(queue.messages()) == 1


@pytest.mark.slow
async def test_a_stop_lets_an_exit_take_its_time(registry):
    story, queue = [], Memory()

    @asynccontextmanager
    async def around(ctx):
        try:
            yield
        finally:
            await asyncio.sleep(0.5)  # a roll-back over the network
            story.append("rolled back")

    @registry.on_event(Placed, around=around)
    async def handler(event):
        story.append("handler")
        await asyncio.sleep(3600)

    async with Dawdle(queue, registry=registry, grace=0) as app:
        await app.signal(Placed(1))
        await until(lambda: story)
    assert story == ["handler", "rolled back"]
    assert len(queue.messages()) == 1


async def test_an_error_that_its_exit_makes_of_a_stop_is_a_failure(make_app, registry, queue, moments, story):
    @asynccontextmanager
    async def around(ctx):
        try:
            yield
        except asyncio.CancelledError:
            raise ConnectionError("could not roll back") from None

    @registry.on_event(Placed, around=around)
    async def handler(event):
        story.append("handler")
        await story.sleep(3600)

    async with make_app(grace=0) as app:
        await app.signal(Placed(1))
        while not story:
            await asyncio.sleep(0)
    assert finished(moments) == [("failed", "ConnectionError: could not roll back")]
    (body,) = queue.messages()
    assert msgspec.json.decode(body)["dawdleattempt"] == 2


async def test_a_lost_lease_rolls_back_and_nothing_is_acked(running, registry, queue, moments, story):
    @registry.on_event(Placed, around=story.around)
    async def handler(event, ctx: Context):
        story.append(f"handler {ctx.attempt}")
        await story.sleep(3600)

    async with running(grace=0) as app:
        await app.signal(Placed(1))
        while len(story) < 2:
            await asyncio.sleep(0)
        Probe(app).lose_leases()
        await until(lambda: finished(moments))
        assert story == ["enter", "handler 1", "CancelledError", "rolled back"]
        assert finished(moments) == [("interrupted", None)]


# In a thread


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.002)


async def test_a_def_handler_runs_inside_it_and_sees_its_context_variables(running, registry, moments):
    story = []

    class Session:
        pass

    @asynccontextmanager
    async def around(ctx):
        request_id.set("r-1")
        ctx.provide(Session())
        story.append(threading.current_thread() is threading.main_thread())
        try:
            yield
        except ValueError:
            story.append("rolled back")
            raise

    @registry.on_event(Placed, around=around, retry=Retry(max_attempts=1))
    def handler(event, ctx: Context):
        story.append((request_id.get(), type(ctx.state(Session))))
        story.append(threading.current_thread() is threading.main_thread())
        if event.number:
            raise ValueError("no stock")

    async with running() as app:
        await app.signal(Placed(0))
        await app.idle()
        assert story == [True, ("r-1", Session), False]
        await app.signal(Placed(1))
        await app.idle()
        assert story[3:] == [True, ("r-1", Session), False, "rolled back"]
    assert finished(moments) == [("done", None), ("failed", "ValueError: no stock")]


async def test_the_result_of_a_thread_counts_after_its_timeout_and_is_committed(
    running, registry, clock, moments, story
):
    started, release = threading.Event(), threading.Event()
    story.leave = 3

    @registry.on_event(Placed, around=story.around, timeout=5)
    def handler(event):
        started.set()
        release.wait(60)

    async with running() as app:
        await app.signal(Placed(1))
        await until(started.is_set)
        await clock.advance(60)
        release.set()
        await until(lambda: story[-1] == "commit")
        await clock.advance(4)
        await app.idle()
    assert story == ["enter", "commit", "committed"]
    assert finished(moments) == [("done", None)]


async def test_the_time_that_an_around_takes_is_not_held_against_a_thread(
    running, registry, clock, moments, story, caplog
):
    story.enter = story.leave = 4

    @registry.on_event(Placed, around=story.around, timeout=5)
    def handler(event): ...

    async with running() as app:
        await app.signal(Placed(1))
        await until(lambda: story)
        await clock.advance(4)
        await until(lambda: story[-1] == "commit")
        await clock.advance(4)
        await app.idle()
    assert [moment.seconds for moment in moments if isinstance(moment, HandlerFinished)] == [pytest.approx(8)]
    assert "longer than its timeout" not in caplog.text


@pytest.mark.parametrize("part", ["enter", "leave"])
async def test_the_timeout_of_a_def_handler_ends_an_around_that_hangs(running, registry, clock, moments, story, part):
    ran = threading.Event()
    setattr(story, part, 3600)

    @registry.on_event(Placed, around=story.around, timeout=5, retry=Retry(max_attempts=1))
    def handler(event):
        ran.set()

    async with running() as app:
        await app.signal(Placed(1))
        await until(lambda: story[-1:] == [{"enter": "enter", "leave": "commit"}[part]])
        await asyncio.sleep(0.01)
        await clock.advance(6)
        await app.idle()
    assert ran.is_set() == (part == "leave")
    assert story[-2:] == ["CancelledError", "rolled back"]
    assert finished(moments) == TIMED_OUT


async def test_a_lease_that_is_lost_while_a_thread_runs_rolls_back_when_it_returns(
    running, registry, queue, moments, story
):
    started, release = threading.Event(), threading.Event()

    @registry.on_event(Placed, around=story.around)
    def handler(event):
        started.set()
        release.wait(60)

    async with running() as app:
        await app.signal(Placed(1))
        await until(started.is_set)
        Probe(app).lose_leases()
        await asyncio.sleep(0.01)
        assert story == ["enter"]
        release.set()
        await until(lambda: finished(moments))
        assert story == ["enter", "CancelledError", "rolled back"]
        assert finished(moments) == [("interrupted", None)]


async def test_a_def_handler_counts_as_running_while_its_around_is_entered_and_left(running, registry, clock, story):
    story.enter = story.leave = 90
    started, release = threading.Event(), threading.Event()

    @registry.on_event(Placed, around=story.around, name="handler")
    def handler(event):
        started.set()
        release.wait(60)

    async with running() as app:
        await app.signal(Placed(1))
        await until(lambda: story)
        assert app.running_handlers() == ["handler"]
        await clock.advance(95)
        await until(started.is_set)
        assert app.running_handlers() == ["handler"]
        release.set()
        await until(lambda: story[-1] == "commit")
        assert app.running_handlers() == ["handler"]
        await clock.advance(80)
        (long,) = app.health().long_running
        assert (long.handler, long.runs, long.seconds) == ("handler", 1, pytest.approx(175))
        await clock.advance(20)
        await app.idle()
        assert app.running_handlers() == []
