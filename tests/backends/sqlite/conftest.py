"""What the tests of SQLite share: a path of each test's own, and processes that use the same file."""

import subprocess
import sys
import textwrap

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
from dawdle.backends.sqlite import SQLite
from dawdle.errors import BackendError, ConfigurationError

path = sys.argv[1]

def say(*words):
    print(*words, flush=True)
"""


class Program:
    """Another process. It prints lines, and reads lines from this one."""

    def __init__(self, path, code, *arguments):
        source = PRELUDE + textwrap.dedent(code)
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", source, str(path), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def line(self):
        return self.process.stdout.readline().strip()

    def go(self, text=""):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def rest(self, timeout=60):
        out, _ = self.process.communicate(timeout=timeout)
        return out.split("\n")[:-1]

    def close(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def program(path):
    """Start a program on the test's file: `program(code, *arguments)`."""
    started = []

    def start(code, *arguments):
        started.append(Program(path, code, *arguments))
        return started[-1]

    yield start
    for each in started:
        each.close()
