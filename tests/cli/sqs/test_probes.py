"""Permissions are tried without harm, and what is denied is found."""

import pytest

from dawdle.backends.sqs import SQS
from dawdle.cli.sqs._doctor.ask import permission_findings
from tests.cli.sqs.queues import REGION, make
from tests.cli.sqs.test_planted import told

pytestmark = pytest.mark.once

OPERATIONS = {
    "SendMessage": "SendMessageBatch",
    "ReceiveMessage": "ReceiveMessage",
    "DeleteMessage": "DeleteMessageBatch",
    "ChangeMessageVisibility": "ChangeMessageVisibilityBatch",
    "GetQueueAttributes": "GetQueueAttributes",
}
NEEDED = {
    "signaler": {"events": {"SendMessage"}, "delayed": {"SendMessage"}, "dead": set()},
    "worker": {
        "events": set(OPERATIONS),
        "delayed": set(OPERATIONS) - {"GetQueueAttributes"},
        "dead": {"SendMessage"},
    },
    "operator": {
        "events": {"GetQueueAttributes", "SendMessage"},
        "delayed": {"GetQueueAttributes"},
        "dead": set(OPERATIONS) - {"SendMessage"},
    },
}


@pytest.fixture
def deny(server):
    """`deny(action, queue)` denies an action as a policy would: all operations that it allows."""
    rules = []

    def deny(action, url):
        for operation in {action, OPERATIONS[action]}:
            rules.append(server.faults.add("access_denied", operation=operation, queue=url.rpartition("/")[2]))

    yield deny
    for rule in rules:
        server.faults.remove(rule)


@pytest.mark.parametrize("which", ["events", "delayed", "dead"])
@pytest.mark.parametrize("role", NEEDED)
def test_each_permission_of_a_role_is_tried_and_told_when_it_is_denied(loop, client, deny, role, which):
    async def story():
        made = await make(client, delayed=True)
        url = getattr(made, which)
        for action in OPERATIONS:
            deny(action, url)
        found = [each for each in await made.findings(role=role, dead_letter_url=made.dead) if each.severity != "note"]
        if not NEEDED[role][which]:
            assert found == []
            return
        (finding,) = found
        assert (finding.rule, finding.severity, finding.where) == ("sqs.permission", "error", url.rpartition("/")[2])
        assert set(finding.what.removeprefix("denied: ").split(", ")) == {f"sqs:{each}" for each in NEEDED[role][which]}

    loop.run(story())


@pytest.mark.parametrize("action", sorted(OPERATIONS))
def test_one_denied_action_is_found_alone(loop, client, deny, action):
    async def story():
        made = await make(client)
        await made.send(made.events)  # no queue that is empty, so no real receive
        deny(action, made.events)
        found = [each for each in await made.findings() if each.severity != "note"]
        assert told(found) == [("sqs.permission", made.name)]
        assert found[0].what == f"denied: sqs:{action}"

    loop.run(story())


def test_what_could_not_be_looked_at_is_a_note(loop, client, deny):
    async def story():
        made = await make(client)
        deny("GetQueueAttributes", made.dead)
        (note,) = await made.findings()
        assert (note.severity, note.rule, note.where) == ("note", "sqs.not-asked", f"{made.name}-dead")

    loop.run(story())


async def harmless(made):
    """Fill the queues, ask for every role, and see whether anything is other than before."""
    fifo = made.name.endswith(".fifo")

    def grouped(number):
        return {"MessageGroupId": f"g{number}", "MessageDeduplicationId": f"d{number}"} if fifo else {}

    for number in range(3):
        for url in (made.events, made.dead):
            await made.send(url, f"body {number}", **grouped(number))
    taken = await made.client.call(
        "receive_message", made.events, QueueUrl=made.events, MaxNumberOfMessages=1, VisibilityTimeout=600
    )
    if not fifo:
        await made.send(made.events, "delayed", DelaySeconds=600)
    before = [counts(await made.attributes(url)) for url in (made.events, made.dead, made.delayed)]
    for role in NEEDED:
        await made.findings(role=role, dead_letter_url=made.dead)
    assert [counts(await made.attributes(url)) for url in (made.events, made.dead, made.delayed)] == before
    for url, wanted in ((made.events, 2), (made.dead, 3)):
        answer = await made.client.call(
            "receive_message",
            url,
            QueueUrl=url,
            MaxNumberOfMessages=10,
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
            AttributeNames=["ApproximateReceiveCount"],
        )
        received = [each["Attributes"]["ApproximateReceiveCount"] for each in answer["Messages"]]
        assert received == ["1"] * wanted
    handle = taken["Messages"][0]["ReceiptHandle"]  # the message in flight is still its receiver's
    await made.client.call("delete_message", made.events, QueueUrl=made.events, ReceiptHandle=handle)


def counts(attributes):
    return {name: value for name, value in attributes.items() if name.startswith("Approximate")}


@pytest.mark.parametrize("fifo", [False, True], ids=["standard", "FIFO"])
def test_no_message_is_stored_received_hidden_or_deleted(loop, client, fifo):
    async def story():
        await harmless(await make(client, fifo=fifo, delayed=True))

    loop.run(story())


def test_a_queue_is_really_received_from_only_while_it_is_empty(loop, client, server):
    async def story():
        made = await make(client)
        server.requests.clear()
        await made.findings()
        assert server.requests["ReceiveMessage"] == 2  # refused for its number, and then without it
        await made.send(made.events)
        server.requests.clear()
        await made.findings()
        assert server.requests["ReceiveMessage"] == 1

    loop.run(story())


def test_a_check_of_permissions_alone_says_nothing_of_attributes(loop, client, deny):
    async def story():
        made = await make(client)
        await made.set(made.events, DelaySeconds="30")
        queue = SQS(made.events, region=REGION)
        assert await permission_findings(queue) == []
        deny("DeleteMessage", made.events)
        assert told(await permission_findings(queue)) == [("sqs.permission", made.name)]
        assert await permission_findings(queue, "signaler") == []
        await made.delete(made.events)
        assert told(await permission_findings(queue)) == [("sqs.missing", made.name)]

    loop.run(story())
