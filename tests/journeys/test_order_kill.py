"""A small one of the journey in order_kill.py; the large ones are run alone."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.once


@pytest.mark.slow
def test_workers_that_are_killed_lose_nothing_and_keep_the_order_of_each_group():
    command = [sys.executable, "-m", "tests.journeys.order_kill"]
    small = ["--customers", "30", "--events", "10", "--kills", "12"]
    done = subprocess.run([*command, *small], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
