"""Runs the command in this process, and gives what it printed."""

import sys
from io import BytesIO, StringIO, TextIOWrapper
from typing import NamedTuple
from unittest.mock import patch

from dawdle.cli._main import dawdle
from dawdle.cli._running import exit_code_of


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def rows(self):
        """The lines of a table in a pipe, each a list of its values."""
        return [line.split("\t") for line in self.out.splitlines()]


class Terminal(StringIO):
    def isatty(self):
        return True


class Stdin(TextIOWrapper):
    def __init__(self, given, *, is_terminal):
        super().__init__(BytesIO(given if isinstance(given, bytes) else given.encode()), encoding="utf-8")
        self._is_terminal = is_terminal

    def isatty(self):
        return self._is_terminal


class Cli:
    """The command in one directory: `cli("signal", "shop:app", …)`."""

    def __init__(self, where):
        self.where = where

    def write(self, name, text):
        path = self.where / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def __call__(self, *args, terminal=None, stdin=""):
        """Run a command. `terminal`: its streams are terminals of so many columns."""
        kind = Terminal if terminal else StringIO
        out, err = kind(), kind()
        environment = {"COLUMNS": str(terminal), "LINES": "50", "TERM": "dumb"} if terminal else {}
        with (
            patch.object(sys, "stdout", out),
            patch.object(sys, "stderr", err),
            patch.object(sys, "stdin", Stdin(stdin, is_terminal=bool(terminal))),
            patch.dict("os.environ", environment),
        ):
            code = exit_code_of(lambda: dawdle.main(list(args), prog_name="dawdle", standalone_mode=False))
        return Ran(code, out.getvalue(), err.getvalue())
