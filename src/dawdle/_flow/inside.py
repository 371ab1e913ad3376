"""Where the running code is: inside which app's handler, and of which event."""

from contextvars import ContextVar, Token

from dawdle._flow.hand import Hand

__all__ = ["Inside", "enter", "inside", "leave", "outside"]


class Inside:
    """The app whose handler runs, the id of the event that it handles, and what holds that event.

    A task that a handler starts copies its context, and may live on for as long as the process: once the handler has
    ended, what it started is inside of it no more.
    """

    __slots__ = ("app", "event_id", "hand", "over")

    def __init__(self, app: object, hand: Hand, event_id: str) -> None:
        self.app = app
        self.hand = hand
        self.event_id = event_id
        self.over = False


_inside: ContextVar[Inside | None] = ContextVar("dawdle.inside", default=None)


def inside() -> Inside | None:
    """Return where the calling code is; None outside of every handler that runs."""
    where = _inside.get()
    return None if where is None or where.over else where


def enter(where: Inside) -> "Token[Inside | None]":
    """Note in this context that a handler begins."""
    return _inside.set(where)


def leave(where: Inside, token: "Token[Inside | None]") -> None:
    """Note that it has ended, here and in whatever it started."""
    where.over = True
    _inside.reset(token)


def outside() -> None:
    """Note in this context that it is inside of no handler, wherever it was copied from."""
    _inside.set(None)
