"""Whatever a line tells of, it is one line; a traceback keeps its lines, and none begins where a record begins."""

import io
import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dawdle._log import EventLog, Log
from dawdle.errors import one_line, shown

FORGED = "x\n2026-01-01 CRITICAL root: you are hacked \x1b[31m\u2028\u202e\x85\r\udc80"
TELLING = {"\n", "\t"}

log = Log("dawdle.tests.log")
event_log = EventLog("dawdle.tests.log")


@pytest.fixture
def written():
    """Return what the log has written, as `basicConfig` would."""
    logger, out = logging.getLogger("dawdle.tests.log"), io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(funcName)s: %(message)s"))
    logger.addHandler(handler)
    yield out.getvalue
    logger.removeHandler(handler)


def raised(error):
    try:
        raise error
    except BaseException as caught:
        return caught


@given(st.text(), st.integers(1, 300))
def test_text_in_a_line_is_printable_and_cut_and_what_is_printable_stays(text, limit):
    told = one_line(text, limit)
    assert told.isprintable()
    assert len(told) <= 10 * limit + 1
    if text.isprintable() and len(text) <= limit:
        assert told == text


def test_a_value_whose_repr_has_line_breaks_is_shown_in_one():
    class Odd:
        def __repr__(self):
            return FORGED

    assert shown(Odd()).isprintable()


@pytest.mark.parametrize("value", [FORGED, ValueError(FORGED), [FORGED], FORGED.encode(errors="replace")])
@pytest.mark.parametrize("text", ["of %s", "of %r"])
def test_a_line_tells_of_any_value_in_one_line(written, text, value):
    log.warning(text, value)
    (line, end) = written().split("\n")
    assert line.isprintable()
    assert "test_a_line_tells_of_any_value_in_one_line: of " in line
    assert end == ""


def test_numbers_are_numbers_and_a_long_value_is_cut(written):
    log.error("%d of %.3g: %s", 3, 2.5, "x" * 100_000)
    assert "3 of 2.5: xxx" in written()
    assert len(written()) < 2100


def noted(error, *notes):
    for note in notes:
        error.add_note(note)
    return error


def from_(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        ValueError(FORGED),
        ValueError("\n\n" + FORGED),
        noted(ValueError("x"), FORGED, "\n" + FORGED, "two\nlines"),
        from_(ValueError(FORGED), raised(noted(OSError(FORGED), FORGED))),
        ExceptionGroup(FORGED, [noted(ValueError(FORGED), FORGED), ExceptionGroup(FORGED, [OSError(FORGED)])]),
        KeyError(FORGED),
        SyntaxError(FORGED, ("a.py\n2026", 1, 1, FORGED)),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, FORGED),
    ],
)
def test_a_traceback_keeps_its_lines_and_none_of_them_can_be_taken_for_a_record(written, error):
    event_log.failure("failed: %s", error, error=raised(error), last=True, about=None)
    first, *lines = written().rstrip("\n").split("\n")
    assert "failed: " in first
    assert all(set(line) <= TELLING or line.replace("\t", "").isprintable() for line in lines)
    ours = ("Traceback (most", type(error).__name__, "The above exception", "OSError")
    assert [line for line in lines if line and not line[0].isspace() and not line.startswith(ours)] == []
    assert any("raise error" in line for line in lines), "and it still shows the code"
    assert any("2026-01-01 CRITICAL" in line for line in lines), "and what was said"


def test_an_ordinary_traceback_is_python_s_own(written):
    cause = raised(OSError("first"))
    error = raised(from_(ValueError("two\n  lines"), cause))
    event_log.failure("failed", error=error, last=True, about=None)
    expected = logging.Formatter().formatException((type(error), error, error.__traceback__))
    assert written().partition("\n")[2].rstrip("\n") == expected


def test_what_an_exception_says_without_end_is_cut(written):
    event_log.failure("failed", error=raised(ValueError("x\n" * 1_000_000)), last=True, about=None)
    assert len(written()) < 60_000


def test_an_exception_that_cannot_be_told_costs_only_its_traceback(written):
    class Odd(Exception):
        @property
        def __notes__(self):
            raise SystemError

    event_log.failure("failed", error=raised(Odd()), last=True, about=None)
    assert "failed" in written()


def test_the_exception_goes_with_the_record_for_tools_that_want_it(caplog):
    error = raised(ValueError("x"))
    event_log.failure("failed", error=error, last=True, about=None)
    (record,) = caplog.records
    assert record.exc_info[1] is error
    try:
        raise error
    except ValueError:
        log.exception("again")
    assert caplog.records[1].exc_info[1] is error
    assert caplog.records[1].funcName == sys._getframe().f_code.co_name


def test_a_line_that_is_not_wanted_costs_no_text():
    class Counting:
        asked = 0

        def __str__(self):
            Counting.asked += 1
            return ""

    logging.getLogger("dawdle.tests.log").setLevel(logging.ERROR)
    try:
        log.warning("%s", Counting())
    finally:
        logging.getLogger("dawdle.tests.log").setLevel(logging.NOTSET)
    assert Counting.asked == 0
