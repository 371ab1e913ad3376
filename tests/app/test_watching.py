"""wait_for and stream show the events that this process handles, and change nothing about them."""

import asyncio
import re
from contextlib import aclosing, asynccontextmanager
from typing import Protocol, runtime_checkable

import msgspec
import pytest

import dawdle
from dawdle import BackendError, ConfigurationError, Dawdle, NoAppError, Registry, Reject, Retry, RetryLater
from dawdle._app import watching as watching_module
from dawdle._app.event_stream import EventStream
from dawdle.backends.memory import Memory
from dawdle.backends.sqlite import SQLite
from dawdle.hooks import HandlerFinished, Settled
from dawdle.testing import Probe
from tests.app.events import Cancelled, Placed

pytestmark = pytest.mark.anyio


class Base:
    pass


class Paid(Base, msgspec.Struct, frozen=True):
    number: int = 0


class Refunded(Base, msgspec.Struct, frozen=True):
    number: int = 0


@pytest.fixture
def handled(registry):
    handled = []

    @registry.on_event(Placed, Cancelled, Paid, Refunded, name="note")
    async def note(event):
        handled.append(event)

    return handled


@asynccontextmanager
async def background(coroutine):
    """Run a coroutine beside the block, from its first step on."""
    task = asyncio.create_task(coroutine)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


def watching(app):
    return len(app._runtime.watchers.watching)


async def test_wait_for_returns_the_event_for_which_where_is_true(running, handled):
    async with running() as app, background(app.wait_for(Placed, where=lambda event: event.number == 2)) as waiting:
        await app.signal_many([Cancelled(2), Placed(1), Placed(2), Placed(3)])
        assert await waiting == Placed(2)
        assert Placed(2) in handled, "its handlers have ended by then"
        await app.idle()
        assert len(handled) == 4
        assert watching(app) == 0


async def test_wait_for_takes_the_first_event_though_more_come_before_it_runs_again(running, handled):
    async with running() as app, background(dawdle.wait_for(Placed)) as waiting:
        await app.signal_many([Placed(number) for number in range(5)])
        await app.idle()
        assert await waiting == handled[0]


async def test_a_stream_yields_what_is_handled_from_its_opening_on(running, handled):
    async with running() as app:
        await app.signal(Placed(0))
        await app.idle()
        async with dawdle.stream(Placed) as events:
            for number in (1, 2):
                await app.signal(Placed(number))
                await app.idle()
            await app.signal(Cancelled(3))
            assert [await anext(events), await anext(events)] == [Placed(1), Placed(2)]
            assert events.dropped == 0
            assert repr(events) == "<EventStream of Placed, 0 dropped>"
        assert watching(app) == 0


async def test_an_event_is_seen_when_its_last_handler_has_ended_and_its_retries_are_not(running, registry, clock):
    story = []

    @registry.on_event(Placed, retry=Retry(max_attempts=3, initial=5, factor=1, jitter=0))
    async def fails(event):
        story.append("failed")
        raise OSError

    @registry.on_event(Placed)
    async def slow(event):
        await clock.sleep_until(clock.monotonic() + 0.5)
        story.append("slow done")

    async def watch():
        async with app.stream() as events:
            async for event in events:
                story.append(f"seen {event.number}")

    async with running() as app, background(watch()):
        await app.signal(Placed(7))
        await clock.advance(60)
        await app.idle()
    assert story == ["failed", "slow done", "seen 7", "failed", "failed"]


@pytest.mark.parametrize("error", [OSError(), Reject("no"), None], ids=repr)
async def test_an_event_is_seen_however_its_handlers_end(running, registry, error):
    @registry.on_event(Placed)
    async def handle(event):
        if error is not None:
            raise error

    async with running() as app, background(app.wait_for(Placed)) as waiting:
        await app.signal(Placed(1))
        assert await waiting == Placed(1)


