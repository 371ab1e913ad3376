"""What commands print: tables, JSON, questions, progress. A terminal gets colors, a pipe lines, `--json` JSON.

Results go to standard output; warnings, questions, errors and progress to standard error.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import click
import msgspec
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

__all__ = ["Column", "confirm", "err", "json_option", "out", "print_json", "print_rows", "print_tabbed", "progress"]

F = TypeVar("F", bound=Callable[..., Any])

GAP: Final = 2
"""Blanks between two columns."""


def out() -> Console:
    """Return standard output. Nothing is colored there of itself, and in a pipe no line is cut."""
    return Console(highlight=False, emoji=False, soft_wrap=not sys.stdout.isatty())


def err() -> Console:
    """Return standard error. In a pipe no line is cut or wrapped."""
    return Console(stderr=True, highlight=False, emoji=False, soft_wrap=not sys.stderr.isatty())


def json_option(function: F) -> F:
    """Add `--json`; the command gets it as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def print_json(value: object) -> None:
    """Print a value, such as structs or a list of them, as JSON: indented in a terminal, one line in a pipe."""
    text = msgspec.json.encode(value)
    if sys.stdout.isatty():
        text = msgspec.json.format(text, indent=2)
    click.echo(text.decode())


class Column(NamedTuple):
    """A column of a table."""

    name: str
    rank: int = 0
    """Which columns a narrow terminal loses: the one with the highest rank first; 0 is never lost."""
    right: bool = False
    """Whether its values stand at the right, as numbers do."""
    wraps: bool = False
    """Whether a long value goes on in the next line. If not, it is cut in a terminal, and only there."""


def print_rows(
    columns: Sequence[Column], rows: Iterable[Sequence[object]], *, empty: str, to_stderr: bool = False
) -> None:
    """Print rows as a table that fits into the terminal, or in a pipe as lines whose values have tabs between them.

    `empty` is said on standard error where there is no row. `to_stderr`: the rows are printed there, beside a question.
    """
    stream = sys.stderr if to_stderr else sys.stdout
    texts = [["" if value is None else str(value) for value in row] for row in rows]
    if not stream.isatty():
        print_tabbed([column.name for column in columns], texts, to_stderr=to_stderr)
    elif texts:
        _print_table(err() if to_stderr else out(), columns, texts)
    if not texts:
        err().print(escape(empty), style="dim")


def print_tabbed(names: Sequence[str], rows: Iterable[Sequence[str]], *, to_stderr: bool = False) -> None:
    """Print rows for a pipe: the names first, then a line for each, whose values have tabs between them."""
    for row in [[name.upper() for name in names], *rows]:
        click.echo("\t".join(" ".join(text.split()) for text in row), err=to_stderr)


def _print_table(console: Console, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    widths = [_min_width(column, [row[at] for row in rows]) for at, column in enumerate(columns)]
    shown = list(range(len(columns)))
    while sum(widths[at] + GAP for at in shown) > console.width:
        lost = max(shown, key=lambda at: columns[at].rank)
        if columns[lost].rank == 0:
            break
        shown.remove(lost)
    # rich would take from all columns alike what is too much. So what is left goes to those that are cut, by rank.
    left = console.width - sum(widths[at] + GAP for at in shown)
    for at in sorted(shown, key=lambda at: columns[at].rank):
        more = min(max(left, 0), max((len(row[at]) for row in rows), default=0) - widths[at])
        if more > 0:
            widths[at] += more
            left -= more
    table = Table(box=None, padding=(0, GAP, 0, 0), header_style="bold")
    for at in shown:
        column = columns[at]
        table.add_column(
            column.name.upper(),
            justify="right" if column.right else "left",
            no_wrap=not column.wraps,
            overflow="fold" if column.wraps else "ellipsis",
            width=widths[at],
        )
    for row in rows:
        table.add_row(*(escape(row[at]) for at in shown))
    console.print(table)
    if missing := [column.name for at, column in enumerate(columns) if at not in shown]:
        err().print(f"not shown, the terminal is too narrow: {', '.join(missing)}", style="dim")


def _min_width(column: Column, texts: Sequence[str]) -> int:
    """Return the width that a column needs: numbers are never cut, other values to 20 characters at most."""
    longest = max(map(len, texts), default=0)
    return max(len(column.name), longest if column.right else min(longest, 20))


class Unasked(click.ClickException):
    """A command must ask and cannot. It ends as a mistake in the command line does, which lacks `--yes`."""

    exit_code = 2


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something that cannot be undone, and return if the answer is yes; otherwise the command ends.

    `yes` is the command's option `--yes`. Where there is no terminal to ask in, it is demanded.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise Unasked(f"nothing was done, since there is no terminal to ask in: say --yes. {question}")
    if not click.confirm(question, err=True):
        raise click.ClickException("nothing was changed")


def progress() -> Progress:
    """Return a progress bar on standard error, which shows nothing where that is no terminal.

    `with progress() as bar: task = bar.add_task("redriving", total=120)`, then `bar.advance(task)`.
    """
    console = err()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
