"""fanferro on any broker. A Struct of msgspec is its fastest body; one handler runs for a message."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Self

import fanferro

from tests.bench.work import Order, Setting


class Consuming:
    """A client, one queue, and its consumer."""

    package = "fanferro"

    def __init__(self, setting: Setting, client: fanferro.Client, queue: fanferro.Queue) -> None:
        self._client, self._queue = client, queue
        (handler,) = setting.handlers
        self._consumer = client.consumer(queue, concurrency=setting.job.work.concurrency)
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
