"""What a worker says at its start, in a file and in terminals of any width, and its warnings."""

import errno
import logging
import sys
from io import StringIO

import msgspec
import pytest

import dawdle
from dawdle import Registry, Retry
from dawdle.backends.memory import Memory
from dawdle.cli.worker._banner import banner_lines, print_banner, warn
from dawdle.cli.worker._tell import unloadable

SECTIONS = [
    ("queues", [("default", "SQLite('/srv/app.db')", "100 messages at once")]),
    (
        "handlers",
        [("shop.send_receipt", "OrderPlaced, OrderCancelled", "12 attempts"), ("audit", "every event", "1 attempt")],
    ),
]


class OrderPlaced(msgspec.Struct, frozen=True):
    order_id: str


class Heartbeat(msgspec.Struct, frozen=True):
    pass


@pytest.fixture
def registry():
    registry = Registry()

    @registry.on_event(name="audit", exclude=(Heartbeat,), retry=Retry(1), queue="video")
    async def audit(event: object) -> None: ...

    @registry.function(name="resize")
    async def resize(path: str, width: int = 64) -> None: ...

    return registry


def lines(width):
    return [f"{heading}{line}" for heading, line in banner_lines(SECTIONS, width)]


def words_of(lines):
    return " ".join(lines).replace(";", "").split()


def test_in_a_file_no_line_is_cut_and_values_stand_in_columns():
    assert lines(None) == [
        "queues     default  SQLite('/srv/app.db')  100 messages at once",
        "handlers   shop.send_receipt  OrderPlaced, OrderCancelled  12 attempts",
        "           audit              every event                  1 attempt",
    ]
    assert lines(200) == lines(None)


@pytest.mark.parametrize("width", [79, 60, 40])
def test_in_a_terminal_every_line_fits_and_nothing_is_lost(width):
    found = lines(width)
    assert max(map(len, found)) <= width
    assert words_of(found) == words_of(lines(None))


def test_a_banner_has_queues_handlers_functions_limits_and_changed_settings(registry, capsys):
    app = dawdle.Dawdle(queues={"default": Memory(), "video": Memory()}, registry=registry, listen=["video"], grace=60)
    print_banner("shop:app", app.describe(), 3)
    head, *rest = capsys.readouterr().err.splitlines()
    assert head.startswith(f"dawdle {dawdle.__version__}, worker of shop:app, 3 processes, Python 3.")
    assert (
        rest[0].split() == ["queues", "default", *repr(Memory()).split(), "not", "listened", "to"]
        or "Memory" in rest[0]
    )
    assert "every event except Heartbeat  1 attempt, on queue video" in rest[2]
    assert rest[3].startswith("functions  resize  (path, width)  12 attempts")
    assert [line.split() for line in rest[4:]] == [["settings", "listen", "video"], ["grace", "60", "s"]]


@pytest.mark.parametrize(
    ("options", "how", "told"),
    [
        ({}, {}, []),
        ({"start_listener": False}, {}, ["this worker handles no event, since its app does not listen"]),
        ({}, {"places": 2}, ["each of the 2 processes has queue default in its own memory"]),
        ({}, {"reloads": True}, ["queue default is in memory, so each reload loses what is in it"]),
    ],
)
def test_what_is_probably_not_meant_is_warned_of(registry, caplog, options, how, told):
    app = dawdle.Dawdle(Memory(), registry=Registry(), **options)
    with caplog.at_level(logging.WARNING):
        warn(app.describe(), **{"places": 1, "reloads": False, **how})
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == len(told)
    for text, beginning in zip(texts, told, strict=True):
        assert text.startswith(beginning)


def test_a_worker_that_only_signals_into_memory_is_told_that_this_is_lost(caplog):
    warn(dawdle.Dawdle(Memory(), registry=Registry(), start_listener=False).describe(), places=1, reloads=False)
    assert "Its queue is in memory, so what it signals is lost" in caplog.text


class Closed(StringIO):
    """Standard error whose reader has gone, or whose disk is full."""

    def __init__(self, error):
        super().__init__()
        self._error = error

    def flush(self):
        raise self._error


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(errno.ENOSPC, "no space left on device")])
def test_a_closed_log_keeps_no_worker_from_starting_or_going_on(registry, monkeypatch, error):
    app = dawdle.Dawdle(queues={"default": Memory(), "video": Memory()}, registry=registry)
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", Closed(error))
        print_banner("shop:app", app.describe(), 1)
        unloadable("Traceback (most recent call last):")
