"""A small one of the journey in kill.py; the large ones are run alone."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.once


def figures_of(*arguments, timeout):
    command = [sys.executable, "-m", "tests.journeys.kill", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    return {line[:24].strip(): float(line[24:].replace(",", "")) for line in done.stdout.splitlines()}


@pytest.mark.slow
def test_processes_on_one_sqlite_file_that_are_killed_lose_nothing():
    figures = figures_of("--sqlite", "--orders", "200", "--processes", "2", "--kills", "2", timeout=100)
    assert figures["kills"] >= 2
    assert figures["lost"] == 0


@pytest.mark.slow
def test_workers_that_are_killed_lose_nothing_and_run_again_only_what_was_in_hand():
    figures = figures_of("--orders", "1500", "--patience", "40", timeout=100)
    assert figures["kills"] >= 3
    assert figures["lost"] == 0
