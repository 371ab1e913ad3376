"""The page of log messages, checked against the log calls in src/dawdle: it misses none and lists none that is gone."""

import pytest
from tests.docs.log_messages import (
    PAGE,
    UNWRITTEN,
    Line,
    UnreadableLineError,
    entries_of,
    lines_of,
    lines_of_source,
    written,
)

UPDATE = "python -m tests.docs.log_messages puts the page in order; what it marks WRITE ME is for you"

HEAD = "from dawdle._log import Log\n_log = Log(__name__)\n"


def shown(lines):
    return "\n".join(f"{line.logger}: {line.level} `{line.text}`" for line in lines)


def test_the_page_lists_every_line_that_may_be_logged():
    entries, lines = entries_of(PAGE.read_text(encoding="utf-8")), lines_of_source()
    missing = [line for line in lines if line not in entries]
    gone = {line: said for line, said in entries.items() if line not in lines}
    assert not missing, f"{UPDATE}; ready to paste:\n{written(missing, gone)}"


def test_the_page_lists_no_line_that_is_gone():
    gone = set(entries_of(PAGE.read_text(encoding="utf-8"))) - set(lines_of_source())
    assert not gone, f"{UPDATE}; gone from the code:\n{shown(gone)}"


def test_the_page_is_sorted_by_logger_and_text():
    page = PAGE.read_text(encoding="utf-8")
    assert page.endswith(written(lines_of_source(), entries_of(page))), UPDATE


def test_every_line_has_its_cause_and_its_cure():
    entries = entries_of(PAGE.read_text(encoding="utf-8"))
    assert len(entries) > 50
    unsaid = [line for line, said in entries.items() if not said.startswith(": Cause: ") or "\n: Cure: " not in said]
    unsaid += [line for line, said in entries.items() if "WRITE ME" in said]
    assert not unsaid, shown(unsaid)


@pytest.mark.parametrize(
    ("call", "level", "text"),
    [
        ('_log.info("started")', "INFO", "started"),
        ('_log.warning("%s failed %d times in %.3g s", a, b, c)', "WARNING", "… failed … times in … s"),
        ('_log.error("one text "\n    "of two parts")', "ERROR", "one text of two parts"),
        ('_log.exception("stored in %s%s", a, b)', "ERROR", "stored in …"),
        ('_log.failure("failed", error=None, last=True)', "WARNING or ERROR", "failed"),
        ('call_soon(_log.warning, "handed %s on", a)', "WARNING", "handed … on"),
    ],
)
def test_a_log_call_is_read(call, level, text):
    assert list(lines_of("dawdle.room", HEAD + call)) == [Line("dawdle.room", level, text)]


def test_asking_for_the_level_is_no_line():
    assert list(lines_of("dawdle.room", f"{HEAD}if _log.shows(10): pass")) == []


@pytest.mark.parametrize(
    "code",
    [
        f"{HEAD}_log.warning(text)",
        f'{HEAD}_log.warning(f"not {{done}}")',
        f'{HEAD}_log.warning("%s", text)',
        f"{HEAD}write = _log.warning",
        f"{HEAD}help(_log)",
        "from dawdle._log import Log\nlogger = Log(__name__)",
        "import logging\nlogger = logging.getLogger(__name__)",
    ],
)
def test_a_line_that_cannot_be_read_is_an_error(code):
    with pytest.raises(UnreadableLineError):
        list(lines_of("dawdle.room", code))


def test_what_was_said_of_a_line_stays_when_it_is_reworded_or_moves():
    said = ": Cause: this\n: Cure: that"
    old = {Line("dawdle.a", "INFO", "could not store the copy of …"): said}
    moved = Line("dawdle.b", "INFO", "could not store the copy of …")
    reworded = Line("dawdle.a", "WARNING", "could not store a copy of …: …")
    assert entries_of(written([moved], old)) == {moved: said}
    assert entries_of(written([reworded], old)) == {reworded: said}


def test_a_line_that_is_new_is_marked():
    new = Line("dawdle.a", "INFO", "started")
    assert entries_of(written([new], {})) == {new: UNWRITTEN}