async def test_an_event_whose_handler_is_at_its_limit_is_seen_once_that_has_run(running, registry, clock):
    done, seen = [], []

    @registry.on_event(Placed, concurrency=1)
    async def slow(event):
        await clock.sleep_until(clock.monotonic() + 0.5)
        done.append(event.number)

    async def watch():
        async with app.stream(Placed) as events:
            async for event in events:
                seen.append((event.number, event.number in done))

    async with running(concurrency=4) as app, background(watch()):
        await app.signal_many([Placed(number) for number in range(12)])
        await clock.advance(120)
        await app.idle()
        await asyncio.sleep(0)
    assert sorted(seen) == [(number, True) for number in range(12)]


@pytest.mark.parametrize("then", [None, OSError()], ids=repr)
async def test_an_event_that_is_put_off_is_seen_once_its_handlers_have_ended(running, registry, clock, then):
    """A sibling that is done, or has failed, does not show it before."""
    story = []

    @registry.on_event(Placed)
    async def later(event):
        story.append("asked")
        if story.count("asked") < 3:
            raise RetryLater(5)
        if then is not None and story.count("asked") == 3:
            raise then

    @registry.on_event(Placed, retry=Retry(max_attempts=2, initial=1, jitter=0))
    async def other(event):
        if story.count("other") == 0:
            story.append("other")
            raise OSError

    async def watch():
        async with app.stream() as events:
            async for event in events:
                story.append("seen")

    async with running() as app, background(watch()):
        await app.signal(Placed(7))
        await clock.advance(60)
        await app.idle()
        await asyncio.sleep(0)
    assert [each for each in story if each != "other"][:4] == ["asked", "asked", "asked", "seen"]
    assert story.count("seen") == 1


async def test_a_direct_event_that_a_stop_interrupted_is_seen_where_it_runs_again(make_app, registry, queue):
    started, over = asyncio.Event(), asyncio.Event()

    @registry.on_event(Placed)
    async def handle(event):
        started.set()
        await over.wait()

    async def watch():
        async with app.stream(Placed) as events:
            return [event async for event in events]

    async with make_app(start_listener=False, grace=0) as app:
        reading = asyncio.create_task(watch())
        await asyncio.sleep(0)
        await app.signal(Placed(1), direct=True)
        await started.wait()
    assert await reading == []
    over.set()
    async with make_app() as app, app.stream(Placed) as events:
        assert await anext(events) == Placed(1)


async def test_what_is_kept_for_want_of_a_dead_letter_queue_is_seen_once(running, registry, clock):
    runs, seen = [], []

    @registry.on_event(Placed)
    async def handle(event):
        runs.append(event)
        raise Reject("no")

    async def watch():
        async with app.stream() as events:
            async for event in events:
                seen.append(event)

    async with running(Memory(clock=clock, dead_letters=False)) as app, background(watch()):
        await app.signal(Placed(1))
        await clock.advance(4 * 3600)
    assert len(runs) > 1
    assert seen == [Placed(1)]


async def test_a_handlers_own_copy_is_not_seen_elsewhere_either(make_app, clock):
    queue, fails, works = Memory(clock=clock), Registry(), Registry()

    @fails.on_event(Placed, name="handle", retry=Retry(initial=5, jitter=0))
    async def failing(event):
        raise OSError

    @works.on_event(Placed, name="handle")
    async def working(event):
        done.append(event)

    done = []
    async with make_app(queue, registry=fails) as app, background(app.wait_for(Placed)) as waiting:
        await app.signal(Placed(1))
        assert await waiting == Placed(1)
    async with make_app(queue, registry=works) as app, app.stream() as events:
        await clock.advance(10)
        assert done == [Placed(1)]
        await app.signal(Placed(2))
        assert await anext(events) == Placed(2)


async def test_a_direct_event_is_seen(running, handled):
    async with running(start_listener=False) as app, app.stream(Placed) as events:
        await app.signal(Placed(1), direct=True)
        assert await anext(events) == Placed(1)


async def test_a_delayed_event_is_seen_when_it_is_handled(running, handled, clock):
    async with running() as app, background(app.wait_for(Placed)) as waiting:
        await app.signal(Placed(1), delay=3600)
        await clock.advance(3599)
        assert not waiting.done()
        await clock.advance(1)
        assert await waiting == Placed(1)


