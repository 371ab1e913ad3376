"""Where the running code is: inside the handler of which app, and of which event."""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING

import msgspec

from dawdle._handlers.context import Context
from dawdle._handlers.handler import Handler

if TYPE_CHECKING:  # `import dawdle` needs this module, and none of what runs
    from dawdle._flow.in_flight_message import InFlightMessage, Work

__all__ = [
    "HandlerRun",
    "LetterRun",
    "clear_scope",
    "current_letter_run",
    "current_scope",
    "enter_letter_run",
    "enter_scope",
    "is_running",
    "leave_scope",
    "this_task",
]


class HandlerRun(msgspec.Struct, eq=False):
    """One run of a handler: of which app, on which event, and since when.

    `ended` is needed beside the context variable: a task that a handler starts copies the handler's context, and may
    live for as long as the process. When the handler has ended, such a task is no longer inside it.
    """

    app: object
    handler: Handler
    work: "Work"
    started: float
    """When it began, by the clock's `monotonic()`."""
    make_context: "Callable[[HandlerRun], Context] | None" = None
    warn_after: float | None = None
    """Seconds of running after which the next warning of a long run comes; None: none has come yet."""
    ended: bool = False
    context: Context | None = None
    """What the handler gets, and what code inside of it may ask for; None until one of the two needs it."""

    def __repr__(self) -> str:
        return f"<HandlerRun of {self.handler.name} on {self.work!r}>"

    def as_context(self) -> Context | None:
        """Return the context of this run: always the same one."""
        if self.context is None and self.make_context is not None:
            self.context = self.make_context(self)
        return self.context

    @property
    def event_id(self) -> str:
        """The id of the event that it handles."""
        return self.work.envelope.id

    @property
    def message(self) -> "InFlightMessage":
        """The message in flight, or the direct event."""
        return self.work.message


class LetterRun:
    """One run of a handler of dead letters: of which app, and the context that code in it gets."""

    __slots__ = ("app", "context", "ended")

    def __init__(self, app: object, context: Context) -> None:
        self.app = app
        self.context = context
        self.ended = False


_current: ContextVar[HandlerRun | None] = ContextVar("dawdle.handler_scope", default=None)


def current_scope() -> HandlerRun | None:
    """Return the run of the handler that the calling code is in; None outside of every running handler."""
    run = _current.get()
    return None if run is None or run.ended else run


_current_letter: ContextVar[LetterRun | None] = ContextVar("dawdle.letter_scope", default=None)


def current_letter_run() -> LetterRun | None:
    """Return the run of the handler of dead letters that the calling code is in; None outside of every one."""
    run = _current_letter.get()
    return None if run is None or run.ended else run


def enter_letter_run(run: LetterRun) -> None:
    """Enter the scope of a handler of dead letters in this context. Setting `ended` leaves it."""
    _current_letter.set(run)


def enter_scope(run: HandlerRun) -> None:
    """Enter a handler's scope in this context."""
    _current.set(run)


def leave_scope(run: HandlerRun) -> None:
    """Leave a handler's scope, here and in all tasks that the handler started."""
    # The variable needs no reset: a run that has ended counts as none, and no handler's run begins inside another's.
    run.ended = True


def clear_scope() -> None:
    """Leave every scope in this context: it may be a copy of a handler's, when a handler enters an app."""
    _current.set(None)
    if _current_letter.get() is not None:  # each variable that is set costs each message in flight 16 bytes
        _current_letter.set(None)


def is_running(task: "asyncio.Task[object]") -> bool:
    """Whether the loop runs this code as a step of its task, and is not closing the coroutine."""
    try:
        return asyncio.current_task() is task
    except RuntimeError:  # no event loop runs
        return False


def this_task() -> "asyncio.Task[object]":
    """Return the task that this code runs in."""
    task = asyncio.current_task()
    assert task is not None, "a handler runs in a task"
    return task
