"""The clients: one pool of connections for polls and one for the rest, made once per app and loop."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Self

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session  # pyright: ignore[reportUnknownVariableType] - it has no types

from dawdle.abc import Delivery, Fault
from dawdle.backends.sqs._errors import as_error, cause_of
from dawdle.backends.sqs._place import Place
from dawdle.backends.sqs._wire import answers_of, deliveries_of

__all__ = ["Connection"]

POLLS = 64
"""Connections for long polls; each holds one for as long as it waits."""

OTHERS = 32
"""Connections for the rest, so that polls that wait never starve an ack."""

CALL_SECONDS = 10.0
"""The longest wait for an answer of anything but a poll, and for that of a poll beyond its own wait."""

ATTRIBUTES = ["SentTimestamp", "ApproximateReceiveCount", "ApproximateFirstReceiveTimestamp", "MessageGroupId"]


class Connection:
    """Makes calls. Whatever one raises becomes a `BackendError`; entries that failed inside a 200 become faults."""

    def __init__(self, place: Place, wait: int) -> None:
        self._place = place
        self._wait = wait
        self._stack = AsyncExitStack()
        self._polls: Any
        self._others: Any

    async def open(self, *, polls: bool = True) -> Self:
        """Make the clients; credentials, profiles, proxies and the rest come by botocore's own chain."""
        try:
            if polls:
                self._polls = await self._client(POLLS, read=self._wait + CALL_SECONDS, attempts=1)
            self._others = await self._client(OTHERS, read=CALL_SECONDS, attempts=3)
        except BaseException as error:
            await self._stack.aclose()
            if isinstance(error, Exception):
                raise as_error(error, f"the client for {self._place.url} cannot be made") from cause_of(error)
            raise
        return self

    async def close(self) -> None:
        """Close all connections."""
        await self._stack.aclose()

    async def receive(self, **arguments: object) -> list[Delivery]:
        """Poll; never tried again here, since the receiver does that and knows when to stop."""
        what = "ReceiveMessage"
        try:
            async with asyncio.timeout(self._wait + CALL_SECONDS):
                answer = await self._polls.receive_message(MessageSystemAttributeNames=ATTRIBUTES, **arguments)
        except Exception as error:  # noqa: BLE001 - told as ours; which cause may be printed is decided there
            raise as_error(error, f"{what} on {self._place.url}") from cause_of(error)
        return deliveries_of(answer)

    async def batch(self, operation: str, url: str, entries: Sequence[Mapping[str, Any]]) -> list[Fault | None]:
        """Make a batch call and return one slot per entry."""
        answer = await self.call(operation, QueueUrl=url, Entries=entries)
        return answers_of(answer, len(entries))

    async def call(self, operation: str, **arguments: object) -> Mapping[str, Any]:
        """Make one call that is no poll."""
        try:
            answer: Mapping[str, Any] = await getattr(self._others, operation)(**arguments)
        except Exception as error:  # noqa: BLE001 - told as ours; which cause may be printed is decided there
            raise as_error(error, f"{operation} on {arguments.get('QueueUrl')}") from cause_of(error)
        return answer

    async def _client(self, pool: int, *, read: float, attempts: int) -> Any:
        config = AioConfig(
            connect_timeout=CALL_SECONDS / 2,
            read_timeout=read,
            max_pool_connections=pool,
            retries={"total_max_attempts": attempts, "mode": "standard"},
            user_agent_extra="dawdle",
        )
        session: Any = get_session()
        client = session.create_client(
            "sqs", region_name=self._place.region, endpoint_url=self._place.endpoint, config=config
        )
        return await self._stack.enter_async_context(client)
