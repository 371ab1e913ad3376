"""The evenings with `dawdle sqs` that take long, on the test server and on ministack: `nox -s sqs`."""

import re
import subprocess

import pytest

from tests.cli.sqs.queues import make
from tests.cli.sqs.terminal import DAWDLE, SECONDS, piped, terminal
from tests.cli.sqs.test_journeys import Served, plain
from tests.cli.sqs.test_planted import NOT_ON_MINISTACK, PLANTED, told
from tests.cli.sqs.test_probes import harmless


@pytest.fixture(scope="module")
def served():
    with Served("--port", "0", "--queue", "orders.fifo", "--queue", "mail") as served:
        yield served


def make_break_and_mend(environment):
    """One evening: make queues in a terminal, break one, find it, mend it by what the doctor prints."""
    with terminal("sqs", "create", "shop", "--delay-queue", environment=environment) as screen:
        screen.wait_for("Make shop-dead and shop-delayed and shop? [y/N]")
        screen.type("y\r")
        assert screen.end() == 0
    named = dict(re.findall(r"^export (\w+)=(.*)$", screen.text, re.MULTILINE))
    queue = named["DAWDLE_SQS_QUEUE_URL"]
    again = piped("sqs", "create", "shop", "--delay-queue", "--yes", environment=environment)
    assert again.stderr == "nothing to change\n"
    assert dict(re.findall(r"^export (\w+)=(.*)$", again.stdout, re.MULTILINE)) == named

    shop = {**environment, **named}
    assert piped("sqs", "doctor", environment=shop).stderr == "no findings\n"
    piped("sqs", "create", "shop", "--max-receives", "5", "--yes", environment=environment)
    lines = piped("sqs", "doctor", environment=shop, code=1).stdout.splitlines()
    assert [line.split("\t")[:3] for line in lines[1:]] == [["error", "sqs.redrive-count", "shop"]]
    with terminal("sqs", "doctor", queue, environment=shop, columns=60) as screen:
        assert screen.end() == 1
    assert "error shop: maxReceiveCount is 5, and dawdle needs 50" in screen.text
    assert "\x1b[1;31merror" in screen.shown
    (fix,) = [line.strip() for line in screen.text.splitlines() if line.startswith("  aws ")]
    assert fix == lines[1].split("\t")[5]  # not wrapped at 60 columns
    with terminal("sqs", "doctor", queue, environment={**shop, "NO_COLOR": "1"}, columns=60) as screen:
        assert screen.end() == 1
    assert "\x1b[31m" not in screen.shown
    assert ";31m" not in screen.shown


def test_an_evening_on_the_test_server(served):
    make_break_and_mend({**served.environment, "DAWDLE_SQS_ENDPOINT_URL": served.url})


def test_an_evening_on_ministack(ministack_url):
    credentials = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    make_break_and_mend({**plain(), **credentials, "DAWDLE_SQS_ENDPOINT_URL": ministack_url})


def test_a_reader_that_has_enough_is_no_error(served):
    command = " ".join([*DAWDLE, "sqs", "create", "much", "--dry-run"])
    ran = subprocess.run(
        ["sh", "-c", f"{command} | head -1"],
        env=served.environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    assert ran.stdout == "queue\tattribute\tnow\twanted\n"
    assert ran.stderr == ""


def test_a_shell_evaluates_what_create_prints(served):
    command = " ".join([*DAWDLE, "sqs", "create", "evaluated", "--yes"])
    ran = subprocess.run(
        ["sh", "-c", f'eval "$({command})" && echo "$DAWDLE_SQS_QUEUE_URL"'],
        env=served.environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    assert ran.stdout == f"{served.url}/000000000000/evaluated\n"


@pytest.mark.parametrize("name", [name for name in PLANTED if name not in NOT_ON_MINISTACK])
def test_a_planted_mistake_is_found_alone_on_ministack(loop, ministack_client, name):
    async def story():
        plant, rule, which = PLANTED[name]
        made = await make(ministack_client, delayed=True)
        assert told(await made.findings()) == []
        await plant(made)
        assert told(await made.findings()) == [(rule, getattr(made, which).rpartition("/")[2])]

    loop.run(story())


@pytest.mark.parametrize("fifo", [False, True], ids=["standard", "FIFO"])
def test_no_message_is_stored_received_hidden_or_deleted_on_ministack(loop, ministack_client, fifo):
    async def story():
        await harmless(await make(ministack_client, fifo=fifo, delayed=True))

    loop.run(story())