async def test_an_event_that_has_expired_is_not_seen(running, handled, clock):
    async with running(start_listener=False) as app, app.stream() as events:
        await app.signal(Placed(1), expires=5)
        await clock.advance(6)
        await app.signal(Placed(2))
        await app.start_listener()
        assert await anext(events) == Placed(2)


async def test_several_types_base_classes_and_protocols_are_watched_for(running, handled):
    @runtime_checkable
    class Numbered(Protocol):
        def __hash__(self) -> int: ...

    everything = [Placed(1), Cancelled(2), Paid(3), Refunded(4)]
    async with (
        running() as app,
        app.stream(Placed, Refunded) as two,
        app.stream(Base) as of_base,
        app.stream(Numbered) as numbered,
        app.stream(object) as of_object,
        app.stream() as every,
    ):
        for event in everything:
            await app.signal(event)
            await app.idle()
        assert [await anext(two), await anext(two)] == [Placed(1), Refunded(4)]
        assert [await anext(of_base), await anext(of_base)] == [Paid(3), Refunded(4)]
        for stream in (numbered, of_object, every):
            assert [await anext(stream) for _ in everything] == everything


async def test_what_where_raises_reaches_its_own_caller_and_nobody_else(running, handled, queue, moments):
    def where(event):
        raise ZeroDivisionError("of where")

    async with (
        running() as app,
        background(app.wait_for(Placed, where=where)) as waiting,
        background(app.wait_for(Placed)) as other,
        app.stream(Placed, where=lambda event: event.number == 1 or where(event)) as events,
    ):
        await app.signal(Placed(1))
        assert await other == Placed(1)
        with pytest.raises(ZeroDivisionError, match="of where"):
            await waiting
        await app.signal_many([Placed(2), Placed(1)])
        await app.idle()
        assert await anext(events) == Placed(1)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError, match="of where"):
                await anext(events)
        assert len(handled) == 3
        assert queue.messages() == queue.dead_letters.messages() == []
        assert {moment.outcome for moment in moments if isinstance(moment, HandlerFinished)} == {"done"}
        assert {moment.verdict for moment in moments if isinstance(moment, Settled)} == {"acked"}


class Undecided:
    def __bool__(self):
        raise ValueError("neither true nor false")


@pytest.mark.parametrize(
    ("raised", "caught"),
    [(SystemExit(3), SystemExit), (StopIteration(), RuntimeError), (TimeoutError("mine"), TimeoutError)],
    ids=repr,
)
async def test_any_error_of_where_is_only_its_callers(running, handled, raised, caught):
    def where(event):
        raise raised

    async def wait():
        try:
            await app.wait_for(Placed, where=where, timeout=30)
        except BaseException as error:
            return error

    async with running() as app, background(wait()) as waiting:
        await app.signal(Placed())
        error = await waiting
        assert type(error) is caught
        assert "within" not in str(error), "that would be the timeout of wait_for itself"
        await app.signal(Placed())
        await app.idle()
        assert len(handled) == 2


async def test_where_may_return_what_has_no_truth(running, handled):
    async with running() as app, background(app.wait_for(Placed, where=lambda event: Undecided())) as waiting:
        await app.signal(Placed())
        with pytest.raises(ValueError, match="neither true nor false"):
            await waiting


async def test_wait_for_ends_after_its_timeout_by_the_apps_clock(running, handled, clock):
    async with running() as app:
        for options, text in [
            ({"timeout": 30}, "no Placed or Cancelled was handled here within 30 s"),
            (
                {"timeout": 30, "where": lambda event: event.number == 5},
                "no Placed or Cancelled for which where= is true was handled here within 30 s",
            ),
        ]:
            async with background(app.wait_for(Placed, Cancelled, **options)) as waiting:
                await app.signal(Paid())
                await clock.advance(29)
                assert not waiting.done()
                await clock.advance(1)
                with pytest.raises(TimeoutError, match=f"^{re.escape(text)}$"):
                    await waiting
        assert watching(app) == 0


