"""Entering and leaving: in any task, cancelled or not, nothing in flight is lost and no task is left."""

import asyncio
import sys
from contextlib import asynccontextmanager, suppress

import msgspec
import pytest

from dawdle import ConfigurationError, Context, Dawdle, Retry
from dawdle._flow import runtime as runtime_module
from dawdle.backends.memory import Memory
from dawdle.errors import BackendError
from dawdle.testing import Probe
from tests.app.events import Cancelled, Placed

pytestmark = pytest.mark.anyio


@pytest.fixture
def busy(registry, clock):
    """Five handlers that run until they are cancelled."""
    started = []

    @registry.on_event(Placed)
    async def handler(event):
        started.append(event.number)
        await clock.sleep_until(10**9)

    return started


async def fill(app, clock, count=5):
    await app.signal_many([Placed(number) for number in range(count)])
    await clock.advance(1)


def visible(queue):
    return len(queue._ready)


async def entered_here_and_left_there(app):
    await asyncio.create_task(app.__aenter__())
    await asyncio.create_task(app.__aexit__(None, None, None))


async def test_an_app_is_entered_in_one_task_and_left_in_another(make_app, queue, clock, busy):
    app = make_app(grace=10)
    await asyncio.create_task(app.__aenter__())
    await fill(app, clock)
    assert sorted(busy) == [0, 1, 2, 3, 4]
    leaving = asyncio.create_task(app.__aexit__(None, None, None))
    await clock.advance(9.9)
    assert not leaving.done()
    await clock.advance(0.2)
    await leaving
    assert visible(queue) == 5


@pytest.mark.parametrize("times", [1, 2, 3, 10])
async def test_leaving_that_is_cancelled_ends_the_grace_and_still_settles_everything(
    make_app, queue, clock, busy, times
):
    app = make_app(grace=1000)
    await app.__aenter__()
    await fill(app, clock)
    leaving = asyncio.create_task(app.__aexit__(None, None, None))
    await clock.advance(1)
    for _ in range(times):
        leaving.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert visible(queue) == 5


@pytest.mark.parametrize("times", [1, 3])
async def test_a_body_that_is_cancelled_leaves_in_order(make_app, queue, clock, busy, times):
    app = make_app(grace=10)
    inside = asyncio.Event()

    async def body():
        async with app:
            inside.set()
            await asyncio.sleep(3600)

    running = asyncio.create_task(body())
    await inside.wait()
    await fill(app, clock)
    for _ in range(times):
        running.cancel()
        await clock.advance(0)
    await clock.advance(11)
    with pytest.raises(asyncio.CancelledError):
        await running
    assert visible(queue) == 5


async def test_a_body_that_raises_leaves_in_order_and_its_error_is_the_one_that_is_seen(make_app, queue, clock, busy):
    with pytest.raises(ZeroDivisionError):
        async with make_app(grace=0) as app:
            await fill(app, clock)
            raise ZeroDivisionError
    assert visible(queue) == 5


async def test_a_body_that_times_out_leaves_in_order(make_app, queue, clock, busy):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(None) as limit, make_app(grace=0) as app:
            await fill(app, clock)
            limit.reschedule(asyncio.get_running_loop().time() + 0.02)
            await asyncio.sleep(60)
    assert visible(queue) == 5


async def test_a_handler_that_finishes_in_the_grace_is_done(make_app, registry, queue, clock):
    done = []

    @registry.on_event(Placed)
    async def handler(event):
        await clock.sleep_until(clock.monotonic() + 5)
        done.append(event.number)

    app = make_app(grace=10)
    await app.__aenter__()
    await fill(app, clock)
    leaving = asyncio.create_task(app.__aexit__(None, None, None))
    await clock.advance(6)
    await leaving
    assert sorted(done) == [0, 1, 2, 3, 4]
    assert queue.messages() == []


async def test_a_stop_settles_what_was_done_and_gives_the_unfinished_back_with_its_attempt_unchanged(
    make_app, registry, queue, clock
):
    runs = []

    @registry.on_event(Placed, name="quick")
    async def quick(event):
        runs.append("quick")

    @registry.on_event(Placed, name="slow")
    async def slow(event, ctx: Context):
        runs.append(("slow", ctx.attempt))
        await clock.sleep_until(10**9)

    @registry.on_event(Placed, name="failing", retry=Retry(initial=60, jitter=0))
    async def failing(event):
        runs.append("failing")
        raise ValueError

    async with make_app(grace=0) as app:
        await fill(app, clock, 1)
    left = [msgspec.json.decode(body) for body in queue.messages()]
    assert sorted((each["dawdleowed"], each["dawdleattempt"]) for each in left) == [("failing", 2), ("slow", 1)]
    assert visible(queue) == 1
    runs.clear()
    async with make_app(grace=0) as app:
        await clock.advance(1)
    assert runs == [("slow", 1)]


