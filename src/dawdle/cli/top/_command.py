"""`dawdle top`: reads the command line, and shows pictures in a terminal, one in a pipe, or lines of JSON."""

import asyncio
import sys
from contextlib import AbstractAsyncContextManager
from typing import Final

import click
import msgspec

from dawdle import Dawdle, DawdleError
from dawdle.cli._app import AppCommand, app_name_option, load_app
from dawdle.cli._output import err, json_option, out
from dawdle.cli._running import CommandError, run_async
from dawdle.cli._worker_port import workers_option
from dawdle.cli.top._frame import render
from dawdle.cli.top._picture import Picture
from dawdle.cli.top._sources import Sources, open_sources
from dawdle.cli.worker._unloadable import why_unloadable

__all__ = ["top"]

LIVE_SECONDS: Final = 0.1
JSON_SECONDS: Final = 1.0

MAX_WIDTH: Final = 10_000


@click.command(cls=AppCommand)
@app_name_option
@workers_option
@click.option(
    "--interval",
    type=click.FloatRange(0.05, 3600),
    metavar="SECONDS",
    help="Between two pictures. Default: 0.1; with --json 1.",
)
@click.option(
    "--cloudwatch", is_flag=True, help="Ask CloudWatch how old the oldest message on SQS is. It costs requests."
)
@click.option("--once", is_flag=True, help="Print one picture, and end. So it is in a pipe, too.")
@json_option
def top(
    *, app_name: str | None, urls: list[str], interval: float | None, cloudwatch: bool, once: bool, as_json: bool
) -> int:
    """Show live what queues hold and what workers do.

    The queues are those of the app; without one, those that the DAWDLE_* variables name. Workers that are started with
    --health-port say the rest, what their handlers do and what that costs: name each one with --workers.

    Keys: q quits, s sorts, p pauses, ? explains. With --json, each picture is a line of JSON.
    """
    app = Dawdle(start_listener=False) if app_name is None else _loaded(app_name)
    seconds = interval or (JSON_SECONDS if as_json else LIVE_SECONDS)
    sources = open_sources(app_name, app.backends, urls, seconds, ask_cloudwatch=cloudwatch)
    return run_async(_show(sources, seconds, once=once, as_json=as_json))


def _loaded(name: str) -> Dawdle:
    try:
        return load_app(name)
    except (CommandError, DawdleError):
        raise
    except (Exception, SystemExit) as error:
        err().print(why_unloadable(error), markup=False, soft_wrap=True)
        raise click.exceptions.Exit(1) from error


async def _show(opening: AbstractAsyncContextManager[Sources], interval: float, *, once: bool, as_json: bool) -> int:
    console = out()
    is_live = sys.stdout.isatty() and not console.is_dumb_terminal and not once and not as_json
    if is_live and sys.platform == "win32":
        raise CommandError("dawdle top is live on Linux and macOS alone so far: say --once, or --json")
    async with opening as sources:
        if is_live:
            from dawdle.cli.top._live import show_live  # noqa: PLC0415 - Windows has no such terminals

            return await show_live(sources, console, interval)
        await sources.ask()
        if not as_json:
            picture = sources.picture()
            # In a pipe nothing is cut, however wide it is.
            render(console, picture, width=None if sys.stdout.isatty() else MAX_WIDTH)
            return 0 if _says_something(picture) else 1
        return await _print_json(sources, interval, once=once)


async def _print_json(sources: Sources, interval: float, *, once: bool) -> int:
    while True:
        picture = sources.picture()
        click.echo(msgspec.json.encode(picture).decode())
        if once:
            return 0 if _says_something(picture) else 1
        await asyncio.sleep(interval)
        await sources.ask(interval)


def _says_something(picture: Picture) -> bool:
    """Whether any queue or worker has answered."""
    return any(each.waiting is not None for each in picture.queues) or any(
        each.error is None for each in picture.workers
    )
