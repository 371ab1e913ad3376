"""Lays a picture out in lines for a terminal of some size. Pure; `render` prints them on a console of rich."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from textwrap import wrap
from time import localtime, strftime
from typing import Final, Literal, NamedTuple

from rich.console import Console
from rich.text import Text

from dawdle.cli.top._picture import HandlerRow, Picture, QueueRow, WorkerRow
from dawdle.cli.top._prices import SQS
from dawdle.cli.top._table import Cell, Column, Line, Span, clipped, table
from dawdle.cli.top._text import UNKNOWN, age, count, dollars, memory, plain, rate, seconds

__all__ = ["SORTS", "Sort", "View", "frame", "render"]

Sort = Literal["name", "rate", "p99", "failures"]
SORTS: Final[tuple[Sort, ...]] = ("name", "rate", "p99", "failures")

_MIN_LINES: Final = (3, 6, 3, 3)
"""Lines that the parts keep on a low screen, titles included: queues, handlers, workers, notes."""

_QUEUE_COLUMNS: Final = (
    Column("QUEUE"),
    Column("WAITING", 1),
    Column("DELAYED", 5),
    Column("IN FLIGHT", 3),
    Column("OLDEST", 4),
    Column("DEAD", 2),
    Column("SENT/S", 8),  # from here on only workers know
    Column("RECV/S", 7),
    Column("REQ/EVENT", 9),
    Column("EMPTY/MIN", 10),
    Column("$/MONTH", 6),  # of queues on SQS
)
_HANDLER_COLUMNS: Final = (
    Column("HANDLER"),
    Column("RUNS/S", 1),
    Column("RUNNING", 7),
    Column("WAITED", 8),
    Column("P50", 5),
    Column("P99", 3),
    Column("FAILED", 2),
    Column("RETRIES", 4),
    Column("DEAD", 6),
    Column("RUNS", 9),
    Column("PROCESSES", 10),
)
_WORKER_COLUMNS: Final = (
    Column("WORKER"),
    Column("PROCESS", 1),
    Column("UP", 2),
    Column("MEMORY", 4),
    Column("CPU", 3),
    Column("HOST", 6, is_text=True),
    Column("APP", 5, is_text=True),
)
_HELP: Final = (
    ("q", "quit; ^C too"),
    ("s", "sort the handlers: by name, runs, p99, failures"),
    ("p", "pause, and go on"),
    ("?", "show or leave this help; space turns its pages"),
    ("WAITING, DELAYED, IN FLIGHT", "messages, as the queue itself counts them; SQS may be a minute late"),
    ("OLDEST", "how long the oldest message has waited to be received"),
    ("SENT/S, RECV/S", "events that these workers signaled, and messages that they received, of the last 10 s"),
    ("DEAD", "messages in the dead-letter queue; of a handler: what it gave up since the worker started"),
    ("REQ/EVENT", "requests to the queue for each event handled to the end, of the last minute"),
    ("EMPTY/MIN", "receives that brought nothing, in a minute"),
    ("$/MONTH", "what the requests of the last minute would cost in a month on SQS"),
    ("RUNS/S, P50, P99", "runs that ended in the last 10 s, and the time within which half and 99 % of them did"),
    ("WAITED", "the longest that an event was due before its handler started, of the last 10 s"),
    ("FAILED, RETRIES", "since the worker started; red: it failed in the last 10 s"),
    ("UP, CPU", "since the app was entered, and the mean share of one CPU since then"),
)


class View(NamedTuple):
    """What the person at the keyboard has chosen."""

    sort: Sort = "name"
    paused: bool = False
    help: bool = False
    page: int = 0
    """Which page of the help, of those that this screen needs. After the last one comes the first."""
    keys: bool = False
    """Whether there is a keyboard, so that the last line says which keys do what."""


def frame(picture: Picture, view: View, width: int, height: int | None = None) -> list[Line]:
    """Return the lines of a picture, none wider than `width`, and at most `height` of them."""
    top = [_header(picture, view), ()]
    room = None if height is None else height - len(top) - view.keys
    if view.help:
        lines, keys = _help_page(picture, view, width, room)
    else:
        lines, keys = _joined(_parts(picture, view, width), room, view), _keys(view)
    lines = [*top, *lines]
    if height is not None:
        lines = lines[: height - view.keys]
        if view.keys:  # they stand at the foot of the screen
            lines = [*lines, *[()] * (height - 1 - len(lines)), keys]
    return [clipped(line, width) for line in lines]


def _joined(parts: Sequence[list[Line]], room: int | None, view: View) -> list[Line]:
    """Return the lines of all parts, with a blank one between two."""
    if room is not None:
        parts = _shortened(parts, room - sum(map(bool, parts)) + 1, view)
    return [line for part in parts if part for line in (*part, ())][:-1]


def _help_page(picture: Picture, view: View, width: int, room: int | None) -> tuple[list[Line], Line]:
    """Return what `?` shows, as many lines of it as there is room for, and the keys that lead on."""
    lines = _joined([_help(width), _notes(picture.notes, width)], None, view)
    size = len(lines) if room is None else max(1, room)
    count = -(-len(lines) // size)
    page = view.page % count
    named = [("?", "back"), ("q", "quit")]
    if count > 1:
        named.insert(0, ("space", f"more ({page + 1} of {count})"))
    return lines[page * size : (page + 1) * size], _named(named)


def _parts(picture: Picture, view: View, width: int) -> list[list[Line]]:
    return [
        _queues(picture.queues, width, workers_asked=picture.handlers is not None),
        _handlers(picture.handlers, view.sort, width),
        _workers(picture.workers, width),
        _notes(picture.notes, width),
    ]


def render(console: Console, picture: Picture, view: View = View(), *, width: int | None = None) -> None:  # noqa: B008 - it is frozen
    """Print a picture on a console of rich, as for a pipe or for an image: all of it, as wide as the console is."""
    for line in frame(picture, view, console.width if width is None else width):
        text = Text.assemble(*((span.text, span.style) for span in line))
        text.rstrip()
        console.print(text, soft_wrap=True, highlight=False)


def _header(picture: Picture, view: View) -> Line:
    failing = sum(each.error is not None for each in picture.workers)
    processes = len(picture.workers) - failing
    known = len({each.url for each in picture.workers if each.error is None})
    spans = [Span("dawdle top", "bold")]
    if view.paused:
        spans.append(Span("  paused", "bold yellow"))
    apps = ", ".join(sorted({plain(each.app) for each in picture.workers if each.app}))
    spans.append(Span(f"  {picture.app or apps or 'the queue that DAWDLE_* names'}"))
    if picture.workers:
        spans.append(Span(f"  {known} {'worker' if known == 1 else 'workers'}"))
    if processes > known:
        spans.append(Span(f" ({processes} processes)"))
    if failing:
        spans.append(Span(f", {failing} {'does' if failing == 1 else 'do'} not answer", "red"))
    if any(not each.healthy for each in picture.workers):
        spans.append(Span("  unhealthy", "bold red"))
    spans.append(Span(f"  {strftime('%H:%M:%S', localtime(picture.time))}", "dim"))
    return tuple(spans)


def _queues(rows: Sequence[QueueRow], width: int, *, workers_asked: bool) -> list[Line]:
    cells = [
        (
            Cell(plain(row.name)),
            Cell(count(row.waiting)),
            Cell(count(row.delayed)),
            Cell(count(row.in_flight)),
            Cell(seconds(row.oldest)),
            Cell(count(row.dead_letters), "yellow" if row.dead_letters else ""),
            Cell(rate(row.signaled_per_second)),
            Cell(rate(row.received_per_second)),
            Cell(rate(row.requests_per_event)),
            Cell(rate(row.empty_receives_per_minute)),
            Cell(dollars(row.dollars_per_month)),
        )
        for row in rows
    ]
    if not cells:
        return []
    # Figures that cannot be known, or are of no queue here, take no room.
    known = len(_QUEUE_COLUMNS) if any(row.system == SQS for row in rows) else -1
    known = known if workers_asked else -5
    lines = table(_QUEUE_COLUMNS[:known], [row[:known] for row in cells], width)
    for row in rows:
        if row.error is not None:
            lines += _paragraph(f"{row.name}: {row.error}", "red", width)
    return lines


def _handlers(rows: Sequence[HandlerRow] | None, by: Sort, width: int) -> list[Line]:
    if rows is None:
        return []
    cells = [
        (
            Cell(plain(row.name)),
            Cell(rate(row.rate)),
            Cell(count(row.running)),
            Cell(seconds(row.waited)),
            Cell(seconds(row.p50)),
            Cell(seconds(row.p99)),
            Cell(count(row.failures), "bold red" if row.recent_failures else ""),
            Cell(count(row.retries)),
            Cell(count(row.dead_letters), "yellow" if row.dead_letters else ""),
            Cell(count(row.runs)),
            Cell(count(row.processes)),
        )
        for row in _sorted(rows, by)
    ]
    return table(_HANDLER_COLUMNS, cells, width) if cells else [(Span("no worker has a handler", "dim"),)]


def _sorted(rows: Iterable[HandlerRow], by: Sort) -> list[HandlerRow]:
    """Return handlers in order: names from A, figures from the largest."""
    keys: Mapping[Sort, Callable[[HandlerRow], tuple[float, ...]]] = {
        "name": lambda _: (),
        "rate": lambda row: (-(row.rate or 0),),
        "p99": lambda row: (-(row.p99 or 0),),
        "failures": lambda row: (-row.recent_failures, -row.failures),
    }
    key = keys[by]
    return sorted(rows, key=lambda row: (key(row), row.name))


def _workers(rows: Sequence[WorkerRow], width: int) -> list[Line]:
    cells = [
        (
            Cell(row.url),
            Cell(str(row.pid)),
            Cell(age(row.uptime)),
            Cell(memory(row.rss)),
            Cell(UNKNOWN if row.cpu is None else f"{row.cpu:.0%}"),
            Cell(plain(row.host)),
            Cell(plain(row.app)),
        )
        for row in rows
        if row.error is None
    ]
    lines = table(_WORKER_COLUMNS, cells, width) if cells else []
    for row in rows:
        if row.error is not None:
            lines += _paragraph(f"{row.url} {row.error}", "red", width)
        for reason in row.reasons:
            lines += _paragraph(f"process {row.pid} is unhealthy: {reason}", "red", width)
    return lines


def _notes(notes: Sequence[str], width: int) -> list[Line]:
    return [line for note in notes for line in _paragraph(note, "dim", width)]


def _paragraph(text: str, style: str, width: int) -> list[Line]:
    return [(Span(line, style),) for line in _wrapped(plain(text), width)]


def _help(width: int) -> list[Line]:
    left = max(len(name) for name, _ in _HELP) + 2
    lines = list[Line]()
    for name, text in _HELP:
        first, *more = _wrapped(text, max(20, width - left))
        lines.append((Span(name.ljust(left), "bold"), Span(first)))
        lines += [(Span(" " * left), Span(each)) for each in more]
    return lines


def _keys(view: View) -> Line:
    return _named(
        [("q", "quit"), ("s", f"sort: {view.sort}"), ("p", "go on" if view.paused else "pause"), ("?", "help")]
    )


def _named(keys: Iterable[tuple[str, str]]) -> Line:
    return tuple(span for key, text in keys for span in (Span(key, "bold"), Span(f" {text}   ", "dim")))


def _shortened(parts: Sequence[list[Line]], room: int, view: View) -> list[list[Line]]:
    """Return parts that have no more lines than there is room for, if that is possible. The last ones lose first."""
    shown = list(parts)
    for at in range(len(shown) - 1, -1, -1):
        lines = shown[at]
        excess = sum(map(len, shown)) - room
        keep = max(min(_MIN_LINES[at], len(lines)), len(lines) - excess)
        if excess > 0 and keep < len(lines):
            is_notes = at == len(shown) - 1
            how_to_see = ": ? shows them" if is_notes and view.keys else ""
            shown[at] = [*lines[: keep - 1], (Span(f"… {len(lines) - keep + 1} more lines{how_to_see}", "dim"),)]
    return shown


@lru_cache(64)  # ten times a second, and the same each time
def _wrapped(text: str, width: int) -> tuple[str, ...]:
    return tuple(wrap(text, max(1, width)))
