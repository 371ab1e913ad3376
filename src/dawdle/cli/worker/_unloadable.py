"""Says why an app cannot be loaded, to the one who wrote it: without the frames of the command."""

import importlib
import traceback
from pathlib import Path
from typing import Final

from dawdle.cli._running import CommandError
from dawdle.errors import DawdleError

__all__ = ["why_unloadable"]

OURS: Final = str(Path(__file__).parents[1])
"""The folder of the command."""


def why_unloadable(error: BaseException) -> str:
    """Return what to read: for an error of ours what to do, for one of the app's code the traceback."""
    if isinstance(error, (CommandError, DawdleError)):
        return "\n".join([f"error: {error}", *(f"  {note}" for note in getattr(error, "__notes__", []))])
    if isinstance(error, SystemExit):
        return f"error: the code of the app has ended the process: {error}"
    trace = error.__traceback__
    while trace is not None and _is_of_command(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace)).rstrip()


def _is_of_command(file: str) -> bool:
    return file.startswith((OURS, "<frozen importlib")) or file == importlib.__file__