async def test_a_handler_that_swallows_some_cancellations_is_cancelled_until_it_ends(make_app, registry, queue, clock):
    @registry.on_event(Placed)
    async def stubborn(event):
        for _ in range(3):
            try:
                await clock.sleep_until(10**9)
            except asyncio.CancelledError:
                continue

    app = make_app(grace=5)
    await app.__aenter__()
    await fill(app, clock, 1)
    leaving = asyncio.create_task(app.__aexit__(None, None, None))
    await clock.advance(5 + 3.1)
    await leaving
    assert queue.messages() == [], "it returned in the end, so it is done"


@pytest.mark.slow
async def test_a_handler_that_ignores_every_cancellation_does_not_hold_the_app(
    make_app, registry, queue, clock, caplog
):
    enough = False

    @registry.on_event(Placed, name="immortal")
    async def immortal(event):
        while not enough:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.05)

    app = make_app(grace=5)
    await app.__aenter__()
    await fill(app, clock, 1)
    leaving = asyncio.create_task(app.__aexit__(None, None, None))
    await clock.advance(5 + 3.1)
    await leaving
    assert "closed while immortal is still running: it ignores cancellation" in caplog.text
    assert app.running_handlers() == ["immortal"]
    assert len(queue.messages()) == 1
    enough = True
    await Probe(app).over()


async def test_a_handler_that_answers_its_cancellation_with_another_error_has_failed_and_is_settled(
    make_app, registry, queue, clock
):
    @registry.on_event(Placed, name="rude")
    async def rude(event):
        try:
            await clock.sleep_until(10**9)
        except asyncio.CancelledError:
            raise ValueError("no time") from None

    async with make_app(grace=0) as app:
        await fill(app, clock, 2)
    assert [msgspec.json.decode(body)["dawdleattempt"] for body in queue.messages()] == [2, 2]


async def test_a_handler_that_finishes_although_cancelled_is_done(make_app, registry, queue, clock):
    done = []

    @registry.on_event(Placed)
    async def cleans_up(event):
        try:
            await clock.sleep_until(10**9)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            done.append(event.number)

    async with make_app(grace=0) as app:
        await fill(app, clock, 3)
    assert sorted(done) == [0, 1, 2]
    assert queue.messages() == []


async def test_an_app_can_be_entered_again_and_finds_what_was_left(make_app, registry, queue, clock):
    seen = []
    app = make_app(start_listener=False)
    async with app:
        await app.signal(Placed(1))

    @registry.on_event(Placed)
    async def handler(event):
        seen.append(event.number)

    async with app:
        await app.start_listener()
        await app.idle()
    assert seen == [1]


async def test_an_app_that_is_entered_cannot_be_entered_once_more(running):
    async with running() as app:
        with pytest.raises(ConfigurationError, match="is entered already"):
            await app.__aenter__()
        await app.signal(Placed())


async def test_what_is_called_on_an_app_that_is_not_entered_says_what_to_write(make_app):
    app = make_app()
    for call in (app.signal(Placed()), app.signal_many([]), app.idle(), app.start_listener(), app.stop_listener()):
        with pytest.raises(ConfigurationError, match="write `async with app:`"):
            await call


async def test_a_backend_that_does_not_open_raises_and_leaves_nothing(make_app):
    class Broken(Memory):
        async def __aenter__(self):
            raise BackendError("no route to host")

    app = make_app(Broken())
    with pytest.raises(BackendError, match="no route"):
        await app.__aenter__()
    with pytest.raises(ConfigurationError, match="not entered"):
        await app.signal(Placed())


async def test_while_its_queue_is_being_opened_an_app_says_so(make_app, clock):
    class Slow(Memory):
        async def __aenter__(self):
            await clock.sleep_until(clock.monotonic() + 10)
            return await super().__aenter__()

    app = make_app(Slow(clock=clock))
    for _ in range(2):  # entered again, it does not answer for the time before
        opens = clock.monotonic() + 10
        entering = asyncio.create_task(app.__aenter__())
        await clock.advance(9)
        assert app.health().reasons == ("the app is being entered: its queue is not open yet",)
        assert not app.health().healthy
        assert app.running_handlers() == []
        with pytest.raises(ConfigurationError, match="its queue is not open yet"):
            await app.signal(Placed())
        await clock.advance(opens - clock.monotonic())
        await entering
        assert app.health().healthy
        await app.signal(Placed())
        await app.__aexit__(None, None, None)


