"""Fields for the log records that a handler writes itself: of which event, in which handler, on which attempt.

dawdle's own records have these fields. The filter here adds them to all records that are written inside a handler, by
any logger. It goes on a log handler, and not on a logger: a logger asks its filters only for its own records.

    from dawdle.logs import EventFields

    handler.addFilter(EventFields())
"""

import logging
from typing import Final

import dawdle

__all__ = ["EventFields", "event_fields"]

MAX_FIELD_CHARACTERS: Final = 200
"""Characters of one field. Only the message of another program has longer ones."""

_NAMES: Final = ("dawdle_event_id", "dawdle_event_type", "dawdle_handler", "dawdle_attempt", "dawdle_queue")


def event_fields() -> dict[str, str | int]:
    """Return the fields of the event whose handler runs here; none outside of every handler.

    They are `dawdle_event_id`, `dawdle_event_type`, `dawdle_handler`, `dawdle_attempt` and `dawdle_queue`. In the
    threads of a handler, and in tasks that it awaits, they are the same.
    """
    context = dawdle.current_context()
    if context is None:
        return {}
    values: tuple[str | int, ...] = (
        context.event_id,
        context.event_type,
        context.handler,
        context.attempt,
        context.queue,
    )
    return {name: _line(value) if isinstance(value, str) else value for name, value in zip(_NAMES, values, strict=True)}


class EventFields(logging.Filter):
    """A filter of a log handler. It lets each record through, with the fields of the event whose handler wrote it.

    A record that has them keeps its own. `default` is the value of the fields outside of every handler, such as "-"
    for a text format that names them; None: there they are left out.
    """

    def __init__(self, default: str | None = None) -> None:
        super().__init__()
        self._default = default

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields to a record, and return True."""
        if _NAMES[0] not in record.__dict__:
            fields: dict[str, str | int] = event_fields()
            if not fields and self._default is not None:
                fields.update(dict.fromkeys(_NAMES, self._default))
            record.__dict__.update(fields)
        return True


def _line(text: str) -> str:
    """Return text in one line: another program may have written it, and must not forge a record."""
    cut = text if len(text) <= MAX_FIELD_CHARACTERS else f"{text[:MAX_FIELD_CHARACTERS]}…"
    return cut if cut.isprintable() else ascii(cut)[1:-1]
