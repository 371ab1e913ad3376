"""A thread with an event loop of its own, for what must go on while the app's loop is blocked. Started when needed."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Final

__all__ = ["LOOP_THREAD_STOP_SECONDS", "LoopThread"]

LOOP_THREAD_STOP_SECONDS: Final = 3.0
"""Seconds that a stop waits for the thread; it holds no process."""


class LoopThread:
    """One thread, that runs one coroutine from its start until `run` is cancelled."""

    def __init__(self, work: Callable[[], Coroutine[object, object, None]]) -> None:
        self._work = work
        self._app_loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._app_loop.create_future()
        self._thread: threading.Thread | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    def start(self) -> None:
        """Start the thread unless it runs. It has begun when this returns, whatever the loop does next."""
        if self._thread is None and not self._stopping:
            self._thread = threading.Thread(target=self._main, name="dawdle: leases and watchdog", daemon=True)
            self._thread.start()

    async def run(self) -> None:
        """Wait until cancelled, and then for the thread to end. Raises what its coroutine raised."""
        try:
            await asyncio.wait([self._ended])
        finally:
            self._stopping = True
            if self._task is not None:
                with suppress(RuntimeError):  # its loop is closed: it has ended already
                    self._task.get_loop().call_soon_threadsafe(self._task.cancel)
            if self._thread is not None:
                await asyncio.wait([self._ended], timeout=LOOP_THREAD_STOP_SECONDS)
                if self._ended.done():
                    self._thread.join()  # it has nothing left to do
            error = self._ended.exception() if self._ended.done() else None
        if error is not None:
            raise error

    def _main(self) -> None:
        error: BaseException | None = None
        try:
            asyncio.run(self._until_stopped())
        except BaseException as raised:  # noqa: BLE001 - it is the app's to die of
            error = raised
        with suppress(RuntimeError):  # the app's loop is closed: nobody wants to know
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
