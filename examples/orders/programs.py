"""The programs of the demo, each in a process of its own: how one is started, and how it is ended by its id."""

import asyncio
import os
import re
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress

HOST = "127.0.0.1"

START = 30
"""Seconds that a program has to start."""

END = 30
"""Seconds that it has to end."""


@asynccontextmanager
async def running(*module: str, environment: Mapping[str, str], stdout: int | None = None) -> AsyncGenerator[Process]:
    """Run a Python module until the block ends."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-um", *module, env=environment, stdout=stdout)
    try:
        yield process
    finally:
        # A worker that is asked once lets its long poll finish, which takes up to 20 s; asked again it goes at once.
        for ask, seconds in ((process.terminate, 1), (process.terminate, END), (process.kill, END)):
            if process.returncode is None:
                ask()
                with suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), seconds)


def printed_by(process: Process) -> asyncio.StreamReader:
    assert process.stdout is not None, "it was started with a pipe"
    return process.stdout


def outside() -> dict[str, str]:
    """Return the environment without what leads to a queue."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "DAWDLE_"))}
    return kept | {"NO_PROXY": HOST}


@asynccontextmanager
async def sqs() -> AsyncGenerator[dict[str, str]]:
    """Run the SQS server and yield the environment that leads to its queue, and to no other."""
    command = ("dawdle.testing.sqs", "--host", HOST, "--queue", "orders", "--dead-letter", "orders-dead")
    async with running(*command, environment=outside(), stdout=PIPE) as process:
        async with asyncio.timeout(START):
            banner = await printed_by(process).readuntil(b"Ctrl-C")
        exports: list[tuple[str, str]] = re.findall(r"^export (\w+)=(.*)$", banner.decode(), re.MULTILINE)
        yield outside() | dict(exports)


@asynccontextmanager
async def web_app(environment: Mapping[str, str]) -> AsyncGenerator[str]:
    """Run the app and yield its URL."""
    port = free_port()
    command = ("uvicorn", "orders.app:shop", "--host", HOST, "--port", str(port), "--log-level", "warning")
    async with running(*command, environment=environment) as process:
        async with asyncio.timeout(START):
            while not await is_open(port):
                if process.returncode is not None:
                    raise SystemExit("the app did not start, and says above why")
                await asyncio.sleep(0.05)
        yield f"http://{HOST}:{port}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


async def is_open(port: int) -> bool:
    try:
        _, door = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    door.close()
    return True
