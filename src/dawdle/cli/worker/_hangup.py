"""SIGHUP of a worker: from an operator it means new processes, from a terminal that is closed it means the end."""

import logging
import os
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Final

__all__ = ["Terminal", "is_wanted", "renewed_by_hangup"]

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


@contextmanager
def renewed_by_hangup() -> Generator[None]:
    """Let SIGHUP stop the worker that runs in the block, and start this process anew after it, under the same id."""
    if sys.platform == "win32" or not is_wanted():
        yield
        return
    terminal, renews = Terminal(), False

    def handle(number: int, frame: object) -> None:
        nonlocal renews
        del number, frame
        # Before the worker takes signals it loads its code: that is as new as it would be after a restart. And a second
        # signal would end the grace.
        if renews or signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            return
        if terminal.is_gone():
            _log.info("the terminal was closed: stopping")
        else:
            renews = True
            _log.info("SIGHUP: stopping, to start anew")
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGHUP, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)
    if renews:
        sys.stdout.flush()
        sys.stderr.flush()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - it is the same command