async def test_an_event_in_the_turn_of_the_timeout_is_not_lost(running, handled, clock, monkeypatch):
    class Late(watching_module.Watcher):
        async def next(self):
            try:
                return await super().next()
            except asyncio.CancelledError:  # the timeout is over, and its task has not gone on yet
                self.offer(Placed(1))
                raise

    monkeypatch.setattr(watching_module, "Watcher", Late)
    async with running() as app, background(app.wait_for(Placed, timeout=30)) as waiting:
        await clock.advance(30)
        assert await waiting == Placed(1)


async def test_a_slow_reader_loses_the_oldest_and_slows_nobody_down(running, handled):
    async with running() as app, app.stream(Placed, buffer=3) as events:
        for number in range(10):
            await app.signal(Placed(number))
            await app.idle()
        assert len(handled) == 10
        assert events.dropped == 7
        assert [(await anext(events)).number for _ in range(3)] == [7, 8, 9]
        await app.signal(Placed(10))
        assert await anext(events) == Placed(10)
        assert events.dropped == 7


async def test_leaving_the_app_ends_a_wait_with_an_error_and_a_loop_after_its_last_event(make_app, handled):
    seen = []

    async def watch():
        async with app.stream(Placed) as events:
            await asyncio.sleep(0)
            await released.wait()
            async for event in events:
                seen.append(event)
        seen.append("left")

    released = asyncio.Event()
    app = make_app()
    async with app:
        reading = asyncio.create_task(watch())
        waiting = asyncio.create_task(app.wait_for(Cancelled, Paid))
        await asyncio.sleep(0)
        await app.signal(Placed(1))
        await app.idle()
    released.set()
    await reading
    assert seen == [Placed(1), "left"]
    with pytest.raises(BackendError, match="the app was left before it handled Cancelled or Paid"):
        await waiting
    assert watching(app) == 0


async def test_a_lifespan_that_waits_for_its_own_reader_is_left(make_app, handled):
    """The stream ends before the lifespan is left, so that a task group in it can end."""
    seen = []

    @asynccontextmanager
    async def lifespan(app):
        async def watch():
            async with app.stream(Placed) as events:
                async for event in events:
                    seen.append(event)

        async with asyncio.TaskGroup() as group:
            group.create_task(watch())
            await asyncio.sleep(0)
            yield

    async with make_app(lifespan=lifespan) as app:
        await app.signal(Placed(1))
        await app.idle()
    assert seen == [Placed(1)]


async def test_an_app_that_dies_says_so_to_those_who_wait(make_app, handled):
    app = make_app()
    with pytest.raises(ZeroDivisionError):
        async with app:
            waiting = asyncio.create_task(app.wait_for(Placed))
            reading = asyncio.create_task(anext_of(app))
            await asyncio.sleep(0)
            Probe(app).fail(ZeroDivisionError())
            for each in (waiting, reading):
                with pytest.raises(BackendError, match="the app has died, and handles no more events"):
                    await each


async def anext_of(app):
    async with app.stream(Placed) as events:
        return await anext(events)


async def test_a_wait_that_begins_when_the_app_is_over_ends_at_once(make_app, handled):
    """A lifespan that is being left is still inside the app."""
    found = []

    @asynccontextmanager
    async def lifespan(app):
        yield
        try:
            await app.wait_for(Placed)
        except BackendError as error:
            found.append(str(error))
        async with app.stream(Placed) as events:
            found.extend([event async for event in events])

    async with make_app(lifespan=lifespan):
        pass
    assert found == ["the app was left before it handled Placed"]


async def test_a_cancelled_wait_leaves_nothing_behind(running, handled):
    async with running() as app:
        for wait in (app.wait_for(Placed), app.wait_for(Placed, timeout=5), anext_of(app)):
            async with background(wait) as waiting:
                assert watching(app) == 1
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
            assert watching(app) == 0


async def test_a_handler_awaits_the_answer_to_an_event_that_it_signals(running, registry, clock):
    answers = []

    @registry.on_event(Placed)
    async def ask(event):
        async with dawdle.stream(Paid, where=lambda paid: paid.number == event.number) as events:
            await dawdle.signal(Paid(event.number))
            answers.append(await anext(events))

    @registry.on_event(Paid)
    async def pay(event): ...

    async with running(concurrency=2) as app:
        await app.signal(Placed(3))
        await clock.advance(1)  # a receive waits 20 ms for more room, while the handler runs
        assert answers == [Paid(3)]


