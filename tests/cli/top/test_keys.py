"""Which keys are read from what a terminal sends, and what they change."""

import pytest

from dawdle.cli.top._frame import View
from dawdle.cli.top._keys import keys_of, view_after

HELP = View(help=True, page=1)


def test_what_a_terminal_sends_is_read_as_keys():
    assert keys_of("q?\x1b[B\x1bOA\x1b[6~\x1b s") == ["q", "?", "\x1b[B", "\x1bOA", "\x1b[6~", "\x1b", " ", "s"]


@pytest.mark.parametrize(
    ("keys", "page"),
    [(" ", 1), ("\x1b[B\x1b[6~", 2), ("\x1bOB", 1), ("j", 1), ("\x1b[A", -1), ("  k\x1b[5~", 0), ("x", 0)],
)
def test_in_help_keys_turn_its_pages(keys, page):
    view = View(help=True)
    for key in keys_of(keys):
        view = view_after(view, key)
    assert view == View(help=True, page=page)


def test_help_begins_anew_and_is_left_by_the_same_key_or_escape():
    for key in ("?", "h", "\x1b"):
        assert view_after(HELP, key) == View()
    assert view_after(View(page=1), "?") == View(help=True)


def test_keys_sort_and_pause():
    assert view_after(View(), "s").sort == "rate"
    assert view_after(View(sort="failures"), "S").sort == "name"
    for key in ("p", "P", " "):
        assert view_after(View(), key).paused
    assert not view_after(View(paused=True), "p").paused


def test_other_keys_change_nothing():
    for key in ("\x1b[B", "\x1b", "x", "\x1b[15~"):
        assert view_after(View(), key) == View()
