"""`python -m dawdle.testing.sqs`: the server as a command, without the extra `cli`. It reads arguments."""

import argparse
import asyncio
import sys
from collections.abc import Sequence

from dawdle.errors import ConfigurationError
from dawdle.testing.sqs import SQSServer, serve


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        asyncio.run(_serve(options))
    except (ConfigurationError, OSError) as error:
        print(f"dawdle.testing.sqs: {error}", file=sys.stderr)  # noqa: T201 - a command speaks on its terminal
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dawdle.testing.sqs", description="An SQS server for tests, on this machine, in memory."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: a free one)")
    parser.add_argument(
        "--queue",
        action="append",
        default=[],
        metavar="NAME",
        help="create a queue, a FIFO queue if the name ends in .fifo; may be repeated",
    )
    parser.add_argument(
        "--dead-letter",
        metavar="NAME",
        help="create a dead-letter queue, and set it in the redrive policy of every --queue",
    )
    parser.add_argument(
        "--max-receives",
        type=int,
        default=100,
        metavar="N",
        help="receives before a message goes to the dead-letter queue (default: %(default)s)",
    )
    return parser


async def _serve(options: argparse.Namespace) -> None:
    server = SQSServer(host=options.host, port=options.port)
    for name in options.queue:
        server.create_queue(name, dead_letter=options.dead_letter, max_receives=options.max_receives)
    await serve(server)


if __name__ == "__main__":
    sys.exit(main())
