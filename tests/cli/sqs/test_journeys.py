"""`dawdle sqs` as processes: on a laptop with the test server, under a terminal and in pipes; and on ministack."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest

from tests.cli.sqs.terminal import DAWDLE, SECONDS, piped, terminal
from tests.ports import free_port

pytestmark = [
    pytest.mark.once,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals"),
]

APP = """
import asyncio, dawdle, msgspec

class Ordered(msgspec.Struct):
    number: int

done = asyncio.Event()

@dawdle.on_event
async def take(event: Ordered) -> None:
    print("took", event.number)
    done.set()

async def main():
    async with dawdle.Dawdle(grace=0.1) as app:
        await app.signal(Ordered(7), delay=1)
        await asyncio.wait_for(done.wait(), 60)
asyncio.run(main())
"""


def plain():
    """The environment without a word about AWS or dawdle."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "DAWDLE_"))}
    return {**own, "AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent"}


class Served:
    """`dawdle sqs serve` in a pipe, and the environment that it prints."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            [*DAWDLE, "sqs", "serve", *arguments], env=plain(), stdout=subprocess.PIPE, text=True
        )

    def __enter__(self):
        lines = iter(
            self.process.stdout.readline, "# Stop it with Ctrl-C. Its messages are in memory and end with it.\n"
        )
        self.banner = "".join(lines)
        named = dict(re.findall(r"^export (\w+)=(.*)$", self.banner, re.MULTILINE))
        self.environment = {**plain(), **named}
        self.url = named["AWS_ENDPOINT_URL_SQS"]
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(SECONDS)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def served():
    with Served("--port", "0", "--queue", "orders.fifo", "--queue", "mail") as served:
        yield served


def test_what_serve_prints_is_all_that_an_app_needs(served):
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", APP],
        env=served.environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (0, "took 7\n"), ran.stderr


def test_the_queues_that_are_served_have_no_finding(served):
    assert piped("sqs", "doctor", environment=served.environment).stderr == "no findings\n"
    mail = f"{served.url}/000000000000/mail"
    assert (
        json.loads(piped("sqs", "doctor", mail, "--json", environment=served.environment).stdout)[0]["findings"] == []
    )


def test_a_port_in_use_is_told(served):
    port = served.url.rpartition(":")[2]
    ran = piped("sqs", "serve", "--port", port, environment=plain(), code=1)
    assert ran.stderr.startswith(f"error: port {port} of 127.0.0.1 is in use")
    assert "--port 0" in ran.stderr
    assert ran.stdout == ""


def test_serve_takes_the_port_that_it_is_told_and_ends_on_a_signal():
    port = free_port()
    with Served("--port", str(port)) as served:
        assert served.url == f"http://127.0.0.1:{port}"
        served.process.send_signal(signal.SIGINT)
        assert served.process.wait(SECONDS) == 0


def test_ctrl_c_at_the_question_changes_nothing(served):
    with terminal("sqs", "create", "never", environment=served.environment) as screen:
        screen.wait_for("[y/N]")
        # More than once if need be: CPython misses a ^C in the instant between its prompt and its read.
        assert screen.end(typing="\x03") == 130
    assert "interrupted" in screen.text
    ran = piped("sqs", "create", "never", "--dry-run", "--json", environment=served.environment)
    assert len(json.loads(ran.stdout)) == 9  # all of both queues is still to be made
