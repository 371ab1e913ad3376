"""The example of roles, run as a reader runs it: three processes, and each does its part and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.slow
def test_each_of_three_processes_does_its_part_and_nothing_else():
    command = [sys.executable, "-m", "roles.demo", "--videos", "8"]
    ended = subprocess.run(command, cwd=EXAMPLES, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [line.split() for line in ended.stdout.splitlines()[1:]] == [
        ["default", "publish", "default", "8"],
        ["default", "thank", "default", "8"],
        ["video", "encode", "video", "8"],
    ]
