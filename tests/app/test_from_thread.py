"""dawdle.from_thread: a thread signals, and waits until the queue has stored it; nothing hangs in the wrong place."""

import asyncio
import functools
import inspect
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import msgspec
import pytest

import dawdle
from dawdle import BackendError, ConfigurationError, Dawdle, EventError, NoAppError, Registry, SignalError, from_thread
from dawdle._app import threads
from dawdle.backends.memory import Memory
from tests.app.events import Cancelled, Placed
from tests.app.test_other_loops import SOON, in_a_thread, not_in_our_loop

pytestmark = pytest.mark.anyio


@pytest.fixture
async def app(registry):
    async with Dawdle(Memory(), registry=registry, start_listener=False, grace=1) as app:
        yield app


def stored(app):
    return [msgspec.json.decode(body) for body in app._settings.queues.backends["default"].messages()]


async def in_thread(function, *arguments, **options):
    """Call a function in a thread that has no context of ours, and return or raise what it did."""
    with ThreadPoolExecutor(1) as pool:
        work = asyncio.get_running_loop().run_in_executor(pool, functools.partial(function, *arguments, **options))
        return await asyncio.wait_for(work, SOON)


async def test_a_thread_signals_and_has_the_id_of_what_is_stored(app):
    event_id = await in_thread(from_thread.signal, Placed(1), headers={"tenant": "x"}, group="g", delay=5)
    ids = await in_thread(from_thread.signal_many, [Placed(2), Placed(3)])
    found = {each["id"]: each for each in stored(app)}
    assert set(found) == {event_id, *ids}
    assert [found[each]["data"]["number"] for each in (event_id, *ids)] == [1, 2, 3]
    assert (found[event_id]["tenant"], found[event_id]["dawdledelay"]) == ("x", "5000")


async def test_what_cannot_travel_raises_in_the_thread_what_signal_raises(app):
    with pytest.raises(EventError):
        await in_thread(from_thread.signal, object())
    with pytest.raises(ConfigurationError, match="there is no queue 'video'"):
        await in_thread(from_thread.signal_many, [Placed()], queue="video")
    with pytest.raises(ConfigurationError, match="without a space"):
        await in_thread(from_thread.signal, Placed(), id="a b")
    assert stored(app) == []


async def test_a_generator_of_events_is_asked_in_the_thread_that_has_it(app):
    where = []

    def events():
        where.append(threading.current_thread())
        yield Placed(1)
        yield Placed(2)

    def work():
        return threading.current_thread(), from_thread.signal_many(events())

    thread, ids = await in_thread(work)
    assert where == [thread]
    assert {each["id"] for each in stored(app)} == set(ids)
    with pytest.raises(ConfigurationError, match="takes an iterable of events"):
        await in_thread(from_thread.signal_many, Placed())


async def test_a_def_handler_signals_through_the_app_that_runs_it(registry):
    ids, seen = [], []

    @registry.on_event
    def ship(event: Placed) -> None:
        assert dawdle.current() is app
        ids.append(from_thread.signal(Cancelled(event.number)))

    @registry.on_event
    async def note(event: Cancelled, ctx: dawdle.Context) -> None:
        seen.append((event.number, ctx.event_id))

    async with Dawdle(Memory(), registry=Registry()), Dawdle(Memory(), registry=registry) as app, asyncio.timeout(SOON):
        await app.signal(Placed(7))
        await app.idle()
    assert seen == [(7, *ids)]


async def test_what_a_def_handler_signals_names_its_cause(registry):
    queue = Memory()

    @registry.on_event
    def ship(event: Placed) -> None:
        from_thread.signal(Cancelled(event.number), delay=60)

    async with Dawdle(queue, registry=registry) as app:
        cause = await app.signal(Placed(7))
        await app.idle()
        assert [msgspec.json.decode(body)["dawdlecause"] for body in queue.messages()] == [cause]


async def test_a_def_handler_signals_direct_from_the_last_slot(registry):
    seen = []

    @registry.on_event
    def ship(event: Placed) -> None:
        from_thread.signal(Cancelled(event.number), direct=True)

    @registry.on_event
    async def note(event: Cancelled) -> None:
        seen.append(event.number)

    async with Dawdle(Memory(), registry=registry, concurrency=1) as app, asyncio.timeout(SOON):
        await app.signal(Placed(7))
        await app.idle()
    assert seen == [7]


