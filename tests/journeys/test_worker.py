"""A small one of the journey in worker.py; `nox -s cli` runs the large ones."""

import subprocess
import sys

import pytest

pytestmark = [pytest.mark.once, pytest.mark.slow]


def test_a_worker_that_is_killed_and_changed_under_load_loses_nothing():
    command = [sys.executable, "-m", "tests.journeys.worker", "--sqlite", "--events=100", "--processes=2", "--rounds=1"]
    command += ["--only", "kill_one", "change"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    figures = {line[:42].strip(): line[42:].strip() for line in done.stdout.splitlines()}
    assert (figures["events"], figures["lost"], figures["disturbances"]) == ("100", "0", "3")