async def test_entering_that_is_cancelled_leaves_nothing(make_app):
    closed = []

    class Slow(Memory):
        async def __aenter__(self):
            try:
                await asyncio.sleep(3600)
            finally:
                closed.append(True)

    app = make_app(Slow())
    entering = asyncio.create_task(app.__aenter__())
    await asyncio.sleep(0.01)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert closed == [True]


async def test_the_lifespan_surrounds_the_handlers_and_its_state_is_theirs(make_app, registry, clock):
    story = []

    class Database(msgspec.Struct):
        name: str

    @asynccontextmanager
    async def lifespan(app):
        story.append("open")
        await app.signal(Placed(1))
        yield Database("shop")
        story.append("close")

    @registry.on_event(Placed)
    async def handler(event, ctx: Context):
        story.append(ctx.state(Database).name)
        await clock.sleep_until(clock.monotonic() + 1)
        story.append("done")

    app = make_app(lifespan=lifespan)
    await app.__aenter__()
    await clock.advance(0.5)
    leaving = asyncio.create_task(app.__aexit__(None, None, None))
    await clock.advance(1)
    await leaving
    assert story == ["open", "shop", "done", "close"]


async def test_a_state_that_the_lifespan_does_not_yield_is_an_error_that_says_so(running, registry, clock, letters):
    @registry.on_event(Placed, retry=Retry(max_attempts=1))
    async def handler(event, ctx: Context):
        ctx.state(int)

    async with running() as app:
        await app.signal(Placed())
        await app.idle()
    assert "asks for the state int, and the app has no lifespan" in letters()[0]["dawdleerror"]


async def test_a_lifespan_that_starts_the_listener_before_it_is_entered_is_told_when_to(make_app, registry):
    told = []

    @registry.on_event(Placed)
    async def handler(event):
        pass

    @asynccontextmanager
    async def lifespan(app):
        with pytest.raises(ConfigurationError, match="still being entered") as raised:
            await app.start_listener()
        told.append(raised.value)
        yield

    async with make_app(lifespan=lifespan) as app:
        assert app.health().listening
    assert told


@pytest.mark.parametrize("kind", ["generator", "async_generator", "coroutine"])
async def test_a_lifespan_that_cannot_be_entered_is_told_with_what_to_write(make_app, queue, kind):
    def generator(app):
        yield

    async def async_generator(app):
        yield

    async def coroutine(app):
        pass

    app = make_app(lifespan=locals()[kind])
    with pytest.raises(ConfigurationError, match=f"an object of the type {kind},.*@contextlib.asynccontextmanager"):
        await app.__aenter__()


async def test_a_lifespan_that_raises_at_its_end_is_raised_by_leaving(make_app):
    @asynccontextmanager
    async def lifespan(app):
        yield
        raise OSError("disk full")

    app = make_app(lifespan=lifespan)
    await app.__aenter__()
    with pytest.raises(OSError, match="disk full"):
        await app.__aexit__(None, None, None)


@pytest.mark.parametrize("before", range(6))
async def test_in_whatever_turn_the_owner_dies_idle_returns(make_app, registry, before):
    @registry.on_event(Placed)
    async def stay(event):
        await asyncio.sleep(3600)

    async def turns(count):
        for _ in range(count):
            await asyncio.sleep(0)

    app = make_app()
    await app.__aenter__()
    await turns(20)
    await app.signal(Placed(), direct=True)
    idle = asyncio.create_task(app.idle())
    signaling = asyncio.create_task(app.signal(Placed()))
    await turns(before)  # from some of them on a message is received in the very turn
    Probe(app).fail(ZeroDivisionError())
    await turns(100)
    assert idle.done()
    await asyncio.gather(idle, signaling, return_exceptions=True)
    with pytest.raises((ZeroDivisionError, ExceptionGroup)):
        await app.__aexit__(None, None, None)


async def test_if_the_owner_dies_signal_fails_at_once_with_its_error_and_so_does_leaving(make_app, queue, monkeypatch):
    app = make_app()
    await app.__aenter__()
    probe = Probe(app)
    probe.fail(ZeroDivisionError("a bug in dawdle"))
    await probe.over()
    with pytest.raises(ZeroDivisionError):
        await app.signal(Placed())
    with pytest.raises(ZeroDivisionError):
        await app.__aexit__(None, None, None)
    async with app:
        await app.signal(Placed())


