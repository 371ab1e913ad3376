"""The files that this process has open: one worker for each, however many queues are open on it.

So all queues of a file share transactions, and the cost of a sync. A process that was forked has none of them.
"""

import asyncio
import os
import threading
from collections.abc import Callable
from typing import Final, TypeVar

from dawdle.abc import Clock, SystemClock
from dawdle.backends.sqlite._calls import WorkCall
from dawdle.backends.sqlite._connection import Durability
from dawdle.backends.sqlite._database import Database
from dawdle.backends.sqlite._worker import Worker
from dawdle.errors import ConfigurationError

__all__ = ["close_file", "do", "open_file"]

Result = TypeVar("Result")

CLOSE_SECONDS: Final = 3.0
"""Seconds that closing waits for the thread. One that hangs in a lock of the system is left behind: it is a daemon."""

WATCH_SECONDS: float = 5.0
"""Seconds between two looks at whether the thread hangs in a lock of the system."""

_guard = threading.Lock()
_workers: Final[dict[tuple[str, int], Worker]] = {}
_uses: Final[dict[Worker, int]] = {}
_inherited: Final[set[str]] = set()
"""Files that were open when this process was forked.

 SQLite believes that it holds their locks, and a fork passes none."""


async def open_file(path: str, clock: Clock, durability: Durability, *, allow_network_file_system: bool) -> Worker:
    """Return the worker of a file, whose file is open. Each call needs a `close_file`."""
    path = os.path.realpath(path)  # noqa: ASYNC240 - as quick as the loop's own calls
    if path in _inherited:
        raise ConfigurationError(
            f"this process was forked from one that had {path} open, and SQLite cannot open it safely again: start "
            f"child processes before the app is entered, or by multiprocessing's 'spawn'"
        )
    key = (path, 0 if isinstance(clock, SystemClock) else id(clock))
    with _guard:
        worker = _workers.get(key)
        if worker is None:
            worker = Worker(Database(path, durability, allow_network_file_system=allow_network_file_system), clock)
            worker.start()
            _workers[key] = worker
            _uses[worker] = 0
        elif worker.database.durability != durability:
            raise ConfigurationError(
                f"{path} is open in this process with durability={worker.database.durability!r}: give all SQLite "
                f"objects of one file the same durability"
            )
        _uses[worker] += 1
    try:
        await do(worker, worker.database.open_once)
    except BaseException:
        await close_file(worker)
        raise
    return worker


async def close_file(worker: Worker) -> None:
    """End one use of a file. The last one closes it, and ends its thread."""
    with _guard:
        if worker not in _uses:  # this process was forked since
            return
        _uses[worker] -= 1
        if _uses[worker]:
            return
        del _uses[worker]
        for key in [key for key, each in _workers.items() if each is worker]:
            del _workers[key]
    closed = False
    try:
        for work in (lambda: None, worker.database.close):
            # The first one lets what was received for callers that have left be given back, before the file is closed.
            call = WorkCall(work)
            worker.submit(call)
            await asyncio.wait([call.future], timeout=CLOSE_SECONDS)
        closed = call.future.done()
    finally:  # a caller that is cancelled here leaves the rest to the thread
        worker.stop(wait=closed)


async def do(worker: Worker, work: Callable[[], Result]) -> Result:
    """Return what `work` returns in the worker's thread, outside of the shared transaction."""
    call = WorkCall(work)
    worker.submit(call)
    try:
        # The thread may hang in a lock of the system, which has no time limit, before anything else watches it.
        while worker.has_thread and not (await asyncio.wait([call.future], timeout=WATCH_SECONDS))[0]:
            worker.abandon_blocked()
    except asyncio.CancelledError:
        call.future.cancel()
        raise
    (result,) = await call.future
    return result  # type: ignore[return-value]  # the call knows only an object


def _forget_in_child() -> None:
    global _guard  # noqa: PLW0603 - another thread may have held it at the fork
    _guard = threading.Lock()
    for (path, _), worker in _workers.items():
        worker.forked()
        _inherited.add(path)
    _workers.clear()
    _uses.clear()


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=_forget_in_child)
