"""What an app offers to its host: queues that it wraps, a time for one stop, and a bound on what a receive may hold."""

import asyncio
from contextlib import asynccontextmanager

import msgspec
import pytest

from dawdle import Context, Dawdle, Registry, Retry
from dawdle.backends.memory import Memory
from dawdle.errors import ConfigurationError
from tests.app.events import Placed

pytestmark = pytest.mark.anyio


@pytest.fixture
def registry():
    return Registry()


class Bounded(Memory):
    """A queue whose messages may be held for a second."""

    async def receive(self, limit, wait):
        return [msgspec.structs.replace(each, max_hold=1.0) for each in await super().receive(limit, wait)]


async def test_an_app_uses_the_queues_that_its_host_wraps(registry):
    app, seen = Dawdle(Memory(), registry=registry), []
    mine = Memory()

    def wrap(name, backend):
        seen.append((name, backend))
        return mine

    app.wrap_queues(wrap)
    assert seen[0][0] == "default"
    ran = []
    app.register(ran.append, Placed, name="ran")
    async with app:
        await app.signal(Placed())
        await app.idle()
        with pytest.raises(ConfigurationError, match="call it before"):
            app.wrap_queues(wrap)
    assert ran == [Placed()]
    assert len(seen) == 1


async def test_a_wrapper_that_fails_or_returns_no_backend_changes_nothing(registry):
    app = Dawdle(queues={"default": Memory(), "video": Memory()}, registry=registry)
    with pytest.raises(ConfigurationError, match="queue 'default' is a dawdle.abc.Backend"):
        app.wrap_queues(lambda name, backend: None)
    with pytest.raises(KeyError):
        app.wrap_queues(lambda name, backend: {"default": Memory()}[name])
    async with app:
        pass


async def test_a_message_is_held_for_as_long_as_its_receive_says(registry, clock):
    tries = []

    @registry.on_event(retry=Retry(max_attempts=2, initial=0))
    async def slow(event: Placed, ctx: Context):
        tries.append(ctx.attempt)
        await asyncio.sleep(3600)

    @registry.on_event
    async def quick(event: Placed):
        tries.append("quick")

    async with Dawdle(Bounded(clock=clock), registry=registry, clock=clock) as app:
        await app.signal(Placed())
        for _ in range(2):
            await until(app.running_handlers)
            await clock.advance(1)
            await until(lambda: not app.running_handlers() or tries[-1] == 2)
        await app.idle()
        letters = [letter async for letter in app.dead_letters()]
    assert sorted(map(str, tries)) == ["1", "2", "quick"]
    assert "that its message may be held here" in letters[0].error


async def test_a_stop_may_have_a_grace_of_its_own(registry):
    began, ended = asyncio.Event(), []

    @registry.on_event
    async def slow(event: Placed):
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(event)

    async with asyncio.timeout(10), Dawdle(Memory(), registry=registry, grace=0) as app:
        await app.signal(Placed())
        await began.wait()
        await app.stop_listener(grace=0)
        assert ended == [Placed()]
        with pytest.raises(ConfigurationError, match="grace is"):
            await app.stop_listener(grace=-1)


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.002)


async def test_a_connected_app_signals_and_neither_listens_nor_enters_its_lifespan(registry):
    entered, ran = [], []

    @asynccontextmanager
    async def lifespan(app):
        entered.append(app)
        yield

    memory = Memory()
    app = Dawdle(memory, registry=registry, lifespan=lifespan)
    app.register(ran.append, Placed, name="ran")
    async with app.connected() as same:
        assert same is app
        await app.signal(Placed(1))
        assert not app.health().listening
        assert (await memory.count()).waiting == 1
    assert not entered
    assert not ran
    async with app:  # as ever
        await app.idle()
        assert entered == [app]
        assert app.health().listening


async def test_an_app_that_is_entered_is_not_connected(registry):
    async with Dawdle(Memory(), registry=registry) as app:
        with pytest.raises(ConfigurationError, match="entered"):
            async with app.connected():
                pass


async def test_configure_changes_which_queues_an_app_listens_to_and_how_many_messages_it_takes(registry):
    app = Dawdle(queues={"default": Memory(), "video": Memory()}, registry=registry)
    app.configure(listen=("video",), concurrency=3)
    app.register(lambda event: None, Placed, name="ran")
    async with app:
        health = app.health()
        assert [(each.queue, each.slots) for each in health.queues] == [("video", 3)]
        with pytest.raises(ConfigurationError, match="call it before"):
            app.configure(concurrency=4)
    app.configure(listen=("default",))
    async with app:
        assert [(each.queue, each.slots) for each in app.health().queues] == [("default", 3)]


@pytest.mark.parametrize(
    ("options", "text"), [({"listen": ("vidoe",)}, "did you mean 'video'"), ({"concurrency": 0}, "1 or more")]
)
async def test_configure_refuses_what_the_app_does_not_have(registry, options, text):
    app = Dawdle(queues={"default": Memory(), "video": Memory()}, registry=registry)
    with pytest.raises(ConfigurationError, match=text):
        app.configure(**options)


async def test_an_apps_queues_can_be_looked_at_and_not_changed(registry):
    default, video = Memory(), Memory()
    app = Dawdle(queues={"default": default, "video": video}, registry=registry)
    assert dict(app.backends) == {"default": default, "video": video}
    with pytest.raises(TypeError):
        app.backends["other"] = Memory()
    assert list(Dawdle(default, registry=registry).backends.items()) == [("default", default)]
    async with app:
        assert (await app.backends["video"].count()).waiting == 0


async def test_no_handler_runs_in_a_connected_app(registry):
    ran, memory = [], Memory()
    app = Dawdle(memory, registry=registry)
    app.register(ran.append, Placed, name="ran")
    async with app.connected():
        await app.signal(Placed(1), direct=True)
        with pytest.raises(ConfigurationError, match="entered by connected"):
            await app.start_listener()
        assert (await memory.count()).waiting == 1
    assert not ran


async def test_configure_leaves_the_concurrency_of_queues_that_it_does_not_name(registry):
    queues = {name: Memory() for name in ("default", "a", "b")}
    app = Dawdle(queues=queues, registry=registry, concurrency={"a": 5, "b": 7})
    app.configure(concurrency={"a": 9})
    assert {each.name: each.concurrency for each in app.describe().queues} == {"default": 100, "a": 9, "b": 7}


async def test_configure_refuses_hooks_that_are_no_list(registry):
    with pytest.raises(ConfigurationError, match="hooks is a list"):
        Dawdle(Memory(), registry=registry).configure(hooks=5)


async def test_validate_finds_what_entering_would_refuse_and_opens_nothing(registry):
    app = Dawdle(Memory(), registry=registry)
    app.validate()
    app.register(lambda event: None, Placed, name="bound", queue="nope")
    with pytest.raises(ConfigurationError, match="runs on the queue 'nope'"):
        app.validate()
