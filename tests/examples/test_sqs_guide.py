"""The guide "On Amazon SQS": its commands make what they say, and its permissions are enough for both programs.

The page's own text is run, in its order, against the SQS server; only ports and the CLI's endpoint are put in.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.ports import free_port
from tests.servers import running, venv_with

pytestmark = [pytest.mark.once, pytest.mark.xdist_group("sqs guide")]

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/guides/sqs.md").read_text()

OPERATIONS = (
    *("SendMessage", "SendMessageBatch", "ReceiveMessage", "DeleteMessage", "DeleteMessageBatch"),
    *("ChangeMessageVisibility", "ChangeMessageVisibilityBatch", "GetQueueAttributes", "SetQueueAttributes"),
    *("GetQueueUrl", "PurgeQueue", "DeleteQueue", "ListQueueTags", "ListDeadLetterSourceQueues"),
)


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def block(words):
    (found,) = [each for each in blocks("sh") if words in each]
    return found


def policies():
    """What each of the page's policies allows, by the queue's name."""
    found = {}
    for text in blocks("json"):
        statements = json.loads(text)["Statement"]
        allowed = {}
        for statement in statements:
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            allowed[statement["Resource"].rpartition(":")[2]] = {each.removeprefix("sqs:") for each in actions}
        found[statements[0]["Sid"]] = allowed
    return found


def module(command):
    """A command of the page, run with the Python and the packages of this test."""
    name, *arguments = shlex.split(command.removeprefix("cd examples && "))
    return [sys.executable, *(arguments if name == "python" else ("-m", name, *arguments))]


class Machine:
    """A shell as the page's reader has it, and the server that stands for Amazon's."""

    def __init__(self, url, aws, folder):
        self.url = url
        self.aws = aws
        self.folder = folder
        outside = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "DAWDLE_"))}
        self.environment = outside | {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_CONFIG_FILE": str(folder / "none"),
            "NO_PROXY": "127.0.0.1",
        }

    def run(self, script):
        """Run a block, keep what it sets, and return what it prints. CLI 1 must be told its endpoint, 2 need not."""
        script = f'aws() {{ "{self.aws}" --endpoint-url "{self.url}" "$@"; }}\nset -ae\n{script}\nenv -0 > .env'
        ended = subprocess.run(
            ["sh", "-c", script],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        told = (self.folder / ".env").read_text().split("\0")
        self.environment = dict(each.split("=", 1) for each in told if each)
        return ended.stdout

    @contextmanager
    def worker(self):
        """Run the page's worker until the block ends; yields what it prints, by lines."""
        with subprocess.Popen(module(block("orders.worker")), env=self.programs(), stdout=subprocess.PIPE) as process:
            try:
                yield process.stdout
            finally:
                process.kill()

    def programs(self):
        """The environment of both programs: the shell's, and the folder that the page changes to."""
        return self.environment | {"PYTHONPATH": str(ROOT / "examples")}

    def ask(self, path, method="GET", body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_control/{path}", data, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as answer:
            return json.load(answer)

    def allow_only(self, policy):
        """Deny all that a policy does not allow. A batch is allowed with its single action, as AWS has it."""
        self.ask("faults", "DELETE")
        for queue in ("orders", "orders-dead"):
            for operation in OPERATIONS:
                if operation.removesuffix("Batch") not in policy.get(queue, ()):
                    self.ask("faults", "POST", {"fault": "access_denied", "operation": operation, "queue": queue})


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    aws = venv_with("awscli", "DAWDLE_AWSCLI_VENV", "awscli", "aws")
    port = free_port()
    command = [sys.executable, "-m", "dawdle.testing.sqs", "--port", str(port)]
    with running(command, port, dict(os.environ)) as url:
        yield Machine(url, aws, tmp_path_factory.mktemp("machine"))


def attributes_of(machine, name):
    url = f'"$(aws sqs get-queue-url --queue-name {name} --query QueueUrl --output text)"'
    answer = machine.run(f"aws sqs get-queue-attributes --queue-url {url} --attribute-names All")
    return json.loads(answer)["Attributes"]


def test_the_page_has_a_policy_for_each_of_the_two_programs():
    assert {name: set(queues) for name, queues in policies().items()} == {
        "Signal": {"orders"},
        "Handle": {"orders", "orders-dead"},
    }


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
def test_the_page_leads_from_no_queue_to_both_programs_running(machine):
    machine.run(block("--queue-name orders-dead --attributes"))
    orders = attributes_of(machine, "orders")
    assert json.loads(orders["RedrivePolicy"])["deadLetterTargetArn"].endswith(":orders-dead")
    assert int(json.loads(orders["RedrivePolicy"])["maxReceiveCount"]) >= 50
    assert (orders["MessageRetentionPeriod"], orders["ReceiveMessageWaitTimeSeconds"]) == ("1209600", "20")
    assert attributes_of(machine, "orders-dead")["MessageRetentionPeriod"] == "1209600"

    machine.run(block("export DAWDLE_BACKEND"))
    machine.run('aws sqs send-message --queue-url "$DAWDLE_SQS_QUEUE_URL" --message-body "no event"')

    machine.allow_only(policies()["Signal"])
    port = free_port()
    with running(module(block("uvicorn").replace("8000", str(port))), port, machine.programs()):
        place = block("curl").replace("8000", str(port))
        event_ids = [json.loads(machine.run(place.replace("o-1", name)))["event_id"] for name in ("o-1", "o-10")]
    # What the page leaves to the reader: with it, /ready knows of a queue that is away before the first signal.
    refused = machine.ask("faults")["fired"]
    assert {fault["operation"] for fault in refused} <= {"GetQueueAttributes"}

    machine.allow_only(policies()["Handle"])
    with machine.worker() as printed:
        runs = [json.loads(printed.readline()) for _ in range(6)]
    assert {(run["handler"], run["event_id"]) for run in runs} == {
        (handler, event_id) for handler in ("send_receipt", "update_stats", "book_shipping") for event_id in event_ids
    }
    assert {run["event_id"] for run in runs if run["attempt"] == 2} == {event_ids[1]}
    assert machine.ask("faults")["fired"] == refused

    machine.ask("faults", "DELETE")
    letter = json.loads(machine.run(block("aws sqs receive-message")))
    assert letter["type"] == "dawdle.undecodable"
    assert "malformed" in letter["dawdleerror"]


@pytest.mark.slow
def test_the_queue_for_delays_is_made_and_all_three_are_taken_away(machine):
    machine.run(block("--queue-name orders-dead --attributes"))  # to make a queue that is there changes nothing
    machine.run(block("--queue-name orders-delayed --attributes"))
    assert machine.environment["DAWDLE_SQS_DELAY_QUEUE_URL"].endswith("/orders-delayed")
    machine.run(block("delete-queue"))
    assert machine.ask("queues") == {}


@pytest.mark.slow
def test_a_fifo_queue_is_made_with_its_dead_letter_queue(machine):
    machine.run(block("--queue-name orders.fifo"))
    assert machine.environment["DAWDLE_SQS_QUEUE_URL"].endswith("/orders.fifo")
    assert machine.ask("queues").keys() >= {"orders.fifo", "orders-dead.fifo"}
