"""The table of the apps that are entered in this process, each with its event loop. Calls no method of an app.

The table is a tuple that is replaced and never changed, so a thread reads it without a lock. It is a list and not a
stack, so apps may be left in any order.
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
    """The name of the thread in which the loop ran at that time."""
    thread_id: int


_entries: tuple[Entry, ...] = ()
_lock = threading.Lock()
_forked = False  # this process was forked from one that had loaded dawdle; only an error text depends on it

_lifespan: ContextVar[object] = ContextVar("dawdle.lifespan", default=None)
"""The app in whose lifespan this context began; the lifespan may be over."""


def entered(app: object) -> None:
    """Add an app to the table, with the running event loop. Called in the context of its lifespan."""
    global _entries  # noqa: PLW0603 - one table for the process
    here = threading.current_thread()
    entry = Entry(app, asyncio.get_running_loop(), here.name, threading.get_ident())
    with _lock:
        _entries = (*entries(), entry)
    _lifespan.set(app)


def left(app: object) -> None:
    """Remove an app from the table."""
    global _entries  # noqa: PLW0603 - as above
    with _lock:
        _entries = tuple(each for each in entries() if each.app is not app)


def lifespan_here() -> object | None:
    """Return the app in whose lifespan this context began; the lifespan may be over."""
    return _lifespan.get()


def entries() -> tuple[Entry, ...]:
    """Return the apps that are entered in this process, except those whose loop was closed before they were left."""
    # A closed loop runs nothing any more, so its apps were never left, and never will be.
    return tuple(each for each in _entries if not each.loop.is_closed())


def apps_in(loop: asyncio.AbstractEventLoop) -> list[object]:
    """Return the apps that are entered in a loop."""
    return [each.app for each in _entries if each.loop is loop]


def loop_here() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs in this thread; None if none runs."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def require_loop(app: object, loop: asyncio.AbstractEventLoop) -> None:
    """Raise `ConfigurationError` unless the loop in which an app was entered runs here."""
    # An await across loops would never return: the other loop completes the future, and that does not wake this loop.
    if loop_here() is not loop:
        raise ConfigurationError(_elsewhere(app, loop))


def require_not_entered(app: object, loop: asyncio.AbstractEventLoop | None) -> None:
    """Raise `ConfigurationError` for an app that is entered, even if its loop is closed."""
    if loop is None:
        return
    if loop.is_closed():
        raise ConfigurationError(_elsewhere(app, loop))
    raise ConfigurationError(f"{app!r} is entered already: leave it first, or make another app")


def _elsewhere(app: object, loop: asyncio.AbstractEventLoop) -> str:
    """Return the error text for code in another event loop than the app's."""
    if loop.is_closed():
        return (
            f"the event loop of {app!r} was closed before the app was left, so it can be neither used nor left: make "
            f"another app, and leave it in the loop in which you enter it"
        )
    if _forked and all(each.app is not app for each in _entries):
        return f"{app!r} is entered in the parent of this process: enter another app in this process"
    where = next((f"of thread {each.thread!r}" for each in _entries if each.app is app), "in which it is entered")
    return (
        f"{app!r} belongs to the event loop {where}, and can be awaited in that loop only. "
        f"From a thread, or by asyncio.to_thread from another loop, write dawdle.from_thread.signal(…)"
    )


def _forget_all() -> None:
    """Clear the table in a forked child: the loops of its parent run in the parent, and so does the calling handler."""
    # The lock is replaced too: another thread of the parent may have held it at the fork, and does not exist here.
    global _entries, _lock, _forked
    _entries, _lock, _forked = (), threading.Lock(), True
    clear_scope()
    _lifespan.set(None)


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=_forget_all)
