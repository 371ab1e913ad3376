"""SIGHUP of a worker: from an operator it means new processes, from a terminal that is closed it means the end."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from contextvars import Context
from types import FrameType
from typing import Final

from dawdle import Dawdle
from dawdle.errors import DawdleError

__all__ = ["Renewal", "Terminal", "is_wanted"]

_log = logging.getLogger(__name__)

STANDARD_STREAMS: Final = (0, 1, 2)


def is_wanted() -> bool:
    """Whether SIGHUP is to be taken: there is one, and `nohup` has not told this process to ignore it."""
    return sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN


class Terminal:
    """The terminal in which this process was started, if there is one."""

    def __init__(self) -> None:
        self._stream = next((each for each in STANDARD_STREAMS if _is_terminal(each)), None)

    def is_gone(self) -> bool:
        """Whether there was a terminal, and it is closed."""
        return self._stream is not None and not _is_terminal(self._stream)


def _is_terminal(stream: int) -> bool:
    with suppress(OSError):
        os.get_terminal_size(stream)
        return True
    return False


class Renewal:
    """Lets SIGHUP stop a worker that is this process, and start the process anew after it, under the same id.

    SIGHUP is taken in all of `taking_hangup`, and held back while the process is replaced: its default action would end
    a worker that nothing starts again.
    """

    def __init__(self) -> None:
        self._terminal = Terminal()
        self._pid = os.getpid()
        self._app: Dawdle | None = None
        self._comes_early = False
        """SIGHUP came before there was an event loop."""
        self._stops = False
        self._is_asked = False
        """This process is to be started anew."""
        self._is_told = False
        """SIGTERM or SIGINT has told it to end."""
        self._signals_itself = False
        self._stopping: asyncio.Task[None] | None = None

    @contextmanager
    def taking_hangup(self) -> Generator[None]:
        """Take SIGHUP here, whether or not there is an event loop, and none that comes during a start is lost."""
        if sys.platform == "win32" or not is_wanted():
            yield
            return
        before = signal.signal(signal.SIGHUP, self._take)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # the process before this one has blocked it
        try:
            yield
        finally:
            signal.signal(signal.SIGHUP, before)

    def entered(self, app: Dawdle) -> None:
        """Take the app, which is being entered, and do what SIGHUP has asked for until now."""
        self._app = app
        self._listen_for_the_end(asyncio.get_running_loop())
        if self._comes_early:
            self._hang_up()

    def start_anew(self) -> None:
        """Replace this process by a new one that does the same, if SIGHUP has asked for it."""
        if sys.platform != "win32" and self._is_asked:
            sys.stdout.flush()
            sys.stderr.flush()
            # The new process has the mask of this one, and no handler until it takes SIGHUP too.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - it is the same command

    def _take(self, number: int, frame: FrameType | None) -> None:
        del frame
        if os.getpid() != self._pid:  # a process that the app has forked: it is not the worker
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        loop = _running_loop()
        if loop is not None and _ends_app():
            # Not in the context of what the signal has interrupted: that may be a handler, and `stop_listener` does not
            # wait for a handler that calls it.
            loop.call_soon_threadsafe(self._hang_up, context=Context())
        elif self._terminal.is_gone():
            os.kill(self._pid, signal.SIGTERM)
        else:
            self._comes_early = True

    def _hang_up(self) -> None:
        """Stop the app, which runs or is being entered. Runs in the event loop."""
        if self._stops or self._is_told or not _ends_app():
            return
        self._stops = True
        if self._terminal.is_gone():
            _log.info("the terminal was closed: stopping")
        else:
            self._is_asked = True
            _log.info("SIGHUP: stopping, to start anew")
        self._stopping = asyncio.create_task(self._stop(), name="dawdle: stop after SIGHUP")

    async def _stop(self) -> None:
        """Let running handlers finish, then end the app. So a signal meanwhile is the first, and leaves them alone."""
        if self._is_asked and self._app is not None:
            with suppress(DawdleError):  # it is still being entered, or has died
                await self._app.stop_listener()
        if not self._is_told and _ends_app():
            self._signals_itself = True
            os.kill(self._pid, signal.SIGTERM)

    def _listen_for_the_end(self, loop: asyncio.AbstractEventLoop) -> None:
        """Note SIGTERM and SIGINT, which end this worker for good. The app takes them as before."""
        for number in (signal.SIGTERM, signal.SIGINT):
            taken = signal.getsignal(number)

            def take(number: int, frame: FrameType | None, taken: object = taken) -> None:
                if self._signals_itself:
                    self._signals_itself = False
                elif os.getpid() == self._pid:
                    self._is_told = True
                    if self._is_asked:
                        self._is_asked = False
                        loop.call_soon_threadsafe(_log.info, "asked to stop: this worker does not start anew")
                if callable(taken):
                    taken(number, frame)

            signal.signal(number, take)


def _ends_app() -> bool:
    """Whether SIGTERM ends the app now, and not the process."""
    return signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL


def _running_loop() -> asyncio.AbstractEventLoop | None:
    with suppress(RuntimeError):
        return asyncio.get_running_loop()
    return None
