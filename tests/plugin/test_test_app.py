"""`TestApp`: waiting, time, errors, claims. The plugin that makes one is in `test_modes.py`."""

import asyncio
import contextlib
import inspect
import threading
import time
import traceback
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

import dawdle
from dawdle.abc import Outgoing, SystemClock
from dawdle.backends.memory import Memory
from dawdle.backends.sqlite import SQLite
from dawdle.backends.sqs import SQS
from dawdle.testing import AppOptions, ManualClock, TestApp, context, under_test
from dawdle.testing.sqs_queue import SQSTestQueue

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_task_is_left")]


class OrderPlaced(msgspec.Struct, frozen=True):
    order_id: str
    total: int = 0


class Paid(msgspec.Struct, frozen=True):
    order_id: str


class Lonely(msgspec.Struct, frozen=True):
    pass


@pytest.fixture
def registry():
    return dawdle.Registry()


@pytest.fixture
async def app(registry):
    async with TestApp(registry=registry) as app:
        yield app


async def test_it_waits_for_a_handler_that_awaits_real_input(app):
    done = []

    async def slow(event: OrderPlaced) -> None:
        await asyncio.sleep(0.02)
        done.append(("async", app.clock.monotonic()))

    def blocking(event: OrderPlaced) -> None:
        time.sleep(0.02)
        done.append(("thread", app.clock.monotonic()))

    app.register(slow)
    app.register(blocking)
    await app.signal(OrderPlaced("o-1"), delay=10)
    await app.advance(3600)
    assert sorted(done) == [("async", 10.0), ("thread", 10.0)]


async def test_it_waits_for_the_handlers_of_what_a_handler_signals_later(app):
    done = []

    async def first(event: OrderPlaced) -> None:
        await asyncio.sleep(0.01)
        await dawdle.signal(Paid(event.order_id), delay=5)

    async def second(event: Paid) -> None:
        await asyncio.sleep(0.01)
        done.append(app.clock.monotonic())

    app.register(first)
    app.register(second)
    await app.signal(OrderPlaced("o-1"), delay=10)
    await app.advance(minutes=1)
    assert done == [15.0]


@pytest.mark.parametrize(
    "passing", [{"seconds": 5400}, {"hours": 1.5}, {"hours": 1, "minutes": 30}, {"seconds": timedelta(hours=1.5)}]
)
async def test_advance_takes_the_units_of_a_reader(app, passing):
    await app.advance(**passing)
    assert app.clock.monotonic() == 5400


async def test_a_handler_that_waits_for_the_clock_is_not_waited_for(app):
    ended = []

    async def waits(event: OrderPlaced) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(app.clock.sleep(60))
            await app.clock.sleep(30)
        ended.append(app.clock.monotonic())

    app.register(waits)
    await app.signal(OrderPlaced("o-1"))
    await app.idle()
    assert ended == []
    await app.advance(59)
    assert ended == []
    await app.advance(1)
    assert ended == [60.0]


async def test_a_sibling_of_a_handler_that_waits_for_the_clock_is_waited_for(app):
    done = []

    async def waits(event: OrderPlaced) -> None:
        await app.clock.sleep(60)

    async def slow(event: OrderPlaced) -> None:
        await asyncio.sleep(0.02)
        done.append(app.clock.monotonic())

    app.register(waits)
    app.register(slow, timeout=5)
    await app.signal(OrderPlaced("o-1"))
    await app.advance(3600)
    assert done == [0.0]


async def test_a_handler_is_ended_by_its_timeout(registry):
    async with TestApp(registry=registry, retry=dawdle.Retry(max_attempts=1)) as app:

        async def hangs(event: OrderPlaced) -> None:
            await app.clock.sleep(3600)

        app.register(hangs, timeout=30)
        await app.signal(OrderPlaced("o-1"))
        await app.advance(30)
        app.assert_dead_lettered(OrderPlaced, hangs)
        with pytest.raises(TimeoutError, match="longer than its timeout of 30 s"):
            await app.idle()


async def test_a_handler_that_hangs_for_real_is_ended_by_its_timeout_after_the_patience(app):
    app.patience = 0.05

    async def hangs(event: OrderPlaced) -> None:
        await asyncio.sleep(3600)

    app.register(hangs, timeout=30)
    await app.signal(OrderPlaced("o-1"))
    await app.advance(30)
    with pytest.raises(TimeoutError, match="timeout of 30 s"):
        await app.idle()


