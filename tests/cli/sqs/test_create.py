"""`dawdle sqs create`: what it shows, asks, changes and prints."""

import json

import pytest

from dawdle.backends.sqs import SQS
from dawdle.cli.sqs._difference import Change, Found, difference
from dawdle.cli.sqs._plan import make_plan
from tests.cli.sqs.queues import NUMBERS

pytestmark = pytest.mark.once


@pytest.fixture
def name():
    return f"shop-{next(NUMBERS)}"


@pytest.fixture
def create(cli, server):
    return lambda *arguments, **how: cli("sqs", "create", *arguments, "--endpoint-url", server.endpoint_url, **how)


@pytest.fixture
def attributes(loop, client, server):
    async def read(name):
        answer = await client.call(
            "get_queue_attributes", name, QueueUrl=server.queue_url(name), AttributeNames=["All"]
        )
        return answer["Attributes"]

    return lambda name: loop.run(read(name))


def test_a_dry_run_shows_what_it_would_make_and_makes_nothing(create, server, name):
    ran = create(name, "--dry-run")
    assert ran.code == 0
    assert ran.rows[0] == ["QUEUE", "ATTRIBUTE", "NOW", "WANTED"]
    assert [name, "RedrivePolicy", "-", f"{name}-dead after 50 receives"] in ran.rows
    assert [f"{name}-dead", "MessageRetentionPeriod", "-", "1209600"] in ran.rows
    assert name not in server._service.queues


def test_it_makes_the_queues_of_the_guide_and_prints_what_to_set(create, server, name, attributes):
    ran = create(name, "--yes")
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "export DAWDLE_BACKEND=sqs",
        f"export DAWDLE_SQS_QUEUE_URL={server.queue_url(name)}",
        f"export DAWDLE_SQS_DEAD_LETTER_URL={server.queue_url(f'{name}-dead')}",
        f"export DAWDLE_SQS_ENDPOINT_URL={server.endpoint_url}",
        "export DAWDLE_SQS_REGION=us-east-1",
    ]
    made = attributes(name)
    assert json.loads(made["RedrivePolicy"])["maxReceiveCount"] == 50
    wanted = {"MessageRetentionPeriod": "1209600", "ReceiveMessageWaitTimeSeconds": "20", "VisibilityTimeout": "60"}
    assert {key: made[key] for key in wanted} == wanted


def test_a_second_time_there_is_nothing_to_change(create, name):
    first, second = create(name, "--yes"), create(name)
    assert second.code == 0
    assert second.err == "nothing to change\n"
    assert second.out == first.out
    assert create(name, "--dry-run", "--json").out == "[]\n"


def test_a_fifo_queue_gets_a_delay_queue(create, server, name, attributes):
    ran = create(name, "--fifo", "--yes", "--json")
    assert json.loads(ran.out) == {
        "DAWDLE_BACKEND": "sqs",
        "DAWDLE_SQS_QUEUE_URL": server.queue_url(f"{name}.fifo"),
        "DAWDLE_SQS_DEAD_LETTER_URL": server.queue_url(f"{name}-dead.fifo"),
        "DAWDLE_SQS_DELAY_QUEUE_URL": server.queue_url(f"{name}-delayed"),
        "DAWDLE_SQS_ENDPOINT_URL": server.endpoint_url,
        "DAWDLE_SQS_REGION": "us-east-1",
    }
    assert attributes(f"{name}.fifo")["FifoThroughputLimit"] == "perMessageGroupId"
    assert create(f"{name}.fifo", "--dry-run").err == "nothing to change\n"


def test_only_the_difference_is_shown_and_changed(create, name, attributes):
    create(name, "--yes")
    ran = create(name, "--retention", "7d", "--max-receives", "60", "--dry-run")
    assert ran.rows[1:] == [
        [name, "MessageRetentionPeriod", "1209600", "604800"],
        [name, "RedrivePolicy", f"{name}-dead after 50 receives", f"{name}-dead after 60 receives"],
    ]
    assert create(name, "--retention", "7d", "--max-receives", "60", "--yes").code == 0
    made = attributes(name)
    assert made["MessageRetentionPeriod"] == "604800"
    assert json.loads(made["RedrivePolicy"])["maxReceiveCount"] == 60


def test_a_dead_letter_queue_that_it_has_already_stays_its_own(create, name):
    create(name, "--dead-letters", f"{name}-letters", "--yes")
    assert create(name, "--dry-run").err == "nothing to change\n"


def test_it_asks_in_a_terminal_and_no_changes_nothing(create, server, name):
    ran = create(name, terminal=100, stdin="n\n")
    assert ran.code == 1
    assert f"Make {name}-dead and {name}? [y/N]" in ran.err
    assert name not in server._service.queues
    ran = create(name, terminal=100, stdin="y\n")
    assert ran.code == 0
    assert name in server._service.queues
    ran = create(name, "--delay-queue", "--retention", "7d", terminal=100, stdin="n\n")
    assert f"Make {name}-delayed?" in ran.err


