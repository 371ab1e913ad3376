"""What the environment says, and that an argument in code wins over it."""

import asyncio
import re
import time
from pathlib import Path

import pytest

import dawdle
from dawdle import ConfigurationError, Dawdle, MessagePack, Registry
from dawdle._app.environment import VARIABLES
from dawdle.backends.memory import Memory
from dawdle.backends.sqlite import SQLite
from tests.app.events import Placed

pytestmark = pytest.mark.anyio


class Mine(Memory):
    """A backend that is found by its dotted name."""


NOT_A_BACKEND = dict


@pytest.mark.parametrize(
    ("name", "kind"),
    [("", Memory), ("memory", Memory), ("local", Memory), (" memory ", Memory), (f"{__name__}.Mine", Mine)],
)
async def test_dawdle_backend_names_the_backend(monkeypatch, name, kind):
    monkeypatch.setenv("DAWDLE_BACKEND", name)
    assert type(Dawdle()._settings.queues.backends["default"]) is kind


ORDERS = "https://sqs.eu-central-1.amazonaws.com/123456789012/orders"


async def test_a_queue_url_of_sqs_alone_means_sqs(monkeypatch, caplog):
    monkeypatch.setenv("DAWDLE_SQS_QUEUE_URL", ORDERS)
    assert repr(Dawdle()._settings.queues.backends["default"]) == f"<SQS {ORDERS}>"
    assert type(Dawdle(Memory())._settings.queues.backends["default"]) is Memory
    monkeypatch.setenv("DAWDLE_BACKEND", "sqs")
    assert repr(Dawdle()._settings.queues.backends["default"]) == f"<SQS {ORDERS}>"
    assert caplog.messages == []
    monkeypatch.setenv("DAWDLE_BACKEND", " ")
    monkeypatch.setenv("DAWDLE_SQS_QUEUE_URL", " ")
    assert type(Dawdle()._settings.queues.backends["default"]) is Memory


async def test_the_path_of_a_file_alone_means_sqlite(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("DAWDLE_SQLITE_PATH", str(tmp_path / "app.db"))
    assert type(Dawdle()._settings.queues.backends["default"]) is SQLite
    assert caplog.messages == []
    monkeypatch.setenv("DAWDLE_BACKEND", "memory")
    assert type(Dawdle()._settings.queues.backends["default"]) is Memory
    (line,) = caplog.messages
    assert "DAWDLE_BACKEND=memory, so events stay in this process and DAWDLE_SQLITE_PATH is not used" in line
    monkeypatch.setenv("DAWDLE_SQLITE_PATH", " ")
    monkeypatch.delenv("DAWDLE_BACKEND")
    assert type(Dawdle()._settings.queues.backends["default"]) is Memory


async def test_a_path_and_a_queue_url_need_a_backend_that_says_which(monkeypatch, tmp_path):
    monkeypatch.setenv("DAWDLE_SQLITE_PATH", str(tmp_path / "app.db"))
    monkeypatch.setenv("DAWDLE_SQS_QUEUE_URL", ORDERS)
    with pytest.raises(ConfigurationError, match="URL and DAWDLE_SQLITE_PATH are set.*DAWDLE_BACKEND to sqs or sqlite"):
        Dawdle()
    monkeypatch.setenv("DAWDLE_BACKEND", "sqlite")
    assert type(Dawdle()._settings.queues.backends["default"]) is SQLite


@pytest.mark.parametrize("name", ["memory", "local"])
async def test_memory_beside_a_queue_url_stays_memory_and_says_so(monkeypatch, caplog, name):
    monkeypatch.setenv("DAWDLE_SQS_QUEUE_URL", ORDERS)
    monkeypatch.setenv("DAWDLE_BACKEND", name)
    assert type(Dawdle()._settings.queues.backends["default"]) is Memory
    (line,) = caplog.messages
    assert line.startswith(f"DAWDLE_BACKEND={name}, so events stay in this process and DAWDLE_SQS_QUEUE_URL is not")


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("redis", "DAWDLE_BACKEND='redis' is no backend: set it to memory"),
        ("sqs", "SQS has no queue URL: .*DAWDLE_SQS_QUEUE_URL"),
        ("shop.queues:Orders", "write a dot instead of ':', shop.queues.Orders"),
        ("no.such.Module", "could not make DAWDLE_BACKEND='no.such.Module': ModuleNotFoundError"),
        (f"{__name__}.Nothing", "Nothing': AttributeError"),
        (f"{__name__}.NOT_A_BACKEND", "is not a dawdle.abc.Backend"),
    ],
)
async def test_an_unknown_backend_is_an_error(monkeypatch, name, match):
    monkeypatch.setenv("DAWDLE_BACKEND", name)
    with pytest.raises(ConfigurationError, match=match):
        Dawdle()
    Dawdle(Memory())


@pytest.mark.parametrize(("text", "listens"), [("", True), ("1", True), ("Yes", True), ("0", False), ("off", False)])
async def test_dawdle_start_listener_says_whether_to_listen(monkeypatch, text, listens):
    monkeypatch.setenv("DAWDLE_START_LISTENER", text)
    registry, seen = Registry(), []

    @registry.on_event(Placed)
    async def handler(event):
        seen.append(event)

    async with Dawdle(registry=registry) as app:
        await app.signal(Placed())
        await app.idle()
        assert bool(seen) is listens
    async with Dawdle(registry=registry, start_listener=not listens) as app:
        seen.clear()
        await app.signal(Placed())
        await app.idle()
        assert bool(seen) is not listens


