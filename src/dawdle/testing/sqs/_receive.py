"""ReceiveMessage, DeleteMessage, ChangeMessageVisibility and their batches."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import msgspec

from dawdle.testing.sqs import _md5 as md5
from dawdle.testing.sqs import _validation as validate
from dawdle.testing.sqs._batches import run_batch
from dawdle.testing.sqs._errors import ServiceError, service_error
from dawdle.testing.sqs._fifo import ReceiveAttempt
from dawdle.testing.sqs._message import Instant, Message
from dawdle.testing.sqs._queue import MAX_VISIBILITY_SECONDS, Queue
from dawdle.testing.sqs._service import Call, LongPoll, Service
from dawdle.testing.sqs._shapes import (
    BatchResult,
    BatchResultEntry,
    ChangeMessageVisibilityBatchRequest,
    ChangeMessageVisibilityBatchRequestEntry,
    ChangeMessageVisibilityRequest,
    DeleteMessageBatchRequest,
    DeleteMessageBatchRequestEntry,
    DeleteMessageRequest,
    MessageAttributeValue,
    ReceivedMessage,
    ReceiveMessageRequest,
    ReceiveMessageResult,
)

__all__ = [
    "PendingResult",
    "change_message_visibility",
    "change_message_visibility_batch",
    "delete_message",
    "delete_message_batch",
    "receive_message",
]

SENDER_ID: Final = "AIDAIENQZJOLO23YVJ4VO"
"""The `SenderId` of every message: the server does not look at who signed."""


class PendingResult(msgspec.Struct):
    """A result that comes later: `when_ready(respond)` makes the receive wait and says what gets the result."""

    when_ready: Callable[[Callable[[object], None]], None]


def receive_message(
    service: Service, request: ReceiveMessageRequest, call: Call
) -> ReceiveMessageResult | PendingResult:
    """Receive up to ten messages, at once or as soon as there is one."""
    queue = service.find(request.queue_url)
    receive_call = _ReceiveCall(service, queue, request, call)
    result = receive_call.receive(call.now)
    if result is not None:
        return result
    if receive_call.wait == 0:
        # Only a short poll is told that too many messages are in flight. A long one waits, and a FIFO queue answers
        # without messages (SQS developer guide, quotas, 2026).
        if queue.in_flight >= service.in_flight_limit and queue.fifo is None and queue.visible:
            raise service_error("OverLimit", f"Too many messages in flight; the limit is {service.in_flight_limit}.")
        return ReceiveMessageResult()

    def when_ready(respond: Callable[[object], None]) -> None:
        def serve(now: Instant, is_final: bool) -> bool:
            result = ReceiveMessageResult() if is_final else receive_call.receive(now)
            if result is not None:
                respond(result)
            return result is not None

        service.add_poll(LongPoll(queue, call.now.monotonic + receive_call.wait, serve))

    return PendingResult(when_ready)


class _ReceiveCall:
    """One validated receive. It is tried at once, and while it waits each time that something becomes visible."""

    def __init__(self, service: Service, queue: Queue, request: ReceiveMessageRequest, call: Call) -> None:
        attributes = queue.attributes
        self.service = service
        self.queue = queue
        self.call = call
        self.limit = validate.number("MaxNumberOfMessages", request.max_number_of_messages, 1, 10, 1)
        self.wait = validate.number("WaitTimeSeconds", request.wait_time_seconds, 0, 20, attributes.wait)
        self.visibility_timeout = validate.number(
            "VisibilityTimeout", request.visibility_timeout, 0, MAX_VISIBILITY_SECONDS, attributes.visibility_timeout
        )
        self.system_names = _system_names(request)
        self.attribute_names = request.message_attribute_names or ()
        self.attempt_id = request.receive_request_attempt_id
        if self.attempt_id is not None:
            if queue.fifo is None:
                raise service_error(
                    "InvalidParameterValue",
                    f"Value {self.attempt_id} for parameter ReceiveRequestAttemptId is invalid. Reason: The request "
                    "include parameter that is not valid for this queue type.",
                )
            validate.identifier("ReceiveRequestAttemptId", self.attempt_id)

    def receive(self, now: Instant) -> ReceiveMessageResult | None:
        """Return a result with messages; None: there are none now."""
        queue = self.queue
        queue.advance(now.monotonic)
        messages = self._repeat_attempt(now)
        if messages is None:
            # With the limit reached a standard queue gives fewer messages or none, and says nothing (see above).
            room = min(self.limit, self.service.in_flight_limit - queue.in_flight)
            if room <= 0:
                return None
            target = self.service.dead_letter_target(queue)
            received = queue.receive(room, self.visibility_timeout, now, redrive=target is not None)
            if target is not None and received.dead_letters:
                self.service.move_to_dead_letters(queue, target, received.dead_letters, now)
            messages = received.messages
            self._remember_attempt(messages, now)
        if not messages:
            return None
        shapes = [self._to_shape(message) for message in messages]
        # Here and not in the endpoint: faults of a receive's answer count only receives that have messages.
        self.service.faults.on_response(self.call.asked, self.call.faults)
        if self.call.faults.twice and queue.fifo is None:
            shapes += self._duplicate(messages, self.call.faults.twice.within, now)
        return ReceiveMessageResult(shapes)

    def _duplicate(self, messages: Sequence[Message], within: bool, now: Instant) -> list[ReceivedMessage]:
        # The copies are visible. A receive for the rest of the room finds them first, since they go before the backlog.
        for message in messages:
            self.queue.duplicate(message, now.monotonic)
        if within and (room := self.limit - len(messages)):
            return [
                self._to_shape(message) for message in self.queue.receive(room, self.visibility_timeout, now).messages
            ]
        return []

    def _repeat_attempt(self, now: Instant) -> list[Message] | None:
        """Return the messages that an earlier receive with this attempt id returned, if they are as they were then.

        A client sends the same id again when it did not get the answer, and must get the same messages and handles.
        """
        fifo = self.queue.fifo
        if fifo is None or self.attempt_id is None:
            return None
        attempt = fifo.attempts.get(self.attempt_id, now.monotonic)
        if attempt is None or not attempt.is_unchanged():
            return None
        messages = [message for message, _, _ in attempt.messages]
        for message in messages:
            self.queue.set_visibility(message, self.visibility_timeout, now.monotonic)
        self._remember_attempt(messages, now)
        return messages

    def _remember_attempt(self, messages: Sequence[Message], now: Instant) -> None:
        if self.queue.fifo is not None and self.attempt_id is not None and messages:
            attempt = ReceiveAttempt(tuple((m, m.receive_count, m.visible_at) for m in messages))
            self.queue.fifo.attempts.put(self.attempt_id, attempt, now.monotonic)

    def _to_shape(self, message: Message) -> ReceivedMessage:
        attributes = (
            _chosen_attributes(message.attributes, self.attribute_names)
            if message.attributes and self.attribute_names
            else None
        )
        return ReceivedMessage(
            message.id,
            self.queue.receipt_handle(message),
            message.body_md5,
            message.body,
            _system_attributes(message, self.system_names) if self.system_names else None,
            md5.of_attributes(attributes) if attributes else None,
            attributes,
        )


def delete_message(service: Service, request: DeleteMessageRequest, call: Call) -> None:
    """Delete a message by its receipt handle."""
    queue = service.find(request.queue_url)
    queue.advance(call.now.monotonic)
    _delete(service, queue, request.receipt_handle, call)
    service.serve_polls(queue, call.now)


def delete_message_batch(service: Service, request: DeleteMessageBatchRequest, call: Call) -> BatchResult:
    """Delete up to ten messages."""
    queue = service.find(request.queue_url)
    queue.advance(call.now.monotonic)
    validate.batch(request.entries, "DeleteMessageBatch")

    def step(entry: DeleteMessageBatchRequestEntry) -> BatchResultEntry:
        _delete(service, queue, entry.receipt_handle, call)
        return BatchResultEntry(entry.id)

    result = run_batch(request.entries, step, call)
    service.serve_polls(queue, call.now)
    return result


def _delete(service: Service, queue: Queue, handle: str, call: Call) -> None:
    # Only what this call deletes comes back, so the message is looked up before.
    seconds = call.faults.comes_back
    message = queue.find(handle) if seconds is not None and queue.fifo is None else None
    if not queue.delete(handle) or message is None or seconds is None:
        return

    def come_back() -> None:
        now = service.now()
        queue.duplicate(message, now.monotonic)
        service.serve_polls(queue, now)

    if seconds:
        service.scheduler.call_at(call.now.monotonic + seconds, come_back)
    else:
        come_back()


def change_message_visibility(service: Service, request: ChangeMessageVisibilityRequest, call: Call) -> None:
    """Change when a message in flight becomes visible, counted from now."""
    queue = service.find(request.queue_url)
    queue.advance(call.now.monotonic)
    timeout = validate.number("VisibilityTimeout", request.visibility_timeout, 0, MAX_VISIBILITY_SECONDS, 0)
    queue.change_visibility(request.receipt_handle, timeout, call.now.monotonic)
    service.serve_polls(queue, call.now)


def change_message_visibility_batch(
    service: Service, request: ChangeMessageVisibilityBatchRequest, call: Call
) -> BatchResult:
    """The same for up to ten messages."""
    queue = service.find(request.queue_url)
    queue.advance(call.now.monotonic)
    validate.batch(request.entries, "ChangeMessageVisibilityBatch")

    def step(entry: ChangeMessageVisibilityBatchRequestEntry) -> BatchResultEntry:
        timeout = validate.number(
            "VisibilityTimeout",
            entry.visibility_timeout,
            0,
            MAX_VISIBILITY_SECONDS,
            queue.attributes.visibility_timeout,
        )
        queue.change_visibility(entry.receipt_handle, timeout, call.now.monotonic)
        return BatchResultEntry(entry.id)

    result = run_batch(request.entries, step, call)
    service.serve_polls(queue, call.now)
    return result


_SYSTEM_ATTRIBUTES: Final[dict[str, Callable[[Message], str | None]]] = {
    "SenderId": lambda _: SENDER_ID,
    "SentTimestamp": lambda message: str(message.sent_ms),
    "ApproximateReceiveCount": lambda message: str(message.receive_count),
    "ApproximateFirstReceiveTimestamp": lambda message: str(message.first_received_ms),
    "SequenceNumber": lambda message: message.sequence_number,
    "MessageDeduplicationId": lambda message: message.deduplication_id,
    "MessageGroupId": lambda message: message.group_id,
    "AWSTraceHeader": lambda message: message.trace_header,
    "DeadLetterQueueSourceArn": lambda message: message.dead_letter_source,
}


def _system_names(request: ReceiveMessageRequest) -> Collection[str]:
    names = [*(request.attribute_names or ()), *(request.message_system_attribute_names or ())]
    if "All" in names:
        return _SYSTEM_ATTRIBUTES
    for name in names:
        if name not in _SYSTEM_ATTRIBUTES:
            raise _unknown(name)
    return names


def _unknown(name: str) -> ServiceError:
    return service_error("InvalidAttributeName", f"Unknown Attribute {name}.")


def _system_attributes(message: Message, names: Collection[str]) -> dict[str, str]:
    return {name: value for name in names if (value := _SYSTEM_ATTRIBUTES[name](message)) is not None}


def _chosen_attributes(
    attributes: Mapping[str, MessageAttributeValue], names: Sequence[str]
) -> dict[str, MessageAttributeValue]:
    """Return the attributes that the receive asked for: by name, by `prefix.*`, or all (`All`, `.*`)."""
    if "All" in names or ".*" in names:
        return dict(attributes)
    prefixes = tuple(name[:-1] for name in names if name.endswith(".*"))
    return {name: value for name, value in attributes.items() if name in names or name.startswith(prefixes)}
