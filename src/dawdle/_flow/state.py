"""The states of one entered app. They are named here, changed by the runtime alone, and asked by the app.

    opening ──► entering ──► running ──► leaving ──┐
       │            │           └───┬───────┘      ├──► over
       │            │               └──► dying ────┤
       │            └── its lifespan fails ────────┘
       └──► failed

`over` says nothing of how it came to that: what an app died of is `Runtime.error`.
"""

from enum import Enum

from dawdle._rules.health import AppState

__all__ = ["State"]


class State(Enum):
    """Where an app is between `async with` and its end."""

    OPENING = "its queue is not open yet"
    ENTERING = "its lifespan is being entered, and no handler runs before it is"
    RUNNING = "it runs"
    LEAVING = "it is being left, and what runs has its grace"
    DYING = "something in it failed for good, and what is in flight is being settled"
    OVER = "it was left, or has died"
    FAILED = "its queue could not be opened"

    @property
    def shown(self) -> AppState:
        """The state as `health()` tells it, of an app that is still entered."""
        match self:
            case State.OPENING | State.FAILED:
                return "opening"
            case State.ENTERING:
                return "entering"
            case State.RUNNING:
                return "running"
            case State.LEAVING | State.OVER:
                return "leaving"
            case State.DYING:
                return "died"

    @property
    def is_open(self) -> bool:
        """Whether the queues are, or were, open: then there are handlers and counts to ask for."""
        # By `is`, here and below: each signal asks, and a set would hash its members each time, in Python.
        return self is not State.OPENING and self is not State.FAILED

    @property
    def may_run_handlers(self) -> bool:
        """Whether a handler may start: the lifespan is entered before the first and left after the last of them."""
        return self is State.RUNNING or self is State.LEAVING or self is State.DYING
