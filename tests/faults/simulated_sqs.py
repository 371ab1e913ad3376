"""SQS for the virtual rows: the test server's own rules on a test clock, without a socket.

No rule of SQS is modelled here a second time. Sends, receives, long polls, visibility timeouts, redrive and limits are
the operations of `dawdle.testing.sqs`, called as its HTTP endpoint calls them. This module adds what only a test knows:
which event a message is a copy of, and which node received it. It injects no faults; these happen between a node and
the queue (`simulated_backend`).
"""

import asyncio
import math
import re
from collections.abc import Sequence
from random import Random
from types import TracebackType
from typing import Final, Self

import msgspec

from dawdle.abc import Delivery, Fault, Outgoing, ReleaseEntry
from dawdle.errors import BackendError
from dawdle.testing import ManualClock
from dawdle.testing.sqs import Asked, Faults
from dawdle.testing.sqs import _shapes as shapes
from dawdle.testing.sqs._errors import ServiceError
from dawdle.testing.sqs._faults import CallFaults
from dawdle.testing.sqs._message import Message
from dawdle.testing.sqs._queue_admin import create_queue
from dawdle.testing.sqs._receive import (
    PendingResult,
    change_message_visibility_batch,
    delete_message_batch,
    receive_message,
)
from dawdle.testing.sqs._scheduler import Scheduler
from dawdle.testing.sqs._send import send_message_batch
from dawdle.testing.sqs._service import MAX_IN_FLIGHT, Call, Service

_LOST: Final = frozenset({"MessageNotInflight", "ReceiptHandleIsInvalid"})
_SYSTEM_ATTRIBUTES: Final = [
    "SentTimestamp",
    "ApproximateReceiveCount",
    "ApproximateFirstReceiveTimestamp",
    "MessageGroupId",
]
_MAX_POLL_SECONDS: Final = 20
_ID: Final = re.compile(rb'"id":"([^"]+)"')
_NUMBER: Final = re.compile(r'"number":(\d+)')


def number_in(body: str | bytes) -> int:
    """Return the number of the event that a body is a copy of; 0 for a body of no event of these stories."""
    found = _NUMBER.search(body if isinstance(body, str) else body.decode())
    return 0 if found is None else int(found[1])


class SimulatedSQS:
    """One account: a queue, and the dead-letter queue that it redrives to. Use it with `async with`.

    - `lease`: the visibility timeout. `in_flight`: messages of one queue that may be in flight.
    - `max_receives`: receives before SQS itself moves a message to the dead-letter queue.
    """

    def __init__(
        self, clock: ManualClock, *, lease: int = 30, in_flight: int = MAX_IN_FLIGHT, max_receives: int = 100
    ) -> None:
        self._scheduler = Scheduler(clock)
        service = Service(
            clock=clock,
            scheduler=self._scheduler,
            faults=Faults(),
            random_bits=Random("the ids of the simulated SQS").getrandbits,  # a seed that is run again has the same ids
            region="us-east-1",
            account="000000000000",
            in_flight_limit=in_flight,
        )
        self.dead = SimulatedQueue(service, "dead", clock, lease)
        policy = {"deadLetterTargetArn": service.arn("dead"), "maxReceiveCount": str(max_receives)}
        self.queue = SimulatedQueue(service, "orders", clock, lease, redrive=policy, dead=self.dead)

    async def __aenter__(self) -> Self:
        await self._scheduler.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._scheduler.__aexit__(kind, error, trace)


