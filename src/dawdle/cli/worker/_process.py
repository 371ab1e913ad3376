"""One process of a worker that has several, or that is watched: `python -m dawdle.cli.worker._process FD …`.

It is told what to do by its supervisor, says when it has entered its app, and ends when the supervisor does.
"""

import importlib
import os
import signal
import socket
import sys
import sysconfig
import threading
import time
import traceback
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from dawdle import Dawdle
from dawdle.aiohttp import health_server
from dawdle.cli._app import load_app
from dawdle.cli._running import CommandError
from dawdle.cli.worker._figures import watched
from dawdle.cli.worker._logs import set_up_logging
from dawdle.cli.worker._options import Assignment, Entered, Unloadable, written
from dawdle.cli.worker._work import prepare, run_app
from dawdle.errors import ConfigurationError, DawdleError

__all__ = ["main"]

ORPHAN_SECONDS: Final = 15.0
"""Seconds after its grace in which a process without a supervisor must have ended."""

OURS: Final = str(Path(__file__).parents[1])
"""The folder of the command, whose frames are no part of the user's tracebacks."""


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

    def run(self) -> None:
        """Load the app and run it until a signal."""
        try:
            app = self._load()
        except (CommandError, DawdleError) as error:
            self._say_unloadable(_told(error))
        except BaseException as error:  # noqa: BLE001 - a module may call sys.exit(), or raise what it likes
            self._say_unloadable(_traceback(error))
        self._grace = app.grace
        routes = watched(app, self._assignment.options.app) if self._assignment.options.watched else []

        @asynccontextmanager
        async def hosted(entered: Dawdle) -> AsyncGenerator[None]:
            async with health_server(entered, path=self._assignment.path, routes=routes):
                self._channel.sendall(written(Entered(self._grace, tuple(sorted(_sources())))))
                yield

        try:
            run_app(app, self._assignment.options, hosted)
        except ConfigurationError as error:  # found when the app was entered, and a mistake in the code all the same
            self._say_unloadable(_told(error))

    def end_with_supervisor(self) -> None:
        """Wait until the supervisor has ended, and end this process. Runs in a thread."""
        with suppress(OSError):
            while self._channel.recv(1024):
                pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(self._grace + ORPHAN_SECONDS)
        os._exit(1)

    def _load(self) -> Dawdle:
        options, places = self._assignment.options, self._assignment.places
        app = load_app(options.app)
        set_up_logging(options.log_level, self._assignment.place if places > 1 else None)
        prepare(app, options, introduces=self._assignment.introduces, places=places, reloads=self._assignment.reloads)
        return app

    def _say_unloadable(self, text: str) -> NoReturn:
        with suppress(OSError):
            self._channel.sendall(written(Unloadable(text)))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)  # threads that the app's modules started must not hold it


def _told(error: Exception) -> str:
    return "\n".join([f"error: {error}", *(f"  {note}" for note in getattr(error, "__notes__", []))])


def _traceback(error: BaseException) -> str:
    """Return a traceback that begins where the user's code does."""
    if isinstance(error, SystemExit):
        return f"error: its code ended the process: {error}"
    trace = error.__traceback__
    while trace is not None and _is_ours(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace)).rstrip()


def _is_ours(file: str) -> bool:
    return file.startswith((OURS, "<frozen importlib")) or file == importlib.__file__


def _sources() -> Iterator[str]:
    """Yield the files and folders of the modules that are loaded and are no libraries."""
    libraries = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file is None or "." in name or name in {"__main__", "dawdle"}:
            continue
        if not any(file.startswith(f"{folder}{os.sep}") for folder in libraries):
            path = Path(file)
            yield str(path.parent if path.name == "__init__.py" else path)


if __name__ == "__main__":
    main()
