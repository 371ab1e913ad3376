"""The guide "Testing against SQS": its snippets run, its table is complete, its commands work."""

import os
import re
import shutil
import subprocess
import sys
from inspect import iscoroutinefunction
from pathlib import Path
from typing import get_args

import pytest

from dawdle.testing.sqs import FaultName

pytestmark = pytest.mark.once

PAGE = (Path(__file__).parents[2] / "docs/guides/testing-against-sqs.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def stories():
    """Return the tests of the page; every block goes on where the one before ended."""
    names = {}
    for block in blocks("python"):
        exec(compile(block, "testing-against-sqs.md", "exec"), names)
    return [value for name, value in names.items() if name.startswith("test_")]


def test_the_page_has_a_story_in_every_python_block():
    assert len(stories()) == len(blocks("python")) == 4
    assert all(iscoroutinefunction(story) for story in stories())


@pytest.mark.anyio
@pytest.mark.slow
@pytest.mark.parametrize("story", stories(), ids=lambda story: story.__name__)
async def test_a_story_of_the_page_is_true(story):
    await story()


def test_the_table_names_every_fault():
    (table,) = re.findall(r"\| fault \|.*?\n\n", PAGE, re.DOTALL)
    named = {name for row in table.strip().splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named == set(get_args(FaultName))


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
def test_the_commands_of_the_page_work():
    (serve,) = [block for block in blocks("sh") if "dawdle.testing.sqs" in block]
    (curls,) = [block for block in blocks("sh") if "curl" in block]
    command = [sys.executable, *serve.split()[1:]]
    command[command.index("--port") + 1] = "0"
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        said = [process.stdout.readline() for _ in range(11)]
        environment = dict(line.removeprefix("export ").strip().split("=", 1) for line in said if "export" in line)
        assert environment["DAWDLE_SQS_QUEUE_URL"].endswith("/orders")
        assert environment["DAWDLE_SQS_DEAD_LETTER_URL"].endswith("/orders-dead")
        done = subprocess.run(
            ["sh", "-e", "-c", curls],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert '"fault":"throttle"' in done.stdout.replace(" ", "")
    finally:
        process.terminate()
        assert process.wait(60) == 0
        process.stdout.close()
