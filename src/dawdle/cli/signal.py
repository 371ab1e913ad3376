"""`dawdle signal`: one event from the command line, or a line of JSON for each on standard input."""

import asyncio
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from difflib import get_close_matches
from importlib import import_module
from typing import Any, Final, NamedTuple, cast

import click
import msgspec

import dawdle
from dawdle import Dawdle, EventError, SignalError
from dawdle.cli._app import AppCommand, with_app
from dawdle.cli._output import err, json_option, out, print_json, progress
from dawdle.cli._running import CommandError, run_async
from dawdle.cli._values import duration, time

__all__ = ["signal"]

CHUNK: Final = 500
"""Events that are stored together: many requests' worth, and few enough to show progress."""


class Line(NamedTuple):
    """One event to signal."""

    number: int
    event: object
    id: str | None


class _Given(msgspec.Struct):
    """A line of standard input where the command names no type: a CloudEvent, of which the rest is ignored."""

    type: str
    data: msgspec.Raw = msgspec.Raw(b"{}")
    id: str | None = None


@click.command(cls=AppCommand)
@click.argument("event", required=False)
@click.argument("data", required=False)
@with_app(required=True, queues="made")
@click.option("--delay", type=duration, metavar="DURATION", help="How long it waits: 90 (seconds), 5m, 1h30m, 2d.")
@click.option("--at", type=time, metavar="TIME", help="When it is handled: 2026-11-28T20:00, in this machine's zone.")
@click.option("--expires", type=duration, metavar="DURATION", help="After that it is not handled any more.")
@click.option("--queue", "queues", multiple=True, help="The queue to store it in, instead of the one of its type.")
@click.option("--group", help="The group that an ordered queue keeps in order.")
@click.option("--id", "event_id", help="The event's id, instead of a new one.")
@click.option("--header", "headers", multiple=True, metavar="NAME=TEXT", help="A header; may be repeated.")
@click.option("--skip-invalid", is_flag=True, help="Go on after a line that is no such event; the exit code is 1.")
@click.option("--dry-run", is_flag=True, help="Check the events, and store none.")
@json_option
def signal(app: Dawdle, *, event: str | None, data: str | None, as_json: bool, **options: Any) -> int:
    """Signal an event: its type, by its name on the wire or as module:Class, and its data as JSON.

    Without DATA, each line of standard input is the data of one event. Without EVENT too, each line is an object with
    the keys `type` and `data`, and perhaps `id`, as a CloudEvent has. What is stored before an error stays stored.

    \b
    dawdle signal shop.main:app OrderPlaced '{"order_id": "o-1"}' --delay 5m
    cat orders.jsonl | dawdle signal shop.main:app OrderPlaced
    """  # noqa: D301 - click's mark for lines that stay as they are
    how = _options_of(options)
    invalid: list[str] = []
    if data is not None and data != "-":
        lines = iter([Line(0, _read(_type_of(app, event or ""), data.encode(), ""), options["event_id"])])
    else:
        if options["event_id"] is not None:
            raise click.UsageError("--id names one event, and standard input has many: give its data as an argument.")
        lines = _from_stdin(app, event, skipped=invalid if options["skip_invalid"] else None)
    ids = run_async(_signal_all(app, lines, how, store=not options["dry_run"]))
    _tell(ids, stored=not options["dry_run"], as_json=as_json)
    for text in invalid:
        err().print(f"skipped: {text}", markup=False, soft_wrap=True)
    return 1 if invalid else 0


def _options_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `signal()` of an app takes, of the command's options."""
    headers = dict[str, str]()
    for text in cast("tuple[str, ...]", options["headers"]):
        name, given, value = text.partition("=")
        if not given:
            raise click.UsageError(f"--header {text!r}: write --header name=text")
        headers[name] = value
    at = cast("datetime | None", options["at"])
    return {
        "delay": options["delay"],
        "at": at,
        "expires": options["expires"],
        "queue": options["queues"] or None,
        "group": options["group"],
        "headers": headers or None,
    }


async def _signal_all(app: Dawdle, lines: Iterator[Line], how: Mapping[str, Any], *, store: bool) -> list[str]:
    """Signal events in chunks, and return their ids. An error says how many were stored before it."""
    ids: list[str] = []
    problem: CommandError | None = None
    async with app.connected():
        with progress() as bar:
            task = bar.add_task("signaling" if store else "checking", total=None)
            while problem is None:
                chunk, problem = _next_chunk(lines)
                if not chunk:
                    break
                ids += await _store(app, chunk, how, stored=len(ids)) if store else [""] * len(chunk)
                bar.update(task, completed=len(ids))
    if problem is not None:
        if store and ids:
            problem.add_note(f"{len(ids):,} events before it are stored")
        raise problem
    return ids


