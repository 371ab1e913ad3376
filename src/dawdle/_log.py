"""The one way to write a line into the log: a log handler or a filter that raises changes nothing else.

Python's own handlers do not raise. One of the user's may, and must not become a message that is run twice.
"""

import logging
import traceback
from contextlib import suppress
from typing import Final

__all__ = ["Log"]

_HERE: Final = 3
"""Frames between the caller and the line that logs: who reads the log wants to see the caller's."""


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
        self._write(logging.ERROR, text, values, True)

    def failure(self, text: str, *values: object, error: BaseException, last: bool) -> None:
        """Write that something failed: a line for what is tried again; the traceback with the last, or at DEBUG."""
        shown = last or self._logger.isEnabledFor(logging.DEBUG)
        self._write(logging.ERROR if last else logging.WARNING, text, values, error if shown else None)

    def _write(self, level: int, text: str, values: tuple[object, ...], exc_info: BaseException | bool | None) -> None:
        try:
            self._logger.log(level, text, *values, exc_info=exc_info, stacklevel=_HERE)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException:  # noqa: BLE001 - of the user's code a SystemExit or CancelledError is no more than a failure
            if logging.raiseExceptions:  # as logging does with what its own handlers raise
                with suppress(Exception):
                    traceback.print_exc()
