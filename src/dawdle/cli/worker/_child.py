"""A process of a worker as its supervisor has it: starts it, hears what it says, asks how it is. Decides nothing."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from dawdle.cli.worker._options import Assignment, Ready, Unloadable, read_message, written

if TYPE_CHECKING:
    import aiohttp

__all__ = ["Answer", "Child"]

ASK_SECONDS: Final = 0.8
"""Seconds in which a process must answer. Kubernetes waits for 1 second for the answer to a probe."""

LAST_WORDS_SECONDS: Final = 1.0
"""Seconds in which what a process said before it ended is read."""

MAX_LINE_BYTES: Final = 1_000_000
"""Bytes of one message of a process."""


class Answer(NamedTuple):
    """What a process has answered."""

    status: int
    body: bytes


class Child:
    """One process, from its start to its end."""

    def __init__(self, number: int, assignment: Assignment) -> None:
        self.number = number
        self.place = assignment.place
        self.unloadable: str | None = None
        """What it said when it could not load its app."""
        self.sources: tuple[str, ...] = ()
        """The files and folders of its code."""
        self.made_at = time.time()
        """When, in epoch seconds: it reads its code after that."""
        self._assignment = assignment
        self._process: asyncio.subprocess.Process | None = None
        self._signals: list[signal.Signals] = []
        self._client: aiohttp.ClientSession | None = None
        self._is_gone = False

    @property
    def pid(self) -> int | None:
        """Its process id; None before it is started."""
        return None if self._process is None else self._process.pid

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; one that is just being started gets it then."""
        if self._process is None:
            self._signals.append(number)
            return
        with suppress(ProcessLookupError):  # it has ended just now
            self._process.send_signal(number)

    async def run(self, ready: Callable[[float], None]) -> int:
        """Start it, call `ready` with its grace when it works, and return its exit code when it has ended."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = await self._start(theirs)
            for number in self._signals:
                self.send(number)
            return await self._until_ended(self._process, ours, ready)
        finally:
            self._is_gone = True
            if self._client is not None:
                await self._client.close()
            # A process that still runs ends by this: it watches its end of the pair.
            ours.close()
            with suppress(FileNotFoundError):
                os.unlink(self._assignment.path)  # noqa: PTH108 - once, and quick

    async def ask(self, path: str) -> Answer | None:
        """Return what it answers to a GET; None if it does not in time, or cannot yet, or has ended."""
        if self._is_gone:
            return None
        import aiohttp  # noqa: PLC0415 - it takes long, and only a worker with a port asks

        if self._client is None:
            self._client = aiohttp.ClientSession(
                "http://process",
                connector=aiohttp.UnixConnector(self._assignment.path),
                timeout=aiohttp.ClientTimeout(ASK_SECONDS),
            )
        try:
            async with self._client.get(path) as answer:
                return Answer(answer.status, await answer.read())
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None

    async def _start(self, theirs: socket.socket) -> asyncio.subprocess.Process:
        name = f"{self.place}/{self._assignment.places}"
        return await asyncio.create_subprocess_exec(
            *(sys.executable, *_interpreter_options(), "-m", "dawdle.cli.worker._process", str(theirs.fileno())),
            *(self._assignment.options.app, name),  # for those who list processes
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            # ^C in a terminal is for the supervisor, which asks each process once. Two signals would end the grace.
            process_group=0,
        )

    async def _until_ended(
        self, process: asyncio.subprocess.Process, ours: socket.socket, ready: Callable[[float], None]
    ) -> int:
        ours.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=ours, limit=MAX_LINE_BYTES)
        writer.write(written(self._assignment))
        listening = asyncio.create_task(self._listen(reader, ready), name="dawdle: listen to a process")
        try:
            return await process.wait()
        finally:
            # What it said before it ended is read to its end, unless another process has inherited the other end.
            await asyncio.wait([listening], timeout=LAST_WORDS_SECONDS)
            listening.cancel()
            writer.close()

    async def _listen(self, reader: asyncio.StreamReader, ready: Callable[[float], None]) -> None:
        with suppress(ConnectionError):
            while line := await reader.readline():
                match read_message(line):
                    case Ready(grace, sources):
                        self.sources = sources
                        ready(grace)
                    case Unloadable(text, sources):
                        self.unloadable, self.sources = text, sources


def _interpreter_options() -> list[str]:
    """Return the options of this interpreter, such as -X dev, which its processes get too."""
    given = sys.orig_argv[1 : len(sys.orig_argv) - len(sys.argv) + 1]
    return given[:-2] if given[-2:-1] == ["-m"] else given[:-1]
