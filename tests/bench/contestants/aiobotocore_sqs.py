"""Plain aiobotocore, as one writes it by hand: a request per signal, batches of ten elsewhere, a few pollers."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Self

import msgspec
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from tests.bench.work import Order, Setting

BATCH_BYTES = 1_000_000
"""Of bodies; SQS takes 1 MiB in all."""


class Contestant:
    """No retries of handlers, no dead letters, no renewal of leases: what is left is the floor of this way."""

    package = "aiobotocore"

    def __init__(self, setting: Setting) -> None:
        self._job, self._handlers = setting.job, setting.handlers
        self._pollers = max(1, min(10, setting.job.work.concurrency // 10))
        self._client: Any = get_session().create_client(
            "sqs",
            region_name="us-east-1",
            endpoint_url=self._job.address,
            aws_access_key_id="bench",
            aws_secret_access_key="bench",
            config=AioConfig(max_pool_connections=300),
        )
        self._sqs: Any = None

    async def __aenter__(self) -> Self:
        self._sqs = await self._client.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._client.__aexit__(None, None, None)

    async def signal(self, event: Order) -> None:
        await self._sqs.send_message(QueueUrl=self._job.queue_url, MessageBody=written(event))

    async def signal_many(self, events: list[Order]) -> None:
        fit = max(1, min(10, BATCH_BYTES // (self._job.work.body + 100)))
        async with asyncio.TaskGroup() as group:
            for start in range(0, len(events), fit):
                group.create_task(self._send(events[start : start + fit]))

    async def _send(self, batch: list[Order]) -> None:
        entries = [{"Id": str(number), "MessageBody": written(event)} for number, event in enumerate(batch)]
        answer = await self._sqs.send_message_batch(QueueUrl=self._job.queue_url, Entries=entries)
        if answer.get("Failed"):
            raise RuntimeError(json.dumps(answer["Failed"]))

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[None]:
        polls = [asyncio.create_task(self._poll()) for _ in range(self._pollers)]
        yield
        for poll in polls:
            poll.cancel()
        await asyncio.gather(*polls, return_exceptions=True)

    async def _poll(self) -> None:
        limit = min(10, self._job.work.concurrency)
        while True:
            answer = await self._sqs.receive_message(
                QueueUrl=self._job.queue_url, MaxNumberOfMessages=limit, WaitTimeSeconds=20
            )
            if messages := answer.get("Messages"):
                await asyncio.gather(*(self._run(message) for message in messages))
                handles = [{"Id": str(n), "ReceiptHandle": each["ReceiptHandle"]} for n, each in enumerate(messages)]
                await self._sqs.delete_message_batch(QueueUrl=self._job.queue_url, Entries=handles)

    async def _run(self, message: dict[str, str]) -> None:
        event = msgspec.json.decode(message["Body"], type=Order)
        if len(self._handlers) == 1:
            await self._handlers[0](event)
        else:
            await asyncio.gather(*(handler(event) for handler in self._handlers))


def written(event: Order) -> str:
    return msgspec.json.encode(event).decode()