async def test_start_and_stop_of_the_listener_in_any_order_and_at_once(running, registry, clock):
    seen = []

    @registry.on_event(Placed)
    async def handler(event):
        seen.append(event.number)

    async with running(start_listener=False) as app:
        await app.stop_listener()
        for number in range(100):
            calls = [app.start_listener, app.stop_listener, app.start_listener][:: 1 if number % 2 else -1]
            await asyncio.gather(*(call() for call in calls))
            await app.signal(Placed(number))
        await app.start_listener()
        await app.idle()
    assert sorted(seen) == list(range(100))


async def test_a_listener_that_is_started_while_a_stop_waits_for_work_goes_on(running, registry, clock):
    seen = []

    @registry.on_event(Placed)
    async def handler(event):
        seen.append(event.number)
        if event.number == 0:
            await clock.sleep_until(60)

    async with running(grace=10) as app:
        await app.signal(Placed(0))
        await clock.advance(1)
        stopping = asyncio.create_task(app.stop_listener())
        await clock.advance(1)
        await app.start_listener()
        await clock.advance(30)
        assert stopping.done()
        assert app.health().listening
        await app.signal(Placed(1))
        await clock.advance(30)
    assert seen == [0, 1]


async def test_the_last_of_several_starts_and_stops_counts_also_while_a_poll_is_open(make_app, registry, queue, clock):
    @registry.on_event(Placed)
    async def handler(event): ...

    queue.limits = msgspec.structs.replace(queue.limits, receive_cancellable=False, durable=True)
    app = make_app(grace=30)
    await app.__aenter__()
    await clock.advance(1)
    for *calls, listens in (
        (app.stop_listener, app.start_listener, app.stop_listener, False),
        (app.start_listener, app.stop_listener, app.start_listener, True),
        (app.start_listener, app.stop_listener, False),
    ):
        asked = [asyncio.create_task(call()) for call in calls]
        await clock.advance(21)
        await asyncio.gather(*asked)
        assert app.health().listening is listens
    await app.__aexit__(None, None, None)


async def test_a_listener_that_is_started_while_its_app_is_left_holds_nothing(make_app, registry, queue, clock):
    @registry.on_event(Placed)
    async def handler(event): ...

    queue.limits = msgspec.structs.replace(queue.limits, receive_cancellable=False, durable=True)
    app = make_app(grace=30)
    await app.__aenter__()
    await clock.advance(1)
    leaving = asyncio.create_task(app.__aexit__(None, None, None))
    await clock.advance(1)
    starting = asyncio.create_task(app.start_listener())
    await clock.advance(100)
    assert leaving.done()
    await asyncio.gather(leaving, starting)


async def test_a_stopped_listener_settles_what_is_in_hand_and_receives_no_more(running, registry, clock, queue):
    seen = []

    @registry.on_event(Placed)
    async def handler(event):
        await clock.sleep_until(clock.monotonic() + 1)
        seen.append(event.number)

    async with running() as app:
        await fill(app, clock, 3)
        await app.signal(Placed(3))
        await clock.advance(0)
        stopping = asyncio.create_task(app.stop_listener())
        await clock.advance(2)
        await stopping
        assert sorted(seen) == [0, 1, 2, 3]
        await app.signal(Placed(4))
        await clock.advance(10)
        assert len(queue.messages()) == 1
        await app.start_listener()
        await clock.advance(2)
        assert seen[-1] == 4


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks are eager from Python 3.12 on")
async def test_an_app_works_in_a_loop_whose_tasks_are_eager(running, registry, clock):
    seen = []

    async def handler(event):
        seen.append(event.number)
        await clock.sleep_until(clock.monotonic() + 1)

    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)
    try:
        async with asyncio.timeout(60), running(concurrency=10) as app:
            app.register(handler, Placed)
            await app.signal_many([Placed(number) for number in range(50)])
            idle = asyncio.create_task(app.idle())
            await clock.advance(10)
            await idle
            await asyncio.gather(*(call() for call in (app.stop_listener, app.start_listener) * 5))
            await app.signal(Placed(50))
            await clock.advance(2)
    finally:
        loop.set_task_factory(None)
    assert sorted(seen) == list(range(51))


async def test_a_handler_may_stop_its_own_listener(running, registry, clock):
    seen = []

    @registry.on_event(Placed)
    async def handler(event):
        await app.stop_listener()
        seen.append(event.number)

    async with running() as app:
        await app.signal(Placed(1))
        await clock.advance(0)
        assert seen == [1]


async def test_an_app_without_a_handler_does_not_receive_until_it_has_one(running, registry, queue, clock, monkeypatch):
    receives = []
    receive = Memory.receive

    async def counted(self, limit, wait):
        receives.append(limit)
        return await receive(self, limit, wait)

    monkeypatch.setattr(Memory, "receive", counted)
    seen = []
    async with running() as app:
        await app.signal(Placed(1))
        await clock.advance(100)
        assert receives == []

        @registry.on_event(Placed)
        async def handler(event):
            seen.append(event.number)

        await clock.advance(0)
        assert seen == [1]


