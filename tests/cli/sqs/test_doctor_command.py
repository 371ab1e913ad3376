"""`dawdle sqs doctor`: which queues it looks at, and how it prints."""

import json

import pytest

from tests.cli.sqs.queues import make

pytestmark = pytest.mark.once

APP = """
import dawdle
from dawdle.backends.memory import Memory
from dawdle.backends.sqs import SQS

app = dawdle.Dawdle(queues={{"default": SQS("{events}", region="us-east-1", wait={wait}), "memory": Memory()}})
memory = dawdle.Dawdle(Memory())
"""


@pytest.fixture
def made(loop, client):
    return loop.run(make(client))


def test_the_queues_of_an_app_are_looked_at(cli, made):
    cli.write("shop.py", APP.format(events=made.events, wait=20))
    ran = cli("sqs", "doctor", "shop:app")
    assert (ran.code, ran.rows, ran.err) == (
        0,
        [["SEVERITY", "RULE", "WHERE", "WHAT", "WHY", "FIX"]],
        "no findings\n",
    )


def test_what_the_app_itself_does_is_looked_at_too(cli, made):
    cli.write("shop.py", APP.format(events=made.events, wait=2))
    ran = cli("sqs", "doctor", "--app", "shop:app", "--json")
    assert ran.code == 1
    (report,) = json.loads(ran.out)
    assert [each["rule"] for each in report["findings"]] == ["sqs.app-wait"]
    assert report["idle_requests_a_month"] == 1_357_800  # 31 polls in 60 s
    assert report["idle_dollars_a_month"] == 0.54
    assert report["facts"]["events"]["url"] == made.events


def test_a_url_is_not_mixed_up_with_the_queues_of_the_environment(cli, made, monkeypatch):
    monkeypatch.setenv("DAWDLE_SQS_QUEUE_URL", "http://127.0.0.1:1/000000000000/other")
    monkeypatch.setenv("DAWDLE_SQS_DEAD_LETTER_URL", "http://127.0.0.1:1/000000000000/other-dead")
    assert cli("sqs", "doctor", made.events).code == 0


def test_the_queue_of_the_environment_is_looked_at(cli, made, monkeypatch):
    monkeypatch.setenv("DAWDLE_SQS_QUEUE_URL", made.events)
    assert cli("sqs", "doctor", "--role", "signaler").code == 0


def test_a_terminal_gets_the_counts_and_the_cost_too(cli, loop, made):
    loop.run(made.send(made.events))
    ran = cli("sqs", "doctor", made.events, "--workers", "3", terminal=100)
    assert ran.code == 0
    heads, events, dead = (line.split() for line in ran.out.splitlines()[:3])
    assert heads == ["QUEUE", "HOLDS", "VISIBLE", "IN", "FLIGHT", "DELAYED", "OLDEST"]
    assert events == [made.name, "events", "1", "0", "0", "?"]
    assert dead == [f"{made.name}-dead", "dead", "letters", "0", "0", "0", "?"]
    assert "worker: 6 of 6 permissions. While nothing happens, 3 workers would cost $0.16 a month" in ran.out


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["orders"], 2, "'orders' is neither an app, as module:attribute, nor the URL of a queue"),
        (["shop:memory"], 1, "shop:memory has no queue on SQS"),
        (["shop:ap"], 1, "shop has no 'ap'"),
        ([], 1, "set DAWDLE_SQS_QUEUE_URL"),
        (["http://127.0.0.1:1/000000000000/orders"], 1, "does the server run?"),
        (["https://sqs.eu-central-1.amazonaws.com"], 1, "is not a queue URL"),
    ],
)
def test_what_cannot_be_looked_at_is_told(cli, made, arguments, code, told):
    cli.write("shop.py", APP.format(events=made.events, wait=20))
    ran = cli("sqs", "doctor", *arguments)
    assert ran.code == code
    assert told in " ".join(ran.err.split())


def test_a_profile_that_is_not_there_is_told(cli, made, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "shop")
    ran = cli("sqs", "doctor", made.events)
    assert ran.code == 1
    assert "The config profile (shop) could not be found" in ran.err
