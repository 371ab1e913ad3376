"""Writes to standard error what is no line of the log: the banner, and why an app cannot be loaded."""

import sys
from contextlib import suppress

import click

from dawdle.cli._output import err

__all__ = ["say"]


def say(text: str, *, heading: str = "", bold: bool = False, red: bool = False) -> None:
    """Write a text, with a heading before it. Never raises: a worker goes on when its log is closed, or its disk full.

    Not by rich, which would end the process there.
    """
    console = err()
    if console.color_system is not None:
        heading = click.style(heading, dim=True) if heading.strip() else heading
        text = click.style(text, bold=bold or None, fg="red" if red and not console.no_color else None)
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{heading}{text}\n")
        sys.stderr.flush()
