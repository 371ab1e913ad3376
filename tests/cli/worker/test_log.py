"""The log of a worker: short for a person, complete for a file, and the app's own if it has one."""

import logging
import re
import signal
import sys
from io import StringIO

import pytest

from dawdle.cli.worker._logs import set_up_logging
from dawdle.cli.worker._tell import how
from tests.cli.command import Terminal


@pytest.fixture
def logged(monkeypatch):
    """Set up logging as a new process does, and return what a few records look like."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in ("botocore", "watchfiles")}

    def logged(stream, place=None, level="info", colors=True):
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.delenv("NO_COLOR", raising=False)
        if not colors:
            monkeypatch.setenv("NO_COLOR", "1")
        root.handlers[:] = []
        set_up_logging(level, place)
        log = logging.getLogger("shop")
        log.info("charged %s", "o-1")
        log.warning("slow")
        log.debug("detail")
        monkeypatch.undo()
        return stream.getvalue().splitlines()

    yield logged
    root.handlers[:], root.level = before, level
    for name, its in levels.items():
        logging.getLogger(name).setLevel(its)


def test_a_person_gets_short_lines_with_warnings_in_color(logged):
    first, second = logged(Terminal(), place=2)
    assert re.fullmatch(r"\d\d:\d\d:\d\d \[2\] charged o-1", first)
    assert re.fullmatch(r"\d\d:\d\d:\d\d \[2\] \x1b\[33mwarning: slow\x1b\[0m", second)


def test_no_color_is_respected(logged):
    assert logged(Terminal(), colors=False)[1].endswith(" warning: slow")


def test_a_file_gets_the_date_the_zone_the_level_and_the_logger(logged):
    first, second, third = logged(StringIO(), level="debug")
    when = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d"
    assert re.fullmatch(rf"{when} INFO shop charged o-1", first)
    assert re.fullmatch(rf"{when} WARNING shop slow", second)
    assert third.endswith("DEBUG shop detail")


def test_an_app_that_has_set_up_logging_keeps_it():
    root = logging.getLogger()
    before = root.handlers[:]
    assert before, "pytest has handlers"
    set_up_logging("debug")
    assert root.handlers == before


@pytest.mark.parametrize(
    ("code", "text"),
    [(3, "ended with exit code 3"), (-signal.SIGSEGV, "was killed by SIGSEGV"), (-63, "was killed by signal 63")],
)
def test_how_a_process_has_ended(code, text):
    assert how(code) == text
