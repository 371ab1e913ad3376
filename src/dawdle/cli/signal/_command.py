"""The command `dawdle signal`: one event of the command line, or a line of JSON for each on standard input."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from io import BufferedIOBase
from typing import Any, cast

import click

from dawdle import Dawdle, SignalError
from dawdle.cli._app import AppCommand, with_app
from dawdle.cli._interrupt import interruptible
from dawdle.cli._loading import attribute_of
from dawdle.cli._output import err, json_option, out, print_json, progress
from dawdle.cli._running import INTERRUPTED, CommandError, run_async
from dawdle.cli._values import duration, time
from dawdle.cli.signal._lines import EventReader, Line, blocks_of_lines
from dawdle.cli.signal._storing import CHUNK, Store, unstored

__all__ = ["signal"]


class SignalCommand(AppCommand):
    """A command whose first argument may be an app, or a class of events as `module:Class`."""

    def is_app(self, word: str) -> bool:
        """Whether a word names an app: a class is none."""
        if not super().is_app(word):
            return False
        try:
            return ":" not in word or not isinstance(attribute_of(word), type)
        except Exception:  # noqa: BLE001 - it is imported again as an app, and its error is told then
            return True


@click.command(cls=SignalCommand)
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
def signal(
    app: Dawdle,
    *,
    event: str | None,
    data: str | None,
    event_id: str | None,
    skip_invalid: bool,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Signal an event: its type, by its name on the wire or as module:Class, and its data as JSON.

    Without DATA, each line of standard input is the data of one event. Without EVENT too, each line is an object with
    the keys `type` and `data`, and perhaps `id`, as a CloudEvent has. What is stored before an error stays stored.

    \b
    dawdle signal shop.main:app OrderPlaced '{"order_id": "o-1"}' --delay 5m
    cat orders.jsonl | dawdle signal shop.main:app OrderPlaced
    """  # noqa: D301 - click's mark for lines that stay as they are
    how = _options_of(options)
    reader = EventReader(app, event)
    told = _Told(as_json=as_json)
    work = _Signaling(app, reader, how, told, store=not dry_run, skips=skip_invalid)
    try:
        if data is not None and data != "-":
            run_async(work.one(reader.read(data.encode())._replace(id=event_id)))
            return told.end(many=False)
        if sys.stdin.isatty():
            raise click.UsageError("Give the event's data as JSON, or a line of JSON for each event on standard input.")
        if event_id is not None:
            raise click.UsageError("--id names one event, and standard input has many: give its data as an argument.")
        was_interrupted = run_async(work.standard_input())
    except (CommandError, SignalError) as error:
        told.end_with(error)
        raise
    code = told.end(many=True)
    return INTERRUPTED if was_interrupted else code


def _options_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `signal()` of an app takes, of the command's options."""
    headers = dict[str, str]()
    for text in cast("tuple[str, ...]", options["headers"]):
        name, given, value = text.partition("=")
        if not given:
            raise click.UsageError(f"--header {text!r}: write --header name=text")
        headers[name] = value
    return {
        **{name: options[name] for name in ("delay", "at", "expires", "group")},
        "queue": options["queues"] or None,
        "headers": headers or None,
    }


class _Told:
    """What the command says of the events, when they are stored and at its end."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._ids: list[str] = []
        self.stored = 0
        self.checked = 0
        self.skipped = 0

    def note(self, ids: Sequence[str]) -> None:
        """Note that events are stored; in a pipe their ids are printed at once."""
        self.stored += len(ids)
        if self._as_json or sys.stdout.isatty():
            self._ids += ids
        else:
            click.echo("".join(f"{each}\n" for each in ids), nl=False)

    def skip(self, text: str) -> None:
        """Say that a line is left out."""
        self.skipped += 1
        err().print(f"skipped: {text}", markup=False, soft_wrap=True)

    def end(self, *, many: bool) -> int:
        """Say what was done, and return the exit code."""
        if self._as_json:
            print_json({"valid": self.checked} if self.checked else {"stored": self._ids})
        elif self.checked:
            click.echo(f"{self.checked} valid, none stored")
        elif sys.stdout.isatty():
            out().print(f"stored {self.stored:,} events" if many else f"stored event {self._ids[0]}")
        return 1 if self.skipped else 0

    def end_with(self, error: Exception) -> None:
        """Let an error say what is stored all the same."""
        if self._as_json and self._ids:
            print_json({"stored": self._ids})
        if isinstance(error, SignalError):
            error.add_note(f"not stored, or perhaps: {unstored(error)}")
        if self.stored:
            error.add_note(f"{self.stored:,} events are stored")


class _Signaling:
    """Signals events as they come, a chunk at a time."""

    def __init__(
        self, app: Dawdle, reader: EventReader, how: Mapping[str, Any], told: _Told, *, store: bool, skips: bool
    ) -> None:
        self._app = app
        self._reader = reader
        self._store = Store(app, how, told.note)
        self._told = told
        self._stores = store
        self._skips = skips

    async def one(self, line: Line) -> None:
        """Signal the event of the command line."""
        async with self._app.connected():
            await self._take([line])

    async def standard_input(self) -> bool:
        """Signal the events of standard input, and return whether ^C has ended that."""
        count = 0
        async with self._app.connected():
            with progress() as bar, interruptible(bar.console) as interrupt:
                task = bar.add_task("signaling" if self._stores else "checking", total=None)
                source = cast("BufferedIOBase", sys.stdin.buffer)
                async with aclosing(blocks_of_lines(source, interrupt)) as blocks:
                    async for block in blocks:
                        for at in range(0, len(block), CHUNK):
                            if interrupt.asked:
                                break
                            await self._chunk(block[at : at + CHUNK])
                            count += len(block[at : at + CHUNK])
                            bar.update(task, completed=count)
            if not count and not interrupt.asked:
                raise CommandError("standard input has no event: for an event without fields give '{}' as its data")
            return interrupt.asked

    async def _chunk(self, block: Sequence[tuple[int, bytes]]) -> None:
        lines: list[Line] = []
        for number, text in block:
            try:
                lines.append(self._reader.read(text, number))
            except CommandError as error:
                if not self._skips:
                    await self._take(lines)  # what is before it is signaled, as it would be if it came in two chunks
                    raise
                self._told.skip(str(error))
        await self._take(lines)

    async def _take(self, lines: Sequence[Line]) -> None:
        if not self._stores:
            self._told.checked += len(lines)
            return
        try:
            refused = await self._store.store(lines)
        except asyncio.CancelledError:
            err().print(f"up to {len(lines):,} events more may be stored", soft_wrap=True)
            raise
        if refused and not self._skips:
            raise refused[0]
        for error in refused:
            self._told.skip(str(error))