class SimulatedQueue:
    """One queue of the service, by the terms of a backend, with a record of what was stored and received."""

    def __init__(
        self,
        service: Service,
        name: str,
        clock: ManualClock,
        lease: int,
        *,
        redrive: dict[str, str] | None = None,
        dead: "SimulatedQueue | None" = None,
    ) -> None:
        self.clock = clock
        self.lease = lease
        self.dead = dead
        self.first_stored: dict[int, float] = {}
        """By event number: when the first copy was stored, in epoch seconds by the queue's clock, in whole ms."""

        self.ids: set[str] = set()
        """Of every event that was ever stored here."""

        self.holders: dict[str, int] = {}
        """By receipt: the node that it was given to."""

        self._service = service
        self._numbers: dict[str, int] = {}
        attributes = {"VisibilityTimeout": str(lease)}
        if redrive is not None:
            attributes["RedrivePolicy"] = msgspec.json.encode(redrive).decode()
        create_queue(service, shapes.CreateQueueRequest(name, attributes), self._call("CreateQueue"))
        self._queue = service.queues[name]
        self._url = service.url(self._queue)

    @property
    def message_count(self) -> int:
        """How many messages are stored, in whatever state."""
        return self._queue.message_count

    @property
    def in_flight(self) -> int:
        """How many messages were received, and are neither deleted nor visible again."""
        return self._queue.in_flight

    @property
    def redriven(self) -> int:
        """How many messages SQS itself has moved here."""
        return sum(message.dead_letter_source is not None for message in self.messages())

    def messages(self) -> list[Message]:
        """Return every stored message."""
        return list(self._queue.messages())

    def now(self) -> float:
        """Return the time of day by this queue's clock, in whole milliseconds, as SQS tells it."""
        return self._service.now().epoch_ms / 1000

    def send(self, batch: Sequence[Outgoing]) -> list[Fault | None]:
        """Store messages."""
        entries = [
            shapes.SendMessageBatchRequestEntry(
                id=str(place),
                message_body=outgoing.body.decode(),
                delay_seconds=math.ceil(outgoing.delay),
                message_group_id=outgoing.group,
            )
            for place, outgoing in enumerate(batch)
        ]
        call = self._call("SendMessageBatch")
        answers = _faults(
            len(batch),
            send_message_batch(self._service, shapes.SendMessageBatchRequest(self._url, entries), call),
        )
        for outgoing, fault in zip(batch, answers, strict=True):
            if fault is None:
                self.first_stored.setdefault(number_in(outgoing.body), call.now.epoch_ms / 1000)
                if (found := _ID.search(outgoing.body)) is not None:
                    self.ids.add(found[1].decode())
        return answers

    def receive(self, limit: int, wait: float) -> "asyncio.Future[list[Delivery]]":
        """Ask for messages; the answer comes with the first one, or after `wait` seconds with none.

        The long poll belongs to the queue: one whose caller has gone away still takes messages, which stay hidden until
        their visibility timeout ends. Raises `BackendError` when too many messages are in flight for a short poll.
        """
        answer: asyncio.Future[list[Delivery]] = asyncio.get_running_loop().create_future()

        def respond(result: object) -> None:
            assert isinstance(result, shapes.ReceiveMessageResult)
            if not answer.done():
                answer.set_result([self._delivery(message) for message in result.messages or ()])

        request = shapes.ReceiveMessageRequest(
            self._url,
            message_system_attribute_names=_SYSTEM_ATTRIBUTES,
            max_number_of_messages=limit,
            wait_time_seconds=min(int(wait), _MAX_POLL_SECONDS),
        )
        try:
            result = receive_message(self._service, request, self._call("ReceiveMessage"))
        except ServiceError as error:
            raise BackendError(f"{error.code}: {error}", kind="throttled") from error
        if isinstance(result, PendingResult):
            result.when_ready(respond)
        else:
            respond(result)
        return answer

    def delete(self, receipts: Sequence[str]) -> list[Message]:
        """Delete messages and return those that are gone by it; an old receipt deletes nothing, and is no error."""
        messages = [self._queue.find(receipt) for receipt in receipts]
        entries = [shapes.DeleteMessageBatchRequestEntry(str(place), each) for place, each in enumerate(receipts)]
        call = self._call("DeleteMessageBatch")
        result = delete_message_batch(self._service, shapes.DeleteMessageBatchRequest(self._url, entries), call)
        assert not result.failed, "SQS deletes by every receipt that it gave out"
        return [message for message in messages if message is not None and message.state == "deleted"]

    def change_visibility(self, batch: Sequence[ReleaseEntry]) -> list[Fault | None]:
        """Hide received messages for another time from now, 0 = let them be received."""
        entries = [
            shapes.ChangeMessageVisibilityBatchRequestEntry(str(place), receipt, math.ceil(seconds))
            for place, (receipt, seconds) in enumerate(batch)
        ]
        request = shapes.ChangeMessageVisibilityBatchRequest(self._url, entries)
        call = self._call("ChangeMessageVisibilityBatch")
        return _faults(len(batch), change_message_visibility_batch(self._service, request, call))

    def duplicate(self, message: Message, delay: float = 0.0) -> None:
        """Store a second copy under the same id, as a server does that missed its receive or its delete."""
        self._queue.duplicate(message, self.clock.monotonic(), delay)

    def serve_polls(self) -> None:
        """Give what is visible to the long polls that wait for it."""
        self._service.serve_polls(self._queue, self._service.now())

    def message_of(self, receipt: str) -> Message | None:
        """Return the stored message that a receipt, old or not, was given out for."""
        return self._queue.find(receipt)

    def number_of(self, receipt: str) -> int:
        """Return the number of the event that a receipt is about, also when its message is gone."""
        return self._numbers[receipt]

    def held_by(self, node: int) -> list[Message]:
        """Return the messages that are in flight since a node received them."""
        self._queue.advance(self.clock.monotonic())
        in_flight = [message for message in self._queue.messages() if message.state == "in_flight"]
        return [message for message in in_flight if self.holders.get(self._queue.receipt_handle(message)) == node]

    def purge(self) -> None:
        """Delete every message, as deleting and creating the queue does."""
        self._queue.purge()

    def _call(self, operation: str) -> Call:
        now = self._service.now()
        return Call(Asked(operation, None, 0, now.monotonic), now, CallFaults())

    def _delivery(self, message: shapes.ReceivedMessage) -> Delivery:
        attributes = message.attributes or {}
        receive_count = int(attributes["ApproximateReceiveCount"])
        first = int(attributes["ApproximateFirstReceiveTimestamp"]) / 1000
        self._numbers[message.receipt_handle] = number_in(message.body)
        return Delivery(
            receipt=message.receipt_handle,
            key=message.message_id,
            body=message.body.encode(),
            receive_count=receive_count,
            stored_at=int(attributes["SentTimestamp"]) / 1000,
            # From the second receive on, the only time that SQS tells is the Date header: whole seconds, rounded down.
            received_at=first if receive_count == 1 else math.floor(self.now()),
            group=attributes.get("MessageGroupId"),
        )


def _faults(count: int, result: shapes.BatchResult) -> list[Fault | None]:
    """Return the faults of a batch by position; the ids of its entries are these positions."""
    faults: list[Fault | None] = [None] * count
    for entry in result.failed:
        code = entry.code.rpartition(".")[2]
        faults[int(entry.id)] = Fault("lost" if code in _LOST else "refused", f"{code}: {entry.message}")
    return faults
