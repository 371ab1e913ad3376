"""Functions in an app with several queues: where a call is stored, who runs it there, and what is about it."""

from contextlib import asynccontextmanager

import pytest

from dawdle import ConfigurationError, Context, Dawdle, SignedPickle
from dawdle.backends.memory import Memory

pytestmark = pytest.mark.anyio


@pytest.fixture
def queues(clock):
    return {name: Memory(clock=clock) for name in ("default", "heavy")}


@pytest.fixture
def ran():
    return []


@pytest.fixture
def plain(registry, ran):
    @registry.function(name="plain")
    async def plain(number: int, ctx: Context | None = None):
        ran.append(("plain", number, ctx.queue))

    return plain


@pytest.fixture
def bound(registry, ran):
    @registry.function(name="bound", queue="heavy")
    async def bound(number: int, ctx: Context | None = None):
        ran.append(("bound", number, ctx.queue))

    return bound


def stored(queues):
    return {name: len(queue.messages()) for name, queue in queues.items() if queue.messages()}


async def test_a_call_is_stored_in_the_queue_of_its_options_or_its_function_or_the_default(
    queues, registry, clock, plain, bound, ran
):
    async with Dawdle(queues=queues, registry=registry, clock=clock, start_listener=False) as app:
        await app.call(plain, 1)
        assert stored(queues) == {"default": 1}
        await app.call(bound, 2)
        await app.call(plain.options(queue="heavy"), 3)
        await app.call(bound.options(queue="heavy"), 4)
        assert stored(queues) == {"default": 1, "heavy": 3}
        await app.start_listener()
        await app.idle()
    assert sorted(ran) == [
        ("bound", 2, "heavy"),
        ("bound", 4, "heavy"),
        ("plain", 1, "default"),
        ("plain", 3, "heavy"),
    ]


async def test_routes_are_for_events_also_those_of_all_classes(queues, registry, clock, plain, ran):
    async with Dawdle(queues=queues, routes={object: "heavy"}, registry=registry, clock=clock) as app:
        await app.call(plain, 1)
        await app.call(plain.options(direct=True), 2)
        await app.idle()
    assert sorted(ran) == [("plain", 1, "default"), ("plain", 2, "default")]


async def test_a_process_runs_the_functions_of_the_queues_that_it_listens_to(
    queues, registry, clock, plain, bound, ran
):
    async with Dawdle(queues=queues, listen=["heavy"], registry=registry, clock=clock) as app:
        await app.call(plain, 1)
        await app.call(bound, 2)
        await app.idle()
        assert ran == [("bound", 2, "heavy")]
        assert stored(queues) == {"default": 1}


async def test_without_a_default_queue_a_call_must_name_one(clock, registry, plain, bound, ran):
    heavy = {"heavy": Memory(clock=clock)}
    app = Dawdle(
        queues=heavy, routes={object: "heavy"}, registry=registry, functions=SignedPickle("k" * 16), clock=clock
    )
    async with app:
        with pytest.raises(
            ConfigurationError, match=r"^this call of plain names no queue, and .* f.options\(queue=…\)"
        ):
            await app.call(plain, 1)
        with pytest.raises(ConfigurationError, match="names no queue"):
            await app.call(stored, {})
        await app.call(plain.options(queue="heavy"), 2)
        await app.call(bound, 3)
        await app.idle()
    assert sorted(ran) == [("bound", 3, "heavy"), ("plain", 2, "heavy")]


async def test_a_function_on_a_queue_that_the_app_lacks_is_an_error_at_start(clock, registry, bound):
    app = Dawdle(Memory(clock=clock), registry=registry, clock=clock)
    pattern = (
        "function bound runs on the queue 'heavy', and this app has default: write .*'heavy': …}., or remove queue="
    )
    with pytest.raises(
        ConfigurationError,
        match=pattern,
    ):
        await app.__aenter__()


async def test_around_is_about_the_runs_of_functions_too(running, registry, clock):
    told = []

    def telling(name):
        @asynccontextmanager
        async def tell(ctx):
            told.append(f"{name} enters {ctx.handler}")
            ctx.provide(name)
            yield
            told.append(f"{name} leaves")

        return tell

    @registry.function(name="work", around=telling("own"))
    async def work(number: int, *, ctx: Context | None = None):
        told.append((number, ctx.state(str)))

    async with running(around=telling("app")) as app:
        await app.call(work, 1)
        await app.idle()
    assert told == ["app enters work", "own enters work", (1, "own"), "own leaves", "app leaves"]
