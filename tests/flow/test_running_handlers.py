"""A handler that hangs is seen: in the log, in `health()`, and ended by a timeout of the app."""

import asyncio
import threading
import time
from datetime import timedelta
from types import SimpleNamespace

import msgspec
import pytest

from dawdle import Dawdle, LongRunning, Registry, Retry
from dawdle._flow.handler_scope import HandlerRun
from dawdle._flow.in_flight_message import Work
from dawdle._flow.running_handlers import RunningHandlers
from dawdle._handlers.handler import Handler, Options
from dawdle._rules.envelope import Envelope
from dawdle.backends.memory import Memory
from dawdle.hooks import HandlerFinished, LoopBlocked

pytestmark = pytest.mark.anyio


class Placed(msgspec.Struct, frozen=True):
    number: int = 0


@pytest.fixture
def registry():
    return Registry()


@pytest.fixture
def make_app(registry, clock):
    def make(**options):
        return Dawdle(Memory(clock=clock), registry=registry, clock=clock, grace=0, **options)

    return make


def warned(caplog):
    return [each.getMessage() for each in caplog.records if each.name == "dawdle._flow.running_handlers"]


async def test_a_handler_that_hangs_is_named_after_a_minute_and_at_every_doubling(make_app, registry, clock, caplog):
    @registry.on_event(Placed, name="stuck")
    async def stuck(event: Placed) -> None:
        await asyncio.Event().wait()

    async with make_app() as app:
        await clock.advance(17)
        event_id = await app.signal(Placed())
        said = []
        for _ in range(1000):
            await clock.advance(1)
            if warned(caplog)[len(said) :]:
                said.append(clock.monotonic() - 17)
    assert said == [60, 120, 240, 480, 960]
    assert warned(caplog)[0].startswith(
        f"handler stuck has been running for 60 s on Placed {event_id}, attempt 1, and holds its slot; if it "
    )


async def test_health_names_what_runs_for_long_and_stays_healthy(make_app, registry, clock):
    @registry.on_event(Placed, name="stuck")
    async def stuck(event: Placed) -> None:
        await asyncio.Event().wait()

    async with make_app() as app:
        await app.signal(Placed())
        await clock.advance(30)
        await app.signal(Placed())
        assert app.health().long_running == ()
        await clock.advance(40)
        assert app.health().long_running == (LongRunning(handler="stuck", runs=1, seconds=70),)
        await clock.advance(100)
        assert app.health().long_running == (LongRunning(handler="stuck", runs=2, seconds=170),)
        assert app.health().healthy
    assert app.health().long_running == ()


async def test_the_longest_run_counts_and_comes_first_whatever_was_noted_last(clock):
    running = RunningHandlers(clock)
    runs = []
    for name in ("a", "b", "b"):
        handler = Handler(print, name, (), Options(), takes_context=False, is_async=True)
        runs.append(HandlerRun(None, handler, None, clock.monotonic()))
        running.begin(runs[-1])
        await clock.advance(10)
    for run in (runs[1], runs[0]):  # as of a `def` handler when its thread has ended
        running.end(run)
        running.begin(run)
    await clock.advance(60)
    assert [(each.handler, each.runs, each.seconds) for each in running.long()] == [("a", 1, 90), ("b", 2, 80)]


async def test_a_handler_with_a_longer_timeout_of_its_own_is_expected_to_run_for_that_long(
    make_app, registry, clock, caplog
):
    @registry.on_event(Placed, name="slow", timeout=600)
    async def slow(event: Placed) -> None:
        await clock.sleep_until(clock.monotonic() + 590)

    async with make_app() as app:
        await app.signal(Placed())
        await clock.advance(700)
    assert warned(caplog) == []


@pytest.mark.parametrize("timeout", [30, timedelta(seconds=30)])
async def test_the_apps_timeout_ends_a_handler_that_has_none_of_its_own(registry, make_app, clock, timeout):
    moments = []

    @registry.on_event(Placed, name="without")
    async def without(event: Placed) -> None:
        await asyncio.Event().wait()

    @registry.on_event(Placed, name="shorter", timeout=5)
    async def shorter(event: Placed) -> None:
        await asyncio.Event().wait()

    @registry.on_event(Placed, name="none", timeout=float("inf"))
    async def none(event: Placed) -> None:
        await clock.sleep_until(clock.monotonic() + 50)

    async with make_app(timeout=timeout, retry=Retry(max_attempts=1), hooks=[moments.append]) as app:
        await app.signal(Placed())
        await clock.advance(100)
    ended = {each.handler: (each.seconds, each.error) for each in moments if isinstance(each, HandlerFinished)}
    assert ended == {
        "without": (30, "TimeoutError: it ran longer than its timeout of 30 s"),
        "shorter": (5, "TimeoutError: it ran longer than its timeout of 5 s"),
        "none": (50, None),
    }


@pytest.mark.slow
async def test_a_handler_that_blocks_the_loop_is_named_in_memory_too(registry, caplog):
    moments = []

    @registry.on_event(Placed, name="blocker")
    async def blocker(event: Placed) -> None:
        time.sleep(2.5)  # noqa: ASYNC251 - the mistake itself

    async with Dawdle(Memory(), registry=registry, hooks=[moments.append]) as app:
        await app.signal(Placed())
        await app.idle()
        await asyncio.sleep(0.2)
    assert "handler blocker has blocked the event loop for" in caplog.text
    assert [each.handler for each in moments if isinstance(each, LoopBlocked)] == ["blocker"]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("dawdle")]


async def test_on_a_held_clock_no_thread_is_started(registry, make_app, clock):
    @registry.on_event(Placed, name="handler")
    async def handler(event: Placed) -> None: ...

    async with make_app() as app:
        await app.signal(Placed())
        await clock.advance(1)
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("dawdle")]


async def test_a_look_at_the_time_that_the_last_one_named_warns_and_names_a_later_one():
    class Held:
        time = 0.0

        def monotonic(self):
            return self.time

    held, handler = Held(), Handler(print, "slow", (), Options(), takes_context=False, is_async=True)
    envelope = Envelope(specversion="1.0", id="1", source="/shop", type="Placed")
    message = SimpleNamespace(queue=SimpleNamespace(labeled=str, name="default"))
    for number in range(1, 1000):
        running, held.time = RunningHandlers(held), number / 7  # times of which sums and differences are rounded
        running.begin(HandlerRun(None, handler, Work(None, envelope, b"", message, (handler,)), held.time))
        for _ in range(3):
            held.time = running.warn_of_long_runs()
            assert running.warn_of_long_runs() > held.time
