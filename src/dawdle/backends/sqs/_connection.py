"""Makes the requests to SQS. Each ends within a limit, and what it raises becomes a `BackendError`.

Who tries again, and how often::

    botocore           a request that is no poll, up to `MAX_ATTEMPTS` times, on network errors, 5xx and throttling
    Clients            any call once more, with new clients, when SQS refused its credentials
    dawdle._flow       a poll after a growing pause; a delete for a lease; a copy once more when its message comes back

botocore sends a poll once only: it cannot know whether the app is stopping, and dawdle does.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Self, TypeVar

from dawdle.abc import Delivery, Fault, Outgoing, ReleaseEntry
from dawdle.backends.sqs._clients import Clients, ClientSet
from dawdle.backends.sqs._conversion import (
    as_uncertain,
    batch_results,
    delete_entries,
    parse_deliveries,
    send_entries,
    visibility_entries,
)
from dawdle.backends.sqs._errors import safe_cause, to_backend_error
from dawdle.backends.sqs._queue_address import QueueAddress
from dawdle.backends.sqs._request_attempts import RequestAttempts, track_attempts
from dawdle.errors import ConfigurationError

__all__ = ["RESPONSE_SECONDS", "Connection"]

T = TypeVar("T")
Answer = Mapping[str, Any]

RESPONSE_SECONDS: Final = 10.0
"""Seconds in which SQS must respond to one attempt; for a poll, beyond the seconds that the poll itself waits."""

MAX_ATTEMPTS: Final = 3
"""Attempts of a request that is no poll, of `RESPONSE_SECONDS` each."""

MESSAGE_ATTRIBUTES: Final = [
    "SentTimestamp",
    "ApproximateReceiveCount",
    "ApproximateFirstReceiveTimestamp",
    "MessageGroupId",
]

SOURCE_ATTRIBUTE: Final = "DeadLetterQueueSourceArn"
"""The queue that a redrive policy moved the message from. Other messages do not have it."""


class Connection:
    """What one app in one event loop sends its requests with. Entries that failed inside a 200 become faults.

    `wait`: seconds of the longest poll, or None for no polls. A poll ends within its own wait and `response_seconds`,
    any other call within `response_seconds` for each of its `max_attempts`, whatever the server does.
    """

    def __init__(
        self,
        address: QueueAddress,
        wait: int | None,
        *,
        response_seconds: float = RESPONSE_SECONDS,
        max_attempts: int = MAX_ATTEMPTS,
    ) -> None:
        self._address = address
        self._response_seconds = response_seconds
        self._max_attempts = max_attempts
        self._clients = Clients(address, wait, response_seconds=response_seconds, max_attempts=max_attempts)

    async def open(self) -> Self:
        """Make the clients. Raises `ConfigurationError` for settings that cannot work, `BackendError` for the rest."""
        try:
            await self._clients.open()
        except ConfigurationError:
            raise
        except Exception as error:  # noqa: BLE001 - it becomes a BackendError; safe_cause decides what may be printed
            what = f"creating the client for {self._address.url}"
            raise to_backend_error(error, what, uncertain=False) from safe_cause(error)
        return self

    async def close(self) -> None:
        """Close all connections."""
        await self._clients.close()

    async def receive(self, *, wait: int, with_source: bool = False, **arguments: object) -> list[Delivery]:
        """Poll once. `with_source`: also ask which queue a message was moved from.

        Cancelled, the poll is abandoned and its connection is closed, but SQS does not notice: until `wait` is over it
        may hand a message to the closed connection. That message is not lost. It is received again after its lease.
        So a stop lets open polls come back where the grace allows it, and cancels them only at its end.
        """
        names = [*MESSAGE_ATTRIBUTES, SOURCE_ATTRIBUTE] if with_source else MESSAGE_ATTRIBUTES
        arguments |= {"WaitTimeSeconds": wait, "MessageSystemAttributeNames": names}
        return await self._request(
            "receive_message", arguments, wait + self._response_seconds, lambda answer, _: parse_deliveries(answer)
        )

    async def send(self, url: str, batch: Sequence[Outgoing]) -> list[Fault | None]:
        """Store up to 10 messages."""
        return await self.batch("send_message_batch", url, send_entries(batch))

    async def delete(self, url: str, receipts: Sequence[str]) -> list[Fault | None]:
        """Delete up to 10 received messages."""
        return await self.batch("delete_message_batch", url, delete_entries(receipts))

    async def change_visibility(self, url: str, batch: Sequence[ReleaseEntry]) -> list[Fault | None]:
        """Hide up to 10 received messages for so many seconds from now."""
        return await self.batch("change_message_visibility_batch", url, visibility_entries(batch))

    async def attributes(self, url: str, names: Sequence[str]) -> Mapping[str, str]:
        """Return those of a queue's attributes that it has."""
        answer = await self.call("get_queue_attributes", QueueUrl=url, AttributeNames=[*names])
        found: Mapping[str, str] = answer.get("Attributes", {})
        return found

    async def batch(self, operation: str, url: str, entries: Sequence[Mapping[str, Any]]) -> list[Fault | None]:
        """Make a batch call and return one slot per entry."""
        arguments = {"QueueUrl": url, "Entries": entries}

        def read(answer: Answer, attempts: RequestAttempts) -> list[Fault | None]:
            slots = batch_results(answer, len(entries))
            return [as_uncertain(slot) for slot in slots] if attempts.uncertain else slots

        return await self._request(operation, arguments, self._response_seconds * self._max_attempts, read)

    async def call(self, operation: str, **arguments: object) -> Answer:
        """Make one call that is no poll."""
        return await self._request(
            operation, arguments, self._response_seconds * self._max_attempts, lambda answer, _: answer
        )

    async def _request(
        self,
        operation: str,
        arguments: Mapping[str, object],
        limit: float,
        read: Callable[[Answer, RequestAttempts], T],
    ) -> T:
        def ask(clients: ClientSet) -> Any:
            client = clients.poll_client if operation == "receive_message" else clients.request_client
            return getattr(client, operation)(**arguments)

        # Timeouts of sockets are not enough: they do not count the wait for a free connection or for DNS, and a server
        # that sends one byte now and then never runs into them. So each call has a deadline of its own.
        what = f"{operation.title().replace('_', '')} on {arguments.get('QueueUrl')}"
        with track_attempts() as attempts:
            try:
                async with asyncio.timeout(limit):
                    answer: Answer = await self._clients.call(ask)
            except Exception as error:  # noqa: BLE001 - as in open
                raise to_backend_error(error, what, uncertain=attempts.uncertain) from safe_cause(error)
        try:
            return read(answer, attempts)
        except Exception as error:  # noqa: BLE001 - as in open; SQS did something, and the response does not say what
            raise to_backend_error(error, what, uncertain=True) from safe_cause(error)
