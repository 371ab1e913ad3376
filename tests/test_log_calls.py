"""Every log call that tells of an event says which: its record has the event's fields. Reads the source."""

import ast
import re
from pathlib import Path

import pytest

import dawdle

SOURCE = Path(dawdle.__file__).parent

MEETS_EVENTS = {"Envelope", "Work", "InFlightMessage", "HandlerRun", "DeadLetter", "Found", "Delivery", "Copy"}
"""A module that imports one of these may log of an event."""

TELLS_OF_EVENT = {"work", "envelope", "letter", "copy", "found", "delivery", "event_id", "event_type", "label", "what"}
"""A value that is made of one of these names is of an event."""

NO_EVENTS = ("backends/", "testing/", "aws_lambda/", "_app/start_log.py")
"""A queue, and what hands messages in, reads no event; the start log tells of types of events."""


def modules_that_log():
    """Return the names of the modules that make a log, found without parsing, since each process of pytest does it."""
    makes_log = re.compile(r"\b(Event)?Log\(")
    found = [path for path in sorted(SOURCE.rglob("*.py")) if makes_log.search(path.read_text(encoding="utf-8"))]
    return [str(path.relative_to(SOURCE)) for path in found if path.name != "_log.py"]


MODULES = modules_that_log()


def tree_of(name):
    return ast.parse((SOURCE / name).read_text(encoding="utf-8"))


def kinds_of_log(tree):
    return {name_of(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)} & {"Log", "EventLog"}


def name_of(node):
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def log_calls(tree):
    for node in ast.walk(tree):
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(called, ast.Attribute) and name_of(called.value) == "_log" and called.attr != "shows":
            yield node


def words_in(node):
    for each in ast.walk(node):
        name = name_of(each)
        if name:
            yield name.lstrip("_")


def unnamed(tree):
    """The lines of the log calls that tell of an event and do not say of which."""
    for call in log_calls(tree):
        about = {each.arg: each.value for each in call.keywords}.get("about")
        says = about is not None and not (isinstance(about, ast.Constant) and about.value is None)
        if not says and any(word in TELLS_OF_EVENT for value in call.args[1:] for word in words_in(value)):
            yield call.lineno


@pytest.mark.parametrize("name", MODULES)
def test_what_tells_of_an_event_says_of_which(name):
    if not name.startswith(NO_EVENTS):
        assert list(unnamed(tree_of(name))) == []


@pytest.mark.parametrize("name", MODULES)
def test_a_module_that_meets_events_has_a_log_that_asks_for_them(name):
    tree = tree_of(name)
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    if name.startswith("_flow/") or (imported & MEETS_EVENTS and not name.startswith(NO_EVENTS)):
        assert kinds_of_log(tree) == {"EventLog"}


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ('_log.warning("dropped %s", work.label, about=work.about())', []),
        ('_log.warning("dropped %s", work.label, about=None)', [1]),
        ('_log.warning("dropped %s", work.label)', [1]),
        ('_log.error("dropped %s", _label(envelope), error)', [1]),
        ('_log.error("cannot receive from %s", queue.name, about=None)', []),
    ],
)
def test_a_call_that_forgets_its_event_is_found(source, lines):
    assert list(unnamed(ast.parse(source))) == lines
