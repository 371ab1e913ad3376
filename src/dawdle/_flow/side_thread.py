"""A thread with an event loop of its own, for what must go on while the app's loop is blocked. Started when needed.

    app's loop:   new ── start ──► running ── run is cancelled ──► stopping ── thread ends, or 3 s ──► ended
    thread:                        _main: asyncio.run(work) until the task is cancelled

`start` and `run` are called in the app's loop. The thread answers by `call_soon_threadsafe` only: a future, a task and
an event of asyncio may be used in their own loop only.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Final

__all__ = ["LOOP_THREAD_STOP_SECONDS", "LoopThread"]

LOOP_THREAD_STOP_SECONDS: Final = 3.0
"""Seconds that a stop waits for the thread. It is a daemon: a thread that hangs does not keep the process alive."""


class LoopThread:
    """One thread, which runs one coroutine from its start until `run` is cancelled."""

    def __init__(self, work: Callable[[], Coroutine[object, object, None]]) -> None:
        self._work = work
        self._app_loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._app_loop.create_future()
        self._thread: threading.Thread | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    def start(self) -> None:
        """Start the thread unless it runs. It runs when this returns, even if the app's loop is blocked next."""
        if self._thread is None and not self._stopping:
            self._thread = threading.Thread(target=self._main, name="dawdle: leases and watchdog", daemon=True)
            self._thread.start()

    async def run(self) -> None:
        """Wait until cancelled, and then for the thread to end. Raises what its coroutine raised."""
        try:
            await asyncio.wait([self._ended])
        finally:
            # The flag comes before the look at the task: a thread that has not yet set its task sees the flag when it
            # does, and ends at once. One of the two always notices the other.
            self._stopping = True
            if self._task is not None:
                with suppress(RuntimeError):  # the thread's loop is closed: it has ended already
                    self._task.get_loop().call_soon_threadsafe(self._task.cancel)
            if self._thread is not None:
                await asyncio.wait([self._ended], timeout=LOOP_THREAD_STOP_SECONDS)
                if self._ended.done():
                    self._thread.join()  # returns at once: `_end` was the thread's last act
            error = self._ended.exception() if self._ended.done() else None
        if error is not None:
            raise error

    def _main(self) -> None:
        error: BaseException | None = None
        try:
            asyncio.run(self._until_stopped())
        except BaseException as raised:  # noqa: BLE001 - `run` raises it in the app's loop, and the app dies of it
            error = raised
        with suppress(RuntimeError):  # the app's loop is closed: the app has ended without a stop
            self._app_loop.call_soon_threadsafe(self._end, error)

    async def _until_stopped(self) -> None:
        self._task = asyncio.current_task()
        if self._stopping:
            return
        with suppress(asyncio.CancelledError):
            await self._work()

    def _end(self, error: BaseException | None) -> None:
        if error is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(error)
