"""The one way to write a line into the log: no stranger shapes it, and no handler of it breaks anything.

Whatever a line tells of may come from a message: a type, an id, what a handler raised about them. So each value is
shown in one line, its control characters escaped, and cut; a traceback keeps its lines, but none of them begins where a
record begins. It is done here, for all lines, and not where each is written.

Python's own log handlers do not raise. One of the user's may, or a filter, and must not become a message that is run
twice.
"""

import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from dawdle.errors import one_line

__all__ = ["Log"]

_CALLER_FRAMES: Final = 3
"""Frames between the caller and the line that logs: who reads the log wants to see the caller's."""

MAX_VALUE_CHARACTERS: Final = 2000
"""Of one value in a line, and of one line in a traceback."""

MAX_EXCEPTION_CHARACTERS: Final = 16_000
"""Of what one exception in a traceback says."""

_Error = BaseException | traceback.TracebackException
"""An error, or its traceback alone, read where the error itself is not to be kept."""


class Log:
    """The logger of one module, by its name."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def info(self, text: str, *values: object) -> None:
        """Write what is as it should be."""
        self._write(logging.INFO, text, values, None)

    def warning(self, text: str, *values: object) -> None:
        """Write what somebody may want to change."""
        self._write(logging.WARNING, text, values, None)

    def error(self, text: str, *values: object) -> None:
        """Write what somebody must look at."""
        self._write(logging.ERROR, text, values, None)

    def exception(self, text: str, *values: object) -> None:
        """Write an error together with the exception that is being handled."""
        self._write(logging.ERROR, text, values, sys.exception())

    def failure(self, text: str, *values: object, error: _Error | None, last: bool) -> None:
        """Write that something failed: an error if it is not tried again. With the traceback of `error`, if given."""
        self._write(logging.ERROR if last else logging.WARNING, text, values, error)

    def shows(self, level: int) -> bool:
        """Whether lines of this level are written."""
        return self._logger.isEnabledFor(level)

    def _write(self, level: int, text: str, values: tuple[object, ...], error: _Error | None) -> None:
        try:
            if self._logger.isEnabledFor(level):
                self._logger.handle(self._record(level, text, values, error))
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException:  # noqa: BLE001 - of the user's code a SystemExit or CancelledError is no more than a failure
            if logging.raiseExceptions:  # as logging does with what its own handlers raise
                with suppress(Exception):
                    traceback.print_exc()

    def _record(self, level: int, text: str, values: tuple[object, ...], error: _Error | None) -> logging.LogRecord:
        logger = self._logger
        file, line, function, _ = logger.findCaller(stacklevel=_CALLER_FRAMES + 1)
        shown = tuple(value if isinstance(value, (int, float)) else _OneLine(value) for value in values)
        trace = (type(error), error, error.__traceback__) if isinstance(error, BaseException) else None
        record = logger.makeRecord(logger.name, level, file, line, text, shown, trace, function)
        if error is not None:
            record.exc_text = _traceback(error)  # what every formatter shows that has none of its own
        return record


class _OneLine:
    """A value as a line shows it, in one line: found out only when the line is written."""

    __slots__ = ("_value",)

    def __init__(self, value: object) -> None:
        self._value = value

    def __str__(self) -> str:
        return one_line(str(self._value), MAX_VALUE_CHARACTERS)

    def __repr__(self) -> str:
        return one_line(repr(self._value), MAX_VALUE_CHARACTERS)


def _traceback(error: _Error) -> str:
    """Return a traceback of which only the lines that Python writes begin at the margin."""
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
    """Yield an exception and all that it comes from or holds. No recursion: there may be thousands."""
    left = [whole]
    while left:
        each = left.pop()
        yield each
        left += [other for other in (each.__cause__, each.__context__, *(each.exceptions or ())) if other is not None]


def _lines(part: str) -> Iterator[str]:
    """Yield the lines of a part of a traceback: a frame, what an exception says, or a remark between empty lines."""
    first, *others = part[:MAX_EXCEPTION_CHARACTERS].removesuffix("\n").split("\n")
    margin = "    " if first else ""  # a remark is Python's own
    for line in (first, *(other if other[:1].isspace() else f"{margin}{other}" for other in others)):
        yield "\t".join(one_line(piece, MAX_VALUE_CHARACTERS) for piece in line.split("\t"))
