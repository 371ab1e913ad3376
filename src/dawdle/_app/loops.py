"""Which apps are entered in which event loop of this process, and what code that runs elsewhere is told.

It asks nothing of an app but which one it is. The table is a tuple that is replaced and never changed, so a thread
reads it without a lock.
"""

import asyncio
import os
import threading
from contextvars import ContextVar
from typing import NamedTuple

from dawdle._flow.handler_scope import clear_scope
from dawdle.errors import ConfigurationError

__all__ = [
    "Entry",
    "apps_in",
    "entered",
    "entries",
    "left",
    "lifespan_here",
    "loop_here",
    "require_loop",
    "require_not_entered",
]


class Entry(NamedTuple):
    """An app that is entered."""

    app: object
    loop: asyncio.AbstractEventLoop
    thread: str
    """The name of the thread in which the loop ran then."""
    thread_id: int


_entries: tuple[Entry, ...] = ()
_lock = threading.Lock()
_forked = False

_lifespan: ContextVar[object] = ContextVar("dawdle.lifespan", default=None)
"""The app whose lifespan runs in this context, or once did."""


def entered(app: object) -> None:
    """Note that an app runs in this event loop from now on; called in the context of its lifespan."""
    global _entries  # noqa: PLW0603 - one table for the process
    here = threading.current_thread()
    entry = Entry(app, asyncio.get_running_loop(), here.name, threading.get_ident())
    with _lock:
        _entries = (*entries(), entry)
    _lifespan.set(app)


def left(app: object) -> None:
    """Note that it does no longer; apps may be left in any order."""
    global _entries  # noqa: PLW0603 - as above
    with _lock:
        _entries = tuple(each for each in entries() if each.app is not app)


def lifespan_here() -> object | None:
    """Return the app whose lifespan runs in this context, or once did."""
    return _lifespan.get()


def entries() -> tuple[Entry, ...]:
    """Return what is entered in this process; an app whose loop was closed before it was left is not."""
    return tuple(each for each in _entries if not each.loop.is_closed())


def apps_in(loop: asyncio.AbstractEventLoop) -> list[object]:
    """Return the apps that are entered in a loop."""
    return [each.app for each in _entries if each.loop is loop]


def loop_here() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs in this thread, None while there is none."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def require_loop(app: object, loop: asyncio.AbstractEventLoop) -> None:
    """Raise `ConfigurationError` unless the loop in which an app was entered runs here.

    A future of another loop would be waited for without end: whatever completes it does not wake this loop.
    """
    if loop_here() is not loop:
        raise ConfigurationError(_elsewhere(app, loop))


def require_not_entered(app: object, loop: asyncio.AbstractEventLoop | None) -> None:
    """Raise `ConfigurationError` for an app that is entered, be it in a loop that is closed by now."""
    if loop is None:
        return
    if loop.is_closed():
        raise ConfigurationError(_elsewhere(app, loop))
    raise ConfigurationError(f"{app!r} is entered already: leave it first, or make another")


def _elsewhere(app: object, loop: asyncio.AbstractEventLoop) -> str:
    """Return what is said of an app to code in another event loop than the app's."""
    if loop.is_closed():
        return (
            f"the event loop of {app!r} was closed before the app was left, so it can be neither used nor left: leave "
            f"an app in the loop in which you enter it, and make another app"
        )
    if _forked and all(each.app is not app for each in _entries):
        return f"{app!r} is entered in the process that this one was forked from: enter an app of its own in this one"
    where = next((f"of thread {each.thread!r}" for each in _entries if each.app is app), "in which it is entered")
    return (
        f"{app!r} belongs to the event loop {where}, and can be awaited in that loop only. "
        f"From a thread, or by asyncio.to_thread from another loop, write dawdle.from_thread.signal(…)"
    )


def _forget_all() -> None:
    """Begin anew in a forked child: the loops of its parent run in the parent, and so does the handler that forked."""
    global _entries, _lock, _forked
    _entries, _lock, _forked = (), threading.Lock(), True
    clear_scope()
    _lifespan.set(None)


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=_forget_all)
