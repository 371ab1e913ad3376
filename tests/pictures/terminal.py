"""Runs a command in a pseudo-terminal, and draws what it printed there as SVG. Knows no command."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

__all__ = ["draw", "printed"]

LINES = 50
SECONDS = 60
"""Seconds in which a command must have printed what is waited for, or have ended."""


def printed(
    command: Sequence[str],
    *,
    columns: int,
    where: Path,
    environment: Mapping[str, str],
    until: Callable[[str], bool] | None = None,
) -> str:
    """Run a command in a terminal of so many columns, and return what it wrote.

    It runs to its end; or `until` what it has written is enough, and is then ended by SIGINT.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, columns, 0, 0))
    env = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", **environment}
    env.pop("COLUMNS", None)
    process = subprocess.Popen(command, cwd=where, env=env, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    try:
        written = _read(ours, until)
        if until is not None:
            process.send_signal(signal.SIGINT)
            _read(ours, None)
        process.wait(SECONDS)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(ours)
    return written


def _read(terminal: int, until: Callable[[str], bool] | None) -> str:
    data = b""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            more = os.read(terminal, 65536)
        except OSError:  # Linux: the process has closed its end
            more = b""
        if not more:
            return data.decode(errors="replace")
        data += more
        if until is not None and until(data.decode(errors="replace")):
            return data.decode(errors="replace")
    raise TimeoutError(f"the command printed: {data.decode(errors='replace')}")


def draw(written: str, path: Path, *, title: str, columns: int) -> None:
    """Draw what a command wrote, without what moves the cursor, as a picture of a terminal."""
    text = Text.from_ansi(re.sub(r"\x1b\[[0-9;?]*[A-HJKSTfhlnsu]", "", written.replace("\r\n", "\n")).rstrip())
    console = Console(record=True, width=columns, file=StringIO(), force_terminal=True, color_system="truecolor")
    console.print(f"[bold]$[/] {title}", highlight=False)
    console.print(text)
    svg = console.export_svg(title="", unique_id=path.stem)
    # Fonts from another site are left out: a page that is read offline has the reader's own.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(svg, encoding="utf-8")
