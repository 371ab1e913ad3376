"""One dead letter as a person reads it: what, whose, why, when, from where, the event, and what to type next."""

import shlex
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import msgspec
from rich.console import Console
from rich.json import JSON
from rich.padding import Padding
from rich.pretty import Pretty
from rich.table import Table
from rich.text import Text

from dawdle import DeadLetter
from dawdle.cli._output import out
from dawdle.cli._texts import age, one_line, printable

__all__ = ["print_letter"]

MAX_BYTES_SHOWN = 2000
"""Bytes of a body that is no event."""


def print_letter(letter: DeadLetter, app_arguments: Sequence[str]) -> None:
    """Print a letter. `app_arguments`: what names the app on the command line."""
    console = out()
    with console.capture() as printed:
        _print(console, letter, app_arguments)
    # rich fills lines up with blanks, which a pipe need not have. Those in a terminal are inside of its colors.
    console.file.writelines(f"{line.rstrip(' ')}\n" for line in printed.get().splitlines())


def _print(console: Console, letter: DeadLetter, app_arguments: Sequence[str]) -> None:
    whose = f" for {one_line(letter.handler)}" if letter.handler else ""
    console.print(Text.assemble((one_line(letter.event_type), "bold"), f" {one_line(letter.event_id)}{whose}"))
    console.print()
    console.print(_facts(letter))
    _section(console, "error", Text(printable(letter.error)))
    if letter.event is not None:
        _section(console, "event", Pretty(letter.event, expand_all=False))
    _section(console, *_data(letter))
    console.print()
    for what, command in _commands(letter, app_arguments):
        console.print(Text.assemble((f"{what:<13}", "dim"), command), soft_wrap=True)


def _facts(letter: DeadLetter) -> Table:
    now = datetime.now(UTC)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in (
        ("handler", letter.handler or "none could be run; a redrive runs all that the event has"),
        ("attempts", str(letter.attempts)),
        (
            "given up",
            _when(letter.dead_at, now) or f"SQS moved it, and does not say when; stored {_since(letter, now)}",
        ),
        ("signaled", _when(letter.signaled_at, now)),
        ("queue", letter.queue),
        ("comes from", letter.origin),
        *((f"header {name}", value) for name, value in letter.headers.items()),
    ):
        if value:
            table.add_row(one_line(name), Text(one_line(value)))
    return table


def _when(at: datetime | None, now: datetime) -> str | None:
    return None if at is None else f"{at.astimezone().isoformat(' ', 'seconds')}, {age(at, now)} ago"


def _since(letter: DeadLetter, now: datetime) -> str:
    return _when(letter.since, now) or "at an unknown time"


def _section(console: Console, title: str, content: Text | Pretty | JSON) -> None:
    console.print()
    console.print(Text(title, style="dim"))
    console.print(Padding(content, (0, 0, 0, 2)))


def _data(letter: DeadLetter) -> tuple[str, Text | JSON]:
    """Return the event's data: as JSON, or else the bytes that there are."""
    try:
        message = msgspec.json.decode(letter.body, type=dict[str, msgspec.Raw])
        if "data" in message:
            return "data", JSON(bytes(message["data"]).decode())
        if "data_base64" in message:
            return "data", _bytes(msgspec.json.decode(message["data_base64"], type=bytes))
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError):
        pass
    return "message, which is no event", _bytes(letter.body)


def _bytes(data: bytes) -> Text:
    """Return bytes as text, or in hexadecimal digits if they are none."""
    part, cut = data[:MAX_BYTES_SHOWN], len(data) - MAX_BYTES_SHOWN
    more = f"\n… and {cut:,} bytes more: --json has them" if cut > 0 else ""
    try:
        return Text(printable(part.decode(errors="strict" if cut <= 0 else "ignore")) + more)
    except UnicodeDecodeError:
        return Text(part.hex(" ", 4) + more)


def _commands(letter: DeadLetter, app_arguments: Sequence[str]) -> Iterable[tuple[str, str]]:
    """Return what to type to put this letter back, and to delete it."""
    handler = ("--handler", letter.handler) if letter.handler else ()
    for what, command in (("put it back", "redrive"), ("delete it", "purge")):
        yield what, shlex.join(("dawdle", "dead", command, *app_arguments, letter.event_id, *handler))
