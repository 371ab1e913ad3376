"""Makes the requests to SQS. Each ends within a limit, and what it raises becomes a `BackendError`.

Who tries again, and how often::

    MessageCalls       a request that is no poll, up to `MAX_ATTEMPTS` times, on network errors, 5xx and throttling, by
                       the rules of botocore's standard mode
    Clients            any call once more, with new clients, when SQS refused its credentials
    dawdle._flow       a poll after a growing pause; a delete for a lease; a copy once more when its message comes back

A poll is sent once only: the calls cannot know whether the app is stopping, and the flow does.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, Self, TypeVar

from dawdle.abc import Delivery, Fault, Outgoing, ReleaseEntry
from dawdle.backends.sqs._calls import Poll, TimeLimits
from dawdle.backends.sqs._client_set import Make
from dawdle.backends.sqs._clients import Clients
from dawdle.backends.sqs._conversion import as_uncertain
from dawdle.backends.sqs._errors import safe_cause, to_backend_error
from dawdle.backends.sqs._queue_address import QueueAddress
from dawdle.backends.sqs._request_attempts import RequestAttempts
from dawdle.backends.sqs._shared_clients import SharedClients
from dawdle.errors import ConfigurationError

__all__ = ["RESPONSE_SECONDS", "Connection"]

T = TypeVar("T")

RESPONSE_SECONDS: Final = 10.0
"""Seconds in which SQS must respond to one attempt; for a poll, beyond the seconds that the poll itself waits."""

MAX_ATTEMPTS: Final = 3
"""Attempts of a request that is no poll, of `RESPONSE_SECONDS` each."""


class Connection:
    """What one app in one event loop sends its requests with.

    `wait`: seconds of the longest poll, or None for no polls. A poll ends within its own wait and `response_seconds`,
    any other call within `response_seconds` for each of its `max_attempts`, whatever the server does.
    """

    def __init__(
        self,
        address: QueueAddress,
        wait: int | None,
        *,
        past_botocore: bool = True,
        response_seconds: float = RESPONSE_SECONDS,
        max_attempts: int = MAX_ATTEMPTS,
    ) -> None:
        self._address = address
        self._limits = TimeLimits(wait, response_seconds, max_attempts)
        self._past_botocore = past_botocore
        self._shared: SharedClients
        self._clients: Clients

    async def open(self) -> Self:
        """Make the clients, or share them with other queues of the app that are opened at the same time.

        Raises `ConfigurationError` for settings that cannot work, `BackendError` for the rest.
        """
        try:
            self._shared = await SharedClients.join(self._address, self._limits, past_botocore=self._past_botocore)
            self._clients = self._shared.clients
        except ConfigurationError:
            raise
        except Exception as error:  # noqa: BLE001 - it becomes a BackendError; safe_cause decides what may be printed
            what = f"creating the client for {self._address.url}"
            raise to_backend_error(error, what, uncertain=False) from safe_cause(error)
        return self

    async def close(self) -> None:
        """Close all connections, unless another queue shares them."""
        await self._shared.leave()

    async def receive(self, poll: Poll) -> list[Delivery]:
        """Poll once.

        Cancelled, the poll is abandoned and its connection is closed, but SQS does not notice: until `wait` is over it
        may hand a message to the closed connection. That message is not lost. It is received again after its lease.
        So a stop lets open polls come back where the grace allows it, and cancels them only at its end.
        """
        return await self._call(
            "ReceiveMessage",
            poll.url,
            lambda clients, attempts: clients.calls.receive(poll, attempts),
            _attempts(self._limits.poll_seconds(poll.wait)),
        )

    async def send(self, url: str, batch: Sequence[Outgoing]) -> list[Fault | None]:
        """Store up to 10 messages."""
        return await self._batch(
            "SendMessageBatch", url, lambda clients, attempts: clients.calls.send(url, batch, attempts)
        )

    async def delete(self, url: str, receipts: Sequence[str]) -> list[Fault | None]:
        """Delete up to 10 received messages."""
        return await self._batch(
            "DeleteMessageBatch", url, lambda clients, attempts: clients.calls.delete(url, receipts, attempts)
        )

    async def change_visibility(self, url: str, batch: Sequence[ReleaseEntry]) -> list[Fault | None]:
        """Hide up to 10 received messages for so many seconds from now."""
        return await self._batch(
            "ChangeMessageVisibilityBatch",
            url,
            lambda clients, attempts: clients.calls.change_visibility(url, batch, attempts),
        )

    async def attributes(self, url: str, names: Sequence[str]) -> Mapping[str, str]:
        """Return those of a queue's attributes that it has."""
        return await self._call(
            "GetQueueAttributes",
            url,
            lambda clients, attempts: clients.botocore.attributes(url, names, attempts),
            _attempts(self._limits.call_seconds),
        )

    async def _batch(self, operation: str, url: str, make: Make[list[Fault | None]]) -> list[Fault | None]:
        attempts = _attempts(self._limits.call_seconds)
        slots = await self._call(operation, url, make, attempts)
        return [as_uncertain(slot) for slot in slots] if attempts.uncertain else slots

    async def _call(self, operation: str, url: str, make: Make[T], attempts: RequestAttempts) -> T:
        try:
            return await self._clients.call(make, attempts)
        except Exception as error:  # noqa: BLE001 - as in open
            what = f"{operation} on {url}"
            raise to_backend_error(error, what, uncertain=attempts.uncertain) from safe_cause(error)


def _attempts(seconds: float) -> RequestAttempts:
    return RequestAttempts(asyncio.get_running_loop().time() + seconds)
