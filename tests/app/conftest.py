"""The app is tested on a held clock, without sleep, and leaves no task behind."""

import subprocess
import sys
import textwrap
import time
from contextlib import asynccontextmanager

import msgspec
import pytest

from dawdle import Dawdle, Registry
from dawdle.backends.memory import Memory


@pytest.fixture(autouse=True)
async def leaves_no_task(no_task_is_left):
    return


@pytest.fixture
def registry():
    return Registry()


@pytest.fixture
def queue(clock):
    return Memory(clock=clock, max_delay=900)


@pytest.fixture
def moments():
    return []


@pytest.fixture
def make_app(registry, queue, clock, moments):
    """Make an app on the held clock."""

    def make(backend=None, **options):
        return Dawdle(backend or queue, **{"registry": registry, "clock": clock, "hooks": [moments.append], **options})

    return make


@pytest.fixture
def running(make_app):
    """Enter an app on the held clock."""

    @asynccontextmanager
    async def run(backend=None, **options):
        async with make_app(backend, **options) as app:
            yield app

    return run


@pytest.fixture
def letters(queue):
    """Read what is in the dead-letter queue."""
    return lambda: [msgspec.json.decode(body) for body in queue.dead_letters.messages()]


WORKER = """
import asyncio, time
import dawdle, msgspec
from dawdle.backends.memory import Memory

class Placed(msgspec.Struct):
    seconds: float

queue = Memory()
"""


class Worker:
    def __init__(self, path, body):
        path.write_text(WORKER + textwrap.dedent(body))
        self.process = subprocess.Popen(
            [sys.executable, "-u", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def ready(self):
        assert self.process.stdout.readline() == "ready\n"

    def end(self, *signals, pause=0.5):
        """Send signals, each when the one before has arrived: two of a kind that wait together are one."""
        started = time.monotonic()
        for index, number in enumerate(signals):
            time.sleep(pause if index else 0)
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err, time.monotonic() - started


@pytest.fixture
def worker(tmp_path):
    workers = []

    def start(body):
        workers.append(Worker(tmp_path / "worker.py", body))
        return workers[-1]

    yield start
    for each in workers:
        if each.process.poll() is None:
            each.process.kill()
            each.process.communicate()
