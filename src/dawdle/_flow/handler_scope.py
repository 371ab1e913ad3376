"""Where the running code is: inside which app's handler, and of which event."""

from contextvars import ContextVar, Token

from dawdle._flow.in_flight_message import InFlightMessage

__all__ = ["HandlerScope", "clear_scope", "current_scope", "enter_scope", "leave_scope"]


class HandlerScope:
    """The app whose handler runs, the id of the event that it handles, and what holds that event.

    A task that a handler starts copies its context, and may live on for as long as the process: once the handler has
    ended, what it started is inside of it no more.
    """

    __slots__ = ("app", "ended", "event_id", "message")

    def __init__(self, app: object, message: InFlightMessage, event_id: str) -> None:
        self.app = app
        self.message = message
        self.event_id = event_id
        self.ended = False


_current: ContextVar[HandlerScope | None] = ContextVar("dawdle.inside", default=None)


def current_scope() -> HandlerScope | None:
    """Return where the calling code is; None outside of every handler that runs."""
    where = _current.get()
    return None if where is None or where.ended else where


def enter_scope(where: HandlerScope) -> "Token[HandlerScope | None]":
    """Note in this context that a handler begins."""
    return _current.set(where)


def leave_scope(where: HandlerScope, token: "Token[HandlerScope | None]") -> None:
    """Note that it has ended, here and in whatever it started."""
    where.ended = True
    _current.reset(token)


def clear_scope() -> None:
    """Note in this context that it is inside of no handler, wherever it was copied from."""
    _current.set(None)