async def test_a_def_endpoint_of_fastapi_signals(app):
    fastapi, httpx = pytest.importorskip("fastapi"), pytest.importorskip("httpx")
    web = fastapi.FastAPI()

    @web.post("/orders")
    def place() -> dict[str, str]:
        return {"id": from_thread.signal(Placed(1))}

    async with httpx.AsyncClient(transport=httpx.ASGITransport(web), base_url="http://shop") as client:
        answers = await asyncio.gather(*(client.post("/orders") for _ in range(20)))
    assert sorted(each.json()["id"] for each in answers) == sorted(each["id"] for each in stored(app))


async def test_in_the_event_loop_of_the_app_it_raises_instead_of_waiting_for_itself(app, registry):
    for call in (lambda: from_thread.signal(Placed()), lambda: from_thread.signal_many([Placed()])):
        with pytest.raises(ConfigurationError, match=r"wait for itself.*write `await dawdle\.signal\(…\)` here"):
            call()
    assert stored(app) == []


async def test_where_several_apps_are_entered_it_says_which_or_is_told(app):
    async with Dawdle(Memory(), registry=Registry()) as other:
        with pytest.raises(NoAppError) as told:
            await in_thread(from_thread.signal, Placed())
        assert repr(app) in str(told.value)
        assert repr(other) in str(told.value)
        assert "app=app" in str(told.value)
        await in_thread(from_thread.signal, Placed(1), app=other)
        await in_thread(from_thread.signal_many, [Placed(2)], app=app)
        assert (stored(other)[0]["data"]["number"], stored(app)[0]["data"]["number"]) == (1, 2)


async def test_without_an_app_it_says_what_to_write():
    with pytest.raises(NoAppError, match="no app is entered in this process: write `async with"):
        await in_thread(from_thread.signal, Placed())
    with pytest.raises(ConfigurationError, match="is not entered in this process"):
        await in_thread(from_thread.signal, Placed(), app=Dawdle(Memory(), registry=Registry()))


async def test_another_event_loop_may_signal_too(app):
    async def elsewhere():
        return await asyncio.to_thread(from_thread.signal, Placed(1)), from_thread.signal(Placed(2))

    ids = await in_thread(asyncio.run, elsewhere())
    assert [each["id"] for each in stored(app)] == list(ids)


class Silent(Memory):
    """A queue that answers no send until it is told to."""

    def __init__(self):
        super().__init__()
        self.asked, self.answer = asyncio.Event(), asyncio.Event()

    async def send(self, batch):
        self.asked.set()
        await self.answer.wait()
        return await super().send(batch)


async def test_a_thread_that_waits_while_the_app_is_left_has_an_answer(registry):
    queue = Silent()
    async with Dawdle(queue, registry=registry, grace=0.1) as app:
        waits = asyncio.create_task(in_thread(from_thread.signal, Placed(1)))
        await queue.asked.wait()
        leaving = asyncio.create_task(app.__aexit__(None, None, None))
        await asyncio.sleep(0.05)
        queue.answer.set()
        await leaving
        await asyncio.wait_for(waits, SOON)
        await app.__aenter__()
    assert len(queue.messages()) == 1


@pytest.mark.slow
async def test_a_thread_whose_queue_never_answers_ends_when_the_app_is_left(registry):
    queue = Silent()
    app = Dawdle(queue, registry=registry, grace=0.1)
    async with app:
        waits = asyncio.create_task(in_thread(from_thread.signal, Placed(1)))
        await queue.asked.wait()
    with pytest.raises(SignalError):
        await asyncio.wait_for(waits, SOON)


@not_in_our_loop
def test_a_loop_that_ends_before_the_queue_answers_ends_the_wait():
    """asyncio.run cancels what is left, or a loop is closed with the thread's call still in it."""
    app, told = Dawdle(Memory(), registry=Registry(), start_listener=False), []

    def signals():
        try:
            told.append(from_thread.signal(Placed(), app=app))
        except Exception as error:
            told.append(error)

    thread = threading.Thread(target=signals, daemon=True)

    async def main():
        queue = Silent()
        app._settings.queues.backends["default"] = queue
        await app.__aenter__()
        thread.start()
        await queue.asked.wait()

    asyncio.run(main())
    thread.join(SOON)
    assert not thread.is_alive()
    assert isinstance(told[0], (BackendError, SignalError))


