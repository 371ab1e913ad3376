"""The only way to write to the log: no value can forge a record, and no log handler can break the app.

A value in a log line may come from a message that a stranger sent: a type, an id, an error's text about them. So each
value is cut and shown in one line, with control characters escaped. A traceback keeps its lines, but those that are not
Python's own are indented, so that none looks like the begin of a record. This is done here for all log lines, not where
each is written: one forgotten place would be enough.

A record about an event has its id, type, handler, attempt and queue as fields, for those who read logs as JSON. Modules
that meet events have an `EventLog`, which asks for them at each call; the others have a `Log`.

Python's own log handlers do not raise. A user's handler or filter may, in the middle of settling a message, and must
not be the reason that the message is run twice.
"""

import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from typing import Final, NamedTuple

from dawdle.errors import one_line

__all__ = ["About", "EventLog", "Log"]

_CALLER_FRAMES: Final = 3
"""Stack frames between the caller and `findCaller`, so that a record names the line of the caller."""

MAX_FIELD_CHARACTERS: Final = 200
"""Characters of one field of a record. Only a stranger's message has longer ones."""

MAX_VALUE_CHARACTERS: Final = 2000
"""Characters of one value in a log line, and of one line in a traceback."""

MAX_EXCEPTION_CHARACTERS: Final = 16_000
"""Characters of the text of one exception in a traceback."""

_Error = BaseException | traceback.TracebackException
"""An error, or only its traceback where the error itself must not be kept alive."""


class About(NamedTuple):
    """The event that a record is about. What is not known is None."""

    event_id: str | None = None
    event_type: str | None = None
    handler: str | None = None
    attempt: int | None = None
    queue: str | None = None

    def fields(self) -> dict[str, str | int | None]:
        """Return the fields of the record. Their names are ours alone: a user's own records have fields too."""
        return {
            f"dawdle_{name}": one_line(value, MAX_FIELD_CHARACTERS) if isinstance(value, str) else value
            for name, value in zip(self._fields, self, strict=True)
        }


class _Writer:
    """What writes records. Its methods have a name of their own for each level, so that a call is found by it."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def shows(self, level: int) -> bool:
        """Whether lines of this level are logged."""
        return self._logger.isEnabledFor(level)

    def _write(
        self, level: int, text: str, values: tuple[object, ...], error: _Error | None, about: About | None
    ) -> None:
        try:
            if self._logger.isEnabledFor(level):
                self._logger.handle(self._record(level, text, values, error, about))
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException:  # noqa: BLE001 - a SystemExit or CancelledError of a user's log handler is only a failure
            if logging.raiseExceptions:  # as logging itself does for its own handlers
                with suppress(Exception):
                    traceback.print_exc()

    def _record(
        self, level: int, text: str, values: tuple[object, ...], error: _Error | None, about: About | None
    ) -> logging.LogRecord:
        logger = self._logger
        file, line, function, _ = logger.findCaller(stacklevel=_CALLER_FRAMES + 1)
        shown = tuple(value if isinstance(value, (int, float)) else _OneLine(value) for value in values)
        trace = (type(error), error, error.__traceback__) if isinstance(error, BaseException) else None
        fields = None if about is None else about.fields()
        record = logger.makeRecord(logger.name, level, file, line, text, shown, trace, function, fields)
        if error is not None:
            record.exc_text = _traceback(error)  # formatters show this instead of one that they would make
        return record


class Log(_Writer):
    """The logger of a module that knows no events, by its name."""

    def info(self, text: str, *values: object) -> None:
        """Log what is as it should be."""
        self._write(logging.INFO, text, values, None, None)

    def warning(self, text: str, *values: object) -> None:
        """Log what the operator may want to change."""
        self._write(logging.WARNING, text, values, None, None)

    def error(self, text: str, *values: object) -> None:
        """Log what the operator must look at."""
        self._write(logging.ERROR, text, values, None, None)

    def exception(self, text: str, *values: object) -> None:
        """Log an error together with the exception that is being handled."""
        self._write(logging.ERROR, text, values, sys.exception(), None)


class EventLog(_Writer):
    """The logger of a module that meets events. Each call says which event its record is `about`, None for none."""

    def info(self, text: str, *values: object, about: About | None) -> None:
        """Log what is as it should be."""
        self._write(logging.INFO, text, values, None, about)

    def warning(self, text: str, *values: object, about: About | None) -> None:
        """Log what the operator may want to change."""
        self._write(logging.WARNING, text, values, None, about)

    def error(self, text: str, *values: object, about: About | None) -> None:
        """Log what the operator must look at."""
        self._write(logging.ERROR, text, values, None, about)

    def exception(self, text: str, *values: object, about: About | None) -> None:
        """Log an error together with the exception that is being handled."""
        self._write(logging.ERROR, text, values, sys.exception(), about)

    def failure(self, text: str, *values: object, about: About | None, error: _Error | None, last: bool) -> None:
        """Log a failure, with the traceback of `error` if given: as an error if it was the last try, else a warning."""
        self._write(logging.ERROR if last else logging.WARNING, text, values, error, about)


class _OneLine:
    """Shows a value in one line. Its text is made only when the record is formatted."""

    __slots__ = ("_value",)

    def __init__(self, value: object) -> None:
        self._value = value

    def __str__(self) -> str:
        return one_line(str(self._value), MAX_VALUE_CHARACTERS)

    def __repr__(self) -> str:
        return one_line(repr(self._value), MAX_VALUE_CHARACTERS)


def _traceback(error: _Error) -> str:
    """Return a traceback in which only Python's own lines begin at the margin."""
    try:
        whole = (
            traceback.TracebackException(type(error), error, error.__traceback__, compact=True)
            if isinstance(error, BaseException)
            else error
        )
        for each in _with_causes(whole):
            notes = each.__notes__
            if isinstance(notes, list):
                each.__notes__ = [f"    {note}".replace("\n", "\n    ") for note in notes]
        return "\n".join(line for part in whole.format() for line in _lines(part))
    except Exception as second:  # noqa: BLE001 - the error to be logged is another one
        return f"(the traceback of a {type(error).__qualname__} cannot be shown: {type(second).__qualname__})"


def _with_causes(whole: traceback.TracebackException) -> Iterator[traceback.TracebackException]:
    """Yield an exception, its causes and the members of groups. Without recursion: there may be thousands."""
    left = [whole]
    while left:
        each = left.pop()
        yield each
        left += [other for other in (each.__cause__, each.__context__, *(each.exceptions or ())) if other is not None]


def _lines(part: str) -> Iterator[str]:
    """Yield the lines of one part of a traceback: a frame, an exception's text, or a remark between empty lines."""
    first, *others = part[:MAX_EXCEPTION_CHARACTERS].removesuffix("\n").split("\n")
    margin = "    " if first else ""  # a remark, such as "During handling of …", is Python's own
    for line in (first, *(other if other[:1].isspace() else f"{margin}{other}" for other in others)):
        yield "\t".join(one_line(piece, MAX_VALUE_CHARACTERS) for piece in line.split("\t"))
