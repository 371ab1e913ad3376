"""`dawdle sqs serve`: the test server of `dawdle.testing.sqs` as a command, with queues as `create` makes them."""

import asyncio
import errno
from collections.abc import Mapping, Sequence
from contextlib import suppress

import click
from rich_click import RichCommand

from dawdle.cli._running import CommandError
from dawdle.cli.sqs._aws import Place
from dawdle.cli.sqs._environment import variables
from dawdle.cli.sqs._names import queue_name
from dawdle.cli.sqs._plan import Plan, make_plan
from dawdle.testing.sqs import SQSServer
from dawdle.testing.sqs import serve as serve_until_signal

__all__ = ["serve"]


@click.command(cls=RichCommand)
@click.option("--port", type=click.IntRange(0, 65535), default=9324, help="Default: 9324. 0 takes a free one.")
@click.option("--host", default="127.0.0.1", help="Address to listen on. Default: 127.0.0.1, this machine alone.")
@click.option(
    "--queue", "names", type=queue_name, metavar="NAME", multiple=True, help="Again for more. Default: events."
)
def serve(*, port: int, host: str, names: Sequence[str]) -> None:
    """Serve SQS for tests and for a laptop: in memory, without an account, until Ctrl-C.

    Each queue gets its dead-letter queue, as `dawdle sqs create` makes them; a name that ends in .fifo is a FIFO queue.
    It prints every variable to set, for dawdle and for other AWS clients: paste them into the shells of your programs.
    """
    plans = [make_plan(name) for name in names or ("events",)]
    server = SQSServer(host=host, port=port)
    for plan in plans:
        _create(server, plan)
    try:
        with suppress(KeyboardInterrupt):
            asyncio.run(serve_until_signal(server, lambda opened: _variables(opened, plans[0])))
    except OSError as error:
        raise CommandError(_why(error, host, port)) from None


def _create(server: SQSServer, plan: Plan) -> None:
    for queue in plan.queues:
        dead = plan.dead_letters.name if queue is plan.events else None
        server.create_queue(queue.name, dead_letter=dead, max_receives=plan.max_receives, attributes=queue.attributes)


def _variables(server: SQSServer, plan: Plan) -> Mapping[str, str]:
    """Return the variables of the server, and those of the first queue that was asked for."""
    first = variables(
        queue=server.queue_url(plan.events.name),
        dead_letters=server.queue_url(plan.dead_letters.name),
        delayed=None if plan.delayed is None else server.queue_url(plan.delayed.name),
        place=Place(server.environment["DAWDLE_SQS_REGION"], server.endpoint_url),
    )
    return {**server.environment, **first}


def _why(error: OSError, host: str, port: int) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"port {port} of {host} is in use: stop what listens there, or say --port 0 for a free one"
        case errno.EACCES:
            return f"port {port} of {host} is only for root: say a --port from 1024 on"
        case _:
            return f"cannot listen on port {port} of {host}: {error.strerror}"
