"""`python -m dawdle.testing.sqs`: the server as a command. It reads arguments, prints a banner, waits for a signal."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence

from dawdle.errors import ConfigurationError
from dawdle.testing.sqs import SQSServer


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
    # The server closes on both signals, and the exit status is 0: a supervisor must not take a stop for a crash.
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with server:
        print(_banner(server), flush=True)  # noqa: T201 - a command speaks on its terminal
        await stop.wait()


def _banner(server: SQSServer) -> str:
    lines = [f"# SQS test server at {server.endpoint_url}, faults at {server.endpoint_url}/_control/faults"]
    lines += [f"export {name}={value}" for name, value in server.environment.items()]
    lines.append("# Stop it with Ctrl-C. Its messages are in memory and end with it.")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
