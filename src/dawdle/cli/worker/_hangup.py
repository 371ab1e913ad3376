"""SIGHUP of a worker: from an operator it means new processes, from a terminal that is closed it means the end."""

import asyncio
import logging
import os
import signal
import sys
from contextlib import suppress
from typing import Final

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
    """Lets SIGHUP stop a worker that is this process, and start the process anew after it, under the same id."""

    def __init__(self) -> None:
        self._terminal = Terminal()
        self._is_asked = False
        self._stops = False

    def take_hangup(self) -> None:
        """Take SIGHUP from here on, until the running event loop is closed."""
        if sys.platform != "win32" and is_wanted():
            # The loop calls it, not Python in the middle of anything: uvloop sees a signal twice that is sent there.
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._hang_up)

    def start_anew(self) -> None:
        """Replace this process by a new one that does the same, if SIGHUP has asked for it."""
        if self._is_asked:
            sys.stdout.flush()
            sys.stderr.flush()
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - it is the same command

    def _hang_up(self) -> None:
        if self._stops:  # a second signal would end the grace
            return
        self._stops = True
        if self._terminal.is_gone():
            _log.info("the terminal was closed: stopping")
        else:
            self._is_asked = True
            _log.info("SIGHUP: stopping, to start anew")
        os.kill(os.getpid(), signal.SIGTERM)
