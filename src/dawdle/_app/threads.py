"""Runs a coroutine in an app's event loop for a thread that waits. Knows nothing of events.

    waits ──► started in the loop ──► done: its result, or its error
      │               └──► the loop ended, or does not run: it may have been done
      └──► given up before it started: nothing was done

The thread and the loop may decide at the same time. Both do so by one step of `Future`, which only one can take.
"""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from typing import Final, TypeVar, cast

from dawdle._app import loops
from dawdle._app.app import Dawdle
from dawdle._flow.handler_scope import current_scope
from dawdle.errors import BackendError, ConfigurationError, NoAppError

__all__ = ["do_in_loop"]

CHECK_SECONDS: Final = 1.0
"""Seconds between two looks at the loop by a thread that waits. A loop that ends wakes no thread."""

MAX_CHECKS_STOPPED: Final = 5
"""Looks in a row that may find the loop not running. Some programs run their loop piece by piece."""

T = TypeVar("T")


def do_in_loop(app: Dawdle | None, make: Callable[[Dawdle], Coroutine[object, object, T]]) -> T:
    """Run a coroutine in the loop of an app, block until it ends, and return its result or raise its error.

    It runs in a copy of this thread's context. Without `app` it is the app that this thread means. Raises
    `ConfigurationError` if waiting would be a deadlock, and `BackendError` if the loop ends meanwhile.
    """
    entry = _entry_of(app)
    loop = entry.loop
    _refuse_deadlock(entry)
    future: concurrent.futures.Future[T] = concurrent.futures.Future()
    begun: list[asyncio.Task[T]] = []  # keeps the task alive too: a loop has only weak references to its tasks

    def begin() -> None:
        # False: the thread gave up first, and was told that nothing was done. From here on `cancel()` fails, so a
        # thread that gives up later knows that the coroutine started.
        if future.set_running_or_notify_cancel():
            task = loop.create_task(make(cast("Dawdle", entry.app)), name="dawdle: for a thread")
            begun.append(task)
            task.add_done_callback(lambda done: _tell(done, future))

    try:
        loop.call_soon_threadsafe(begin)
        _wait(future, loop)
    except BaseException:  # such as KeyboardInterrupt: nothing goes on for a thread that no longer waits
        if not future.cancel() and begun and not loop.is_closed():
            loop.call_soon_threadsafe(begun[0].cancel)
        raise
    return future.result()


def _entry_of(app: Dawdle | None) -> loops.Entry:
    """Return the app that is meant: `app`, else the one of this thread's handler, the only one, or its lifespan's."""
    where = current_scope()
    if app is None and where is not None:
        app = cast("Dawdle", where.app)
    entries = loops.entries()
    for each in entries:
        if each.app is app:
            return each
    if app is not None:
        raise ConfigurationError(f"{app!r} is not entered in this process: write `async with app:` in its event loop")
    if len(entries) == 1:
        return entries[0]
    if not entries:
        raise NoAppError(
            "no app is entered in this process: write `async with dawdle.Dawdle():` in the event loop of its main "
            "thread, or enter one in the lifespan of your web app"
        )
    own = loops.lifespan_here()
    for each in entries:
        if each.app is own:
            return each
    raise NoAppError(
        f"{len(entries)} apps are entered in this process, {' and '.join(repr(each.app) for each in entries)}: "
        f"say which one is meant, as in dawdle.from_thread.signal(…, app=app)"
    )


def _refuse_deadlock(entry: loops.Entry) -> None:
    """Raise `ConfigurationError` in the loop's own thread, which would wait for itself."""
    here = loops.loop_here()
    if here is entry.loop:
        raise ConfigurationError(
            "dawdle.from_thread was called in the event loop of the app itself, which would wait for itself for ever: "
            "write `await dawdle.signal(…)` here; if this function is not async, make it async, or run it in a thread "
            "with `await asyncio.to_thread(…)`"
        )
    # The loop is paused in this very thread, as between two `run_until_complete`. It cannot run while the thread waits.
    if threading.get_ident() == entry.thread_id and not entry.loop.is_running():
        raise ConfigurationError(
            f"the event loop of {entry.app!r} belongs to this thread and is not running, so it cannot store an event: "
            f"write `await dawdle.signal(…)` in a coroutine that it runs"
        )


def _wait(future: concurrent.futures.Future[T], loop: asyncio.AbstractEventLoop) -> None:
    """Wait for the loop. Raises `BackendError` when the loop was closed, or has not run for 5 s."""
    stopped = 0
    while not concurrent.futures.wait([future], CHECK_SECONDS).done:
        stopped = 0 if loop.is_running() else stopped + 1
        if loop.is_closed() or stopped == MAX_CHECKS_STOPPED:
            how = "was closed" if loop.is_closed() else f"has not run for {stopped * CHECK_SECONDS:g} s"
            # The cancel wins over `begin`, or it does not. Only if it wins, it is certain that nothing was stored.
            if future.cancel():
                raise BackendError(f"nothing was stored: the event loop of the app {how}")
            if not future.done():
                raise BackendError(f"the event may or may not be stored: the event loop of the app {how} meanwhile")


def _tell(task: "asyncio.Task[T]", future: concurrent.futures.Future[T]) -> None:
    """Pass the outcome of a task to the thread that waits. Runs in the loop."""
    if task.cancelled():  # `asyncio.run` cancels all tasks at its end
        future.set_exception(
            BackendError(
                "the event may or may not be stored: the event loop of the app ended before the queue answered"
            )
        )
        return
    error = task.exception()
    if error is None:
        future.set_result(task.result())
    else:
        future.set_exception(error)