async def test_idle_names_a_handler_that_never_ends(app):
    app.patience = 0.05
    end = asyncio.Event()

    async def hangs(event: OrderPlaced) -> None:
        await end.wait()

    app.register(hangs, name="hangs")
    await app.signal(OrderPlaced("o-1"))
    with pytest.raises(TimeoutError, match=r"handler hangs still runs after 0.05 s of real time"):
        await app.idle()
    end.set()
    await app.idle()


async def test_advance_warns_of_a_handler_that_it_left_behind(app):
    app.patience = 0.05
    end = asyncio.Event()

    async def hangs(event: OrderPlaced) -> None:
        await end.wait()

    app.register(hangs, name="hangs")
    await app.signal(OrderPlaced("o-1"))
    with pytest.warns(RuntimeWarning, match="handler hangs still runs"):
        await app.advance(1)
    end.set()


async def test_idle_raises_what_a_handler_raised_with_the_lines_of_the_handler_alone(app):
    async def fails(event: OrderPlaced) -> None:
        raise ConnectionError("away")

    app.register(fails, name="fails")
    await app.signal(OrderPlaced("o-1"))
    with pytest.raises(ConnectionError, match="away") as raised:
        await app.idle()
    frames = traceback.extract_tb(raised.value.__traceback__)
    assert [frame.name for frame in frames][-1] == "fails"
    assert not [frame.filename for frame in frames if "dawdle/_flow" in frame.filename]
    assert "the handler fails in attempt 1" in raised.value.__notes__[0]
    await app.idle()  # each error is raised once


async def test_an_error_that_a_retry_has_mended_is_not_raised(app):
    async def fails_once(event: OrderPlaced, ctx: dawdle.Context) -> None:
        if ctx.attempt == 1:
            raise ConnectionError("away")

    app.register(fails_once)
    await app.signal(OrderPlaced("o-1"))
    await app.advance(hours=1)
    await app.idle()
    assert app.assert_handled(OrderPlaced).attempt == 2


async def test_two_errors_are_raised_as_a_group(app):
    async def fails(event: OrderPlaced) -> None:
        raise ConnectionError("away")

    async def fails_too(event: OrderPlaced) -> None:
        raise ValueError("wrong")

    app.register(fails)
    app.register(fails_too)
    await app.signal(OrderPlaced("o-1"))
    with pytest.raises(ExceptionGroup) as raised:
        await app.idle()
    assert {type(each) for each in raised.value.exceptions} == {ConnectionError, ValueError}


async def test_reject_is_raised_and_retry_later_is_not(app):
    async def not_yet(event: OrderPlaced) -> None:
        raise dawdle.RetryLater(60)

    async def never(event: Paid) -> None:
        raise dawdle.Reject("closed")

    app.register(not_yet)
    app.register(never)
    await app.signal(OrderPlaced("o-1"))
    await app.idle()
    await app.signal(Paid("o-1"))
    with pytest.raises(dawdle.Reject, match="closed"):
        await app.idle()


async def test_a_handler_that_fails_for_hours_ends_in_the_dead_letter_queue(app):
    times = []

    async def fails(event: OrderPlaced) -> None:
        times.append(app.clock.monotonic())
        raise ConnectionError("away")

    app.register(fails)
    await app.signal(OrderPlaced("o-1"))
    await app.advance(hours=12)
    dead = app.assert_dead_lettered(OrderPlaced, fails, order_id="o-1")
    assert (dead.event, dead.error, dead.attempts) == (OrderPlaced("o-1"), "ConnectionError: away", 12)
    assert len(times) == 12
    assert times == sorted(times)
    letters = [letter async for letter in app.dead_letters()]
    assert [letter.event for letter in letters] == [OrderPlaced("o-1")]


