"""Tables: whole in a pipe, fitting in a terminal, and JSON when asked."""

import io
import sys

import click
import msgspec
import pytest

from dawdle.cli._output import Column, confirm, print_json, print_rows
from tests.cli.command import Terminal

COLUMNS = (Column("id"), Column("age", 2, right=True), Column("reason", 1, wraps=True))
ROWS = [("0f3a", "2 h", "OSError: the disk of the printer is full, and [nothing] helps " * 2), ("1b", None, "x\ty\nz")]


@pytest.fixture
def printed(monkeypatch):
    def printed(columns, rows, width=None):
        streams = [Terminal() if width else io.StringIO() for _ in range(2)]
        monkeypatch.setattr(sys, "stdout", streams[0])
        monkeypatch.setattr(sys, "stderr", streams[1])
        if width:
            for name, value in {"COLUMNS": str(width), "LINES": "50", "TERM": "dumb"}.items():
                monkeypatch.setenv(name, value)
        print_rows(columns, rows, empty="no letters")
        monkeypatch.undo()
        return [each.getvalue() for each in streams]

    return printed


def test_a_pipe_gets_lines_with_tabs_and_nothing_is_cut(printed):
    out, _ = printed(COLUMNS, ROWS)
    lines = [line.split("\t") for line in out.splitlines()]
    assert lines == [["ID", "AGE", "REASON"], ["0f3a", "2 h", ROWS[0][2].strip()], ["1b", "", "x y z"]]


def test_a_table_fits_into_the_terminal(printed):
    out, err = printed(COLUMNS, ROWS, 60)
    assert max(map(len, out.splitlines())) <= 60
    assert "[nothing]" in out
    assert err == ""


def test_a_narrow_terminal_loses_columns_by_rank_and_says_so(printed):
    out, err = printed(COLUMNS, ROWS, 24)
    assert "AGE" not in out
    assert "too narrow: age" in err
    assert max(map(len, out.splitlines())) <= 24


def test_no_row_is_said_on_standard_error(printed):
    assert printed(COLUMNS, []) == ["ID\tAGE\tREASON\n", "no letters\n"]
    assert printed(COLUMNS, [], 80) == ["", "no letters\n"]


class Row(msgspec.Struct):
    name: str


def test_json_is_one_line_in_a_pipe_and_indented_in_a_terminal(monkeypatch):
    for stream, text in ((io.StringIO(), '[{"name":"a"}]\n'), (Terminal(), '[\n  {\n    "name": "a"\n  }\n]\n')):
        monkeypatch.setattr(sys, "stdout", stream)
        print_json([Row("a")])
        monkeypatch.undo()
        assert stream.getvalue() == text


def test_a_question_needs_a_terminal_or_the_option(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with pytest.raises(click.ClickException, match="say --yes"):
        confirm("Delete 3 letters?", yes=False)
    confirm("Delete 3 letters?", yes=True)


@pytest.mark.parametrize(("answer", "goes_on"), [("y\n", True), ("\n", False), ("n\n", False)])
def test_only_a_yes_goes_on(monkeypatch, answer, goes_on):
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    if goes_on:
        confirm("Delete 3 letters?", yes=False)
    else:
        with pytest.raises(click.ClickException, match="nothing was changed"):
            confirm("Delete 3 letters?", yes=False)


def test_what_looks_like_an_emoji_or_markup_is_printed_as_it_is(printed):
    out, _ = printed((Column("handler"),), [("shop:top:sync [b]x[/b]",)], 60)
    assert "shop:top:sync [b]x[/b]" in out
