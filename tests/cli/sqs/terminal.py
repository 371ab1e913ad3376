"""A command as a process: in a pipe, or under a pseudo-terminal that a person types into."""

import os
import re
import select
import subprocess
import sys
import time
from contextlib import contextmanager

DAWDLE = [sys.executable, "-m", "dawdle"]
SECONDS = 60
"""Until a process that says nothing has failed; on a busy machine an interpreter takes ten to start."""

TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)
"""Makes the terminal that of the process, so that a ^C is typed, and not sent."""

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def piped(*arguments, environment=None, code=0):
    """Run a command to its end in a pipe, and return what it printed."""
    done = subprocess.run(
        [*DAWDLE, *arguments], env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


class Terminal:
    """A process whose streams are one pseudo-terminal."""

    def __init__(self, process, master):
        self.process = process
        self.master = master
        self.shown = ""

    def wait_for(self, text):
        """Read until the screen has shown a text."""
        end = time.monotonic() + SECONDS
        while text not in ESCAPES.sub("", self.shown):
            assert time.monotonic() < end, f"{text!r} never came: {self.shown!r}"
            if not self._read():
                raise AssertionError(f"{text!r} never came, and the process ended: {self.shown!r}")

    def type(self, text):
        os.write(self.master, text.encode())

    def end(self, *, typing=""):
        """Read all until the process ends, and return its exit code; type something as long as it says nothing."""
        end = time.monotonic() + SECONDS
        before = None
        while self._read():
            assert time.monotonic() < end, f"it does not end: {self.shown!r}"
            if typing and self.shown == before:
                self.type(typing)
            before = self.shown
        return self.process.wait(SECONDS)

    @property
    def text(self):
        return ESCAPES.sub("", self.shown).replace("\r", "")

    def _read(self):
        if not select.select([self.master], [], [], 1)[0]:
            return self.process.poll() is None
        try:
            data = os.read(self.master, 65536)
        except OSError:  # how Linux says that the other side has closed
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)


@contextmanager
def terminal(*arguments, environment, columns=100):
    """Start a command under a pseudo-terminal of so many columns, and kill it if the block leaves it running."""
    import fcntl
    import pty
    import struct
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-ISc", TAKE_TERMINAL, *DAWDLE, *arguments],
        env={**environment, "TERM": "xterm-256color", "COLUMNS": str(columns)},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(SECONDS)
        os.close(master)