@pytest.mark.parametrize("queue", ["memory", "hops", "sqlite", "sqs"])
async def test_all_becomes_due_at_its_time_and_in_order(queue, registry, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    clock, ran = ManualClock(), []
    backend = {
        "memory": Memory,
        "hops": lambda: Memory(max_delay=7),
        "sqlite": lambda: SQLite(tmp_path / "app.db"),
        "sqs": lambda: SQSTestQueue(clock),
    }[queue]()

    @registry.on_event(retry=dawdle.Retry(initial=2, jitter=0))
    async def note(event: OrderPlaced, ctx: dawdle.Context) -> None:
        ran.append((event.order_id, clock.monotonic()))
        if event.order_id == "fails" and ctx.attempt < 4:
            raise ConnectionError("away")

    async with TestApp(backend, registry=registry, clock=clock) as app:
        await app.signal(OrderPlaced("fails"), delay=10)
        await app.signal(OrderPlaced("second"), delay=20)
        await app.signal(OrderPlaced("late"), delay=2000)
        await app.advance(hours=1)
    assert ran == [
        ("fails", 10),
        ("fails", 12),
        ("fails", 16),
        ("second", 20),
        ("fails", 24),
        ("late", 2000),
    ]


async def test_two_apps_on_one_clock_move_together(registry, tmp_path):
    clock, ran = ManualClock(), []

    async def note(event: OrderPlaced) -> None:
        await asyncio.sleep(0.01)
        ran.append((event.order_id, clock.monotonic()))

    path = tmp_path / "app.db"
    web = TestApp(SQLite(path), clock=clock, registry=dawdle.Registry())
    worker = TestApp(SQLite(path), clock=clock, registry=registry)
    async with web, worker:
        worker.register(note)
        await web.signal(OrderPlaced("o-1"), delay=60)
        await web.advance(120)
        assert ran == [("o-1", 60.0)]
        assert worker.assert_handled(OrderPlaced, note).event == OrderPlaced("o-1")
        web.assert_signaled(OrderPlaced, order_id="o-1")
        worker.assert_not_signaled(OrderPlaced)


async def test_leaving_lets_a_handler_finish_that_awaits_real_input(registry):
    done = []

    async def slow(event: OrderPlaced) -> None:
        await asyncio.sleep(0.05)
        done.append(event)

    async with TestApp(registry=registry) as app:
        app.register(slow)
        await app.signal(OrderPlaced("o-1"))
        await asyncio.sleep(0.01)
    assert done == [OrderPlaced("o-1")]


async def test_leaving_does_not_wait_for_a_handler_that_waits_for_the_clock(registry):
    began = time.monotonic()
    async with TestApp(registry=registry) as app:

        async def waits(event: OrderPlaced) -> None:
            await app.clock.sleep(3600)

        app.register(waits)
        await app.signal(OrderPlaced("o-1"))
        await app.idle()
    assert time.monotonic() - began < 5


async def test_an_app_that_is_entered_twice_is_open_until_it_was_left_twice(app):
    async with app as same:
        assert same is app
    await app.signal(OrderPlaced("o-1"))
    assert dawdle.current() is app


async def test_signals_are_kept_with_their_options(app):
    await app.signal(OrderPlaced("o-1"), delay=90, headers={"tenant": "t-1"})
    await app.signal_many([Paid("o-1"), OrderPlaced("o-2")])
    await app.signal_many(Paid(f"o-{number}") for number in (2, 3))
    first = app.assert_signaled(OrderPlaced, order_id="o-1")
    assert (first.delay, first.queues, first.headers) == (90, ("default",), {"tenant": "t-1"})
    assert app.signals.of(OrderPlaced) == [OrderPlaced("o-1"), OrderPlaced("o-2")]
    assert len(app.signals) == 5
    app.assert_not_signaled(OrderPlaced, order_id="o-3")
    with pytest.raises(AssertionError, match="2 OrderPlaced was signaled"):
        app.assert_not_signaled(OrderPlaced)
    app.signals.clear()
    app.assert_not_signaled(OrderPlaced)
    for wrong in (OrderPlaced("o-1"), "text", 5):
        with pytest.raises(dawdle.ConfigurationError, match="signal_many takes"):
            await app.signal_many(wrong)


async def test_what_is_signaled_directly_and_by_a_function_is_kept(app, registry):
    @registry.function
    async def resize(path: str) -> None: ...

    async def note(event: OrderPlaced) -> None: ...

    app.register(note)
    await app.signal(OrderPlaced("o-1"), direct=True)
    await app.call(resize, "a.png")
    await app.idle()
    app.assert_handled(OrderPlaced, note, order_id="o-1")
    assert len(app.signals) == 2


async def test_a_failed_claim_shows_the_difference(app):
    await app.signal(OrderPlaced("o-1", 100))
    await app.signal(OrderPlaced("o-2", 200), delay=60)
    with pytest.raises(AssertionError) as raised:
        app.assert_signaled(OrderPlaced, order_id="o-2", total=100)
    assert str(raised.value).splitlines()[:4] == [
        "no OrderPlaced(order_id='o-2', total=100) was signaled; the nearest of 2:",
        "    OrderPlaced(order_id='o-1', total=100)",
        "  - order_id='o-2'",
        "  + order_id='o-1'",
    ]
    with pytest.raises(AssertionError, match=r"no Paid was signaled, but:\n    OrderPlaced\(order_id='o-1'"):
        app.assert_signaled(Paid)


async def test_a_claim_about_a_field_that_is_none_is_an_error(app):
    for claim in (app.assert_signaled, app.assert_not_signaled, app.assert_handled, app.assert_dead_lettered):
        with pytest.raises(dawdle.ConfigurationError, match="no field 'oder_id': did you mean order_id"):
            claim(OrderPlaced, oder_id="o-1")
    with pytest.raises(dawdle.ConfigurationError, match="name the class of the event"):
        app.assert_signaled(OrderPlaced("o-1"))


async def test_a_failed_claim_says_what_became_of_the_event(app):
    async def fails(event: OrderPlaced) -> None:
        raise ConnectionError("away")

    async def other(event: Paid) -> None: ...

    app.register(fails, name="shop.fails")
    app.register(other, name="shop.other")
    await app.signal(OrderPlaced("o-1"))
    await app.signal(OrderPlaced("o-2"), delay=60)
    with contextlib.suppress(ConnectionError):
        await app.idle()
    with pytest.raises(AssertionError) as raised:
        app.assert_handled(OrderPlaced, "fails")
    text = str(raised.value)
    assert "shop.fails failed in attempt 1: ConnectionError: away; it runs again" in text
    assert "is due 60 s after its signal; await app.advance(60) runs it" in text
    await app.signal(Lonely())
    with pytest.raises(AssertionError, match=r"the app has no handler for Lonely\(\): import the module that has it"):
        app.assert_handled(Lonely)
    with pytest.raises(dawdle.ConfigurationError, match=r"no handler 'nobdy'; its handlers: shop.fails, shop.other"):
        app.assert_handled(OrderPlaced, "nobdy")


async def test_another_clock_or_option_is_refused():
    with pytest.raises(dawdle.ConfigurationError, match="is a dawdle.testing.ManualClock"):
        TestApp(clock=dawdle.abc.SystemClock())
    with pytest.raises(dawdle.ConfigurationError, match="no option rety"):
        TestApp(rety=dawdle.Retry())


async def test_a_handler_cannot_move_the_clock(app):
    async def moves(event: OrderPlaced) -> None:
        await app.advance(60)

    app.register(moves)
    await app.signal(OrderPlaced("o-1"))
    with pytest.raises(dawdle.ConfigurationError, match="a handler cannot await it"):
        await app.idle()


async def test_idle_in_a_handler_waits_for_all_else(app):
    seen = []

    async def first(event: OrderPlaced) -> None:
        await dawdle.signal(Paid("o-1"))
        await app.idle()
        seen.append("first")

    async def second(event: Paid) -> None:
        await asyncio.sleep(0.01)
        seen.append("second")

    app.register(first)
    app.register(second)
    await app.signal(OrderPlaced("o-1"))
    await app.idle()
    assert seen == ["second", "first"]


async def test_it_is_used_from_a_thread(app):
    done = []

    async def note(event: OrderPlaced) -> None:
        done.append(threading.current_thread().name)

    app.register(note)

    def in_thread():
        app.from_thread.signal(OrderPlaced("o-1"), delay=60)
        app.from_thread.advance(minutes=1)
        app.from_thread.idle()
        return list(done)

    assert len(await asyncio.to_thread(in_thread)) == 1
    with pytest.raises(dawdle.ConfigurationError, match="this is the event loop of the app"):
        app.from_thread.idle()
    with pytest.raises(dawdle.ConfigurationError, match="is not entered"):
        TestApp().from_thread.idle()


async def test_the_options_of_a_test_app_are_those_of_an_app():
    options = set(inspect.signature(dawdle.Dawdle).parameters)
    assert set(AppOptions.__annotations__) == options


async def test_a_queue_without_a_clock_goes_by_that_of_its_app_and_one_of_the_machine_is_refused(tmp_path):
    clock = ManualClock()
    for queue in (Memory(), Memory(ordered=True), SQLite(tmp_path / "app.db"), SQLite(tmp_path / "b.db", ordered=True)):
        async with dawdle.Dawdle(queue, clock=clock):
            assert queue.clock is clock
            assert queue.dead_letters._clock is clock
        async with dawdle.Dawdle(queue, registry=dawdle.Registry()):
            assert isinstance(queue.clock, SystemClock)
    own = Memory(clock=SystemClock())
    with pytest.raises(dawdle.ConfigurationError, match="its queue 'default' goes by the machine's clock"):
        async with dawdle.Dawdle(own, clock=clock):
            pass
    used = Memory()
    async with used:
        await used.send([Outgoing(b"{}")])
    with pytest.raises(dawdle.ConfigurationError, match="if it holds messages already, use a new one"):
        async with dawdle.Dawdle(used, clock=clock):
            pass


async def test_a_queue_that_another_app_has_open_keeps_its_clock():
    queue, clock = Memory(), ManualClock()
    async with dawdle.Dawdle(queue):
        with pytest.raises(dawdle.ConfigurationError):
            async with dawdle.Dawdle(queue, clock=clock):
                pass
        assert isinstance(queue.clock, SystemClock)


async def test_your_app_is_under_test_in_a_block(registry):
    seen = []

    @asynccontextmanager
    async def unit_of_work(ctx):
        seen.append(f"around {ctx.attempt}")
        yield

    async def own(event: OrderPlaced) -> None:
        seen.append("own")

    @registry.on_event(queue="audit")
    async def audit(event: OrderPlaced, ctx: dawdle.Context) -> None:
        seen.append(ctx.queue)
        if ctx.attempt == 1:
            raise ConnectionError("away")

    app = dawdle.Dawdle(
        queues={"default": SQS("http://127.0.0.1:1/1/a.fifo"), "audit": SQLite("nowhere/at/all.db")},
        routes={OrderPlaced: ("default", "audit")},
        registry=registry,
        around=unit_of_work,
        listen=("default",),
        start_listener=False,
        grace=1,
    )
    app.register(own)
    with under_test(app, retry=dawdle.Retry(initial=5, jitter=0)) as test:
        assert test is app
        async with app:
            await app.signal(OrderPlaced("o-1"))
            await test.advance(5)
            assert sorted(seen) == ["around 1", "around 1", "around 2", "audit", "audit", "own"]
            test.assert_handled(OrderPlaced, audit)

        @test.register
        async def of_the_test(event: Paid) -> None: ...

        assert app.handler_count() == 3
    assert type(app) is dawdle.Dawdle
    assert app.handler_count() == 2
    assert "SQS" in repr(app)


async def test_an_app_that_is_entered_cannot_be_put_under_test(registry):
    async with dawdle.Dawdle(registry=registry) as app:
        with pytest.raises(dawdle.ConfigurationError, match="is entered already"), under_test(app):
            pass


async def test_a_context_for_a_handler_that_a_test_calls():
    when = datetime(2030, 1, 1, tzinfo=UTC)
    ctx = context(OrderPlaced("o-1"), attempt=3, headers={"tenant": "t-1"}, state=["text", 5], signaled_at=when)
    assert (ctx.attempt, ctx.max_attempts, ctx.event_type, ctx.queue) == (3, 12, "OrderPlaced", "default")
    assert (ctx.headers["tenant"], ctx.signaled_at, ctx.state(str), ctx.state(int)) == ("t-1", when, "text", 5)
    assert repr(ctx) == "<Context OrderPlaced test-event for test, attempt 3 of 12>"
    ctx.provide(3.5)
    assert ctx.state(float) == 3.5
    with pytest.raises(dawdle.ConfigurationError, match=r"asks for the state list, and the test's context has float"):
        ctx.state(list)
    with pytest.raises(dawdle.ConfigurationError, match="attempt is 1 to max_attempts, not 13 of 12"):
        context(attempt=13)
    assert context(attempt=13, max_attempts=20).event_type == "test"


async def test_a_registry_is_restored(registry):
    async def before(event: OrderPlaced) -> None: ...

    other = dawdle.Registry()
    registry.on_event(before)
    async with TestApp(registry=registry) as app:
        with registry.restored():
            registry.include(other)
            other.on_event(name="other")(before)
            assert app.handler_count() == 2
            registry.clear()
            assert app.handler_count() == 0
        assert app.handler_count(OrderPlaced) == 1
    assert next(iter(registry)).function is before


class Pool:
    def __init__(self, name):
        self.name, self.is_open = name, True


@asynccontextmanager
async def pool_of(name, log):
    pool = Pool(name)
    yield pool
    await asyncio.sleep(0)  # as one that closes connections
    pool.is_open = False
    log.append(f"{name} is closed")


async def test_a_hosts_resources_live_as_long_as_the_handlers_that_use_them():
    log, registry = [], dawdle.Registry()

    @registry.on_event
    async def use(event: OrderPlaced, ctx: dawdle.Context):
        log.append(ctx.state(Pool).is_open)
        await asyncio.sleep(0.01)
        log.append(ctx.state(Pool).is_open)

    @asynccontextmanager
    async def host(app):
        async with pool_of("own", log) as pool:
            await app.signal(OrderPlaced("o-0"))  # before the first handler runs
            yield pool

    with pytest.raises(OSError, match="the test failed"):
        async with TestApp(registry=registry).with_lifespan(host) as app:
            await app.signal(OrderPlaced("o-1"))
            await asyncio.sleep(0.005)
            raise OSError("the test failed")
    assert log == [True] * 4 + ["own is closed"]


async def test_two_hosts_may_leave_in_any_order():
    log, found = [], []
    async with TestApp(registry=dawdle.Registry()) as app:

        @app.register
        async def use(event: OrderPlaced, ctx: dawdle.Context):
            found.append(ctx.state(Pool).name)

        first, second = (app.with_lifespan(lambda _, name=name: pool_of(name, log)) for name in "ab")
        await first.__aenter__()
        await second.__aenter__()
        await first.__aexit__(None, None, None)
        await app.signal(OrderPlaced("o-1"))
        await app.idle()
        await second.__aexit__(None, None, None)
        await app.signal(OrderPlaced("o-2"))
        with pytest.raises(dawdle.ConfigurationError, match="asks for the state Pool"):
            await app.idle()
    assert found == ["b"]


async def test_handlers_of_dead_letters_are_waited_for_too():
    told, registry = [], dawdle.Registry()

    @registry.on_event
    async def fails(event: OrderPlaced):
        raise dawdle.Reject("no")

    @registry.on_dead_letter
    async def tell(letter: dawdle.DeadLetter):
        await asyncio.sleep(0.05)
        told.append(letter.error)

    async with TestApp(registry=registry) as app:
        await app.signal(OrderPlaced("o-1"))
        with contextlib.suppress(dawdle.Reject):
            await app.idle()
        assert told == ["Reject: no"]
        await app.signal(OrderPlaced("o-2"))
        await asyncio.sleep(0.02)
    assert told == ["Reject: no"] * 2


async def test_an_app_under_test_that_is_connected_handles_nothing_and_enters_no_lifespan(registry):
    entered, ran = [], []

    @asynccontextmanager
    async def lifespan(app):
        entered.append(app)
        yield

    @registry.on_event(OrderPlaced, name="ran")
    async def handle(event):
        ran.append(event)

    app = dawdle.Dawdle(Memory(), registry=registry, lifespan=lifespan)
    with under_test(app) as test:
        async with app.connected():
            await dawdle.signal(OrderPlaced("o-1"))
            await asyncio.sleep(0)
        assert not entered
        assert not ran
        async with app, app.connected():  # a test that has entered it goes on
            await dawdle.signal(OrderPlaced("o-2"))
            await test.idle()
            assert entered
            assert ran
