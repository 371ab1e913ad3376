"""The terminal while `dawdle top` is live: another screen, single keys, and lines that are written if they changed.

Nothing of it is left when the block ends: the shell's screen, its cursor and its line editing are as before.
"""

import asyncio
import logging
import os
import signal
import sys
import termios
import tty
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from functools import cache, partial
from typing import Final

from rich.console import Console
from rich.text import Text

from dawdle.cli.top._keys import keys_of
from dawdle.cli.top._table import Line, size_of

__all__ = ["Screen"]

# xterm's control sequences, which every terminal of today has.
_ENTER: Final = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"  # the other screen, no cursor, no line goes on in the next
_LEAVE: Final = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_BEGIN: Final = "\x1b[?2026h"  # a terminal that knows it shows the picture as a whole; others ignore it
_END: Final = "\x1b[?2026l"
_CLEAR_REST: Final = "\x1b[K"

_MARK: Final = "\0"
STOPS: Final = (signal.SIGTERM, signal.SIGHUP)


class Screen:
    """The screen of standard output, and the keys of standard input if that is a terminal too."""

    def __init__(self, console: Console, on_key: Callable[[str], None], changed: Callable[[], None]) -> None:
        self._console = console
        self._on_key = on_key
        self._changed = changed
        self._shown: list[str] = []
        self._keyboard = sys.stdin.fileno() if sys.stdin.isatty() else None
        self._give_back_keys: Callable[[], None] = lambda: None
        self._codes = cache(self._codes_of)

    @property
    def has_keyboard(self) -> bool:
        """Whether keys can be pressed."""
        return self._keyboard is not None

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines of the terminal, at least one of each."""
        columns, lines = os.get_terminal_size(sys.stdout.fileno())
        return max(1, columns), max(1, lines)

    def draw(self, lines: Sequence[Line]) -> None:
        """Show these lines. What has not changed since the last picture is not written again."""
        width, _ = self.size
        written = [self._written(line, width) for line in lines]
        written += [_CLEAR_REST] * (len(self._shown) - len(written))
        changed = [
            f"\x1b[{at};1H{text}"
            for at, text in enumerate(written, 1)
            if at > len(self._shown) or self._shown[at - 1] != text
        ]
        self._shown = written
        if changed:
            self._write(_BEGIN + "".join(changed) + _END)

    def _written(self, line: Line, width: int) -> str:
        text, size = "", 0
        for span in line:
            before, after = self._codes(span.style) if span.style else ("", "")
            text += before + span.text + after
            size += size_of(span.text)
        # In the last column the cursor stands on the last character, and what clears the rest would clear that.
        return text if size >= width else text + _CLEAR_REST

    def _codes_of(self, style: str) -> tuple[str, str]:
        """Return what turns a style on and off; rich knows what this terminal can, and what NO_COLOR wants."""
        with self._console.capture() as captured:
            self._console.print(Text(_MARK, style), end="")
        before, _, after = captured.get().partition(_MARK)
        return before, after

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    @contextmanager
    def entered(self, stop: Callable[[int], None]) -> Generator[None]:
        """Show the screen until the block ends. `stop` is called with a signal that tells the process to end."""
        loop = asyncio.get_running_loop()
        disabled = logging.root.manager.disable
        logging.disable(logging.CRITICAL)  # a line of a log would be written into the picture
        handled: dict[signal.Signals, Callable[[], None]] = {
            signal.SIGWINCH: self._redraw,
            signal.SIGTSTP: self._suspend,
            signal.SIGCONT: self._redraw,
            **{number: partial(stop, number) for number in STOPS},
        }
        self._take()
        try:
            for number, call in handled.items():
                loop.add_signal_handler(number, call)
            if self._keyboard is not None:
                loop.add_reader(self._keyboard, self._read)
            yield
        finally:
            if self._keyboard is not None:
                loop.remove_reader(self._keyboard)
            for number in handled:
                loop.remove_signal_handler(number)
            self._give_back()
            logging.disable(disabled)

    def _take(self) -> None:
        if self._keyboard is not None:
            self._give_back_keys = partial(
                termios.tcsetattr, self._keyboard, termios.TCSADRAIN, termios.tcgetattr(self._keyboard)
            )
            tty.setcbreak(self._keyboard)  # keys come one by one, and ^C and ^Z still mean what they mean
        self._write(_ENTER)
        self._shown = []

    def _give_back(self) -> None:
        with suppress(OSError, termios.error):  # the terminal may be gone
            self._write(_LEAVE)
            self._give_back_keys()

    def _redraw(self) -> None:
        self._shown = []
        self._write("\x1b[2J")
        self._changed()

    def _suspend(self) -> None:
        """Give the terminal back on ^Z, and take it again when the shell lets this process go on."""
        self._give_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._take()
        self._changed()

    def _read(self) -> None:
        assert self._keyboard is not None
        try:
            keys = os.read(self._keyboard, 100)
        except OSError:  # the terminal is gone
            keys = b""
        if not keys:
            asyncio.get_running_loop().remove_reader(self._keyboard)
        for key in keys_of(keys.decode(errors="ignore")):
            self._on_key(key)
