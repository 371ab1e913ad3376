"""Runs the function without AWS: an SQS server of dawdle's own, and what an event source mapping does.

python local.py
"""

import asyncio
import os
from collections.abc import Callable
from typing import Any

from aiobotocore.session import get_session  # pyright: ignore[reportUnknownVariableType] - it has no types

import dawdle
from dawdle.backends.sqs import SQS
from dawdle.testing.sqs import SQSServer


async def receive(client: Any, url: str, arn: str) -> dict[str, Any]:
    """Return the next messages as Lambda hands them to a function."""
    answer = await client.receive_message(
        QueueUrl=url, AttributeNames=["All"], MaxNumberOfMessages=10, WaitTimeSeconds=5
    )
    return {
        "Records": [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": message["Attributes"],
                "eventSource": "aws:sqs",
                "eventSourceARN": arn,
            }
            for message in answer.get("Messages", ())
        ]
    }


async def invoke(handler: Callable[[Any], object], client: Any, url: str, event: dict[str, Any]) -> None:
    """Call the function, and delete what it does not report."""
    answer: Any = await asyncio.to_thread(handler, event)
    reported = {each["itemIdentifier"] for each in answer["batchItemFailures"]}
    for record in event["Records"]:
        if record["messageId"] not in reported:
            await client.delete_message(QueueUrl=url, ReceiptHandle=record["receiptHandle"])


async def main() -> None:
    server = SQSServer()
    server.create_queue("orders", dead_letter="orders-dead", max_receives=1000)
    async with server:
        os.environ.update(server.environment)
        from function import OrderPlaced, handler  # noqa: PLC0415 - it looks for its queue in the environment

        queue = server.queue("orders")
        async with dawdle.Dawdle(SQS(queue.url), start_listener=False) as shop:
            await shop.signal(OrderPlaced("o-1", 30))
        session: Any = get_session()
        async with session.create_client("sqs", endpoint_url=server.endpoint_url) as client:
            while len(queue):
                await invoke(handler, client, queue.url, await receive(client, queue.url, queue.arn))
        await asyncio.to_thread(handler.close)


if __name__ == "__main__":
    asyncio.run(main())
