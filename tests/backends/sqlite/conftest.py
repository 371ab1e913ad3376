"""What the tests of SQLite share: a path of each test's own, processes that use the same file, a disk that fails."""

import os
import shutil
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from dawdle.backends.sqlite import SQLite


@pytest.fixture(autouse=True)
def no_path_in_the_environment(monkeypatch):
    monkeypatch.delenv("DAWDLE_SQLITE_PATH", raising=False)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "app.db"


@pytest.fixture
def sqlite(path):
    return lambda **options: SQLite(path, **options)


PRELUDE = """
import asyncio, os, signal, sqlite3, sys, time
from dawdle.abc import Outgoing, ReleaseEntry
from dawdle.backends.sqlite import SQLite, _wake_up
from dawdle.errors import BackendError, ConfigurationError

path = sys.argv[1]
# With a long tick, what is heard soon was heard by a wake-up, on a busy machine too.
_wake_up.TICK_SECONDS = float(os.environ.get("TICK", _wake_up.TICK_SECONDS))

def say(*words):
    print(*words, flush=True)
"""


class Program:
    """Another process. It prints lines, and reads lines from this one."""

    def __init__(self, path, code, *arguments, **environment):
        source = PRELUDE + textwrap.dedent(code)
        self.process = subprocess.Popen(
            [sys.executable, "-c", source, str(path), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )

    def line(self):
        return self.process.stdout.readline().strip()

    def go(self, text=""):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def rest(self, timeout=60):
        # Not `communicate`: it reads past the stream, whose buffer may hold lines already, or the beginning of one.
        hangs = threading.Timer(timeout, self.process.kill)
        hangs.start()
        with self.process:  # closes its pipes, and waits
            self.process.stdin.close()
            out = self.process.stdout.read()
        hangs.cancel()
        return out.split("\n")[:-1]

    def close(self):
        self.process.kill()
        with self.process:  # closes its pipes, and waits
            pass


@pytest.fixture
def program(path):
    """Start a program on the test's file: `program(code, *arguments)`."""
    started = []

    def start(code, *arguments, **environment):
        started.append(Program(path, code, *arguments, **environment))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture(scope="session")
def disk_library(tmp_path_factory):
    """The library of `disk.c`, compiled."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs Linux and a C compiler")
    library = tmp_path_factory.mktemp("disk") / "disk.so"
    source = Path(__file__).with_name("disk.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True)
    return library


class Disk:
    """The disk of the programs that are started with its `environment`."""

    def __init__(self, library, directory):
        self._syncs, self._fails, self.synced = (directory / name for name in ("syncs", "fails", "synced"))
        self.synced.mkdir()
        self.environment = {
            "LD_PRELOAD": str(library),
            "DISK_SYNCS": str(self._syncs),
            "DISK_FAILS": str(self._fails),
        }
        self.kept = {**self.environment, "DISK_SYNCED": str(self.synced)}
        """The environment of a program whose synced files are kept in `synced`."""

    @property
    def syncs(self):
        return self._syncs.stat().st_size if self._syncs.exists() else 0

    def fail(self):
        self._fails.touch()

    def recover(self):
        self._fails.unlink()


@pytest.fixture
def disk(disk_library, tmp_path):
    (tmp_path / "disk").mkdir()
    return Disk(disk_library, tmp_path / "disk")
