"""Runs a command, and turns what it raises into a text on standard error and an exit code. Knows no command."""

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Final, TypeVar, cast

import click
from rich.markup import escape

from dawdle.cli._output import err
from dawdle.errors import DawdleError

__all__ = ["INTERRUPTED", "CommandError", "PipeClosedError", "exit_code_of", "run_async", "show_warnings"]

T = TypeVar("T")

_log = logging.getLogger("dawdle")  # of the whole library

INTERRUPTED: Final = 130
"""The exit code of a command that ^C has ended."""

BROKEN_PIPE: Final = 141
"""What shells report for a process that SIGPIPE ended."""


class CommandError(Exception):
    """A command cannot go on. The text says what happened, and what to do."""


class PipeClosedError(Exception):
    """The reader of standard output has gone. Of a `BrokenPipeError` click makes an exit with code 1."""


def exit_code_of(command: Callable[[], object]) -> int:
    """Run a command, print the error that ends it, and return the exit code of the process."""
    try:
        result = command()
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (CommandError, DawdleError) as error:
        print_error(error)
        return 1
    except (KeyboardInterrupt, click.Abort):
        err().print("interrupted", style="red")
        return INTERRUPTED
    except (BrokenPipeError, PipeClosedError):
        return _end_of_pipe()
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # rich makes it of one, with code 1
            return _end_of_pipe()
        raise
    return result if isinstance(result, int) else 0


def _end_of_pipe() -> int:
    """Return the exit code of `dawdle … | head`: the reader has what it wants."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains when it ends
    return BROKEN_PIPE


def print_error(error: Exception) -> None:
    """Print what went wrong, its notes and its cause, without a traceback: the text is for the one who typed."""
    console = err()
    console.print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
    for note in cast("list[str]", getattr(error, "__notes__", [])):
        console.print(f"  {escape(note)}", soft_wrap=True)


def run_async(main: Coroutine[object, object, T]) -> T:
    """Run a command's coroutine in an event loop of its own, with dawdle's warnings on standard error."""
    show_warnings()
    return asyncio.run(main)


def show_warnings() -> None:
    """Print the warnings of dawdle's log on standard error, unless the app has set up logging itself."""
    if not _log.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
        _log.addHandler(handler)
