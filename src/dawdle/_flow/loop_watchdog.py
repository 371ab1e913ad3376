"""Notices from another thread that the app's event loop is blocked, and logs the handler that blocks it."""

import asyncio
import sys
import threading
from contextlib import suppress
from typing import Final

from dawdle._flow.hook_calls import HookCaller
from dawdle._flow.in_flight import InFlight
from dawdle._flow.in_flight_message import InFlightMessage
from dawdle._log import About, EventLog
from dawdle.abc import Clock
from dawdle.hooks import LoopBlocked

__all__ = ["LoopWatchdog"]

_log = EventLog(__name__)

CHECK_SECONDS: Final = 0.5
"""Seconds between two checks, while anything is in flight."""

BLOCKED_SECONDS: Final = 1.0
"""Seconds without a turn of the loop, after which it counts as blocked. The next warning comes after twice as long."""


class LoopWatchdog:
    """Watches the app's loop: made in the app's own thread, run in another one."""

    def __init__(self, in_flight: InFlight, clock: Clock, hooks: HookCaller) -> None:
        self._in_flight = in_flight
        self._clock = clock
        self._hooks = hooks
        self._app_loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            if len(self._in_flight):
                await self._check()
            else:
                await self._until_in_flight()

    async def _until_in_flight(self) -> None:
        """Sleep while nothing is in flight: an idle app's thread does not wake."""
        here, came = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # this thread's loop is closed
                here.call_soon_threadsafe(came.set)

        self._in_flight.on_arrival = wake
        # Looked at after that is set: what comes now is in there, or it wakes this thread.
        if not len(self._in_flight):
            await came.wait()
        # Whether it was called or not: the app's thread clears what it calls, and must not clear that of the next time.
        self._in_flight.on_arrival = None

    async def _check(self) -> None:
        """Ask the app's loop for a turn, and wait for it, however long that takes."""
        here, turned = asyncio.get_running_loop(), asyncio.Event()

        def answer() -> None:
            with suppress(RuntimeError):  # this thread's loop is closed
                here.call_soon_threadsafe(turned.set)

        asked = self._clock.monotonic()
        self._app_loop.call_soon_threadsafe(answer)
        timeout, handler, blocked = BLOCKED_SECONDS, None, False
        while not await _within(turned, timeout):
            blocked, timeout = True, timeout * 2
            run, where = self._find_blocker()
            handler = handler or run
            # In a third thread: the blocked one may hold the lock of a log handler, and this one renews the leases.
            await asyncio.to_thread(self._warn, run, where, self._clock.monotonic() - asked)
        if blocked:
            self._app_loop.call_soon_threadsafe(self._log_end, handler, self._clock.monotonic() - asked)

    def _find_blocker(self) -> tuple[About | None, str]:
        """Return which handler runs in the app's loop now, if one does, and the line that its thread is at."""
        # Read from outside while the app's thread goes on: the answer may be a moment old, and that is good enough.
        task = asyncio.current_task(self._app_loop)
        runs = (_run_in(message, task) for message in self._in_flight) if task is not None else ()
        frames = sys._current_frames()  # pyright: ignore[reportPrivateUsage] - that is its name in the docs of sys
        frame = frames.get(self._thread)
        where = "an unknown line" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"
        return next((run for run in runs if run is not None), None), where

    def _warn(self, run: About | None, where: str, seconds: float) -> None:
        _log.warning(
            "%s has blocked the event loop for %.1f s, at %s: nothing else runs meanwhile; make "
            "it a def handler, which runs in a thread, or replace the blocking call with an async one",
            _blocker(run),
            seconds,
            where,
            about=run,
        )

    def _log_end(self, run: About | None, seconds: float) -> None:
        _log.warning("the event loop runs again: %s blocked it for %.1f s", _blocker(run), seconds, about=run)
        if self._hooks:
            self._hooks(LoopBlocked(None if run is None else run.handler, seconds))


def _run_in(message: InFlightMessage, task: "asyncio.Task[object]") -> About | None:
    """Return which handler runs in a task, and on which event; None if it is not one of this message."""
    handler, work = message.handler_in(task), message.work
    if handler is None:
        return None
    return About(handler=handler, queue=message.queue.name) if work is None else work.about(handler)


async def _within(event: asyncio.Event, seconds: float) -> bool:
    """Whether an event comes in time."""
    # Not by `wait_for`: in Python 3.11 it swallows a cancellation that comes in the same turn as the event.
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _blocker(run: About | None) -> str:
    return "code outside of handlers" if run is None else f"handler {run.handler}"
