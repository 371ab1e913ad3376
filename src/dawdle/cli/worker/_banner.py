"""What a worker says at its start: what it works on, and what about it is probably not meant."""

import logging
import os
import platform
import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

import dawdle
from dawdle import AppDescription, FunctionDescription, HandlerDescription, QueueDescription
from dawdle.cli._output import err
from dawdle.cli.worker._say import say

__all__ = ["banner_lines", "print_banner", "warn"]

_log = logging.getLogger(__name__)

GAP: Final = "  "

INDENT: Final = len("functions") + len(GAP)
"""Characters in front of each line, the widest heading among them."""

MIN_ROOM: Final = 20
"""Characters of a line in the narrowest terminal."""

Section = tuple[str, list[tuple[str, ...]]]


def print_banner(name: str, app: AppDescription, places: int) -> None:
    """Print what an app is made of on standard error."""
    who = f"pid {os.getpid()}" if places == 1 else f"{places} processes"
    head = f"dawdle {dawdle.__version__}, worker of {name}, {who}, Python {platform.python_version()}"
    sections = list(_sections(app))
    console = err()
    say(head, bold=True)
    for heading, line in banner_lines(sections, console.width if console.is_terminal else None):
        say(line, heading=heading)


def warn(app: AppDescription, *, places: int, reloads: bool) -> None:
    """Log a warning for each thing that is probably not meant. The app logs those that any worker may have itself."""
    in_memory = [queue.name for queue in app.queues if not queue.shared]
    if "start_listener" in app.settings:
        _log.warning(
            "this worker handles no event, since its app does not listen: remove start_listener=False and "
            "DAWDLE_START_LISTENER%s",
            ". Its queue is in memory, so what it signals is lost" if in_memory else "",
        )
    elif in_memory and places > 1:
        _log.warning(
            "each of the %d processes has queue %s in its own memory: it handles only the events that it signals "
            "itself; set DAWDLE_SQLITE_PATH or DAWDLE_SQS_QUEUE_URL for a queue that processes share",
            places,
            ", ".join(in_memory),
        )
    if in_memory and reloads:
        _log.warning(
            "queue %s is in memory, so each reload loses what is in it: set DAWDLE_SQLITE_PATH to keep it in a file",
            ", ".join(in_memory),
        )


def _sections(app: AppDescription) -> Iterator[Section]:
    yield "queues", [(each.name, each.backend, _limits_of_queue(each)) for each in app.queues]
    yield "handlers", [(each.name, _events(each), _limits(each)) for each in app.handlers] or [("none",)]
    if app.functions:
        yield "functions", [(each.name, _parameters(each), _limits(each)) for each in app.functions]
    if app.settings:
        yield "settings", [(name, text) for name, text in app.settings.items()]


def _limits_of_queue(queue: QueueDescription) -> str:
    return f"{queue.concurrency} messages at once" if queue.listened else "not listened to"


def _events(handler: HandlerDescription) -> str:
    taken = ", ".join(handler.events) or "every event"
    return f"{taken} except {', '.join(handler.exclude)}" if handler.exclude else taken


def _parameters(function: FunctionDescription) -> str:
    return f"({', '.join(each.name for each in function.parameters)})"


def _limits(handler: HandlerDescription | FunctionDescription) -> str:
    limits = ["1 attempt" if handler.max_attempts == 1 else f"{handler.max_attempts} attempts"]
    if handler.timeout is not None:
        limits.append(f"{handler.timeout:g} s each")
    if handler.concurrency is not None:
        limits.append(f"{handler.concurrency} at once")
    if handler.queue is not None:
        limits.append(f"on queue {handler.queue}")
    return ", ".join(limits)


def banner_lines(sections: Sequence[Section], width: int | None) -> Iterator[tuple[str, str]]:
    """Yield each line as its heading and its text. `width`: of the terminal; None: there is none, and no line is cut.

    The values of a section stand in columns. Where these are too wide for the terminal, all but the first go below it.
    """
    room = None if width is None else width - INDENT
    for heading, rows in sections:
        lines = _columns(rows)
        if room is not None and max(map(len, lines)) > room:
            lines = [line for row in rows for line in _stacked(row, room)]
        for at, line in enumerate(lines):
            yield ("" if at else heading).ljust(INDENT), line


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [GAP.join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _stacked(row: Sequence[str], room: int) -> list[str]:
    first, *rest = row
    below = textwrap.wrap("; ".join(rest), max(room - len(GAP), MIN_ROOM), break_on_hyphens=False)
    return [*textwrap.wrap(first, max(room, MIN_ROOM)), *(f"{GAP}{line}" for line in below)]
