"""What an app says when it starts; and that no event waits in silence where nothing can handle it."""

import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from dawdle import ConfigurationError, Dawdle, Registry, Retry
from dawdle.backends.memory import Memory
from dawdle.backends.sqlite import SQLite
from dawdle.testing import ManualClock
from dawdle.testing.sqs import SQSServer
from tests.app.events import Cancelled, Placed

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def at_info(caplog):
    caplog.set_level(logging.INFO, logger="dawdle")


def said(caplog, start):
    return [message for message in caplog.messages if message.startswith(start)]


def started(caplog):
    return said(caplog, "dawdle started: ")


def unheard(caplog):
    return said(caplog, "this app keeps its events in its own memory")


def _register(registry, name):
    async def handler(event): ...

    handler.__qualname__ = name.replace("-", "_")
    registry.on_event(Placed, name=name)(handler)


async def test_a_start_says_backend_queue_and_handlers_in_one_line(caplog, registry):
    @registry.on_event(name="send_receipt")
    async def first(event: Placed): ...

    @registry.on_event(name="book_shipping")
    async def second(event: Placed): ...

    async with Dawdle(Memory(), registry=registry):
        pass
    assert started(caplog) == [
        "dawdle started: queue 'default' on Memory, listening, handlers (2): send_receipt, book_shipping"
    ]


async def test_a_start_on_sqs_says_which_queue_and_no_credentials(caplog, monkeypatch):
    async with SQSServer(queues=("orders",)) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
        async with Dawdle(registry=Registry(), start_listener=False) as app:
            await app.signal(Placed())
        url = server.queue_url("orders")
    assert started(caplog) == [f"dawdle started: queue 'default' on <SQS {url}>, not listening, handlers (0): none"]
    assert "very-secret" not in caplog.text
    assert unheard(caplog) == []


async def test_a_backend_of_a_stranger_is_named_by_its_type_alone(caplog):
    @dataclass
    class Vault(Memory):
        password: str

        def __post_init__(self):
            Memory.__init__(self)

    async with Dawdle(Vault("very-secret"), registry=Registry()):
        pass
    assert "on " + Vault.__qualname__ in started(caplog)[0]
    assert "very-secret" not in caplog.text


async def test_of_many_handlers_some_are_named_and_the_rest_counted(caplog, registry):
    for number in range(30):
        _register(registry, f"handler-{number:02}")
    async with Dawdle(Memory(), registry=registry):
        pass
    (line,) = started(caplog)
    assert "handlers (30): handler-00, " in line
    assert line.endswith("handler-19, and 10 more")


async def test_signals_that_only_this_process_could_handle_are_warned_about_once(caplog, registry):
    _register(registry, "handler")
    app = Dawdle(Memory(), registry=registry, start_listener=False)
    for _ in range(2):
        caplog.clear()
        async with app:
            assert unheard(caplog) == []
            await app.signal(Placed())
            await app.signal_many([Placed()])
            (line,) = unheard(caplog)
        assert "and its listener is not started: set DAWDLE_BACKEND or DAWDLE_SQS_QUEUE_URL" in line


async def test_signals_without_any_handler_are_warned_about(caplog, registry):
    async with Dawdle(Memory(), registry=registry) as app:
        assert unheard(caplog) == []
        await app.signal_many([])
        assert unheard(caplog) == []
        await app.signal_many([Placed()])
        (line,) = unheard(caplog)
    assert "and no handler is registered: set DAWDLE_BACKEND" in line
    assert 'dawdle.discover("your.package")' in line


async def test_who_registers_after_entering_is_not_warned(caplog, registry):
    async with Dawdle(Memory(), registry=registry) as app:
        _register(registry, "handler")
        await app.signal(Placed())
        await app.idle()
    assert unheard(caplog) == []


async def test_who_starts_the_listener_after_entering_is_not_warned(caplog, registry):
    _register(registry, "handler")
    async with Dawdle(Memory(), registry=registry, start_listener=False) as app:
        await app.start_listener()
        await app.signal(Placed())
        await app.stop_listener()
        await app.signal(Placed())
    assert unheard(caplog) == []


async def test_a_signal_of_the_lifespan_comes_before_the_listener_and_is_not_warned_about(caplog, registry):
    @asynccontextmanager
    async def lifespan(app):
        await app.signal(Placed())
        _register(registry, "handler")
        yield
        await app.signal(Placed())

    async with Dawdle(Memory(), registry=registry, lifespan=lifespan) as app:
        await app.idle()
    assert unheard(caplog) == []


async def test_direct_events_are_handled_here_and_not_warned_about(caplog, registry):
    _register(registry, "handler")
    async with Dawdle(Memory(), registry=registry, start_listener=False) as app:
        await app.signal(Placed(), direct=True)
    assert unheard(caplog) == []


async def test_a_start_says_the_queues_that_it_listens_to_and_the_handlers_that_run_elsewhere(caplog, registry):
    registry.on_event(Placed, name="receipt")(lambda event: None)
    registry.on_event(Placed, name="encode", queue="video")(lambda event: None)
    queues = {"default": Memory(), "video": Memory(), "audit": Memory()}
    options = {"queues": queues, "routes": {Placed: ("default", "video")}, "registry": registry}
    async with Dawdle(listen=("default", "audit"), **options):
        pass
    assert started(caplog) == [
        (
            "dawdle started: queue 'default' on Memory, 'video' on Memory, 'audit' on Memory, listening to default, "
            "audit, handlers (2): receipt, encode"
        )
    ]
    assert said(caplog, "handlers that do not run in this process") == [
        "handlers that do not run in this process, since it does not listen to their queues (1): encode"
    ]
    caplog.clear()
    async with Dawdle(**options):
        pass
    assert said(caplog, "handlers that do not run") == []
    async with Dawdle(listen=(), **options):
        pass
    assert "not listening" in started(caplog)[1]


