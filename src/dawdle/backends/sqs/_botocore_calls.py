"""Makes calls by aiobotocore's own client: all that move no message, and the others where that was asked for.

Timeouts of sockets are not enough to end each call by its deadline: they do not count the wait for a free connection or
for DNS, and a server that sends one byte now and then never runs into them.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from msgspec import to_builtins

from dawdle.abc import Delivery, Fault, Outgoing, ReleaseEntry
from dawdle.backends.sqs._calls import Poll
from dawdle.backends.sqs._conversion import (
    batch_results,
    delete_entries,
    parse_deliveries,
    send_entries,
    system_attributes,
    visibility_entries,
)
from dawdle.backends.sqs._data_plane._shapes import (
    BatchAnswer,
    DeleteEntry,
    SendEntry,
    VisibilityEntry,
    from_botocore,
)
from dawdle.backends.sqs._request_attempts import RequestAttempts, observed

__all__ = ["BotocoreCalls"]

T = TypeVar("T")
Answer = Mapping[str, Any]


class BotocoreCalls:
    """The calls of one client set. `poll_client` makes the polls, if there are any, and `request_client` the rest."""

    def __init__(self, poll_client: Any, request_client: Any) -> None:
        self._poll_client = poll_client
        self._request_client = request_client

    async def receive(self, poll: Poll, attempts: RequestAttempts) -> list[Delivery]:
        """Receive messages."""
        arguments = {
            "QueueUrl": poll.url,
            "MaxNumberOfMessages": poll.limit,
            "WaitTimeSeconds": poll.wait,
            "VisibilityTimeout": poll.lease,
            "MessageSystemAttributeNames": system_attributes(with_source=poll.with_source),
        }
        with observed(attempts):
            async with asyncio.timeout_at(attempts.deadline):
                answer = await self._poll_client.receive_message(**arguments)
        return _read(answer, parse_deliveries, attempts)

    async def send(self, url: str, batch: Sequence[Outgoing], attempts: RequestAttempts) -> list[Fault | None]:
        """Store messages."""
        return await self._batch("send_message_batch", url, send_entries(url, batch), attempts, sent=batch)

    async def delete(self, url: str, receipts: Sequence[str], attempts: RequestAttempts) -> list[Fault | None]:
        """Delete received messages."""
        return await self._batch("delete_message_batch", url, delete_entries(receipts), attempts)

    async def change_visibility(
        self, url: str, batch: Sequence[ReleaseEntry], attempts: RequestAttempts
    ) -> list[Fault | None]:
        """Hide received messages for so many seconds from now."""
        return await self._batch("change_message_visibility_batch", url, visibility_entries(batch), attempts)

    async def attributes(self, url: str, names: Sequence[str], attempts: RequestAttempts) -> Mapping[str, str]:
        """Return those of a queue's attributes that it has."""
        answer = await self._call("get_queue_attributes", attempts, QueueUrl=url, AttributeNames=[*names])
        found: Mapping[str, str] = answer.get("Attributes", {})
        return found

    async def _batch(
        self,
        operation: str,
        url: str,
        entries: list[SendEntry] | list[DeleteEntry] | list[VisibilityEntry],
        attempts: RequestAttempts,
        *,
        sent: Sequence[Outgoing] = (),
    ) -> list[Fault | None]:
        def read(answer: Answer) -> list[Fault | None]:
            return batch_results(from_botocore(answer, BatchAnswer), len(entries), sent)

        return _read(await self._call(operation, attempts, QueueUrl=url, Entries=to_builtins(entries)), read, attempts)

    async def _call(self, operation: str, attempts: RequestAttempts, **arguments: object) -> Answer:
        with observed(attempts):
            async with asyncio.timeout_at(attempts.deadline):
                answer: Answer = await getattr(self._request_client, operation)(**arguments)
                return answer


def _read(answer: Answer, read: Callable[[Answer], T], attempts: RequestAttempts) -> T:
    try:
        return read(answer)
    except Exception:
        attempts.unreadable()  # SQS did something, and the response does not say what
        raise