async def test_a_handler_registered_or_removed_while_the_app_runs_counts_from_then_on(running, registry, clock):
    seen = []

    async def first(event: Placed):
        seen.append(("first", event.number))

    class Service:
        async def second(self, event: Placed):
            seen.append(("second", event.number))

    service = Service()
    async with running() as app, running(Memory(clock=clock)) as other:
        app.register(first)
        app.register(service.second)
        assert app.handler_count() == app.handler_count(Placed) == 2
        assert app.handler_count(Cancelled) == 0
        assert other.handler_count() == 0
        await app.signal(Placed(1))
        await app.idle()
        app.unregister(service.second)
        await app.signal(Placed(2))
        await app.idle()
        with pytest.raises(ConfigurationError, match="is not a handler of this app"):
            app.unregister(service.second)
    assert seen == [("first", 1), ("second", 1), ("first", 2)]


async def test_an_interrupted_main_task_settles_what_is_in_hand(tmp_path):
    """Ctrl-C under asyncio.run: the main task is cancelled, and the app is left on its way out."""
    import subprocess
    import sys
    import textwrap

    script = tmp_path / "main.py"
    script.write_text(
        textwrap.dedent(
            """
            import asyncio, os, signal
            import dawdle, msgspec
            from dawdle.backends.memory import Memory

            class Placed(msgspec.Struct): ...

            @dawdle.on_event
            async def handler(event: Placed):
                os.kill(os.getpid(), signal.SIGINT)
                await asyncio.sleep(60)

            queue = Memory()

            async def main():
                async with dawdle.Dawdle(queue, grace=0.1) as app:
                    await dawdle.signal(Placed())
                    await asyncio.sleep(60)

            try:
                asyncio.run(main())
            except KeyboardInterrupt:
                print("interrupted", len(queue._ready), len(queue._in_flight))
            """
        )
    )
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, str(script)], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout == "interrupted 1 0\n", done.stderr


async def test_a_handler_registered_after_its_apps_loop_has_ended_harms_nobody(registry):
    app = Dawdle(registry=registry)

    def live_and_end():
        async def main():
            async with app:
                pass

        asyncio.run(main())

    await asyncio.to_thread(live_and_end)

    @registry.on_event(Placed)
    async def handler(event): ...


async def test_leaving_right_after_entering_takes_no_time(make_app, registry):
    @registry.on_event(Placed)
    async def handler(event): ...

    async with asyncio.timeout(60):
        async with make_app(grace=1000):
            pass
        async with make_app(grace=1000, start_listener=False) as app:
            await app.start_listener()


async def test_how_many_handlers_want_what_is_no_class_is_an_error(make_app):
    with pytest.raises(ConfigurationError, match=r"handler_count\(\) takes an event class, not 'Placed'"):
        make_app().handler_count("Placed")


async def test_an_app_that_is_entered_again_is_not_healthy_by_what_it_was_before(make_app, monkeypatch):
    app, seen, make = make_app(), [], runtime_module.Runtime

    def asked_meanwhile(config):  # as by a thread that serves the probes of Kubernetes
        seen.append((app.health().healthy, repr(app).endswith(", entered>")))
        return make(config)

    monkeypatch.setattr(runtime_module, "Runtime", asked_meanwhile)
    for _ in range(2):
        async with app:
            assert app.health().healthy
    assert seen == [(False, False)] * 2


async def test_the_old_names_of_the_calls_for_hosts_warn_at_their_callers_line_and_do_the_same(
    make_app, registry, clock
):
    @registry.on_event(Placed, name="slow")
    async def slow(event):
        await clock.sleep_until(clock.monotonic() + 3600)

    app = make_app(grace=600)
    await app.__aenter__()
    await app.signal(Placed(), direct=True)
    with pytest.warns(DeprecationWarning, match=r"handlers_that_run\(\) is now app.running_handlers\(\)") as warned:
        assert app.handlers_that_run() == ["slow"]
    assert warned[0].filename == __file__
    leaving = asyncio.create_task(app.__aexit__(None, None, None))
    await clock.advance(1)
    assert not leaving.done()
    with pytest.warns(DeprecationWarning, match=r"hurry\(\) is now app.end_grace\(\)"):
        app.hurry()
    await clock.advance(0)
    assert leaving.done()
    await leaving
    with pytest.warns(DeprecationWarning, match=r"left_behind\(\) is now app.unfinished\(\)"):
        assert app.left_behind() == []
