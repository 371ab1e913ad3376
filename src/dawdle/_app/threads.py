"""How a thread has something done in the event loop of an app, and waits for it. Knows nothing of events.

    waits ──► begun in the loop ──► done: its result, or what it raised
      │              └──► the loop ended, or stands still: it may have been done
      └──► given up before it began: nothing was done

The thread and the loop decide between the last two by one step of `Future` that only one of them can take.
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
"""How often a thread that waits looks whether the loop still runs: a loop that ends tells no thread."""

MAX_CHECKS_STOPPED: Final = 5
"""How many looks in a row may find a loop that does not run; some programs run theirs piece by piece."""

T = TypeVar("T")


def do_in_loop(app: Dawdle | None, make: Callable[[Dawdle], Coroutine[object, object, T]]) -> T:
    """Run a coroutine in the loop of an app, block until it ends, and return or raise what it did.

    It runs in a copy of this thread's context. Without an app it is the one that this thread means. Raises
    `ConfigurationError` where waiting would be a deadlock, and `BackendError` when the loop ends meanwhile.
    """
    entry = _entry_of(app)
    loop = entry.loop
    _refuse_deadlock(entry)
    future: concurrent.futures.Future[T] = concurrent.futures.Future()
    begun: list[asyncio.Task[T]] = []  # also what keeps the task alive: a loop refers to its tasks weakly

    def begin() -> None:
        if future.set_running_or_notify_cancel():
            task = loop.create_task(make(cast("Dawdle", entry.app)), name="dawdle: for a thread")
            begun.append(task)
            task.add_done_callback(lambda done: _tell(done, future))

    try:
        loop.call_soon_threadsafe(begin)
        _wait(future, loop)
    except BaseException:  # KeyboardInterrupt, say: nothing goes on for a thread that does not wait
        if not future.cancel() and begun and not loop.is_closed():
            loop.call_soon_threadsafe(begun[0].cancel)
        raise
    return future.result()


def _entry_of(app: Dawdle | None) -> loops.Entry:
    """Return the app that is meant: the one given, or of this thread's handler, or the only one, or of its lifespan."""
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
            "write `await dawdle.signal(…)` here; if this function is not async, make it so, or run it in a thread "
            "by `await asyncio.to_thread(…)`"
        )
    if threading.get_ident() == entry.thread_id and not entry.loop.is_running():
        raise ConfigurationError(
            f"the event loop of {entry.app!r} belongs to this thread and does not run now, so nothing can be done in "
            f"it: write `await dawdle.signal(…)` in a coroutine that it runs"
        )


def _wait(future: concurrent.futures.Future[T], loop: asyncio.AbstractEventLoop) -> None:
    """Wait for what the loop does. Raises `BackendError` when it stands still or is closed."""
    stopped = 0
    while not concurrent.futures.wait([future], CHECK_SECONDS).done:
        stopped = 0 if loop.is_running() else stopped + 1
        if loop.is_closed() or stopped == MAX_CHECKS_STOPPED:
            how = "was closed" if loop.is_closed() else f"has not run for {stopped * CHECK_SECONDS:g} s"
            if future.cancel():
                raise BackendError(f"nothing was stored: the event loop of the app {how}")
            if not future.done():
                raise BackendError(f"it may or may not be stored: the event loop of the app {how} meanwhile")


def _tell(task: "asyncio.Task[T]", future: concurrent.futures.Future[T]) -> None:
    """Hand over what became of a task, in the loop."""
    if task.cancelled():
        future.set_exception(
            BackendError("it may or may not be stored: the event loop of the app ended before the queue answered")
        )
        return
    error = task.exception()
    if error is None:
        future.set_result(task.result())
    else:
        future.set_exception(error)