@pytest.mark.slow
@pytest.mark.parametrize("closed", [True, False])
async def test_a_loop_that_never_runs_again_ends_the_wait_and_nothing_is_stored(closed, monkeypatch):
    monkeypatch.setattr(threads, "CHECK_SECONDS", 0.05)

    def story():
        app, told = Dawdle(Memory(), registry=Registry(), start_listener=False), []
        loop = asyncio.new_event_loop()
        loop.run_until_complete(app.__aenter__())
        if closed:
            loop.run_until_complete(_cancel_all())
        thread = threading.Thread(target=lambda: told.append(_error_of(lambda: from_thread.signal(Placed(), app=app))))
        thread.start()
        time.sleep(0.06)
        if closed:
            loop.close()
        thread.join(SOON)
        assert not thread.is_alive()
        assert isinstance(told[0], BackendError)
        assert str(told[0]).startswith("nothing was stored: the event loop of the app ")
        assert app._settings.queues.backends["default"].messages() == []
        if not closed:
            with pytest.raises(ConfigurationError, match="is not running"):
                from_thread.signal(Placed(), app=app)
            loop.run_until_complete(app.__aexit__(None, None, None))
            loop.close()

    await asyncio.wait_for(asyncio.to_thread(story), SOON)


async def _cancel_all():
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _error_of(call):
    try:
        return call()
    except Exception as error:
        return error


@not_in_our_loop
def test_a_loop_that_runs_piece_by_piece_still_serves_a_thread():
    app, loop = Dawdle(Memory(), registry=Registry(), start_listener=False), asyncio.new_event_loop()
    loop.run_until_complete(app.__aenter__())
    told = []
    thread = threading.Thread(target=lambda: told.append(_error_of(lambda: from_thread.signal(Placed(), app=app))))
    thread.start()
    time.sleep(0.05)
    while not told:
        loop.run_until_complete(asyncio.sleep(0.01))
    thread.join()
    assert isinstance(told[0], str)
    loop.run_until_complete(app.__aexit__(None, None, None))
    loop.close()


async def test_a_hundred_threads_signal_at_once(app):
    with ThreadPoolExecutor(100) as pool:
        loop = asyncio.get_running_loop()
        works = [loop.run_in_executor(pool, from_thread.signal, Placed(number)) for number in range(500)]
        ids = await asyncio.wait_for(asyncio.gather(*works), 60)
    assert len(set(ids)) == 500
    assert {each["id"] for each in stored(app)} == set(ids)


async def test_a_thread_that_gives_up_ends_what_goes_on_for_it(registry, monkeypatch):
    """As with KeyboardInterrupt in a main thread whose app runs in another one."""
    queue = Silent()

    def interrupted(*_):
        while not queue.asked.is_set():
            time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr(threads, "_wait", interrupted)
    async with Dawdle(queue, registry=registry, grace=0.1):
        assert isinstance(await in_a_thread(lambda: from_thread.signal(Placed())), KeyboardInterrupt)
        async with asyncio.timeout(SOON):
            while any(task.get_name() == "dawdle: for a thread" for task in asyncio.all_tasks()):
                await asyncio.sleep(0.01)
        queue.answer.set()


@pytest.mark.parametrize("name", from_thread.__all__)
async def test_it_takes_what_the_coroutine_takes_and_the_app(name):
    ours = dict(inspect.signature(getattr(from_thread, name)).parameters)
    theirs = dict(inspect.signature(getattr(dawdle, name)).parameters)
    if name.startswith("signal"):
        assert ours.pop("app").default is None  # the keywords of a call are all the function's own
        theirs.pop("transaction")  # it belongs to one thread, and the app runs in another
    assert {key: (each.default, each.kind, f"{each.annotation}") for key, each in ours.items()} == {
        key: (each.default, each.kind, f"{each.annotation}") for key, each in theirs.items()
    }


async def test_a_thread_that_a_lifespan_starts_means_the_app_of_that_lifespan(registry):
    @asynccontextmanager
    async def lifespan(app):
        ids.append(await asyncio.wait_for(asyncio.to_thread(from_thread.signal, Placed(1)), SOON))
        yield

    ids = []
    async with (
        Dawdle(Memory(), registry=Registry()),
        Dawdle(Memory(), registry=Registry(), lifespan=lifespan, start_listener=False) as app,
    ):
        assert [each["id"] for each in stored(app)] == ids
