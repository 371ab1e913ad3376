"""An app is used in the event loop in which it was entered. Elsewhere it says so at once, and stays as it is."""

import asyncio
import functools
import threading

import pytest

import dawdle
from dawdle import ConfigurationError, Dawdle, NoAppError, Registry
from dawdle.backends.memory import Memory
from tests.app.events import Placed

pytestmark = pytest.mark.anyio

SOON = 60
"""Seconds in which what does not hang has ended."""


async def letters_of(app):
    return [letter async for letter in app.dead_letters()]


CALLS = {
    "signal": lambda app: app.signal(Placed()),
    "signal direct": lambda app: app.signal(Placed(), direct=True),
    "dawdle.signal": lambda _: dawdle.signal(Placed()),
    "dawdle.signal_many": lambda _: dawdle.signal_many([Placed()]),
    "signal_many": lambda app: app.signal_many([Placed()]),
    "signal_many of nothing": lambda app: app.signal_many([]),
    "idle": lambda app: app.idle(),
    "redrive": lambda app: app.redrive(),
    "purge": lambda app: app.purge(),
    "dead_letters": letters_of,
    "start_listener": lambda app: app.start_listener(),
    "stop_listener": lambda app: app.stop_listener(),
    "ended": lambda app: app.ended(),
    "leaving": lambda app: app.__aexit__(None, None, None),
}


async def in_a_thread(work):
    """Run a function in a thread of its own, without our context, and return what it raised, None for nothing."""
    told = []

    def run():
        try:
            work()
        except BaseException as error:
            told.append(error)

    thread = threading.Thread(target=run, name="the other thread", daemon=True)
    thread.start()
    await asyncio.to_thread(thread.join, SOON)
    assert not thread.is_alive(), "it hangs"
    return told[0] if told else None


def not_in_our_loop(story):
    """Run a test in a thread, where no event loop runs yet."""

    @functools.wraps(story)
    async def test():
        await asyncio.wait_for(asyncio.to_thread(story), SOON)

    return test


@pytest.mark.parametrize("name", CALLS)
async def test_what_is_awaited_in_another_loop_raises_at_once(running, registry, queue, name):
    @registry.on_event
    async def handler(event: Placed): ...

    async with running(start_listener=False) as app:
        error = await in_a_thread(lambda: asyncio.run(CALLS[name](app)))
        assert isinstance(error, ConfigurationError)
        assert "dawdle.from_thread.signal(…)" in str(error)
        assert "MainThread" in str(error)
        assert queue.messages() == []
        assert app.health().healthy
        await app.signal(Placed(1))
        assert len(queue.messages()) == 1


async def test_a_look_at_dead_letters_that_began_here_does_not_go_on_in_another_loop(running):
    async with running() as app:
        letters = app.dead_letters()

        async def look():
            return [letter async for letter in letters]

        error = await in_a_thread(lambda: asyncio.run(look()))
        assert isinstance(error, ConfigurationError)
        assert "dawdle.from_thread.signal(…)" in str(error)
        assert [letter async for letter in app.dead_letters()] == []


async def test_a_handler_is_registered_in_any_thread(running):
    async def handler(event: Placed): ...

    async with running() as app:
        assert await in_a_thread(lambda: app.register(handler, queue="default")) is None
        assert app.handler_count(Placed) == 1


async def test_a_def_handler_that_runs_a_loop_of_its_own_is_told_how_to_signal(registry):
    told = []

    @registry.on_event
    def ship(event: Placed):
        try:
            asyncio.run(dawdle.signal(Placed(2)))
        except ConfigurationError as error:
            told.append(str(error))

    async with Dawdle(registry=registry) as app, asyncio.timeout(SOON):
        await app.signal(Placed(1))
        await app.idle()
    assert len(told) == 1
    assert "dawdle.from_thread.signal(…)" in told[0]


async def test_an_app_is_not_entered_again_in_another_loop(running):
    async with running() as app:
        error = await in_a_thread(lambda: asyncio.run(app.__aenter__()))
        assert isinstance(error, ConfigurationError)
        assert "is entered already" in str(error)
        await app.signal(Placed())


@not_in_our_loop
def test_an_app_that_cannot_be_left_in_another_loop_is_left_in_its_own():
    app = Dawdle(Memory(), registry=Registry(), grace=1)
    own, other = asyncio.new_event_loop(), asyncio.new_event_loop()
    try:
        own.run_until_complete(app.__aenter__())
        with pytest.raises(ConfigurationError, match="belongs to the event loop of thread '"):
            other.run_until_complete(asyncio.wait_for(app.__aexit__(None, None, None), SOON))
        own.run_until_complete(app.__aexit__(None, None, None))
        assert app.health().reasons == ("the app is not entered",)
    finally:
        own.close()
        other.close()


@not_in_our_loop
def test_an_app_whose_loop_was_closed_before_it_was_left_says_so():
    app, other = Dawdle(Memory(), registry=Registry()), Dawdle(Memory(), registry=Registry())
    asyncio.run(app.__aenter__())
    for call in (lambda: app.__aexit__(None, None, None), lambda: app.signal(Placed()), app.__aenter__):
        with pytest.raises(ConfigurationError, match="closed before the app was left.*make another app"):
            asyncio.run(call())

    async def main():
        async with other:
            assert dawdle.current() is other

    asyncio.run(main())


@not_in_our_loop
def test_where_an_app_is_entered_in_another_loop_the_error_says_so():
    app = Dawdle(Memory(), registry=Registry())
    own, other = asyncio.new_event_loop(), asyncio.new_event_loop()

    async def ask():
        return dawdle.current()

    try:
        own.run_until_complete(app.__aenter__())
        with pytest.raises(NoAppError, match=r"is entered in the loop of thread '.*dawdle\.from_thread\.signal\(…\)"):
            other.run_until_complete(ask())
        with pytest.raises(NoAppError, match=r"no event loop runs here.*dawdle\.from_thread\.signal\(…\)"):
            dawdle.current()
        assert own.run_until_complete(ask()) is app
        own.run_until_complete(app.__aexit__(None, None, None))
        with pytest.raises(NoAppError, match="write `async with dawdle"):
            own.run_until_complete(ask())
    finally:
        own.close()
        other.close()


async def test_a_thread_ends_the_grace_of_a_leaving(registry):
    started = asyncio.Event()

    @registry.on_event
    async def handler(event: Placed):
        started.set()
        await asyncio.sleep(3600)

    queue = Memory()
    app = Dawdle(queue, registry=registry, grace=3600)
    await app.__aenter__()
    await app.signal(Placed())
    await started.wait()
    leaving = asyncio.create_task(app.__aexit__(None, None, None))
    await asyncio.sleep(0.01)
    timer = threading.Timer(0.1, app.end_grace)
    timer.start()
    await asyncio.wait_for(leaving, SOON)
    assert len(queue.messages()) == 1
