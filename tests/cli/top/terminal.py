"""A command in a pseudo-terminal, and the screen that a person would see."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import contextmanager

import pyte

SECONDS = 60
"""Seconds after which what a test waits for does not come; on a busy machine an interpreter takes ten to start."""


class Terminal:
    def __init__(self, process, ours, theirs, columns, lines):
        self.process = process
        self.written = b""
        self._ours = ours
        self._theirs = theirs
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)

    @property
    def lines(self):
        return [line.rstrip() for line in self._screen.display]

    @property
    def text(self):
        return "\n".join(self.lines)

    @property
    def settings(self):
        return termios.tcgetattr(self._theirs)

    def press(self, keys):
        os.write(self._ours, keys.encode())

    def resize(self, columns, lines):
        set_size(self._theirs, columns, lines)
        self._screen.resize(lines, columns)
        os.kill(self.process.pid, signal.SIGWINCH)  # the kernel tells only a foreground group

    def read(self, seconds):
        """Take what is written, for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self._ours], [], [], left)[0]:
                data = os.read(self._ours, 65536)
                self.written += data
                self._stream.feed(data)

    def shows(self, condition):
        """Wait until the screen's text is as a test wants it."""
        end = time.monotonic() + SECONDS
        while not condition(self.text):
            assert time.monotonic() < end, f"it still shows:\n{self.text}"
            assert self.process.poll() is None, f"it has ended with {self.process.returncode}:\n{self.text}"
            self.read(0.02)

    def ends(self):
        """Wait until the process ends, and return its exit code."""
        end = time.monotonic() + SECONDS
        while self.process.poll() is None:
            assert time.monotonic() < end, f"it does not end:\n{self.text}"
            self.read(0.02)
        self.read(0.02)
        return self.process.returncode

    def stopped(self):
        """Wait until the process is stopped, as by ^Z."""
        end = time.monotonic() + SECONDS
        while not os.WIFSTOPPED(os.waitpid(self.process.pid, os.WUNTRACED | os.WNOHANG)[1]):
            assert time.monotonic() < end, "it is not stopped"
            self.read(0.02)


def set_size(terminal, columns, lines):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


@contextmanager
def running_in_terminal(*args, columns=80, lines=24, where, **environment):
    """Run `dawdle …` in a terminal."""
    ours, theirs = pty.openpty()
    set_size(theirs, columns, lines)
    inherited = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES", "NO_COLOR"}}
    process = subprocess.Popen(
        [sys.executable, "-m", "dawdle", *args],
        cwd=where,
        env={**inherited, "TERM": "xterm-256color", "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    try:
        yield Terminal(process, ours, theirs, columns, lines)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(ours)
        os.close(theirs)
