"""Two small ones of the journey in kill.py; the large ones are run alone, by `nox -s dead`."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.once


@pytest.mark.slow
@pytest.mark.parametrize(("end", "code"), [("INT", "130"), ("KILL", "-9")])
def test_a_redrive_that_is_ended_in_the_middle_loses_nothing(end, code):
    command = [sys.executable, "-m", "tests.cli.dead.kill", "--letters", "500", "--kills", "1", "--with", end]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    figures = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert (figures["lost"], figures["events"]) == ("0", "500")
    assert code in figures["codes"], "it was in the middle"
