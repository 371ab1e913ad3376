"""The command line of `dawdle dead`: its options and their help. The work is done in the modules beside it."""

import sys
from contextlib import aclosing

import click
from rich_click import RichGroup

from dawdle import Dawdle
from dawdle.cli._app import APP_NAME, AppCommand, with_app
from dawdle.cli._interrupt import interruptible
from dawdle.cli._output import err, json_option, out, print_json, print_rows, progress
from dawdle.cli._running import INTERRUPTED, run_async
from dawdle.cli._texts import counted
from dawdle.cli.dead._acting import act_on
from dawdle.cli.dead._filters import Filters, filter_options, letters_of
from dawdle.cli.dead._letter import print_letter
from dawdle.cli.dead._looking import found_of_ids
from dawdle.cli.dead._names import require_known_names
from dawdle.cli.dead._queues import DeadLetterQueues
from dawdle.cli.dead._rows import COLUMNS, LetterRow, oldest_first, row_of, table

__all__ = ["dead"]


class DeadGroup(RichGroup):
    """Takes the app before its subcommand too: `dawdle dead shop.main:app list`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the app's name behind the subcommand."""
        if len(args) > 1 and APP_NAME.fullmatch(args[0]):
            args = [args[1], args[0], *args[2:]]
        return super().parse_args(ctx, args)


@click.group(cls=DeadGroup)
def dead() -> None:
    """Look at dead letters, put them back, delete them.

    A dead letter is an event that a handler gave up, and why. It waits in the dead-letter queue until you redrive or
    purge it. Without an app the queue is the one that the DAWDLE_* variables name.
    """


@dead.command("list", cls=AppCommand)
@filter_options
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="The newest N of them.")
@json_option
@with_app(required=False, queues="there")
def list_(app: Dawdle, *, filters: Filters, limit: int | None, as_json: bool) -> int:
    """Show the dead letters, the newest last.

    While they are read, letters are hidden from other readers: for some seconds, and on SQS for a minute at most.
    """
    queues = DeadLetterQueues(app, filters.queue)
    rows, hint, interrupted = run_async(_rows(app, queues, filters))
    if interrupted:
        return INTERRUPTED
    shown = oldest_first(rows)[-limit:] if limit else oldest_first(rows)
    if as_json:
        print_json(shown)
        return 0
    none = "no dead letters" if filters.is_empty else "no such dead letters"
    print_rows(COLUMNS, table(shown, shorten=sys.stdout.isatty()), empty=f"{none}: {hint}")
    if len(shown) < len(rows):
        err().print(f"the newest {len(shown):,} of {counted(len(rows), 'dead letter')}", style="dim")
    return 0


async def _rows(app: Dawdle, queues: DeadLetterQueues, filters: Filters) -> tuple[list[LetterRow], str, bool]:
    """Return the letters, what to say if there are none, and whether ^C was pressed."""
    with progress() as bar, interruptible(bar.console) as interrupt:
        task = bar.add_task("looking", total=None)
        async with app.connected():
            rows: list[LetterRow] = []
            async with aclosing(letters_of(app, filters)) as letters:
                async for letter in letters:
                    if interrupt.asked:
                        break
                    rows.append(row_of(letter))
                    bar.advance(task)
            if not rows and not interrupt.asked:
                await require_known_names(app, filters)
            return rows, "" if rows else await queues.where_it_may_be(), interrupt.asked


@dead.command(cls=AppCommand)
@click.argument("event_id", metavar="ID")
@filter_options
@json_option
@with_app(required=False, queues="there")
@click.pass_context
def show(ctx: click.Context, app: Dawdle, event_id: str, *, filters: Filters, as_json: bool) -> int:
    """Show one dead letter: the event, the error, where it came from, and the commands to redrive or purge it.

    ID may be the beginning of an id. If several handlers gave the event up, all its letters are shown.
    """

    async def find() -> tuple[list[LetterRow], bool]:
        with interruptible() as interrupt:
            async with app.connected():
                letters = await found_of_ids(app, queues, filters, event_id, interrupt)
        if not as_json:
            for at, letter in enumerate(letters):
                if at:
                    out().rule(style="dim")
                print_letter(letter, app_arguments)
        return [row_of(letter) for letter in letters], interrupt.asked

    named = ctx.params.get("app_name")
    app_arguments = (named,) if isinstance(named, str) else ()
    queues = DeadLetterQueues(app, filters.queue)
    rows, interrupted = run_async(find())
    if as_json and rows:
        print_json(rows)
    return INTERRUPTED if interrupted else 0


@dead.command(cls=AppCommand)
@click.argument("event_ids", metavar="[ID]...", nargs=-1)
@filter_options
@click.option("--dry-run", is_flag=True, help="Count what would be redriven, and redrive nothing.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask, and do not count first.")
@json_option
@with_app(required=False, queues="there")
def redrive(
    app: Dawdle, event_ids: tuple[str, ...], *, filters: Filters, dry_run: bool, yes: bool, as_json: bool
) -> int:
    """Put dead letters back into their queue: all, those of some events, or those that meet the conditions.

    Each event starts anew, at attempt 1, for the handler that gave it up and for no other. ^C ends it between two
    batches, and loses nothing. Of more than one letter it asks first.
    """
    return act_on(app, "redrive", filters, event_ids, dry_run=dry_run, yes=yes, as_json=as_json)


@dead.command(cls=AppCommand)
@click.argument("event_ids", metavar="[ID]...", nargs=-1)
@filter_options
@click.option("--dry-run", is_flag=True, help="Count what would be deleted, and delete nothing.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask, and do not count first.")
@json_option
@with_app(required=False, queues="there")
def purge(app: Dawdle, event_ids: tuple[str, ...], *, filters: Filters, dry_run: bool, yes: bool, as_json: bool) -> int:
    """Delete dead letters for good: all, those of some events, or those that meet the conditions. It always asks."""
    return act_on(app, "purge", filters, event_ids, dry_run=dry_run, yes=yes, as_json=as_json)
