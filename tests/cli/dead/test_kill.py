"""A redrive ends at the worst moment, when events are stored and their letters not yet deleted: none is lost.

kill.py ends redrives of thousands at random, on SQS too; `nox -s dead` runs it.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest

from dawdle.abc import Outgoing
from dawdle.backends.sqlite import SQLite
from tests.cli.dead.kill import browsed, letter

pytestmark = [
    pytest.mark.once,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for another process"),
]

LETTERS = {f"e-{number}" for number in range(500)}


@pytest.fixture
def held(tmp_path):
    """A redrive of 500 letters, as a process that holds in its second batch of 100."""

    async def fill():
        async with SQLite(tmp_path / "shop.db") as queue:
            for start in range(0, 500, 100):
                await queue.dead_letters.send([Outgoing(letter(number)) for number in range(start, start + 100)])

    asyncio.run(fill())
    variables = {
        "DAWDLE_BACKEND": "tests.cli.dead.held.Held",
        "DAWDLE_SQLITE_PATH": "shop.db",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, "-m", "dawdle", "dead", "redrive", "--yes"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=os.environ | variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            end = time.monotonic() + 60
            while not (tmp_path / "holding").exists():
                assert process.poll() is None, process.stderr.read()
                assert time.monotonic() < end
                time.sleep(0.01)
            yield process
        finally:
            process.kill()


def stored(path):
    """The ids of the letters and of the events, hidden or not."""

    async def look():
        async with SQLite(path / "shop.db") as queue:
            return await browsed(queue.dead_letters), await browsed(queue)

    return asyncio.run(look())


def test_killed_in_the_middle_each_letter_is_a_letter_or_an_event(held, tmp_path):
    held.kill()
    held.wait(60)
    letters, events = stored(tmp_path)
    assert {*letters, *events} == LETTERS
    assert len(letters) == 400, "those of the first batch are deleted"
    assert {*letters} & {*events}, "those of the second are stored, and not yet deleted"


def test_interrupted_in_the_middle_the_batch_under_way_ends_and_no_letter_is_both(held, tmp_path):
    held.send_signal(signal.SIGINT)
    assert "ending after what is under way" in held.stderr.readline()
    (tmp_path / "go-on").touch()
    out, err = held.communicate(timeout=60)
    assert (held.returncode, out) == (130, "")
    assert "dead letters redriven before that: 200; all others are still in the dead-letter queue" in err
    letters, events = stored(tmp_path)
    assert (len(letters), len(events)) == (300, 200)
    assert {*letters, *events} == LETTERS


def test_interrupted_twice_it_ends_at_once_and_loses_nothing(held, tmp_path):
    held.send_signal(signal.SIGINT)
    held.stderr.readline()
    held.send_signal(signal.SIGINT)
    held.stderr.readline()
    (tmp_path / "go-on").touch()  # what was cut short is not awaited, but the queue is left in order
    out, err = held.communicate(timeout=60)
    assert (held.returncode, out) == (130, "")
    assert "interrupted" in err
    letters, events = stored(tmp_path)
    assert {*letters, *events} == LETTERS