async def test_a_queue_that_is_listened_to_without_a_handler_is_warned_about(caplog, registry):
    registry.on_event(Placed, name="encode", queue="video")(lambda event: None)
    queues = {"default": Memory(), "video": Memory()}
    async with Dawdle(queues=queues, routes={Placed: "video"}, registry=registry):
        pass
    (warning,) = said(caplog, "this process listens to queue")
    assert warning.startswith("this process listens to queue 'default' and has no handler that runs there")


async def test_a_handler_that_comes_late_with_a_wrong_queue_is_told_once(caplog, registry):
    queues = {"default": Memory(), "video": Memory()}
    async with Dawdle(queues=queues, registry=registry):
        registry.on_event(Placed, name="encode", queue="vidoe")(lambda event: None)
        registry.on_event(Placed, name="receipt")(lambda event: None)
    (error,) = said(caplog, "a handler was registered after the start")
    assert "handler encode runs on the queue 'vidoe', and this app has default, video" in error


async def test_events_for_a_queue_in_memory_that_is_not_listened_to_are_warned_about(caplog, registry):
    registry.on_event(Placed, name="encode")(lambda event: None)
    queues = {"default": Memory(), "video": Memory()}
    async with Dawdle(queues=queues, routes={Placed: "video"}, listen=("default",), registry=registry) as app:
        await app.signal(Placed())
    (warning,) = unheard(caplog)
    assert "it does not listen to the queue 'video': set " in warning
    assert "or name that queue in listen=; otherwise" in warning


async def test_where_there_are_several_queues_the_log_names_that_of_an_event(caplog, registry, clock):
    @registry.on_event(Placed, name="encode", retry=Retry(max_attempts=2, initial=1, jitter=0))
    async def encode(event):
        raise ValueError("no such codec")

    queues = {"default": Memory(clock=clock), "video": Memory(clock=clock)}
    async with Dawdle(queues=queues, routes={Placed: "video"}, registry=registry, clock=clock) as app:
        event_id = await app.signal(Placed(), id="e-1")
        await clock.advance(10)
    assert event_id == "e-1"
    assert said(caplog, "handler encode failed on Placed e-1 of queue video, attempt 1 of 2: ValueError")
    assert said(caplog, "dead-lettered Placed e-1 of queue video for encode: ValueError")
    caplog.clear()
    async with Dawdle(Memory(clock=clock), registry=registry, clock=clock) as app:
        await app.signal(Placed(), id="e-2")
        await clock.advance(10)
    assert said(caplog, "handler encode failed on Placed e-2, attempt 1 of 2")
    assert said(caplog, "dead-lettered Placed e-2 for encode")


async def test_a_type_whose_first_queue_has_no_handler_is_told_with_its_queue(caplog, registry):
    @registry.on_event(Placed, name="ledger", queue="audit")
    async def ledger(event): ...

    @registry.on_event(Cancelled, name="other")
    async def other(event): ...

    queues = {"default": Memory(), "audit": Memory()}
    async with Dawdle(queues=queues, routes={Placed: ("default", "audit")}, registry=registry):
        pass
    (warning,) = said(caplog, "events of the type Placed go to queue 'default' first")
    assert warning.endswith("name a queue first in routes= that has a handler")
    caplog.clear()
    async with Dawdle(queues=queues, routes={Placed: ("audit", "default")}, registry=registry):
        pass
    assert said(caplog, "events of the type") == []


async def test_a_call_of_a_function_that_the_app_lacks_is_warned_about_once(caplog, registry, tmp_path):
    @Registry().function(name="resize")
    async def resize(): ...

    for backend, why in (
        (Memory(), "and its queues are in memory, so no other node has it: use the registry"),
        (SQLite(tmp_path / "app.db"), "another node must have it; if not, use the registry in which it is registered"),
    ):
        async with Dawdle(backend, registry=registry, start_listener=False) as app:
            await app.call(resize)
            await app.call(resize)
        (warning,) = said(caplog, "this app has no function resize: ")
        assert why in warning
        caplog.clear()
    registry.function(name="resize")(resize.function)
    async with Dawdle(registry=registry) as app:
        await app.call(resize)
    assert said(caplog, "this app has no function") == []


async def test_an_event_without_a_group_on_an_ordered_queue_is_told_once(caplog, registry):
    queues = {"default": Memory(ordered=True), "plain": Memory()}
    async with Dawdle(queues=queues, registry=registry, start_listener=False) as app:
        await app.signal(Placed(), group="a")
        await app.signal(Placed(), queue="plain")
        assert [line for line in caplog.messages if "without group=" in line] == []
        await app.signal(Placed())
        await app.signal_many([Placed(), Cancelled()])
    line, other = [line for line in caplog.messages if "without group=" in line]
    assert "Cancelled" in other
    assert "goes to the ordered queue 'default' without group=" in line
    assert line.endswith("write signal(…, group=…)")


async def test_two_manual_clocks_are_an_error_and_a_skewed_one_is_not(clock):
    with pytest.raises(ConfigurationError, match="queue 'default' have two ManualClocks: give both the same one"):
        async with Dawdle(Memory(clock=ManualClock()), registry=Registry(), clock=clock):
            pass
    for queue_clock in (clock, clock.skewed(60), None):
        async with Dawdle(Memory(clock=queue_clock), registry=Registry(), clock=clock):
            pass
