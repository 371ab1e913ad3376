"""fanferro on SQS: its HTTP, signatures and batches are Rust's. One handler a message."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Self

import fanferro

from tests.bench.work import Order, Setting


class Contestant:
    """`Provisioning.assume()` asks nothing at the start, and a Struct of msgspec is its fastest body."""

    package = "fanferro"

    def __init__(self, setting: Setting) -> None:
        job = setting.job
        self._client = fanferro.Client(
            region="us-east-1",
            endpoint_url=job.address,
            credentials=fanferro.Credentials("bench", "bench"),
            account_id="000000000000",
            provisioning=fanferro.Provisioning.assume(),
        )
        self._queue = self._client.queue(job.queue, url=job.queue_url)
        (handler,) = setting.handlers
        self._consumer = self._client.consumer(self._queue, concurrency=job.work.in_flight)
        self._consumer.route(Order)(handler)

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._client.__aexit__(None, None, None)

    async def signal(self, event: Order) -> None:
        await self._queue.send(event)

    async def signal_many(self, events: list[Order]) -> None:
        await self._queue.send_batch(events)

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[None]:
        await self._consumer.start()
        yield
        await self._consumer.stop(abort_receives=True)
