"""Runs an app until a signal ends it, and sees to it that the process ends then. Handles no event."""

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
"""Seconds for which threads and tasks that are not the app's may keep the process when all else has ended."""

_STILL_ENTERING: Final = "the app is still being entered: its lifespan or its backend ignores cancellation"
_STILL_HELD: Final = "a thread of asyncio.to_thread, or a task that ignores its cancellation, still runs"


def work_until_signal(
    app: HostingCalls,
    grace: float,
    entered: Callable[[], None],
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> None:
    """Enter the app, work until SIGTERM or SIGINT or until it dies, and leave it. A second signal ends the grace.

    Raises the error of which the app died, and `ConfigurationError` where a worker cannot run. The thread of a `def`
    handler cannot be ended, nor can code that ignores every cancellation. Each would keep the process for ever, so when
    all else has ended, the process ends without them.
    """
    _refuse_wrong_place()
    with restored_in_children(), asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(_Worker(app, grace, entered).work())


def _refuse_wrong_place() -> None:
    """Raise `ConfigurationError` in a thread that gets no signals, and in a running event loop."""
    if loop_here() is not None:
        raise ConfigurationError(
            "run() starts an event loop of its own, and one is running here already: call run() in a function that is "
            "not async, or write `async with app:` and in it `await app.ended()`"
        )
    here = threading.current_thread()
    if here is not threading.main_thread():
        raise ConfigurationError(
            f"run() waits for SIGTERM, which Python delivers to the main thread only, and this is thread "
            f"{here.name!r}: call run() in the main thread, or asyncio.run(…) a coroutine with `async with app:` here, "
            f"and end it yourself"
        )


class _Worker:
    """One run of an app, and the signals that it got so far.

    entering ──► working ──► leaving ──► over      a first signal ends each of them; a second one ends the grace
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
        """Run the app, and end the process even if a handler, a thread or a task does not end."""
        self._loop, self._asked = asyncio.get_running_loop(), asyncio.Event()
        died: BaseException | None = None
        try:
            # Around the start as well: a worker that waits for its database must stop at the first signal.
            with on_signal(self._ask):
                if await self._enter():
                    self._entered()
                    await self._work_until_asked()
        except BaseException as error:
            died = error
            raise
        finally:
            # `asyncio.run` waits for all tasks and threads before it returns, so the process ends here, or on a timer.
            _end_without(self._app.unfinished(), died)
            self._hold_no_longer(died)

    def _ask(self) -> None:
        """Take a signal. Runs in the loop."""
        if self._asked.is_set():
            _log.warning("second signal: ending the grace, running handlers are cancelled")
            self._app.end_grace()
            # During the start there is no grace that could end, only a start that ignores its cancellation.
            if self._entering is not None:
                _end_process(_STILL_ENTERING, None)
            return
        self._asked.set()
        self._ends_by = self._loop.time() + self._grace
        if self._entering is None:
            if self._app.running_handlers():
                _log.info("asked to stop: finishing running handlers, for %g s at most", self._grace)
            else:
                _log.info("asked to stop: no handler runs, ending the open receives, which may take %g s", self._grace)
            return
        _log.info("asked to stop while the app is being entered: cancelling the start")
        self._entering.reschedule(self._loop.time())
        self._still_entering = self._loop.call_at(self._ends_by, _end_process, _STILL_ENTERING, None)

    async def _enter(self) -> bool:
        """Enter the app, and return true. False: a signal came first, so the start was cancelled or undone."""
        # A timeout that a signal sets to now: it cancels the start, and tells its own cancellation from any other.
        entering = asyncio.timeout(None)
        try:
            async with entering:
                self._entering = entering
                await self._app.__aenter__()
        except TimeoutError:
            if not entering.expired():  # the start itself raised it
                raise
            return False
        finally:
            self._entering = None
            if self._still_entering is not None:
                self._still_entering.cancel()
        if entering.expired():  # the start ignored its cancellation, and came to an end
            await self._app.__aexit__(None, None, None)
            return False
        return True

    async def _work_until_asked(self) -> None:
        try:
            asking = asyncio.create_task(self._asked.wait(), name="dawdle: wait for a signal")
            ending = asyncio.create_task(self._app.ended(), name="dawdle: wait for the app")
            await asyncio.wait([asking, ending], return_when=asyncio.FIRST_COMPLETED)
            # The other one is cancelled and awaited, or asyncio would warn of a task that was never finished.
            for task in (asking, ending):
                task.cancel()
            await asyncio.gather(asking, ending, return_exceptions=True)
        finally:
            await self._app.__aexit__(None, None, None)

    def _hold_no_longer(self, died: BaseException | None) -> None:
        """End the process after the grace if a thread or a task that is not the app's keeps it."""
        least = self._loop.time() + THREAD_STOP_SECONDS
        self._loop.call_at(max(least, self._ends_by or 0), _end_process, _STILL_HELD, died)


def _end_without(held: Sequence[str], died: BaseException | None) -> None:
    """End the process now if code of the app still runs, since asyncio and the interpreter would wait for it."""
    if held:
        running = ", ".join(held)
        _end_process(f"{running} still runs: an event that it has not finished is handled again elsewhere", died)


def _end_process(why: str, died: BaseException | None) -> None:
    _log.error("ending the process while %s", why)
    if died is not None:
        traceback.print_exception(died)
    # `os._exit` skips all clean-up, so the log and the streams are flushed first.
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0 if died is None else 1)
