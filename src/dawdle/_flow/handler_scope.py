"""Where the running code is: inside the handler of which app, and of which event."""

from contextvars import ContextVar, Token

from dawdle._flow.in_flight_message import InFlightMessage

__all__ = ["HandlerScope", "clear_scope", "current_scope", "enter_scope", "leave_scope"]


class HandlerScope:
    """A handler that runs: its app, the id of the event that it handles, and the message in flight.

    `ended` is needed beside the context variable: a task that a handler starts copies the handler's context, and may
    live for as long as the process. When the handler has ended, such a task is no longer inside it.
    """

    __slots__ = ("app", "ended", "event_id", "message")

    def __init__(self, app: object, message: InFlightMessage, event_id: str) -> None:
        self.app = app
        self.message = message
        self.event_id = event_id
        self.ended = False


_current: ContextVar[HandlerScope | None] = ContextVar("dawdle.handler_scope", default=None)


def current_scope() -> HandlerScope | None:
    """Return the scope of the handler that the calling code runs in; None outside of every running handler."""
    scope = _current.get()
    return None if scope is None or scope.ended else scope


def enter_scope(scope: HandlerScope) -> "Token[HandlerScope | None]":
    """Enter a handler's scope in this context."""
    return _current.set(scope)


def leave_scope(scope: HandlerScope, token: "Token[HandlerScope | None]") -> None:
    """Leave a handler's scope, here and in all tasks that the handler started."""
    scope.ended = True
    _current.reset(token)


def clear_scope() -> None:
    """Leave every scope in this context: it may be a copy of a handler's, when a handler enters an app."""
    _current.set(None)
