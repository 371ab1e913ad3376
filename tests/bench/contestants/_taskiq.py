"""taskiq on any broker, with orjson and without casts of arguments: its fastest settings. One task is one handler."""

from typing import Self

from taskiq import AsyncBroker
from taskiq.serializers import ORJSONSerializer

from tests.bench.work import Order, Setting


class Tasks:
    """A broker and its one task, whose arguments are the fields of the event."""

    package = "taskiq"

    def __init__(self, setting: Setting, broker: AsyncBroker) -> None:
        (handler,) = setting.handlers
        self._broker = broker.with_serializer(ORJSONSerializer())

        async def handle(number: int, sent: float, text: str) -> None:
            await handler(Order(number, sent, text))

        self._task = self._broker.register_task(handle, task_name="handle")

    async def __aenter__(self) -> Self:
        await self._broker.startup()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._broker.shutdown()

    async def signal(self, event: Order) -> None:
        await self._task.kiq(event.number, event.sent, event.text)

    async def signal_many(self, events: list[Order]) -> None:
        for event in events:
            await self._task.kiq(event.number, event.sent, event.text)
