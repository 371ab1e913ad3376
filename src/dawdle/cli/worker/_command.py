"""The command line of `dawdle worker`, and the choice: this process works itself, or starts those that do."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from typing import get_args

import click

from dawdle import Dawdle
from dawdle.cli._app import AppCommand, app_name_option, load_app, require_app_name
from dawdle.cli._running import CommandError
from dawdle.cli.worker._hangup import Renewal
from dawdle.cli.worker._logs import set_up_logging
from dawdle.cli.worker._options import LogLevel, WorkerOptions
from dawdle.cli.worker._say import say
from dawdle.cli.worker._unloadable import why_unloadable
from dawdle.cli.worker._values import Address, address, size
from dawdle.cli.worker._work import Lifespan, prepare, require_uvloop, run_app

__all__ = ["worker"]


@click.command(cls=AppCommand)
@app_name_option
@click.option(
    "--queue", "queues", multiple=True, metavar="NAME", help="Work on this queue only. Several times for more."
)
@click.option(
    "--concurrency", type=click.IntRange(min=1), metavar="N", help="Messages of a queue at once, per process."
)
@click.option("--processes", type=click.IntRange(min=1), default=1, metavar="N", help="Work in so many processes.")
@click.option("--reload", is_flag=True, help="Start anew when the code changes.")
@click.option("--uvloop", is_flag=True, help="Use the event loop of uvloop.")
@click.option(
    "--health-port", type=address, metavar="[HOST:]PORT", help="Serve /live, /ready, /health, /metrics and /stats."
)
@click.option("--max-rss", type=size, metavar="SIZE", help="Replace a process that uses more memory, such as 500M.")
@click.option("--log-level", type=click.Choice(get_args(LogLevel)), default="info", help="What is logged.")
def worker(
    app_name: str | None,
    queues: tuple[str, ...],
    concurrency: int | None,
    processes: int,
    reload: bool,
    uvloop: bool,
    health_port: Address | None,
    max_rss: int | None,
    log_level: LogLevel,
) -> int:
    """Run an app: handle its events until SIGTERM or ^C. A second one ends the grace.

    SIGHUP replaces its processes, one after another, as a deploy does. With several processes, --reload or --max-rss
    a supervisor starts those that work, and starts again what dies.
    """
    options = WorkerOptions(
        app=require_app_name(app_name),
        queues=queues,
        concurrency=concurrency,
        uvloop=uvloop,
        log_level=log_level,
        watched=health_port is not None,
    )
    if uvloop:
        require_uvloop()
    if processes == 1 and not reload and max_rss is None:
        return _work_here(options, health_port)
    if sys.platform == "win32":
        raise CommandError(
            "--processes, --reload and --max-rss need what Windows lacks: start several workers, or one in WSL"
        )
    set_up_logging(log_level)
    from dawdle.cli.worker._supervisor import Plan, supervise  # noqa: PLC0415 - one process does without

    plan = Plan(options=options, places=processes, reloads=reload, max_rss=max_rss, address=health_port)
    return int(asyncio.run(supervise(plan)))


def _work_here(options: WorkerOptions, at: Address | None) -> int:
    """Be the worker, and return the exit code of the process."""
    renewal = Renewal()
    with renewal.taking_hangup():
        try:
            app = load_app(options.app)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the code of the app raises
            say(why_unloadable(error), red=True)
            return 1
        set_up_logging(options.log_level)
        prepare(app, options, introduces=True)
        served = None if at is None else _served(app, options, at)

        @asynccontextmanager
        async def lifespan(entered: Dawdle) -> AsyncGenerator[None]:
            renewal.entered(entered)
            async with nullcontext() if served is None else served(entered):
                yield

        run_app(app, options, lifespan)
        renewal.start_anew()
    return 0


def _served(app: Dawdle, options: WorkerOptions, at: Address) -> Lifespan:
    """Let figures of the app be kept, and return the lifespan in which they are served."""
    from dawdle.aiohttp import health_server  # noqa: PLC0415 - it takes long, and a worker without a port does without
    from dawdle.cli.worker._figures import watched  # noqa: PLC0415 - as above

    host, port = at
    return partial(health_server, host=host, port=port, routes=watched(app, options.app))
