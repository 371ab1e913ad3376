"""The same function on an SQS server that is not ours."""

import asyncio

import msgspec
import pytest
from aiobotocore.session import get_session

from dawdle import Context, Dawdle, Registry, Reject, Retry
from dawdle.backends.sqs import SQS
from tests.aws_lambda.source import EventSource

pytestmark = [pytest.mark.anyio, pytest.mark.once, pytest.mark.slow]


class Placed(msgspec.Struct, frozen=True):
    order: str = "o-1"


async def test_a_retry_and_a_dead_letter_on_ministack(ministack_url, made, registry):
    async with get_session().create_client("sqs", endpoint_url=ministack_url, region_name="us-east-1") as client:
        dead = (await client.create_queue(QueueName="lambda-dead"))["QueueUrl"]
        url = (await client.create_queue(QueueName="lambda-orders"))["QueueUrl"]
        answer = await client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        arn = answer["Attributes"]["QueueArn"]
        function = made(Dawdle(SQS(url, dead_letter_url=dead), registry=registry))
        tries = []

        @registry.on_event(retry=Retry(initial=0))
        async def stock(event: Placed, ctx: Context):
            tries.append(ctx.attempt)
            if ctx.attempt == 1:
                raise ValueError("no")
            raise Reject("sold out")

        @registry.on_event
        async def receipt(event: Placed):
            tries.append("receipt")

        async with Dawdle(SQS(url), registry=Registry(), start_listener=False) as signaler:
            await signaler.signal(Placed())
        async with EventSource(url, arn) as source:
            for _ in range(2):
                _, answer = await source.invoke(function)
                assert answer == {"batchItemFailures": []}
        assert sorted(map(str, tries)) == ["1", "2", "receipt"]
        async with asyncio.timeout(20):
            answer = await client.receive_message(QueueUrl=dead, WaitTimeSeconds=5)
        assert "sold out" in answer["Messages"][0]["Body"]
