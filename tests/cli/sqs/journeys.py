"""The evenings with `dawdle sqs` that take long, on the test server and on ministack: `nox -s sqs`."""

import json
import re
import subprocess
from io import BytesIO
from zipfile import ZipFile

import boto3
import pytest

from tests.cli.sqs.queues import make
from tests.cli.sqs.terminal import DAWDLE, SECONDS, piped, terminal
from tests.cli.sqs.test_journeys import Served, plain
from tests.cli.sqs.test_planted import NOT_ON_MINISTACK, PLANTED, told
from tests.cli.sqs.test_probes import harmless
from tests.servers import ministack


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


@pytest.fixture(scope="module")
def aws():
    """ministack with all that the doctor asks beside SQS."""
    with ministack("sqs,lambda,iam,sts,cloudwatch,cloudformation") as url:
        yield url


def test_a_lambda_function_that_receives_is_found(aws):
    credentials = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    environment = {**plain(), **credentials, "AWS_ENDPOINT_URL": aws}
    named = json.loads(piped("sqs", "create", "watched", "--yes", "--json", environment=environment).stdout)
    queue = named["DAWDLE_SQS_QUEUE_URL"]
    assert piped("sqs", "doctor", queue, environment=environment).stderr == "no findings\n"
    code = BytesIO()
    with ZipFile(code, "w") as file:
        file.writestr("mail.py", "def handler(event, context): return None")
    own = {"endpoint_url": aws, "region_name": "us-east-1", "aws_access_key_id": "t", "aws_secret_access_key": "t"}
    client = boto3.client("lambda", **own)
    role = "arn:aws:iam::000000000000:role/mail"
    client.create_function(
        FunctionName="mail", Runtime="python3.12", Role=role, Handler="mail.handler", Code={"ZipFile": code.getvalue()}
    )
    arn = "arn:aws:sqs:us-east-1:000000000000:watched"
    mapping = client.create_event_source_mapping(EventSourceArn=arn, FunctionName="mail", Enabled=True)["UUID"]
    (_, line) = piped("sqs", "doctor", queue, environment=environment, code=1).stdout.splitlines()
    assert line.split("\t")[:4] == ["warning", "sqs.lambda", "watched", "the Lambda function mail receives from it"]
    assert f"--uuid {mapping} " in line
    client.update_event_source_mapping(UUID=mapping, Enabled=False)
    assert piped("sqs", "doctor", queue, environment=environment).stderr == "no findings\n"
    client.close()


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
    assert ran.stdout == "QUEUE\tATTRIBUTE\tNOW\tWANTED\n"
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
