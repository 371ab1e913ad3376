"""A worker's whole main: an app that runs until a signal ends it, and a process that then does end."""

import asyncio
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

from dawdle._log import Log

if TYPE_CHECKING:
    from dawdle._app.app import Dawdle

__all__ = ["work_until_signal"]

_log = Log(__name__)

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def work_until_signal(app: "Dawdle") -> None:
    """Enter the app, work until SIGTERM or SIGINT or until it dies, leave it; a second signal ends the grace.

    Raises what the app died of. The thread of a `def` handler cannot be ended, nor can code that swallows every
    cancellation, and each would hold the process for ever: when all else is over, the process ends without them.
    """
    asyncio.run(_work(app))


async def _work(app: "Dawdle") -> None:
    """Work, and see to it that what nothing can end does not hold the process either."""
    try:
        await _work_until_asked(app)
    except BaseException as died:
        _end_without(app.left_behind(), died)
        raise
    _end_without(app.left_behind(), None)


async def _work_until_asked(app: "Dawdle") -> None:
    asked = asyncio.Event()

    def ask() -> None:
        if asked.is_set():
            _log.warning("a second signal: the grace is over")
            app.hurry()
        else:
            _log.info("asked to stop")
            asked.set()

    with _on_signal(ask):
        async with app:
            asking = asyncio.create_task(asked.wait(), name="dawdle: wait for a signal")
            ending = asyncio.create_task(app.ended(), name="dawdle: wait for the app")
            await asyncio.wait([asking, ending], return_when=asyncio.FIRST_COMPLETED)
            for task in (asking, ending):
                task.cancel()
            await asyncio.gather(asking, ending, return_exceptions=True)


@contextmanager
def _on_signal(ask: Callable[[], None]) -> Generator[None]:
    """Call `ask` in the event loop on each signal; also where a loop has no `add_signal_handler` (Windows)."""
    loop = asyncio.get_running_loop()

    def handle(number: int, frame: FrameType | None) -> None:
        del number, frame
        loop.call_soon_threadsafe(ask)

    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        for number in _SIGNALS:
            try:
                loop.add_signal_handler(number, ask)
            except NotImplementedError:
                break  # the handlers above do, and asyncio wakes its loop for them
        yield
    finally:
        for number, handler in before.items():
            with suppress(NotImplementedError):
                loop.remove_signal_handler(number)
            signal.signal(number, handler)


def _end_without(held: Sequence[str], died: BaseException | None) -> None:
    """End the process now if something still runs: neither asyncio nor the interpreter would end before it does."""
    if not held:
        return
    _log.error("ending the process while %s still runs; what it has in hand runs again elsewhere", ", ".join(held))
    if died is not None:
        traceback.print_exception(died)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0 if died is None else 1)
