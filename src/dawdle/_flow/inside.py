"""Where the running code is: inside which app's handler, and of which event."""

from contextvars import ContextVar
from typing import NamedTuple

__all__ = ["Inside", "inside"]


class Inside(NamedTuple):
    """The app whose handler runs, and the id of the event that it handles."""

    app: object
    event_id: str


inside: ContextVar[Inside | None] = ContextVar("dawdle.inside", default=None)