def test_without_a_terminal_it_does_not_ask_and_says_what_to_say(create, server, name):
    ran = create(name)
    assert ran.code == 2
    assert "say --yes" in ran.err
    assert name not in server._service.queues


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["no good"], "1 to 80 letters, digits, hyphens and underscores"),
        (["orders.fifth"], "1 to 80 letters"),
        (["orders", "--retention", "15d"], "60 seconds to 14 days"),
        (["orders", "--retention", "soon"], "is no duration"),
        (["orders", "--max-receives", "1001"], "1<=x<=1000"),
        (["orders", "--emit", "yaml"], "terraform"),
        (["orders", "--role", "worker"], "--emit iam"),
        (["orders.fifo", "--dead-letters", "letters"], "a FIFO queue"),
    ],
)
def test_a_mistake_in_the_command_line_is_told_before_any_call(cli, arguments, told):
    ran = cli("sqs", "create", *arguments, "--endpoint-url", "http://127.0.0.1:1")
    assert ran.code == 2
    assert told in " ".join(ran.err.split())


def test_a_server_that_does_not_answer_is_told(cli):
    ran = cli("sqs", "create", "orders", "--endpoint-url", "http://127.0.0.1:1", "--yes")
    assert ran.code == 1
    assert ran.err.startswith("error: no answer: ")
    assert "does the server run?" in ran.err


@pytest.mark.parametrize(
    ("settings", "arguments", "told"),
    [
        ({"AWS_PROFILE": "shop"}, [], "The config profile (shop) could not be found"),
        ({}, ["--endpoint-url", "localhost", "--region", "us-east-1"], "Invalid endpoint: localhost"),
        ({}, ["--region", "no such"], "no such"),
        ({"AWS_PROFILE": "shop"}, ["--emit", "keda"], "The config profile (shop) could not be found"),
    ],
)
def test_settings_that_cannot_work_are_told(cli, monkeypatch, settings, arguments, told):
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    for key, value in settings.items():
        monkeypatch.setenv(key, value)
    ran = cli("sqs", "create", "orders", *arguments, "--yes")
    assert ran.code == 1
    assert told in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("fault", "told"),
    [("access_denied", "AccessDenied"), ("expired_token", "ExpiredToken")],
)
def test_what_aws_refuses_is_told_with_the_call(create, server, name, fault, told):
    rule = server.faults.add(fault, operation="CreateQueue")
    try:
        ran = create(name, "--yes")
    finally:
        server.faults.remove(rule)
    assert ran.code == 1
    assert f"error: {told}" in ran.err
    assert f"(create_queue for {name}-dead)" in ran.err


def test_without_credentials_it_says_which(create, monkeypatch, name):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    ran = create(name, "--yes")
    assert ran.code == 1
    assert "no AWS credentials found" in ran.err


def found(plan, **more):
    """All queues of a plan, as they should be, and some attributes of the events' queue otherwise."""
    letters = f"arn:aws:sqs:us-east-1:1:{plan.dead_letters.name}"
    policy = json.dumps({"deadLetterTargetArn": letters, "maxReceiveCount": str(plan.max_receives)})
    queues = {queue.name: Found(url="", attributes=queue.attributes) for queue in plan.queues}
    events = {**plan.events.attributes, "RedrivePolicy": policy, **more}
    return {**queues, plan.events.name: Found(url="", attributes=events)}


def test_what_is_better_than_wanted_stays_unless_it_was_chosen():
    plan = make_plan("orders")
    arn = "arn:aws:sqs:us-east-1:1:orders-dead"
    more = {"RedrivePolicy": json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 500})}
    assert difference(plan, found(plan, **more)) == []
    assert difference(plan, found(plan, **more), given=["maxReceiveCount"]) == [
        Change(
            queue="orders",
            attribute="RedrivePolicy",
            now="orders-dead after 500 receives",
            wanted="orders-dead after 50 receives",
        )
    ]


def test_a_key_of_its_own_is_not_taken_from_a_queue():
    plan = make_plan("orders")
    assert difference(plan, found(plan, KmsMasterKeyId="alias/shop", SqsManagedSseEnabled="false")) == []


def test_the_queues_that_it_makes_are_those_that_an_app_uses(create, server, name, monkeypatch):
    """What it prints is set, and the backend finds its dead-letter queue and its delay queue by it."""
    for line in create(name, "--delay-queue", "--yes").out.splitlines():
        key, _, value = line.removeprefix("export ").partition("=")
        monkeypatch.setenv(key, value)
    queue = SQS()
    assert repr(queue.dead_letters) == f"<SQS {server.queue_url(f'{name}-dead')}>"
    assert repr(queue.delayed) == f"<SQS {server.queue_url(f'{name}-delayed')}>"
