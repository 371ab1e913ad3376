"""A worker's whole main: an app that runs until a signal ends it, and a process that then does end."""

import asyncio
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import Final

from dawdle._app.hosting import HostingCalls
from dawdle._app.loops import loop_here
from dawdle._app.signals import on_signal, restored_in_children
from dawdle._log import Log
from dawdle.errors import ConfigurationError

__all__ = ["work_until_signal"]

_log = Log(__name__)

THREAD_STOP_SECONDS: Final = 5.0
"""How long threads of `asyncio.to_thread` may hold the process when all else is over, and the grace is too."""

_STILL_ENTERING: Final = "the app is still being entered; that ignores its cancellation"
_STILL_HELD: Final = "a thread of asyncio.to_thread, or a task that ignores its cancellation, still runs"


def work_until_signal(app: HostingCalls, grace: float, entered: Callable[[], None]) -> None:
    """Enter the app, work until SIGTERM or SIGINT or until it dies, leave it; a second signal ends the grace.

    Raises what the app died of, and `ConfigurationError` where it cannot work. The thread of a `def` handler cannot be
    ended, nor can code that swallows every cancellation, and each would hold the process for ever: when all else is
    over, the process ends without them.
    """
    _refuse_wrong_place()
    with restored_in_children():
        asyncio.run(_Worker(app, grace, entered).work())


def _refuse_wrong_place() -> None:
    """Raise `ConfigurationError` where no signal arrives, or an event loop runs already."""
    if loop_here() is not None:
        raise ConfigurationError(
            "run() is a worker's whole main and starts an event loop of its own, and one runs here already: call it in "
            "a function that is not async, or write `async with app:` and in it `await app.ended()`"
        )
    here = threading.current_thread()
    if here is not threading.main_thread():
        raise ConfigurationError(
            f"run() waits for SIGTERM, which Python delivers to the main thread only, and this is thread "
            f"{here.name!r}: call it in the main thread, or asyncio.run(…) here a coroutine with `async with app:` and "
            f"end that yourself"
        )


class _Worker:
    """One run of an app, and what the signals have asked of it so far.

    entering ──► working ──► leaving ──► over      a first signal leads on from each; a second ends the grace
    """

    def __init__(self, app: HostingCalls, grace: float, entered: Callable[[], None]) -> None:
        self._app = app
        self._entered = entered
        self._grace = grace
        self._loop: asyncio.AbstractEventLoop
        self._asked: asyncio.Event
        self._ends_by: float | None = None
        self._entering: asyncio.Timeout | None = None
        self._still_entering: asyncio.TimerHandle | None = None

    async def work(self) -> None:
        """Work, and see to it that what nothing can end does not hold the process either."""
        self._loop, self._asked = asyncio.get_running_loop(), asyncio.Event()
        died: BaseException | None = None
        try:
            with on_signal(self._ask):
                if await self._enter():
                    self._entered()
                    await self._work_until_asked()
        except BaseException as error:
            died = error
            raise
        finally:
            _end_without(self._app.unfinished(), died)
            self._hold_no_longer(died)

    def _ask(self) -> None:
        """Take a signal, in the loop."""
        if self._asked.is_set():
            _log.warning("a second signal: the grace is over")
            self._app.end_grace()
            if self._entering is not None:
                _end_process(_STILL_ENTERING, None)
            return
        self._asked.set()
        self._ends_by = self._loop.time() + self._grace
        if self._entering is None:
            _log.info("asked to stop")
            return
        _log.info("asked to stop while the app is being entered: entering is cancelled")
        self._entering.reschedule(self._loop.time())
        self._still_entering = self._loop.call_at(self._ends_by, _end_process, _STILL_ENTERING, None)

    async def _enter(self) -> bool:
        """Enter the app. False when a signal came first: then entering was cancelled, and nothing is left to leave."""
        entering = asyncio.timeout(None)
        try:
            async with entering:
                self._entering = entering
                await self._app.__aenter__()
        except TimeoutError:
            if not entering.expired():
                raise
            return False
        finally:
            self._entering = None
            if self._still_entering is not None:
                self._still_entering.cancel()
        if entering.expired():  # it was entered all the same
            await self._app.__aexit__(None, None, None)
            return False
        return True

    async def _work_until_asked(self) -> None:
        try:
            asking = asyncio.create_task(self._asked.wait(), name="dawdle: wait for a signal")
            ending = asyncio.create_task(self._app.ended(), name="dawdle: wait for the app")
            await asyncio.wait([asking, ending], return_when=asyncio.FIRST_COMPLETED)
            for task in (asking, ending):
                task.cancel()
            await asyncio.gather(asking, ending, return_exceptions=True)
        finally:
            await self._app.__aexit__(None, None, None)

    def _hold_no_longer(self, died: BaseException | None) -> None:
        """End the process, after the grace, if a thread or a task that is not the app's holds its loop."""
        least = self._loop.time() + THREAD_STOP_SECONDS
        self._loop.call_at(max(least, self._ends_by or 0), _end_process, _STILL_HELD, died)


def _end_without(held: Sequence[str], died: BaseException | None) -> None:
    """End the process now if something still runs: neither asyncio nor the interpreter would end before it does."""
    if held:
        running = ", ".join(held)
        _end_process(f"{running} still runs; an event that it has not finished is handled again elsewhere", died)


def _end_process(why: str, died: BaseException | None) -> None:
    _log.error("ending the process while %s", why)
    if died is not None:
        traceback.print_exception(died)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0 if died is None else 1)