async def test_a_handler_that_waits_in_vain_ends_with_its_grace_and_its_event_comes_back(make_app, registry, clock):
    queue = Memory(clock=clock)
    begun, ended = asyncio.Event(), []

    @registry.on_event(Placed)
    async def waits(event):
        begun.set()
        try:
            await dawdle.wait_for(Paid)
        except BaseException as error:
            ended.append(type(error))
            raise

    registry.on_event(Paid, name="pay")(waits)
    async with make_app(queue, grace=0.01) as app:
        await app.signal(Placed(3))
        await begun.wait()
    assert ended == [asyncio.CancelledError]
    assert len(queue.messages()) == 1


async def test_what_a_stop_interrupted_is_seen_where_it_is_handled(make_app, registry, clock):
    queue, begun = Memory(clock=clock), []

    @registry.on_event(Placed)
    async def slow(event):
        begun.append(event)
        if len(begun) == 1:
            await asyncio.Event().wait()

    async with make_app(queue, grace=0) as app:
        waiting = asyncio.create_task(app.wait_for(Placed))
        await app.signal(Placed(1))
        while not begun:
            await asyncio.sleep(0)
    with pytest.raises(BackendError, match="the app was left"):
        await waiting
    async with make_app(queue) as app:
        assert await app.wait_for(Placed) == Placed(1)


async def test_what_another_node_has_by_now_is_not_seen(running, registry, clock):
    begun = asyncio.Event()

    @registry.on_event(Placed)
    async def slow(event):
        begun.set()
        if event.number == 1:
            await asyncio.Event().wait()

    async with running() as app, background(app.wait_for(Placed)) as waiting:
        await app.signal(Placed(1))
        await begun.wait()
        Probe(app).lose_leases()
        await app.signal(Placed(2))
        assert await waiting == Placed(2)


async def test_an_event_that_its_node_does_not_handle_stays_unclaimed(make_app, clock, handled):
    class Shared(Memory):
        """Other processes may have handlers for it."""

        def __init__(self, clock):
            super().__init__(clock=clock)
            self.limits = msgspec.structs.replace(self.limits, shared=True)

    other = Registry()
    other.on_event(Cancelled, name="other")(lambda event: None)
    queue = Shared(clock)
    async with make_app(queue, registry=other) as app, app.stream() as events:
        await app.signal(Placed(1))
        await clock.advance(5)
        await app.signal(Cancelled(2))
        assert await anext(events) == Cancelled(2)
        await app.idle()
        assert app.health().unclaimed > 0
        assert len(queue.messages()) == 1
    assert handled == []


@pytest.mark.parametrize("event_types", [(Placed,), (Cancelled, Placed), (Base,), ()], ids=repr)
async def test_what_this_app_does_not_handle_cannot_be_watched_for(running, registry, event_types):
    if event_types[:1] == (Cancelled,):
        registry.on_event(Cancelled, name="note")(lambda event: None)
    name = "Base" if event_types == (Base,) else "Placed" if event_types else "any event"
    async with running() as app:
        text = f"() would wait for ever: this app has no handler for {name}, so it never handles one."
        with pytest.raises(ConfigurationError, match=f"^wait_for{re.escape(text)}"):
            await app.wait_for(*event_types)
        with pytest.raises(ConfigurationError, match=f"^stream{re.escape(text)}"):
            await app.stream(*event_types).__aenter__()
        app.register(lambda event: None, Paid, Placed, name="later")
        async with app.stream(*event_types):
            pass


async def test_an_event_that_is_tried_again_in_its_place_is_seen_when_it_is_done(make_app, registry, clock):
    story = []

    @registry.on_event(Placed, retry=Retry(max_attempts=5, initial=1, factor=1, jitter=0))
    async def fails_twice(event, ctx):
        story.append(("run", event.number))
        if event.number == 1 and ctx.attempt < 3:
            raise OSError

    async def watch():
        async with app.stream(Placed) as events:
            async for event in events:
                story.append(("seen", event.number))

    async with make_app(Memory(clock=clock, ordered=True)) as app, background(watch()):
        for number in (1, 2):
            await app.signal(Placed(number), group="g")
        await clock.advance(60)
    assert story == [("run", 1), ("run", 1), ("run", 1), ("seen", 1), ("run", 2), ("seen", 2)]


