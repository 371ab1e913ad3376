"""Notices from another thread that the app's event loop is blocked, and says by whom."""

import asyncio
import sys
import threading
from contextlib import suppress
from typing import Final

from dawdle._flow.hook_calls import HookCaller
from dawdle._flow.in_flight import InFlight
from dawdle._log import Log
from dawdle.abc import Clock
from dawdle.hooks import LoopBlocked

__all__ = ["LoopWatchdog"]

_log = Log(__name__)

CHECK_SECONDS: Final = 0.5
"""Seconds between two looks, while anything is in flight."""

BLOCKED_SECONDS: Final = 1.0
"""Seconds without a turn of the loop, after which it counts as blocked; told again after twice as long, and so on."""


class LoopWatchdog:
    """Made in the app's loop and thread, run in another's."""

    def __init__(self, in_flight: InFlight, clock: Clock, hooks: HookCaller) -> None:
        self._in_flight = in_flight
        self._clock = clock
        self._hooks = hooks
        self._app_loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            if len(self._in_flight):
                await self._check()

    async def _check(self) -> None:
        """Ask the app's loop for a turn, and wait for it however long that takes."""
        here, turned = asyncio.get_running_loop(), asyncio.Event()

        def answer() -> None:
            with suppress(RuntimeError):  # this thread's loop is closed
                here.call_soon_threadsafe(turned.set)

        asked = self._clock.monotonic()
        self._app_loop.call_soon_threadsafe(answer)
        patience, handler, blocked = BLOCKED_SECONDS, None, False
        while not await _within(turned, patience):
            blocked, patience = True, patience * 2
            name, where = self._find_blocker()
            handler = handler or name
            # In yet another thread: the blocked one may hold the lock of a log handler.
            await asyncio.to_thread(self._warn, name, where, self._clock.monotonic() - asked)
        if blocked:
            self._app_loop.call_soon_threadsafe(self._log_end, handler, self._clock.monotonic() - asked)

    def _find_blocker(self) -> tuple[str | None, str]:
        """Return which handler runs in the app's loop now, if one does, and where in the code the thread is."""
        task = asyncio.current_task(self._app_loop)
        names = (message.handler_in(task) for message in self._in_flight) if task is not None else ()
        frames = sys._current_frames()  # pyright: ignore[reportPrivateUsage] - that is its name in the docs of sys
        frame = frames.get(self._thread)
        where = "code that cannot be seen" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"
        return next((name for name in names if name is not None), None), where

    def _warn(self, handler: str | None, where: str, seconds: float) -> None:
        _log.warning(
            "%s has blocked the event loop for %.1f s, at %s: nothing else runs meanwhile; make "
            "it a def handler, which runs in a thread, or await what blocks",
            "something" if handler is None else f"handler {handler}",
            seconds,
            where,
        )

    def _log_end(self, handler: str | None, seconds: float) -> None:
        who = "something" if handler is None else f"handler {handler}"
        _log.warning("%s had blocked the event loop for %.1f s, and it turns again", who, seconds)
        if self._hooks:
            self._hooks(LoopBlocked(handler, seconds))


async def _within(event: asyncio.Event, seconds: float) -> bool:
    """Whether an event comes in time. Not by `wait_for`, which swallows a cancellation that comes with it, in 3.11."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
