"""The doctor's rules about what no server for tests can hold: facts in, findings out."""

import json
import re
import shlex
from pathlib import Path

import msgspec
import pytest

from dawdle.cli.sqs._doctor.facts import Facts, LambdaMapping, QueueFacts, Try
from dawdle.cli.sqs._doctor.queue_rules import duration
from dawdle.cli.sqs._doctor.rules import findings
from dawdle.cli.sqs._plan import make_plan

ACCOUNT = "https://sqs.eu-central-1.amazonaws.com/123456789012"
ARN = "arn:aws:sqs:eu-central-1:123456789012"


def queue_facts(plan, queue, **attributes):
    written = {"QueueArn": f"{ARN}:{queue.name}", **queue.attributes}
    if queue is plan.events:
        policy = {"deadLetterTargetArn": f"{ARN}:{plan.dead_letters.name}", "maxReceiveCount": plan.max_receives}
        written["RedrivePolicy"] = json.dumps(policy)
    return QueueFacts(purpose=queue.purpose, url=f"{ACCOUNT}/{queue.name}", attributes={**written, **attributes})


def facts_of(name="orders", *, dead_letters=None, events=None, **more):
    plan = make_plan(name, dead_letters=dead_letters)
    return Facts(
        events=queue_facts(plan, plan.events, **(events or {})),
        dead_letters=queue_facts(plan, plan.dead_letters),
        delayed=None if plan.delayed is None else queue_facts(plan, plan.delayed),
        options="--region eu-central-1",
        **more,
    )


def changed(facts, **events):
    return msgspec.structs.replace(facts, events=msgspec.structs.replace(facts.events, **events))


def told(facts):
    return [(each.severity, each.rule, each.where) for each in findings(facts)]


@pytest.mark.parametrize("name", ["orders", "orders.fifo"])
def test_queues_as_planned_are_well(name):
    assert told(facts_of(name)) == []


