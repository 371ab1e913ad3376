"""Takes the signals that end a worker, and keeps forked processes from inheriting that. Ends nothing itself."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

__all__ = ["on_signal", "restored_in_children"]

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def on_signal(ask: Callable[[], None]) -> Generator[None]:
    """Call `ask` in the event loop on each signal."""
    loop = asyncio.get_running_loop()

    def handle(number: int, frame: FrameType | None) -> None:
        del number, frame
        loop.call_soon_threadsafe(ask)

    # Two ways for the same signal. The loop's own wakes a loop that sleeps. Windows has no such way, so there the plain
    # handler stays, and asyncio wakes its loop for it.
    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        for number in SIGNALS:
            try:
                loop.add_signal_handler(number, ask)
            except NotImplementedError:
                break  # Windows
        yield
    finally:
        for number, handler in before.items():
            with suppress(NotImplementedError):
                loop.remove_signal_handler(number)
            # None: code in C set the handler, and Python cannot set that again.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


# A forked process inherits signal handlers, and the descriptor by which Python wakes an event loop for a signal. With
# those of a worker, SIGTERM would not end the child. It would write into the socket of the worker's loop, and so stop
# the worker; `Pool.terminate()` sends that signal. Python 3.12 and later drop the descriptor in a child, and no version
# drops the handlers. So the child gets the handlers back that were there before `run()`. Until then signals are
# blocked.

_Handler = Callable[[int, FrameType | None], object] | int | None
"""What `signal.getsignal` returns."""

_before: dict[int, _Handler] | None = None
_masks = threading.local()
_watched = False


@contextmanager
def restored_in_children() -> Generator[None]:
    """Give each child that is forked in this block the signal handlers that are set now."""
    global _before, _watched  # noqa: PLW0603 - there is one set of signal handlers in a process
    if not _watched and hasattr(os, "register_at_fork"):  # Windows does not fork
        os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_restore)
        _watched = True
    outer = _before
    _before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        _before = outer


def _hold() -> None:
    """Block signals while this thread forks. The worker's other threads still receive the worker's own signals."""
    _masks.before = None if _before is None else signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def _release() -> None:
    if _masks.before is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, _masks.before)


def _restore() -> None:
    """Restore the signal handlers in a child that was just forked."""
    global _before
    before, _before = _before, None
    if before is not None:
        signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
    _release()