def _next_chunk(lines: Iterator[Line]) -> tuple[list[Line], CommandError | None]:
    """Return the next events, and the error of the line at which they end."""
    chunk: list[Line] = []
    try:
        while len(chunk) < CHUNK:
            chunk.append(next(lines))
    except StopIteration:
        pass
    except CommandError as error:
        return chunk, error
    return chunk, None


async def _store(app: Dawdle, chunk: Sequence[Line], how: Mapping[str, Any], *, stored: int) -> list[str]:
    try:
        if all(line.id is None for line in chunk):
            return await app.signal_many([line.event for line in chunk], **how)
        return list(await asyncio.gather(*(app.signal(line.event, id=line.id, **how) for line in chunk)))
    except SignalError as error:
        if stored or error.stored:
            error.add_note(f"{stored + len(error.stored):,} events are stored, the ids of the others: {_others(error)}")
        raise
    except asyncio.CancelledError:
        err().print(f"{stored:,} events are stored, and the next {len(chunk):,} may or may not be", soft_wrap=True)
        raise


def _others(error: SignalError) -> str:
    failed = [*error.not_stored, *error.uncertain]
    return ", ".join(failed[:20]) + (f" and {len(failed) - 20} more" if len(failed) > 20 else "")


def _from_stdin(app: Dawdle, name: str | None, *, skipped: list[str] | None) -> Iterator[Line]:
    """Yield the events of standard input. `skipped`: takes what is wrong with a line; None: that ends the command."""
    if sys.stdin.isatty():
        raise click.UsageError("Give the event's data as JSON, or a line of JSON for each event on standard input.")
    event_type = None if name is None else _type_of(app, name)
    found = False
    for number, text in enumerate(sys.stdin, start=1):
        if not text.strip():
            continue
        found = True
        where = f"line {number}: "
        try:
            if event_type is not None:
                yield Line(number, _read(event_type, text.encode(), where), None)
            else:
                given = _given(text, where)
                yield Line(number, _read(_type_of(app, given.type, where), bytes(given.data), where), given.id)
        except CommandError as error:
            if skipped is None:
                raise
            skipped.append(str(error))
    if not found:
        raise CommandError("standard input has no event: for an event without fields give '{}' as its data")


def _given(text: str, where: str) -> _Given:
    try:
        return msgspec.json.decode(text, type=_Given)
    except msgspec.DecodeError as error:
        raise CommandError(
            f'{where}{error}: a line is {{"type": "…", "data": {{…}}}}, or name the type in the command'
        ) from error


def _type_of(app: Dawdle, name: str, where: str = "") -> type[object]:
    """Return the class of a name on the wire, or of `module:Class`."""
    found = app.event_type(name)
    if found is not None:
        return found
    module, _, attribute = name.partition(":")
    if attribute:
        try:
            named: object = getattr(import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise CommandError(f"{where}there is no {name}: {error}") from error
        if isinstance(named, type):
            return cast("type[object]", named)
    known = [each.name for each in app.describe().event_types]
    near = get_close_matches(name, known, 3, cutoff=0.5)
    raise CommandError(
        f"{where}this app knows no event {name!r}: "
        + (f"did you mean {' or '.join(near)}?" if near else f"it knows {', '.join(known) or 'none'}")
        + " A class that it does not know is named as module:Class"
    )


def _read(event_type: type[object], data: bytes, where: str) -> object:
    """Return the event of some data. The error says where in the data it does not fit."""
    try:
        return dawdle.JSON().decode(data, event_type)
    except EventError as error:
        raise CommandError(f"{where}{error}") from error


def _tell(ids: Sequence[str], *, stored: bool, as_json: bool) -> None:
    if as_json:
        print_json({"stored": list(ids)} if stored else {"valid": len(ids)})
    elif not sys.stdout.isatty():
        click.echo("".join(f"{each}\n" for each in ids) if stored else f"{len(ids)}", nl=not stored)
    elif len(ids) == 1 and stored:
        out().print(f"stored event {ids[0]}")
    else:
        out().print(f"{'stored' if stored else 'checked'} {len(ids):,} events")