WRONG = {
    "a key that is asked for often": (
        facts_of(events={"KmsMasterKeyId": "alias/aws/sqs", "KmsDataKeyReusePeriodSeconds": "60"}),
        # And the letters have no key.
        [("warning", "sqs.encryption", "orders-dead"), ("warning", "sqs.key-reuse", "orders")],
    ),
    "a FIFO queue with one limit": (
        facts_of("orders.fifo", events={"FifoThroughputLimit": "perQueue"}),
        [("warning", "sqs.fifo-throughput", "orders.fifo")],
    ),
    "a FIFO queue that cannot delay": (
        msgspec.structs.replace(facts_of("orders.fifo"), delayed=None),
        [("note", "sqs.no-delay-queue", "orders.fifo")],
    ),
    "much in flight": (
        facts_of(events={"ApproximateNumberOfMessagesNotVisible": "96000"}),
        [("error", "sqs.in-flight", "orders")],
    ),
    "old events": (changed(facts_of(), oldest=8 * 86400.0), [("error", "sqs.oldest", "orders")]),
    "a Lambda function": (
        changed(facts_of(), mappings=[LambdaMapping(function="mail", uuid="u-1", enabled=True)]),
        [("warning", "sqs.lambda", "orders")],
    ),
    "polls of another": (
        changed(facts_of(workers=2), empty_receives=3600.0),
        [("warning", "sqs.other-consumers", "orders")],
    ),
    "messages in flight without a worker": (
        facts_of(workers=0, events={"ApproximateNumberOfMessagesNotVisible": "3"}),
        [("warning", "sqs.other-consumers", "orders")],
    ),
    "an app that polls often": (facts_of(wait=1), [("warning", "sqs.app-wait", "orders")]),
    "a dead-letter queue of another sort": (
        facts_of("orders.fifo", dead_letters="letters"),
        [("error", "sqs.dead-letter-kind", "letters")],
    ),
    "two dead-letter queues": (
        msgspec.structs.replace(
            facts_of(), dead_letters=facts_of(dead_letters="mine").dead_letters, letters_set=f"{ACCOUNT}/mine"
        ),
        [("warning", "sqs.two-dead-letter-queues", "orders")],
    ),
    "what could not be asked": (
        facts_of(unasked={"the age of the oldest event": "AccessDenied"}),
        [("note", "sqs.not-asked", "orders")],
    ),
    "a probe that was stored": (
        facts_of(
            tries=[Try(queue=f"{ACCOUNT}/orders", action="SendMessage", answer="allowed", detail="", stored=True)]
        ),
        [("note", "sqs.probe-stored", "orders")],
    ),
}
WELL = {
    "a Lambda function that is off": changed(
        facts_of(), mappings=[LambdaMapping(function="mail", uuid="u-1", enabled=False)]
    ),
    "no event is old": changed(facts_of(), oldest=6 * 86400.0),
    "idle workers": changed(facts_of(workers=20), empty_receives=20 * 186.0),
    "busy workers": changed(facts_of(workers=20), empty_receives=0.0),
    "no worker": facts_of(workers=0),
    "an answer that says nothing": facts_of(
        tries=[Try(queue=f"{ACCOUNT}/orders", action="SendMessage", answer="unknown", detail="RequestThrottled")]
    ),
    "dead letters that the app names": msgspec.structs.replace(
        facts_of(events={"RedrivePolicy": ""}), letters_set=f"{ACCOUNT}/orders-dead"
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_found_alone(name):
    facts, wanted = WRONG[name]
    assert told(facts) == wanted


@pytest.mark.parametrize("name", WELL)
def test_what_is_right_is_no_finding(name):
    assert told(WELL[name]) == []


def denied(principal, **options):
    tries = [
        Try(queue=f"{ACCOUNT}/orders", action=action, answer="denied", detail="AccessDenied")
        for action in ("ReceiveMessage", "DeleteMessage")
    ]
    (finding,) = findings(facts_of(tries=tries, principal=principal, **options))
    return finding


@pytest.mark.parametrize(
    ("principal", "words"),
    [
        (
            "arn:aws:sts::123456789012:assumed-role/shop-worker/i-0abc",
            ["put-role-policy", "--role-name", "shop-worker"],
        ),
        ("arn:aws:iam::123456789012:user/team/ann", ["put-user-policy", "--user-name", "ann"]),
    ],
)
def test_a_denied_permission_is_mended_by_a_policy_for_whose_credentials_they_are(principal, words):
    command = shlex.split(denied(principal).fix)
    assert command[:5] == ["aws", "iam", *words]
    assert json.loads(command[command.index("--policy-document") + 1]) == {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": ["sqs:ReceiveMessage", "sqs:DeleteMessage"], "Resource": f"{ARN}:orders"}
        ],
    }


def test_where_it_is_not_known_whose_they_are_the_policy_of_the_role_is_printed():
    assert denied(None).fix == "dawdle sqs create orders --emit iam --role worker"


def test_two_statements_of_one_policy_are_taken_out_by_one_command():
    everyone = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage"}
    stranger = {"Effect": "Allow", "Principal": {"AWS": "999999999999"}, "Action": "sqs:*"}
    kept = {"Effect": "Allow", "Principal": {"AWS": "123456789012"}, "Action": "sqs:*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [everyone, kept, stranger]})
    first, second = findings(facts_of(events={"Policy": policy}))
    assert (first.rule, second.rule) == ("sqs.policy-public", "sqs.policy-account")
    assert first.fix == second.fix
    words = shlex.split(first.fix)
    written = json.loads(words[words.index("--attributes") + 1])["Policy"]
    assert json.loads(written)["Statement"] == [kept]


def test_every_finding_names_its_rule_its_reason_and_a_fix_in_one_line():
    for facts, _ in WRONG.values():
        for each in findings(facts):
            assert each.rule.startswith("sqs.")
            for text in (each.what, each.why, each.fix):
                assert text
                assert "\n" not in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1209600, "14 days"), (90, "90 seconds"), (5400, "90 minutes"), (86400, "24 hours"), (1000000, "11.6 days")],
)
def test_a_duration_is_told_in_its_largest_unit(seconds, text):
    assert duration(seconds) == text


def test_the_guide_names_every_rule_and_no_other():
    root = Path(__file__).parents[3]
    named = re.findall(r"`(sqs\.[a-z-]+)`", (root / "docs" / "guides" / "cli" / "sqs.md").read_text(encoding="utf-8"))
    sources = (root / "src" / "dawdle" / "cli" / "sqs" / "_doctor").glob("*_rules.py")
    rules = {
        rule for each in sources for rule in re.findall(r'rule="(sqs\.[a-z-]+)"', each.read_text(encoding="utf-8"))
    }
    assert set(named) == rules
    assert len(rules) > 25
