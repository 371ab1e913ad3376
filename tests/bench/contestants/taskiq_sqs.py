"""taskiq with taskiq-aio-sqs. It sends in batches, before which `kiq` returns; it deletes one by one."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from taskiq.receiver import Receiver
from taskiq_aio_sqs import SQSBroker

from tests.bench.contestants._taskiq import Tasks
from tests.bench.work import Setting

FULL_BATCH_BODY = 90_000
"""Bytes of a body of which ten fit in one batch. Beyond, this broker's batches are too large for SQS."""


class Contestant(Tasks):
    """A batch that is not full waits for 0.1 s, the least that it takes: where few are under way, none is made."""

    package = "taskiq-aio-sqs"

    def __init__(self, setting: Setting) -> None:
        job = setting.job
        broker = SQSBroker(
            job.queue,
            endpoint_url=job.address,
            region_name="us-east-1",
            aws_access_key_id="bench",
            aws_secret_access_key="bench",
            max_number_of_messages=10,
            enable_batching=job.work.body < FULL_BATCH_BODY and job.work.in_flight > 10 and job.measure != "latency",
            batch_timeout=0.1,
        )
        super().__init__(setting, broker)
        self._concurrency = job.work.concurrency

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[None]:
        finish = asyncio.Event()
        receiver = Receiver(
            self._broker, validate_params=False, max_async_tasks=self._concurrency, max_prefetch=10, run_startup=False
        )
        listener = asyncio.create_task(receiver.listen(finish))
        yield
        finish.set()
        await listener
