"""One process of a worker that has several, or that is watched: `python -m dawdle.cli.worker._process FD …`.

It is told what to do by its supervisor, says when it has entered its app, and ends when the supervisor does.
"""

import asyncio
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from dawdle import Dawdle
from dawdle.cli._app import load_app
from dawdle.cli.worker._loaded import loaded_sources, sources_of_error
from dawdle.cli.worker._logs import set_up_logging
from dawdle.cli.worker._options import Assignment, Ready, Unloadable, written
from dawdle.cli.worker._unloadable import why_unloadable
from dawdle.cli.worker._work import Lifespan, prepare, run_app
from dawdle.errors import BackendError, ConfigurationError

__all__ = ["main"]

ORPHAN_SECONDS: Final = 15.0
"""Seconds after its grace in which a process without a supervisor must have ended."""

MIN_PAUSE_SECONDS: Final = 0.1
MAX_PAUSE_SECONDS: Final = 5.0
"""Seconds between two pings of a queue that does not answer. The pause doubles."""


def main() -> None:
    """Run the process."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    with channel.makefile("rb", buffering=0) as reading:
        assignment = msgspec.json.decode(reading.readline(), type=Assignment)
    process = _Process(channel, assignment)
    threading.Thread(target=process.end_with_supervisor, name="dawdle: watch the supervisor", daemon=True).start()
    process.run()


class _Process:
    def __init__(self, channel: socket.socket, assignment: Assignment) -> None:
        self._channel = channel
        self._assignment = assignment
        self._grace = 0.0
        self._is_orphan = False
        self._path = set(sys.path)
        """Where modules were looked for before the app was."""

    def run(self) -> None:
        """Load the app and run it until a signal."""
        try:
            app = self._load()
        except BaseException as error:  # noqa: BLE001 - a module may call sys.exit(), or raise what it likes
            self._say_unloadable(error)
        self._grace = app.grace
        served = self._served(app) if self._assignment.options.watched else None

        @asynccontextmanager
        async def lifespan(entered: Dawdle) -> AsyncGenerator[None]:
            saying = asyncio.create_task(self._say_ready(entered), name="dawdle: say that the process is ready")
            try:
                async with nullcontext() if served is None else served(entered):
                    yield
            finally:
                saying.cancel()

        try:
            run_app(app, self._assignment.options, lifespan)
        except ConfigurationError as error:  # found when the app was entered, and a mistake in the code all the same
            self._say_unloadable(error)
        finally:
            if self._is_orphan:
                self._remove_socket()

    def end_with_supervisor(self) -> None:
        """Wait until the supervisor has ended, and end this process. Runs in a thread."""
        with suppress(OSError):
            while self._channel.recv(1024):
                pass
        self._is_orphan = True
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(self._grace + ORPHAN_SECONDS)
        os._exit(1)

    def _served(self, app: Dawdle) -> Lifespan:
        """Let figures of the app be kept, and return the lifespan in which they are served."""
        from dawdle.aiohttp import health_server  # noqa: PLC0415 - it takes long, and only a worker with a port needs it
        from dawdle.cli.worker._figures import watched  # noqa: PLC0415 - as above

        return partial(health_server, path=self._assignment.path, routes=watched(app, self._assignment.options.app))

    async def _say_ready(self, app: Dawdle) -> None:
        """Tell the supervisor when the queues of the app answer. Until then the process that it replaces works on."""
        pause = MIN_PAUSE_SECONDS
        while True:
            try:
                await app.ping()
                break
            except BackendError:  # the app logs it too, as soon as it receives
                await asyncio.sleep(pause)
                pause = min(pause * 2, MAX_PAUSE_SECONDS)
        with suppress(OSError):
            self._channel.sendall(written(Ready(self._grace, tuple(sorted(loaded_sources())))))

    def _load(self) -> Dawdle:
        options, places = self._assignment.options, self._assignment.places
        # Python takes the code of before for that of a file that has the same size and the same second of its change.
        sys.dont_write_bytecode = self._assignment.reloads
        app = load_app(options.app)
        set_up_logging(options.log_level, self._assignment.place if places > 1 else None)
        prepare(app, options, introduces=self._assignment.introduces, places=places, reloads=self._assignment.reloads)
        return app

    def _remove_socket(self) -> None:
        """Do what the supervisor would have done: remove the socket, and after the last one its folder."""
        path = Path(self._assignment.path)
        path.unlink(missing_ok=True)
        with suppress(OSError):
            path.parent.rmdir()

    def _say_unloadable(self, error: BaseException) -> NoReturn:
        added = {os.path.abspath(each) for each in sys.path if each not in self._path}  # noqa: PTH100 - text
        sources = {*loaded_sources(), *sources_of_error(error), *added}
        with suppress(OSError):
            self._channel.sendall(written(Unloadable(why_unloadable(error), tuple(sorted(sources)))))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)  # threads that the app's modules started must not hold it


if __name__ == "__main__":
    main()