async def test_the_call_of_a_function_is_not_seen(running, registry):
    @registry.function
    async def resize(width: int) -> None:
        done.append(width)

    done = []
    async with running() as app:
        with pytest.raises(ConfigurationError, match="this app has no handler for any event"):
            await app.wait_for()
        app.register(lambda event: None, Placed, name="note")
        async with app.stream() as events:
            await app.call(resize, 5)
            await app.idle()
            await app.signal(Placed(1))
            assert await anext(events) == Placed(1)
            assert done == [5]


async def test_an_event_is_seen_once_for_each_of_its_queues_that_is_received_from(registry, clock):
    registry.on_event(Placed, name="note")(lambda event: None)
    registry.on_event(Placed, name="audit", queue="audit")(lambda event: None)
    for listen, seen in [(("default",), [1]), (("audit",), [1]), (("default", "audit"), [1, 1])]:
        queues = {name: Memory(clock=clock) for name in ("default", "audit")}
        options = {"routes": {Placed: ("default", "audit")}, "listen": listen, "registry": registry, "clock": clock}
        async with Dawdle(queues=queues, **options) as app, app.stream(Placed) as events:
            await app.signal(Placed(1))
            await clock.advance(1)
            assert [(await anext(events)).number for _ in seen] == seen
            assert events._watcher.take() is None


async def test_the_apps_of_one_process_are_watched_apart(make_app, handled, clock):
    async with make_app(Memory(clock=clock)) as one, make_app(Memory(clock=clock)) as two:
        async with one.stream() as of_one, two.stream() as of_two:
            await one.signal(Placed(1))
            await two.signal(Placed(2))
            assert [await anext(of_one), await anext(of_two)] == [Placed(1), Placed(2)]
        with pytest.raises(NoAppError, match="2 apps are entered"):
            await dawdle.wait_for(Placed)
        with pytest.raises(NoAppError, match="2 apps are entered"):
            dawdle.stream(Placed)


@pytest.mark.slow
async def test_two_workers_on_one_queue_see_each_its_share(tmp_path, handled, registry):
    seen = {"one": [], "two": []}

    async def watch(name, app):
        async with app.stream(Placed) as events:
            async for event in events:
                seen[name].append(event.number)

    apps = {name: Dawdle(SQLite(tmp_path / "app.db"), registry=registry, concurrency=5) for name in seen}
    async with apps["one"] as one, apps["two"] as two, background(watch("one", one)), background(watch("two", two)):
        for _ in range(10):  # both have time to ask for more
            await one.signal_many([Placed(number) for number in range(20)])
            await asyncio.sleep(0.02)
        while sum(map(len, seen.values())) < 200:
            await asyncio.sleep(0.01)
    assert sorted(seen["one"] + seen["two"]) == sorted(10 * list(range(20))), "nothing twice, and nothing missed"
    assert min(map(len, seen.values())) > 0


async def test_without_an_app_the_functions_say_what_to_write(make_app, handled):
    with pytest.raises(NoAppError, match="async with dawdle.Dawdle"):
        await dawdle.wait_for(Placed)
    with pytest.raises(NoAppError, match="async with dawdle.Dawdle"):
        dawdle.stream(Placed)
    app = make_app()
    with pytest.raises(ConfigurationError, match="write `async with app:`"):
        await app.wait_for(Placed)
    with pytest.raises(ConfigurationError, match="write `async with app:`"):
        await app.stream(Placed).__aenter__()


async def test_another_event_loop_is_refused(running, handled):
    async def elsewhere(app):
        with pytest.raises(ConfigurationError, match="belongs to the event loop"):
            await app.wait_for(Placed)
        with pytest.raises(ConfigurationError, match="belongs to the event loop"):
            await app.stream(Placed).__aenter__()

    async with running() as app:
        await asyncio.to_thread(asyncio.run, elsewhere(app))


