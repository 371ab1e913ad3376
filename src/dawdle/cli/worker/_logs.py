"""The log of a worker on standard error, unless the app has set up logging itself."""

import logging
from datetime import datetime
from typing import Final

from dawdle.cli._output import err
from dawdle.cli.worker._options import LogLevel

__all__ = ["set_up_logging"]

_log = logging.getLogger("dawdle")  # of the whole library

COLORS: Final = {logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "31"}
"""Colors of a terminal: yellow and red."""


def set_up_logging(level: LogLevel, place: int | None = None) -> None:
    """Write what is logged to standard error. `place`: that of this process, if the worker has several."""
    if _log.hasHandlers():  # its own, or those of the root
        return
    label = "" if place is None else f"[{place}] "
    console = err()
    handler = logging.StreamHandler()
    handler.setFormatter(_ForPeople(label, colors=not console.no_color) if console.is_terminal else _ForFiles(label))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    if level == "info":
        # They tell at each start where credentials were found, and of each change of a file what is told here too.
        for talkative in ("aiobotocore", "botocore", "watchfiles"):
            logging.getLogger(talkative).setLevel(logging.WARNING)


class _ForFiles(logging.Formatter):
    """Lines with the date, the zone and the logger."""

    def __init__(self, label: str) -> None:
        super().__init__()
        self._label = label

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is Python's
        when = datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")
        return f"{when} {record.levelname} {record.name} {self._label}{record.message}"


class _ForPeople(logging.Formatter):
    """Short lines, with warnings and errors in color."""

    def __init__(self, label: str, *, colors: bool) -> None:
        super().__init__()
        self._label = label
        self._colors = colors

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is Python's
        when = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        text = record.message if record.levelno <= logging.INFO else f"{record.levelname.lower()}: {record.message}"
        color = COLORS.get(record.levelno) if self._colors else None
        return f"{when} {self._label}{text}" if color is None else f"{when} {self._label}\x1b[{color}m{text}\x1b[0m"
