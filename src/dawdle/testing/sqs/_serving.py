"""Keeps a server open for a command: prints what to set in the environment, and waits for a signal."""

import asyncio
import signal
from collections.abc import Callable, Mapping
from shlex import quote

from dawdle.testing.sqs._server import SQSServer

__all__ = ["serve"]


async def serve(server: SQSServer, variables: Callable[[SQSServer], Mapping[str, str]] | None = None) -> None:
    """Open a server, print the variables that point programs at it, and close it at SIGINT or SIGTERM.

    They are printed as `export` lines, which a shell takes as they are. `variables` returns them, once the server is
    open; without it they are `server.environment`. Raises `OSError` if another process has the port.
    """
    # The server closes on both signals, and the exit status is 0: a supervisor must not take a stop for a crash.
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with server:
        named = server.environment if variables is None else variables(server)
        print(_banner(server, named), flush=True)  # noqa: T201 - a command speaks on its terminal
        await stop.wait()


def _banner(server: SQSServer, variables: Mapping[str, str]) -> str:
    lines = [f"# SQS test server at {server.endpoint_url}, faults at {server.endpoint_url}/_control/faults"]
    lines += [f"export {name}={quote(value)}" for name, value in variables.items()]
    lines.append("# Stop it with Ctrl-C. Its messages are in memory and end with it.")
    return "\n".join(lines)
