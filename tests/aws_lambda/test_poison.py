"""A message that kills its process is tried alone, as by a worker, and given up; innocent ones are done before."""

import asyncio
import json

import msgspec
import pytest

from tests.aws_lambda.source import LambdaTime

pytestmark = pytest.mark.anyio


class Placed(msgspec.Struct, frozen=True):
    order: str = "o-1"


def record(arn, number, receives, **attributes):
    body = {"specversion": "1.0", "id": number, "source": "shop", "type": "Placed", "data": {"order": number}}
    return {
        "messageId": f"m-{number}",
        "receiptHandle": f"r-{number}",
        "body": json.dumps(body | attributes, separators=(",", ":")),
        "attributes": {"ApproximateReceiveCount": str(receives), "SentTimestamp": "1545082649183"},
        "eventSource": "aws:sqs",
        "eventSourceARN": arn,
    }


async def test_a_message_that_came_often_becomes_a_trial_before_it_runs(function, registry, server):
    ran = []

    @registry.on_event
    async def stock(event: Placed):
        ran.append(event.order)

    event = {"Records": [record(server.queue("orders").arn, "1", 5)]}
    assert await asyncio.to_thread(function, event, LambdaTime(30)) == {"batchItemFailures": []}
    assert not ran
    (copy,) = server.queue("orders").messages()
    assert '"dawdletrial":1' in copy.body


async def test_a_trial_runs_last_and_alone_when_the_others_are_deleted(function, registry, server, source, signaler):
    ran, stored = [], []

    @registry.on_event
    async def stock(event: Placed):
        if event.order == "poison":
            stored.append(len(server.queue("orders")))
        await asyncio.sleep(0.01)
        ran.append(event.order)

    await signaler.signal_many([Placed("a"), Placed("b")])
    event = await source.batch()
    event["Records"].insert(0, record(server.queue("orders").arn, "poison", 1, dawdletrial=1))
    answer = await asyncio.to_thread(function, event, LambdaTime(30))
    assert answer == {"batchItemFailures": []}
    assert sorted(ran[:2]) == ["a", "b"]
    assert ran[2:] == ["poison"]
    assert stored == [0]  # both were deleted by then: had it killed the process, they would not run again


async def test_the_third_trial_without_an_outcome_is_a_dead_letter(function, registry, server):
    @registry.on_event
    async def stock(event: Placed):
        raise AssertionError("it has killed three processes")

    event = {"Records": [record(server.queue("orders").arn, "1", 2, dawdletrial=3)]}
    assert await asyncio.to_thread(function, event, LambdaTime(30)) == {"batchItemFailures": []}
    assert len(server.queue("dead")) == 1
