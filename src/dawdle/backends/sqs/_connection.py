"""Makes the calls. No call waits for ever, and whatever one raises becomes a `BackendError`."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Self, TypeVar

from dawdle.abc import Delivery, Fault
from dawdle.backends.sqs._clients import Clients, Generation
from dawdle.backends.sqs._errors import as_error, cause_of
from dawdle.backends.sqs._place import Place
from dawdle.backends.sqs._tries import Tries, counted
from dawdle.backends.sqs._wire import answers_of, deliveries_of, doubted
from dawdle.errors import ConfigurationError

__all__ = ["ANSWER_SECONDS", "Connection"]

T = TypeVar("T")
Answer = Mapping[str, Any]

ANSWER_SECONDS: Final = 10.0
"""The longest wait for an answer of anything but a poll, and for that of a poll beyond its own wait."""

ATTEMPTS: Final = 3
"""How often a call that is no poll is tried, in `ANSWER_SECONDS` each."""

ATTRIBUTES: Final = [
    "SentTimestamp",
    "ApproximateReceiveCount",
    "ApproximateFirstReceiveTimestamp",
    "MessageGroupId",
]

ORIGIN: Final = "DeadLetterQueueSourceArn"
"""What SQS says of a message that its redrive policy moved, and of no other."""


class Connection:
    """What one app and loop calls SQS with. Entries that failed inside a 200 become faults.

    `wait`: seconds of the longest poll; None: nothing is polled for. A poll ends within its own wait and `answer`
    seconds, any other call within `answer` seconds for each of its `attempts`, whatever the server does.
    """

    def __init__(
        self, place: Place, wait: int | None, *, answer: float = ANSWER_SECONDS, attempts: int = ATTEMPTS
    ) -> None:
        self._place = place
        self._answer = answer
        self._attempts = attempts
        self._clients = Clients(place, wait, answer=answer, attempts=attempts)

    async def open(self) -> Self:
        """Make the clients. Raises `ConfigurationError` for what was told wrongly, `BackendError` for the rest."""
        try:
            await self._clients.open()
        except ConfigurationError:
            raise
        except Exception as error:  # noqa: BLE001 - told as ours; which cause may be printed is decided there
            what = f"the client for {self._place.url} cannot be made"
            raise as_error(error, what, uncertain=False) from cause_of(error)
        return self

    async def close(self) -> None:
        """Close all connections."""
        await self._clients.close()

    async def receive(self, *, wait: int, origin: bool = False, **arguments: object) -> list[Delivery]:
        """Poll; never tried again here, since the receiver does that and knows when to stop.

        `origin`: also ask which queue a message was moved from.
        """
        names = [*ATTRIBUTES, ORIGIN] if origin else ATTRIBUTES
        arguments |= {"WaitTimeSeconds": wait, "MessageSystemAttributeNames": names}
        return await self._ask(
            "receive_message", arguments, wait + self._answer, lambda answer, _: deliveries_of(answer)
        )

    async def batch(self, operation: str, url: str, entries: Sequence[Mapping[str, Any]]) -> list[Fault | None]:
        """Make a batch call and return one slot per entry."""
        arguments = {"QueueUrl": url, "Entries": entries}

        def read(answer: Answer, tries: Tries) -> list[Fault | None]:
            slots = answers_of(answer, len(entries))
            return [doubted(slot) for slot in slots] if tries.uncertain else slots

        return await self._ask(operation, arguments, self._answer * self._attempts, read)

    async def call(self, operation: str, **arguments: object) -> Answer:
        """Make one call that is no poll."""
        return await self._ask(operation, arguments, self._answer * self._attempts, lambda answer, _: answer)

    async def _ask(
        self, operation: str, arguments: Mapping[str, object], limit: float, read: Callable[[Answer, Tries], T]
    ) -> T:
        def ask(generation: Generation) -> Any:
            client = generation.polls if operation == "receive_message" else generation.others
            return getattr(client, operation)(**arguments)

        what = f"{operation.title().replace('_', '')} on {arguments.get('QueueUrl')}"
        with counted() as tries:
            try:
                async with asyncio.timeout(limit):
                    answer: Answer = await self._clients.call(ask)
            except Exception as error:  # noqa: BLE001 - told as ours; which cause may be printed is decided there
                raise as_error(error, what, uncertain=tries.uncertain) from cause_of(error)
        try:
            return read(answer, tries)
        except Exception as error:  # noqa: BLE001 - the same; it was carried out, and nobody can say with what result
            raise as_error(error, what, uncertain=True) from cause_of(error)
