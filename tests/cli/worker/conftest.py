"""A worker in a process of its own, in a directory with an app, in a pipe or under a pseudo-terminal."""

import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

import dawdle
from tests.ports import free_port

SOON = 30
"""Seconds, on a busy machine too, for what takes a second."""

SHOP = """
import asyncio, os
import dawdle, msgspec
from dawdle.backends.sqlite import SQLite

class OrderPlaced(msgspec.Struct, frozen=True):
    seconds: float = 0.0

@dawdle.on_event(name="receipt", timeout=30, concurrency=4)
async def receipt(event: OrderPlaced) -> None:
    print(f"began in {os.getpid()}", flush=True)
    await asyncio.sleep(event.seconds)
    print(f"receipt of {VERSION} by {os.getpid()}", flush=True)

VERSION = 1
app = dawdle.Dawdle(SQLite("app.db"), grace=20)
"""


class Worker:
    """`dawdle worker` with options, and all that it has printed so far."""

    def __init__(self, where, args, *, terminal=False, environment=None):
        command = [sys.executable, "-m", "dawdle", "worker", *args]
        env = {
            **os.environ,
            "PYTHONPATH": str(Path(dawdle.__file__).parents[1]),
            "COLUMNS": "100",
            "PYTHONDONTWRITEBYTECODE": "",
            **(environment or {}),
        }
        if terminal:
            self.terminal, theirs = os.openpty()
            self.process = subprocess.Popen(
                command,
                cwd=where,
                env=env,
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                start_new_session=True,
                preexec_fn=take_terminal,  # noqa: PLW1509 - the test has one more thread, which only reads
            )
            os.close(theirs)
            reading = self.terminal
        else:
            self.terminal = None
            self.process = subprocess.Popen(
                command, cwd=where, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            reading = self.process.stdout.fileno()
        self._text = ""
        self._hung_up = False
        self._more = threading.Condition()
        self._reader = threading.Thread(target=self._read, args=(reading,), daemon=True)
        self._reader.start()

    @property
    def text(self):
        """What it has printed, without colors."""
        return re.sub(r"\x1b\[[\d;]*m", "", self._text.replace("\r\n", "\n"))

    def until(self, pattern, after=""):
        """Wait until it has printed what matches, and return the match. `after`: only what follows this text counts."""
        with self._more:
            found = None

            def look():
                nonlocal found
                found = re.search(pattern, self.text.partition(after)[2] if after else self.text)
                return found or (self.process.poll() is not None and not self._reader.is_alive())

            self._more.wait_for(look, SOON)
            assert found, f"{pattern!r} is not in:\n{self.text}"
            return found

    def send(self, number):
        self.process.send_signal(number)

    def end(self, number=signal.SIGTERM):
        """Send a signal, and return the exit code when it has ended."""
        self.send(number)
        return self.wait()

    def wait(self):
        self.process.wait(SOON)
        self._reader.join(SOON if self.terminal is None else 0.2)
        return self.process.returncode

    def close_terminal(self):
        """Close the window in which it runs."""
        self._hung_up = True
        self._reader.join()
        os.close(self.terminal)
        self.terminal = None

    def children(self):
        return psutil.Process(self.process.pid).children()

    def close(self):
        with suppress(psutil.NoSuchProcess):
            for each in [*psutil.Process(self.process.pid).children(recursive=True), self.process]:
                with suppress(psutil.NoSuchProcess):
                    each.kill()
        self.process.wait()
        if self.terminal is not None:
            with suppress(OSError):
                os.close(self.terminal)
        elif self.process.stdout is not None:
            self._reader.join(SOON)
            self.process.stdout.close()

    def _read(self, descriptor):
        with suppress(OSError):  # a pseudo-terminal ends by an error
            while not self._hung_up:
                if not select.select([descriptor], [], [], 0.05)[0]:
                    continue
                data = os.read(descriptor, 65536)
                if not data:
                    break
                with self._more:
                    self._text += data.decode(errors="replace")
                    self._more.notify_all()
        with self._more:
            self._more.notify_all()


def take_terminal():
    """Make the pseudo-terminal the one of the new session, so that ^C in it is a signal."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.fixture
def shop(cli):
    """The directory of an app, with commands in this process, which forgets the handlers that they have imported."""
    cli.write("shop.py", SHOP)
    with dawdle.default_registry.restored():
        yield cli


@pytest.fixture
def start(shop):
    """Start workers in that directory, which end with the test."""
    started = []

    def start(*args, **options):
        started.append(Worker(shop.where, args, **options))
        return started[-1]

    yield start
    for each in started:
        each.close()


class Port:
    """The port of a worker."""

    def __init__(self):
        self.number = free_port()

    @property
    def option(self):
        return f"--health-port=127.0.0.1:{self.number}"

    def get(self, path):
        """Return status and text of an answer; None while nothing listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.number}/{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return None

    def json(self, path):
        return json.loads(self.get(path)[1])

    def until_ready(self):
        until(lambda: (self.get("ready") or (0,))[0] == 200)


def until(condition):
    """Wait until a condition holds, and return what it returned."""
    end = time.monotonic() + SOON
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)
    return found


@pytest.fixture
def port():
    return Port()