async def test_a_stream_is_read_inside_its_block_and_opened_once(running, handled):
    text = "write `async with dawdle.stream(…) as events:`"
    async with running() as app:
        events = app.stream(Placed)
        with pytest.raises(ConfigurationError, match=re.escape(text)):
            async for _ in events:
                pass
        with pytest.raises(ConfigurationError, match=re.escape(text)):
            await anext(events)
        async with events:
            with pytest.raises(ConfigurationError, match="opened once"):
                await events.__aenter__()
        with pytest.raises(ConfigurationError, match=re.escape(text)):
            await anext(events)
        with pytest.raises(ConfigurationError, match="opened once"):
            await events.__aenter__()
        assert watching(app) == 0


async def test_two_readers_share_a_stream(running, handled):
    async with running() as app, app.stream(Placed) as events:

        async def read():
            return [(await anext(events)).number for _ in range(2)]

        reading = [asyncio.create_task(read()) for _ in range(2)]
        await asyncio.sleep(0)
        await app.signal_many([Placed(number) for number in range(4)])
        found = await asyncio.gather(*reading)
        assert sorted(found[0] + found[1]) == [0, 1, 2, 3]


async def test_a_reader_in_another_task_ends_with_the_block(running, handled):
    async with running() as app:
        async with app.stream(Placed) as events:
            reading = asyncio.ensure_future(anext(events, "no more"))
            await asyncio.sleep(0)
        assert await reading == "no more"


@pytest.mark.parametrize("timeout", [0, -1, "5", True, float("nan")])
async def test_a_wrong_timeout_is_refused(running, handled, timeout):
    async with running() as app:
        with pytest.raises(ConfigurationError, match="timeout is more than 0 seconds, or a timedelta, not"):
            await app.wait_for(Placed, timeout=timeout)


@pytest.mark.parametrize("buffer", [0, -1, "5", True, 1.5, None])
async def test_a_wrong_buffer_is_refused_at_once(running, handled, buffer):
    async with running() as app:
        with pytest.raises(ConfigurationError, match="buffer is how many events may wait for their reader, 1 or more"):
            app.stream(Placed, buffer=buffer)


@pytest.mark.parametrize("wrong", [5, "Placed", int, Placed | Cancelled], ids=repr)
async def test_what_is_no_event_type_is_refused_at_once(running, handled, wrong):
    async with running() as app:
        with pytest.raises(ConfigurationError, match=r"^wait_for\(\) asks for .* not an event type"):
            await app.wait_for(wrong)
        with pytest.raises(ConfigurationError, match=r"^stream\(\) asks for .* not an event type"):
            app.stream(Placed, wrong)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda event: True, "takes types, and got a function: write where=…"),
        ([Placed], "takes each type by itself: write {call}(A, B), not a list"),
        (Placed(1), "takes types, and got an event: name its class, Placed"),
    ],
)
async def test_what_is_easily_taken_for_a_type_says_what_to_write(running, handled, wrong, text):
    async with running() as app:
        for call in (app.wait_for, app.stream):
            name = call.__name__
            with pytest.raises(ConfigurationError, match=re.escape(f"{name}() {text.format(call=name)}")):
                await call(Placed, wrong)


async def test_where_is_a_plain_function(running, handled):
    async def is_mine(event):
        return True

    async with running() as app:
        for wrong, text in [(is_mine, "where is not awaited"), ("number == 5", "where is a function that takes")]:
            with pytest.raises(ConfigurationError, match=text):
                await app.wait_for(Placed, where=wrong)
            with pytest.raises(ConfigurationError, match=text):
                app.stream(Placed, where=wrong)


@pytest.fixture
def app_of_two(clock):
    """Make an app whose queue `video` gets `Paid`, with a handler that may be bound to it."""

    def make(bound, **options):
        registry = Registry()

        @registry.on_event(Paid, Refunded, name="note", **{"queue": bound} if bound else {})
        async def note(event): ...

        queues = {"default": Memory(clock=clock), "video": Memory(clock=clock)}
        routes = {Paid: "video", **({Refunded: "video"} if bound else {})}
        return Dawdle(queues=queues, routes=routes, registry=registry, clock=clock, **options)

    return make


