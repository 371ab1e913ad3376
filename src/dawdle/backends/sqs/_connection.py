"""Makes the calls. No call waits for ever, and whatever one raises becomes a `BackendError`."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Self, TypeVar

from dawdle.abc import Delivery, Fault
from dawdle.backends.sqs._clients import Clients, ClientSet
from dawdle.backends.sqs._conversion import as_uncertain, batch_results, parse_deliveries
from dawdle.backends.sqs._errors import safe_cause, to_backend_error
from dawdle.backends.sqs._queue_address import QueueAddress
from dawdle.backends.sqs._request_attempts import RequestAttempts, track_attempts
from dawdle.errors import ConfigurationError

__all__ = ["RESPONSE_SECONDS", "Connection"]

T = TypeVar("T")
Answer = Mapping[str, Any]

RESPONSE_SECONDS: Final = 10.0
"""The longest wait for an answer of anything but a poll, and for that of a poll beyond its own wait."""

MAX_ATTEMPTS: Final = 3
"""How often a call that is no poll is tried, in `RESPONSE_SECONDS` each."""

MESSAGE_ATTRIBUTES: Final = [
    "SentTimestamp",
    "ApproximateReceiveCount",
    "ApproximateFirstReceiveTimestamp",
    "MessageGroupId",
]

SOURCE_ATTRIBUTE: Final = "DeadLetterQueueSourceArn"
"""What SQS says of a message that its redrive policy moved, and of no other."""


class Connection:
    """What one app and loop calls SQS with. Entries that failed inside a 200 become faults.

    `wait`: seconds of the longest poll; None: nothing is polled for. A poll ends within its own wait and `answer`
    seconds, any other call within `answer` seconds for each of its `attempts`, whatever the server does.
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
        """Make the clients. Raises `ConfigurationError` for what was told wrongly, `BackendError` for the rest."""
        try:
            await self._clients.open()
        except ConfigurationError:
            raise
        except Exception as error:  # noqa: BLE001 - told as ours; which cause may be printed is decided there
            what = f"the client for {self._address.url} cannot be made"
            raise to_backend_error(error, what, uncertain=False) from safe_cause(error)
        return self

    async def close(self) -> None:
        """Close all connections."""
        await self._clients.close()

    async def receive(self, *, wait: int, with_source: bool = False, **arguments: object) -> list[Delivery]:
        """Poll; never tried again here, since the receiver does that and knows when to stop.

        `origin`: also ask which queue a message was moved from.
        """
        names = [*MESSAGE_ATTRIBUTES, SOURCE_ATTRIBUTE] if with_source else MESSAGE_ATTRIBUTES
        arguments |= {"WaitTimeSeconds": wait, "MessageSystemAttributeNames": names}
        return await self._request(
            "receive_message", arguments, wait + self._response_seconds, lambda answer, _: parse_deliveries(answer)
        )

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

        what = f"{operation.title().replace('_', '')} on {arguments.get('QueueUrl')}"
        with track_attempts() as attempts:
            try:
                async with asyncio.timeout(limit):
                    answer: Answer = await self._clients.call(ask)
            except Exception as error:  # noqa: BLE001 - told as ours; which cause may be printed is decided there
                raise to_backend_error(error, what, uncertain=attempts.uncertain) from safe_cause(error)
        try:
            return read(answer, attempts)
        except Exception as error:  # noqa: BLE001 - the same; it was carried out, and nobody can say with what result
            raise to_backend_error(error, what, uncertain=True) from safe_cause(error)
