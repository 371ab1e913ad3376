"""The doctor finds each planted mistake, and only that; what it prints to mend it mends it."""

import pytest

from tests.cli.sqs.queues import make, paste

pytestmark = pytest.mark.once

EVERYONE = {"Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Resource": "*"}
OWN_ROLE = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:role/shop"}, "Action": "sqs:*"}
STRANGER = {
    "Effect": "Allow",
    "Principal": {"AWS": "999999999999"},
    "Action": ["SQS:ReceiveMessage", "sqs:DeleteMessage"],
}
SENDER = {"Effect": "Allow", "Principal": {"AWS": "999999999999"}, "Action": "sqs:SendMessage"}
TOPIC = {**EVERYONE, "Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:sns:*:*:shop"}}}
PLAIN_HTTP = {
    "Effect": "Deny",
    "Principal": "*",
    "Action": "sqs:*",
    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
}
NO_DELETE = {"Effect": "Deny", "Principal": "*", "Action": "sqs:Delete*"}


def policy(*statements):
    return {"Version": "2012-10-17", "Statement": list(statements)}


async def redrive(made, count, url=None, of=None):
    target = await made.arn(url or made.dead)
    await made.set(of or made.events, RedrivePolicy={"deadLetterTargetArn": target, "maxReceiveCount": count})


async def shorter_letters(made):
    await made.set(made.events, MessageRetentionPeriod="864000")
    await made.set(made.dead, MessageRetentionPeriod="345600")


async def letters_moved_on(made):
    await redrive(made, 3, await made.create(f"{made.name}-graveyard"), of=made.dead)


async def takes_letters(made):
    other = await made.create(f"{made.name}-other")
    await redrive(made, 50, made.events, of=other)


async def not_allowed(made):
    arns = [f"{await made.arn(made.events)}-not"]
    await made.set(made.dead, RedriveAllowPolicy={"redrivePermission": "byQueue", "sourceQueueArns": arns})


PLANTED = {
    # what is planted: how, the rule that finds it, the queue it names
    "no wait": (lambda made: made.set(made.events, ReceiveMessageWaitTimeSeconds="0"), "sqs.wait", "events"),
    "no wait of delayed": (
        lambda made: made.set(made.delayed, ReceiveMessageWaitTimeSeconds="0"),
        "sqs.wait",
        "delayed",
    ),
    "short visibility": (lambda made: made.set(made.events, VisibilityTimeout="5"), "sqs.visibility", "events"),
    "short retention": (
        lambda made: made.set(made.events, MessageRetentionPeriod="86400"),
        "sqs.retention",
        "events",
    ),
    "short retention of delayed": (
        lambda made: made.set(made.delayed, MessageRetentionPeriod="345600"),
        "sqs.retention",
        "delayed",
    ),
    "a delay for all": (lambda made: made.set(made.events, DelaySeconds="30"), "sqs.delay", "events"),
    "a delay for letters": (lambda made: made.set(made.dead, DelaySeconds="900"), "sqs.delay", "dead"),
    "small messages": (lambda made: made.set(made.events, MaximumMessageSize="262144"), "sqs.message-size", "events"),
    "small letters": (lambda made: made.set(made.dead, MaximumMessageSize="262144"), "sqs.message-size", "dead"),
    "not encrypted": (lambda made: made.set(made.events, SqsManagedSseEnabled="false"), "sqs.encryption", "events"),
    "letters not encrypted": (
        lambda made: made.set(made.dead, SqsManagedSseEnabled="false"),
        "sqs.encryption",
        "dead",
    ),
    "no redrive policy": (lambda made: made.set(made.events, RedrivePolicy=""), "sqs.no-dead-letters", "events"),
    "few receives": (lambda made: redrive(made, 5), "sqs.redrive-count", "events"),
    "few receives of delayed": (
        lambda made: redrive(made, 49, of=made.delayed),
        "sqs.redrive-count",
        "delayed",
    ),
    "its own dead letters": (lambda made: redrive(made, 50, made.events), "sqs.own-dead-letters", "events"),
    "letters kept shorter": (shorter_letters, "sqs.letter-retention", "dead"),
    "letters kept for days": (
        lambda made: made.set(made.dead, MessageRetentionPeriod="1000000"),
        "sqs.letter-retention",
        "dead",
    ),
    "letters moved on": (letters_moved_on, "sqs.letters-moved", "dead"),
    "letters not allowed": (not_allowed, "sqs.letters-not-allowed", "dead"),
    "a letter": (lambda made: made.send(made.dead), "sqs.letters", "dead"),
    "letters of another queue": (takes_letters, "sqs.is-dead-letter-queue", "events"),
    "a public queue": (
        lambda made: made.set(made.events, Policy=policy(OWN_ROLE, EVERYONE)),
        "sqs.policy-public",
        "events",
    ),
    "public letters": (
        lambda made: made.set(made.dead, Policy=policy({**EVERYONE, "Condition": PLAIN_HTTP["Condition"]})),
        "sqs.policy-public",
        "dead",
    ),
    "another account": (lambda made: made.set(made.events, Policy=policy(STRANGER)), "sqs.policy-account", "events"),
    "a deny": (lambda made: made.set(made.events, Policy=policy(NO_DELETE)), "sqs.policy-deny", "events"),
    "no dead-letter queue": (lambda made: made.delete(made.dead), "sqs.missing", "dead"),
    "no delay queue": (lambda made: made.delete(made.delayed), "sqs.missing", "delayed"),
}
NOT_MENDED = {
    "a letter",  # a person mends what it was about
    # A deleted queue's name is taken for a minute.
    "no dead-letter queue",
    "no delay queue",
}
NOT_ON_MINISTACK = {
    "letters of another queue",  # it has no ListDeadLetterSourceQueues
}
WELL = {
    "nothing": lambda made: made.attributes(made.events),
    "a policy that is right": lambda made: made.set(made.events, Policy=policy(OWN_ROLE, SENDER, TOPIC, PLAIN_HTTP)),
    "more receives": lambda made: redrive(made, 1000),
    "a week": lambda made: made.set(made.events, MessageRetentionPeriod="604800"),
    "events wait": lambda made: made.send(made.events),
}


def told(found):
    return [(each.rule, each.where) for each in found]


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_mistake_is_found_alone_and_mended(loop, client, name):
    async def story():
        plant, rule, which = PLANTED[name]
        made = await make(client, delayed=True)
        await plant(made)
        found = await made.findings()
        assert told(found) == [(rule, getattr(made, which).rpartition("/")[2])]
        if name not in NOT_MENDED:
            await paste(client, found[0].fix)
            assert told(await made.findings()) == []

    loop.run(story())


@pytest.mark.parametrize("name", WELL)
def test_what_is_right_is_left_alone(loop, client, name):
    async def story():
        made = await make(client, delayed=True)
        await WELL[name](made)
        assert told(await made.all_findings()) == []

    loop.run(story())


@pytest.mark.parametrize("fifo", [False, True], ids=["standard", "FIFO"])
@pytest.mark.parametrize("key", [None, "alias/shop"])
def test_queues_as_create_makes_them_have_no_finding(loop, client, fifo, key):
    async def story():
        made = await make(client, fifo=fifo, kms_key=key)
        for role in ("signaler", "worker", "operator"):
            assert told(await made.findings(role=role)) == []

    loop.run(story())
