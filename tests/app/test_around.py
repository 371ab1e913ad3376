"""`around=`: an async context manager about each run of a handler. It is left before the outcome is decided."""

import asyncio
import re
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Protocol, runtime_checkable

import msgspec
import pytest

import dawdle
from dawdle import ConfigurationError, Context, Registry, Reject, Retry, RetryLater
from dawdle.abc import Outgoing
from dawdle.hooks import HandlerFinished
from tests.app.events import Cancelled, Placed

pytestmark = pytest.mark.anyio

request_id = ContextVar("request_id", default=None)


class Session:
    """What a unit of work provides, as a database's session is."""

    def __init__(self, name="session"):
        self.name = name

    def run(self): ...


def unit_of_work(story, name="session", *, swallows=False):
    """Return an `around` that notes what happens to its session."""

    @asynccontextmanager
    async def around(ctx):
        ctx.provide(Session(name))
        story.append(f"open {name}")
        try:
            yield
        except BaseException as error:
            story.append(f"roll back {name}: {type(error).__name__}")
            if not swallows:
                raise
        else:
            story.append(f"commit {name}")

    return around


def outcomes(moments):
    return [moment.outcome for moment in moments if isinstance(moment, HandlerFinished)]


def errors(moments):
    return [moment.error for moment in moments if isinstance(moment, HandlerFinished)]


@pytest.fixture
def story():
    return []


# What it sees, and what it decides


async def test_a_handler_runs_inside_it_and_finds_what_it_provides(running, registry, moments, story):
    @registry.on_event(Placed, around=unit_of_work(story))
    async def handler(event, ctx: Context):
        story.append(f"use {ctx.state(Session).name}")

    async with running() as app:
        await app.signal(Placed(1))
        await app.idle()
    assert story == ["open session", "use session", "commit session"]
    assert outcomes(moments) == ["done"]


