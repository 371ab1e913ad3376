"""The redrive of SQS itself, as of its console, brings letters back as they lie there; they are understood."""

import json

import pytest
from aiobotocore.session import get_session
from tests.sqs.test_dead_letters import Placed, registry_of, until

from dawdle import Dawdle

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture(autouse=True)
async def leaves_no_task(no_task_is_left):
    return


async def moved_back(client, source, destination):
    """Do what the console's "Start DLQ redrive" does with a custom destination, and wait until it is done."""
    arns = []
    for url in (source, destination):
        answer = await client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        arns.append(answer["Attributes"]["QueueArn"])
    await client.start_message_move_task(SourceArn=arns[0], DestinationArn=arns[1])
    return arns[0]


@pytest.mark.parametrize("keys", [None, {"k": "k" * 32}])
async def test_a_console_redrive_starts_an_event_anew_for_the_handler_that_failed(server, sqs, clock, keys):
    runs = []
    async with Dawdle(sqs(), registry=registry_of([], fail=True), clock=clock, signing_keys=keys, grace=0.1) as app:
        await app.signal(Placed(7))
        await until(clock, lambda: len(server.queue("dead")) == 1)
    await clock.advance(60)
    async with get_session().create_client("sqs", endpoint_url=server.endpoint_url, region_name="us-east-1") as client:
        orders = server.queue_url("orders")
        # held back for a while, so that the destination is not empty while the move begins
        await client.send_message(QueueUrl=orders, MessageBody="later", DelaySeconds=900)
        await moved_back(client, server.queue_url("dead"), orders)
        await until(clock, lambda: not len(server.queue("dead")))
    registry = registry_of(runs, fail=False)
    async with Dawdle(sqs(), registry=registry, clock=clock, signing_keys=keys, grace=0.1):
        await until(clock, lambda: runs)
    assert runs == [("shipping", 7, 1)]


async def test_what_could_not_be_read_is_read_after_a_console_redrive(server, sqs, clock):
    runs = []
    event = {"specversion": "1.0", "id": "e-1", "source": "/shop", "type": "Placed", "data": {"number": 7}}
    async with get_session().create_client("sqs", endpoint_url=server.endpoint_url, region_name="us-east-1") as client:
        orders = server.queue_url("orders")
        await client.send_message(QueueUrl=orders, MessageBody=json.dumps(event))
        await client.send_message(QueueUrl=orders, MessageBody="garbage")
        registry = registry_of(runs, fail=False)
        async with Dawdle(sqs(), registry=registry, clock=clock, signing_keys={"k": "k" * 32}, grace=0.1):
            await until(clock, lambda: len(server.queue("dead")) == 2)
        await clock.advance(60)
        await client.send_message(QueueUrl=orders, MessageBody="later", DelaySeconds=900)
        await moved_back(client, server.queue_url("dead"), orders)
        await until(clock, lambda: not len(server.queue("dead")))
    async with Dawdle(sqs(), registry=registry, clock=clock, grace=0.1):
        await until(clock, lambda: len(runs) == 2 and len(server.queue("dead")) == 1)
    assert sorted(runs) == [("receipt", 7, 1), ("shipping", 7, 1)]
    assert [message.body for message in server.queue("orders").messages()] == ["later"]