async def test_a_start_listener_that_is_neither_yes_nor_no_is_an_error(monkeypatch):
    monkeypatch.setenv("DAWDLE_START_LISTENER", "maybe")
    with pytest.raises(ConfigurationError, match="'maybe' is neither yes nor no"):
        Dawdle()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"start_listener": "no"}, "start_listener is True or False, not 'no'"),
        ({"concurrency": True}, "in flight at once, 1 or more, not True"),
        ({"backend": "sqs"}, r"such as Memory\(\), SQLite\('app.db'\) or SQS\(…\), not 'sqs': write SQS\(…\)"),
        ({"backend": "shop.db"}, r"not 'shop.db': write SQLite\('shop.db'\)"),
        ({"backend": 5}, r"or SQS\(…\), not 5$"),
        ({"backend": Memory}, r"backend is a dawdle.abc.Backend, not its class: write Memory\(…\), not Memory"),
        ({"clock": time}, r"clock is a dawdle.abc.Clock, such as dawdle.testing.ManualClock\(\), not <module 'time'"),
        ({"codec": "json"}, r"codec is a dawdle.abc.Codec, such as dawdle.MessagePack\(\), not 'json'"),
        ({"codec": MessagePack}, r"such as dawdle.MessagePack\(\), not <class"),
        ({"hooks": print}, "hooks is a list of functions .*, not <built-in function print>"),
        ({"concurrency": 0}, "1 or more, not 0"),
        ({"concurrency": 2.5}, "1 or more, not 2.5"),
        ({"grace": -1}, "grace is 0 or more seconds, or a timedelta, not -1"),
        ({"grace": float("nan")}, "grace is 0 or more seconds"),
        ({"unclaimed": "1d"}, "unclaimed is 0 or more seconds"),
        ({"timeout": 0}, "timeout is more than 0 seconds, or a timedelta, not 0"),
        ({"retry": 3}, r"retry is a dawdle.Retry\(…\), not 3"),
        ({"registry": []}, r"registry is a dawdle.Registry, not \[\]"),
        ({"hooks": ["x"]}, "hooks is a list of functions"),
        ({"hooks": [asyncio.sleep]}, "a hook is not awaited, .*sleep.* is async: make it a def function"),
        ({"headers": {"X": "y"}}, "a header's name"),
        ({"headers": "x"}, "headers is a mapping"),
        ({"lifespan": 3}, "lifespan is a function"),
        ({"source": ""}, "source is text"),
    ],
)
async def test_an_option_that_cannot_work_is_told_where_it_is_written(options, match):
    with pytest.raises(ConfigurationError, match=match):
        Dawdle(**options)


async def test_a_handler_on_an_unknown_queue_is_an_error_at_the_start():
    registry = Registry()

    @registry.on_event(Placed, name="resize", queue="video")
    async def handler(event): ...

    with pytest.raises(ConfigurationError, match="handler resize runs on the queue 'video', and this app has default"):
        await Dawdle(registry=registry).__aenter__()


async def test_a_refused_handler_is_not_registered_and_a_late_one_is_told_and_runs(clock, caplog):
    registry, ran = Registry(), []

    async def own(event: Placed) -> None:
        ran.append("own")

    async with Dawdle(Memory(clock=clock), registry=registry, clock=clock) as app:
        with pytest.raises(ConfigurationError, match="own runs on the queue 'video', and this app has default"):
            app.register(own, Placed, queue="video")
        assert app.handler_count() == 0

        @registry.on_event(Placed, name="shared", queue="video")
        async def shared(event: Placed) -> None:
            ran.append("shared")

        (line,) = [each for each in caplog.messages if "after the start" in each]
        assert "handler shared runs on the queue 'video', and this app has default" in line
        for direct in (True, False):
            await app.signal(Placed(), direct=direct)
            await app.idle()
            assert ran == ["shared"]
            ran.clear()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("DAWDLE_SQLLITE_PATH", "DAWDLE_SQLITE_PATH"),
        ("DAWDLE_QUEUE_URL", "DAWDLE_SQS_QUEUE_URL"),
        ("DAWDLE_SQS_URL", "DAWDLE_SQS_QUEUE_URL"),
        ("DAWDLE_BACKENDS", "DAWDLE_BACKEND"),
    ],
)
async def test_a_misspelled_variable_is_told_with_what_was_meant(monkeypatch, caplog, name, meant):
    monkeypatch.setenv(name, "x")
    Dawdle()
    assert caplog.messages == [
        f"{name} is no environment variable of dawdle, so it has no effect: did you mean {meant}?"
    ]


@pytest.mark.parametrize("name", ["DAWDLE_SERVICE_HOST", "DAWDLE_PORT", "DAWDLE_SIGNING_KEY", *VARIABLES])
async def test_other_variables_are_not(monkeypatch, caplog, name):
    monkeypatch.setenv(name, "")
    Dawdle()
    assert caplog.messages == []


async def test_every_variable_that_the_code_reads_is_known():
    source = Path(dawdle.__file__).parent
    read = {name for path in source.rglob("*.py") for name in re.findall(r"\bDAWDLE(?:_[A-Z]+)+\b", path.read_text())}
    assert read == set(VARIABLES)