@pytest.mark.parametrize(
    ("raised", "outcome", "error"),
    [
        (ValueError("no stock"), "failed", "ValueError: no stock"),
        (Reject("closed"), "rejected", "Reject: closed"),
        (RetryLater(30), "later", None),
        (asyncio.CancelledError(), "failed", "CancelledError"),
        (SystemExit(3), "failed", "SystemExit: 3"),
        (StopAsyncIteration(), "failed", "StopAsyncIteration"),
        (ExceptionGroup("two", [ValueError("a"), Reject("b")]), "rejected", "ValueError: a; Reject: b"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
async def test_it_sees_what_the_handler_raises_as_it_is(
    running, registry, moments, clock, story, raised, outcome, error
):
    seen = []

    @asynccontextmanager
    async def around(ctx):
        try:
            yield
        except BaseException as given:
            seen.append(given)
            raise

    @registry.on_event(Placed, around=around, retry=Retry(max_attempts=1))
    async def handler(event, ctx: Context):
        if not seen:
            raise raised

    async with running() as app:
        await app.signal(Placed(1))
        await app.idle()
    assert seen == [raised]
    assert seen[0] is raised
    assert (outcomes(moments), errors(moments)) == ([outcome], [error])


async def test_a_commit_that_fails_is_a_handler_that_failed(running, registry, moments, clock, story):
    @asynccontextmanager
    async def around(ctx):
        yield
        if ctx.attempt == 1:
            raise ConnectionError("the database is gone")

    @registry.on_event(Placed, around=around)
    async def handler(event, ctx: Context):
        story.append(ctx.attempt)

    async with running() as app:
        await app.signal(Placed(1))
        await app.idle()
        await clock.advance(900)
        await app.idle()
    assert story == [1, 2]
    assert errors(moments) == ["ConnectionError: the database is gone", None]


@pytest.mark.parametrize("when", ["enter", "after the handler", "after its error"])
@pytest.mark.parametrize(
    ("raised", "outcome"),
    [(ValueError("no"), "failed"), (Reject("never"), "rejected"), (RetryLater(30), "later"), (OSError(), "rejected")],
    ids=["failed", "rejected", "later", "final"],
)
async def test_what_it_raises_itself_decides(running, registry, moments, clock, story, when, raised, outcome):
    @asynccontextmanager
    async def around(ctx):
        if when == "enter":
            raise raised
        try:
            yield
        except KeyError:
            raise raised from None
        raise raised

    @registry.on_event(Placed, around=around, retry=Retry(max_attempts=1, never=(OSError,)))
    async def handler(event):
        story.append("handler")
        if when == "after its error":
            raise KeyError

    async with running() as app:
        await app.signal(Placed(1))
        await app.idle()
    assert outcomes(moments) == [outcome]
    assert story == ([] if when == "enter" else ["handler"])


async def test_an_error_that_it_swallows_is_a_failure_all_the_same(running, registry, moments, clock, story):
    @registry.on_event(Placed, around=[unit_of_work(story, "outer"), unit_of_work(story, "inner", swallows=True)])
    async def handler(event, ctx: Context):
        if ctx.attempt == 1:
            raise ValueError("no stock")

    async with running() as app:
        await app.signal(Placed(1))
        await app.idle()
        assert story[-2:] == ["roll back inner: ValueError", "roll back outer: ValueError"]
        await clock.advance(900)
        await app.idle()
    assert errors(moments) == ["ValueError: no stock", None]
    assert story[-2:] == ["commit inner", "commit outer"]


async def test_one_that_yields_twice_or_not_at_all_has_failed(running, registry, moments):
    @asynccontextmanager
    async def twice(ctx):
        yield
        yield

    @asynccontextmanager
    async def never(ctx):
        if ctx is None:
            yield

    once = Retry(max_attempts=1)

    @registry.on_event(Placed, around=twice, retry=once)
    async def first(event): ...

    @registry.on_event(Placed, around=never, retry=once)
    async def second(event):
        raise AssertionError

    async with running() as app:
        await app.signal(Placed(1))
        await app.idle()
    never_yields, twice_yields = sorted(errors(moments))
    assert twice_yields == "RuntimeError: generator didn't stop"
    assert re.fullmatch(
        r"RuntimeError: around=\S*never of handler \S*second ended before its yield: let .*", never_yields
    )


async def test_a_class_serves_as_well_as_a_generator(running, registry, moments, story):
    class Unit:
        def __init__(self, ctx):
            self.ctx = ctx

        async def __aenter__(self):
            self.ctx.provide(Session())

        async def __aexit__(self, kind, error, trace):
            story.append(kind)

    @registry.on_event(Placed, around=Unit)
    async def handler(event, ctx: Context):
        story.append(ctx.state(Session).name)

    @registry.on_event(Cancelled, around=Unit, retry=Retry(max_attempts=1))
    async def fails(event):
        raise KeyError

    async with running() as app:
        await app.signal(Placed(1))
        await app.idle()
        await app.signal(Cancelled(1))
        await app.idle()
    assert story == ["session", None, KeyError]


def plain(ctx):
    return Session()


@contextmanager
def not_async(ctx):
    yield


async def late(ctx):
    raise AssertionError


@pytest.mark.parametrize(
    ("around", "told"),
    [
        (plain, "type Session"),
        (lambda ctx: not_async(ctx), "_GeneratorContextManager"),  # noqa: PLW0108 - seen through, it is refused
        (lambda ctx: late(ctx), "coroutine"),  # noqa: PLW0108
    ],
    ids=["plain", "not async", "coroutine"],
)
async def test_what_makes_no_async_context_manager_fails_the_first_run_and_says_so(
    running, registry, moments, around, told
):
    @registry.on_event(Placed, around=around, retry=Retry(max_attempts=1))
    async def handler(event):
        raise AssertionError

    async with running() as app:
        await app.signal(Placed(1))
        await app.idle()
    (error,) = errors(moments)
    assert error.startswith("ConfigurationError: around=")
    assert told in error
    assert error.endswith("with @contextlib.asynccontextmanager above it")


# Several


async def test_the_apps_is_outermost_then_the_registries_then_the_handlers(make_app, story):
    inner = Registry(around=unit_of_work(story, "inner registry"))
    middle = Registry()
    outer = Registry(around=[unit_of_work(story, "outer registry"), unit_of_work(story, "its second")])
    outer.include(middle)
    middle.include(inner)

    @inner.on_event(Placed, around=(unit_of_work(story, "handler"), unit_of_work(story, "its second")))
    async def handler(event): ...

    @outer.on_event(Cancelled)
    async def other(event): ...

    def app_of(registry):
        return make_app(registry=registry, around=unit_of_work(story, "app"))

    async with app_of(outer) as app:
        await app.signal(Placed(1))
        await app.idle()
        assert [each.removeprefix("open ") for each in story[:6]] == [
            "app",
            "outer registry",
            "its second",
            "inner registry",
            "handler",
            "its second",
        ]
        assert [each.removeprefix("commit ") for each in story[6:]] == [
            each.removeprefix("open ") for each in reversed(story[:6])
        ]
        story.clear()
        await app.signal(Cancelled(1))
        await app.idle()
        assert [each for each in story if "open" in each] == ["open app", "open outer registry", "open its second"]
    story.clear()
    async with app_of(inner) as app:  # the same handler in another app, by a shorter way
        await app.signal(Placed(1))
        await app.idle()
    assert [each for each in story if "open" in each] == [
        "open app",
        "open inner registry",
        "open handler",
        "open its second",
    ]


async def test_a_handler_of_one_app_has_the_apps_and_its_own_but_not_the_registrys(make_app, story):
    registry = Registry(around=unit_of_work(story, "registry"))

    async def handler(event: Placed): ...

    async with make_app(registry=registry, around=unit_of_work(story, "app")) as app:
        app.register(handler, around=unit_of_work(story, "handler"))
        await app.signal(Placed(1))
        await app.idle()
    assert [each for each in story if "open" in each] == ["open app", "open handler"]


async def test_a_handler_that_is_registered_again_has_its_new_around(running, registry, story):
    def register(name):
        async def handler(event: Placed): ...

        handler.__qualname__ = "handler"
        return registry.on_event(name="handler", around=unit_of_work(story, name))(handler)

    async with running() as app:
        register("first")
        await app.signal(Placed(1))
        await app.idle()
        registry.clear()
        register("second")
        await app.signal(Placed(1))
        await app.idle()
    assert [each for each in story if "open" in each] == ["open first", "open second"]


async def test_each_sibling_has_its_own_and_a_failure_leaves_the_others_alone(running, registry, moments, clock, story):
    held = asyncio.Event()

    @registry.on_event(Placed, around=unit_of_work(story, "first"))
    async def first(event, ctx: Context):
        if ctx.attempt == 1:
            raise ValueError

    @registry.on_event(Placed, around=unit_of_work(story, "second"))
    async def second(event, ctx: Context):
        await held.wait()
        story.append(f"use {ctx.state(Session).name}")

    async with running() as app:
        await app.signal(Placed(1))
        await clock.advance(2)
        held.set()
        await app.idle()
        await clock.advance(900)
        await app.idle()
    assert [each for each in story if "first" in each] == [
        "open first",
        "roll back first: ValueError",
        "open first",
        "commit first",
    ]
    assert [each for each in story if "second" in each] == ["open second", "use second", "commit second"]
    assert outcomes(moments) == ["failed", "done", "done"]


# What it provides


@runtime_checkable
class Runs(Protocol):
    def run(self): ...


class Own(Session):
    pass


class Database:
    name = "database"


@asynccontextmanager
async def lifespan(app):
    yield Database()


async def test_state_is_found_innermost_first_and_in_the_lifespan_last(running, registry, story):
    @asynccontextmanager
    async def own(ctx):
        assert ctx.state(Session).name == "inner"
        ctx.provide(Own("own"))
        yield
        assert ctx.state(Session).name == "own"

    @asynccontextmanager
    async def outermost(ctx):
        yield
        with pytest.raises(ConfigurationError):
            ctx.state(Session)  # each value goes with the `around` that provided it
        story.append("gone")

    @registry.on_event(
        Placed, around=[outermost, unit_of_work(story, "outer"), unit_of_work(story, "inner"), own], name="handler"
    )
    async def handler(event, ctx: Context):
        story.append([ctx.state(kind).name for kind in (Session, Own, Runs, Database)])
        with pytest.raises(ConfigurationError) as caught:
            ctx.state(Registry)
        story.append(str(caught.value))

    async with running(lifespan=lifespan) as app:
        await app.signal(Placed(1))
        await app.idle()
    assert story[2:] == [
        ["own", "own", "own", "database"],
        (
            "handler handler asks for the state Registry, and the app has a lifespan that yields Database, and around= "
            "provides Own, Session: let Dawdle(lifespan=…) yield one, or an around= provide one"
        ),
        "commit inner",
        "commit outer",
        "gone",
    ]


async def test_to_provide_is_for_an_around_that_is_being_entered(running, registry, story):
    told = []

    def try_to(ctx, value):
        with pytest.raises(ConfigurationError) as caught:
            ctx.provide(value)
        told.append(str(caught.value))

    @asynccontextmanager
    async def around(ctx):
        try_to(ctx, None)
        yield
        try_to(ctx, Session())

    @registry.on_event(Placed, around=around, name="inside")
    async def inside(event, ctx: Context):
        try_to(ctx, Session())

    @registry.on_event(Cancelled, name="outside")
    async def outside(event, ctx: Context):
        try_to(ctx, 5)

    async with running() as app:
        await app.signal(Placed(1))
        await app.idle()
        await app.signal(Cancelled(1))
        await app.idle()
    only = "only an around= may provide values, before its yield"
    assert told == [
        "ctx.provide(None): provide an object that ctx.state(Type) finds by its type",
        f"ctx.provide(Session) for handler inside: {only}",
        f"ctx.provide(Session) for handler inside: {only}",
        f"ctx.provide(int) for handler outside: {only}",
    ]


# Where it runs


async def test_a_context_variable_that_it_sets_is_seen_by_its_handler_alone(running, registry, story):
    @asynccontextmanager
    async def around(ctx):
        request_id.set(f"{ctx.handler} {ctx.event_id}")
        yield
        story.append(("around", request_id.get()))

    @registry.on_event(Placed, around=around, name="with")
    async def handler(event):
        story.append(("with", request_id.get()))

    @registry.on_event(Placed, name="without")
    async def sibling(event):
        await asyncio.sleep(0)
        story.append(("without", request_id.get()))

    @registry.on_event(Cancelled)
    async def other(event):
        story.append(("next", request_id.get()))

    async with running(concurrency=1) as app:
        await app.signal(Placed(1), id="e-1")
        await app.idle()
        await app.signal(Cancelled(1))
        await app.idle()
    assert sorted(story, key=str) == [
        ("around", "with e-1"),
        ("next", None),
        ("with", "with e-1"),
        ("without", None),
    ]
    assert request_id.get() is None


async def test_it_signals_as_its_handler_does(running, registry, queue, story):
    @asynccontextmanager
    async def around(ctx):
        await dawdle.signal(Cancelled(1))
        yield
        await dawdle.signal(Cancelled(2))

    @registry.on_event(Placed, around=around)
    async def handler(event): ...

    @registry.on_event(Cancelled)
    async def caused(event, ctx: Context):
        story.append(event.number)

    async with running() as app:
        await app.stop_listener()
        await app.signal(Placed(1), id="e-1", direct=True)
        await asyncio.sleep(0)
        await app.idle()
        causes = [msgspec.json.decode(body).get("dawdlecause") for body in queue.messages()]
        await app.start_listener()
        await app.idle()
    assert causes == ["e-1", "e-1"]
    assert sorted(story) == [1, 2]


async def test_a_direct_event_runs_inside_it_and_its_retry_does_too(running, registry, clock, story):
    @registry.on_event(Placed, around=unit_of_work(story))
    async def handler(event, ctx: Context):
        if ctx.attempt == 1:
            raise ValueError

    async with running() as app:
        await app.signal(Placed(1), direct=True)
        await app.idle()
        await clock.advance(900)
        await app.idle()
    assert story == ["open session", "roll back session: ValueError", "open session", "commit session"]


async def test_a_suspected_poison_message_runs_inside_it_too(running, registry, queue, clock, story, caplog):
    @registry.on_event(Placed, around=unit_of_work(story))
    async def handler(event, ctx: Context):
        story.append(ctx.state(Session).name)

    queue.limits = msgspec.structs.replace(queue.limits, durable=True)  # what ends with its process needs no trials
    async with running():
        body = {"specversion": "1.0", "id": "e-1", "source": "/x", "type": "Placed", "data": {}, "dawdletrial": 1}
        await queue.send([Outgoing(msgspec.json.encode(body))])
        await clock.advance(30)
    assert "in isolation" in caplog.text
    assert story == ["open session", "session", "commit session"]


async def test_only_a_run_that_has_its_turn_at_the_handlers_limit_enters_it(running, registry, clock, story):
    held = asyncio.Event()

    @registry.on_event(Placed, around=unit_of_work(story), concurrency=1)
    async def handler(event):
        await held.wait()

    async with running() as app:
        await app.signal_many([Placed(1), Placed(2)])
        await clock.advance(1)
        assert story == ["open session"]
        held.set()
        await app.idle()
    assert story == 2 * ["open session", "commit session"]


async def test_the_seconds_that_a_hook_is_told_are_with_the_around(running, registry, moments, clock):
    async def sleep(seconds):
        await clock.sleep_until(clock.monotonic() + seconds)

    @asynccontextmanager
    async def around(ctx):
        await sleep(1)
        yield
        await sleep(4)

    @registry.on_event(Placed, around=around)
    async def handler(event):
        await sleep(2)

    async with running() as app:
        await app.signal(Placed(1))
        await clock.advance(10)
        await app.idle()
    (finished,) = [moment for moment in moments if isinstance(moment, HandlerFinished)]
    assert finished.seconds == pytest.approx(7)