@pytest.mark.parametrize(
    ("listen", "bound", "watched"),
    [
        (["default"], "video", [Paid]),
        (["default"], None, [Paid]),
        (["default"], "video", []),
        (["default"], "video", [Base]),
        ([], None, [Paid]),
        ([], "video", []),
    ],
)
async def test_what_this_process_never_receives_is_not_waited_for(app_of_two, listen, bound, watched):
    async with app_of_two(bound, listen=listen) as app:
        name = watched[0].__qualname__ if watched else "any event"
        text = f"() would wait for ever: this process listens to {', '.join(listen) or 'no queue'}, and receives {name}"
        for call in ("wait_for", "stream"):
            with pytest.raises(ConfigurationError, match=re.escape(call + text)):
                await first_step_of(getattr(app, call)(*watched))


@pytest.mark.parametrize(
    ("options", "bound", "watched"),
    [
        ({}, "video", [Paid]),
        ({"listen": ["video"]}, "video", [Paid]),
        ({"listen": ["video"]}, None, [Base]),
        ({"listen": ["video"]}, None, []),
        ({"listen": ["video"], "start_listener": False}, "video", [Paid]),
        ({"listen": ["video"]}, None, [Refunded]),  # it has no route: signal(queue="video") may send it there
        ({"listen": ["default"]}, None, [Base]),  # Refunded goes there
    ],
)
async def test_what_this_process_may_receive_is_waited_for(app_of_two, options, bound, watched):
    async with app_of_two(bound, **options) as app:
        for call in (app.wait_for, app.stream):
            await first_step_of(call(*watched))


async def first_step_of(call):
    """Begin to wait, or open a stream, and raise what that raises."""
    if isinstance(call, EventStream):
        async with call:
            return
    async with background(call) as waiting:
        if waiting.done():
            await waiting


async def test_an_app_with_one_queue_that_does_not_listen_to_it_has_nothing_to_await(running, handled):
    async with running(listen=()) as app:
        for call in (app.wait_for(Placed), app.stream()):
            with pytest.raises(ConfigurationError, match="this process listens to no queue"):
                await first_step_of(call)


async def test_watching_changes_nothing_that_is_acked_or_tried_again(make_app, clock):
    """The same events and failures, with and without many who watch, some of them wrong or slow."""

    async def story(watch):
        registry, queue, moments = Registry(), Memory(clock=clock), []

        @registry.on_event(Placed, name="works")
        async def works(event): ...

        @registry.on_event(Placed, name="fails", retry=Retry(max_attempts=3, initial=1, jitter=0))
        async def fails(event):
            if event.number % 3 == 0:
                raise OSError

        async with make_app(queue, registry=registry, hooks=[moments.append]) as app:
            opened = []
            for _ in range(20 if watch else 0):
                for options in ({"buffer": 1}, {"where": lambda event: 1 / 0}, {"where": lambda event: False}):
                    opened.append(await app.stream(Placed, **options).__aenter__())
            for number in range(12):
                await app.signal(Placed(number), id=f"e-{number}")
            await clock.advance(60)
            await app.idle()
            for each in opened:
                await each.__aexit__(None, None, None)
            health = app.health()
        outcomes = sorted(
            (moment.event_id, moment.handler, moment.attempt, moment.outcome)
            for moment in moments
            if isinstance(moment, HandlerFinished)
        )
        return outcomes, health.dead_letters, len(queue.messages()), len(queue.dead_letters.messages())

    assert await story(watch=True) == await story(watch=False)


async def test_an_async_generator_over_a_stream_is_closed_like_any_other(running, handled):
    async def numbers(app):
        async with app.stream(Placed) as events:
            async for event in events:
                yield event.number

    async with running() as app, aclosing(numbers(app)) as found:
        first = asyncio.ensure_future(anext(found))
        await asyncio.sleep(0)
        await app.signal(Placed(4))
        assert await first == 4
        await found.aclose()
        assert watching(app) == 0


async def test_the_functions_of_the_module_are_those_of_the_app():
    assert dawdle.wait_for.__func__ is Dawdle.wait_for
    assert dawdle.stream.__func__ is Dawdle.stream
