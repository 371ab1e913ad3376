"""ReceiveMessage, DeleteMessage, ChangeMessageVisibility and their batches."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import msgspec

from dawdle.testing.sqs import _checks as checks
from dawdle.testing.sqs import _md5 as md5
from dawdle.testing.sqs._batches import carry_out
from dawdle.testing.sqs._errors import Refusal, refuse
from dawdle.testing.sqs._fifo import Attempt
from dawdle.testing.sqs._message import Message, Moment
from dawdle.testing.sqs._queue import MAX_HOLD, Queue
from dawdle.testing.sqs._service import Call, Poll, Service
from dawdle.testing.sqs._shapes import (
    BatchResult,
    ChangeMessageVisibilityBatchRequest,
    ChangeMessageVisibilityBatchRequestEntry,
    ChangeMessageVisibilityRequest,
    DeleteMessageBatchRequest,
    DeleteMessageBatchRequestEntry,
    DeleteMessageRequest,
    MessageAttributeValue,
    ReceivedMessage,
    ReceiveMessageRequest,
)

__all__ = [
    "Waits",
    "change_message_visibility",
    "change_message_visibility_batch",
    "delete_message",
    "delete_message_batch",
    "receive_message",
]

SENDER: Final = "AIDAIENQZJOLO23YVJ4VO"
"""The `SenderId` of every message: who signed is not looked at."""


class ReceiveMessageResult(msgspec.Struct, rename="pascal", omit_defaults=True):
    messages: list[ReceivedMessage] | None = None


class BatchResultEntry(msgspec.Struct, rename="pascal"):
    id: str


class Waits(msgspec.Struct):
    """The answer will come later: `park(reply)` says to whom."""

    park: Callable[[Callable[[object], None]], None]


def receive_message(service: Service, request: ReceiveMessageRequest, call: Call) -> ReceiveMessageResult | Waits:
    """Receive up to ten messages, at once or as soon as there is one."""
    queue = service.find(request.queue_url)
    wanted = _Wanted(service, queue, request, call)
    answer = wanted.take(call.moment)
    if answer is not None:
        return answer
    if wanted.wait == 0:
        if queue.held >= service.in_flight_limit and queue.ordering is None and queue.waiting:
            raise refuse("OverLimit", f"Too many messages in flight; the limit is {service.in_flight_limit}.")
        return ReceiveMessageResult()

    def park(reply: Callable[[object], None]) -> None:
        def serve(moment: Moment, last: bool) -> bool:
            answer = ReceiveMessageResult() if last else wanted.take(moment)
            if answer is not None:
                reply(answer)
            return answer is not None

        service.park(Poll(queue, call.moment.at + wanted.wait, serve))

    return Waits(park)


class _Wanted:
    """What one receive asked for, checked."""

    def __init__(self, service: Service, queue: Queue, request: ReceiveMessageRequest, call: Call) -> None:
        settings = queue.settings
        self.service = service
        self.queue = queue
        self.call = call
        self.limit = checks.number("MaxNumberOfMessages", request.max_number_of_messages, 1, 10, 1)
        self.wait = checks.number("WaitTimeSeconds", request.wait_time_seconds, 0, 20, settings.wait)
        self.visibility = checks.number(
            "VisibilityTimeout", request.visibility_timeout, 0, MAX_HOLD, settings.visibility
        )
        self.system = _system_names(request)
        self.names = request.message_attribute_names or ()
        self.attempt = request.receive_request_attempt_id
        if self.attempt is not None:
            if queue.ordering is None:
                raise refuse(
                    "InvalidParameterValue",
                    f"Value {self.attempt} for parameter ReceiveRequestAttemptId is invalid. Reason: The request "
                    "include parameter that is not valid for this queue type.",
                )
            checks.identifier("ReceiveRequestAttemptId", self.attempt)

    def take(self, moment: Moment) -> ReceiveMessageResult | None:
        """Return an answer with messages; None: there are none now."""
        queue = self.queue
        queue.advance(moment.at)
        messages = self._again(moment)
        if messages is None:
            room = min(self.limit, self.service.in_flight_limit - queue.held)
            if room <= 0:
                return None
            target = self.service.dead_letter_target(queue)
            taken = queue.take(room, self.visibility, moment, redrive=target is not None)
            if target is not None and taken.spent:
                self.service.dead_letter(queue, target, taken.spent, moment)
            messages = taken.messages
            self._remember(messages, moment)
        if not messages:
            return None
        answers = [self._show(message) for message in messages]
        self.service.faults.late(self.call.asked, self.call.trouble)
        if self.call.trouble.twice and queue.ordering is None:
            answers += self._double(messages, self.call.trouble.twice.within, moment)
        return ReceiveMessageResult(answers)

    def _double(self, messages: Sequence[Message], within: bool, moment: Moment) -> list[ReceivedMessage]:
        for message in messages:
            self.queue.twin(message, moment.at)
        if within and (room := self.limit - len(messages)):
            return [self._show(message) for message in self.queue.take(room, self.visibility, moment).messages]
        return []

    def _again(self, moment: Moment) -> list[Message] | None:
        ordering = self.queue.ordering
        if ordering is None or self.attempt is None:
            return None
        attempt = ordering.attempts.find(self.attempt, moment.at)
        if attempt is None or not attempt.stands():
            return None
        messages = [message for message, _, _ in attempt.messages]
        for message in messages:
            self.queue.hide(message, self.visibility, moment.at)
        self._remember(messages, moment)
        return messages

    def _remember(self, messages: Sequence[Message], moment: Moment) -> None:
        if self.queue.ordering is not None and self.attempt is not None and messages:
            attempt = Attempt(tuple((m, m.receives, m.until) for m in messages))
            self.queue.ordering.attempts.keep(self.attempt, attempt, moment.at)

    def _show(self, message: Message) -> ReceivedMessage:
        attributes = _chosen(message.attributes, self.names) if message.attributes and self.names else None
        return ReceivedMessage(
            message.id,
            self.queue.receipt(message),
            message.md5,
            message.body,
            _system(message, self.system) if self.system else None,
            md5.of_attributes(attributes) if attributes else None,
            attributes,
        )


def delete_message(service: Service, request: DeleteMessageRequest, call: Call) -> None:
    """Delete a message by its receipt handle."""
    queue = service.find(request.queue_url)
    queue.advance(call.moment.at)
    _delete(service, queue, request.receipt_handle, call)
    service.touch(queue, call.moment)


def delete_message_batch(service: Service, request: DeleteMessageBatchRequest, call: Call) -> BatchResult:
    """Delete up to ten messages."""
    queue = service.find(request.queue_url)
    queue.advance(call.moment.at)
    checks.batch(request.entries, "DeleteMessageBatch")

    def step(entry: DeleteMessageBatchRequestEntry) -> BatchResultEntry:
        _delete(service, queue, entry.receipt_handle, call)
        return BatchResultEntry(entry.id)

    answer = carry_out(request.entries, step, call)
    service.touch(queue, call.moment)
    return answer


def _delete(service: Service, queue: Queue, handle: str, call: Call) -> None:
    seconds = call.trouble.comes_back
    message = queue.named(handle) if seconds is not None and queue.ordering is None else None
    if not queue.delete(handle) or message is None or seconds is None:
        return

    def come_back() -> None:
        moment = service.moment()
        queue.twin(message, moment.at)
        service.touch(queue, moment)

    if seconds:
        service.alarm.at(call.moment.at + seconds, come_back)
    else:
        come_back()


def change_message_visibility(service: Service, request: ChangeMessageVisibilityRequest, call: Call) -> None:
    """Hide a received message for another time from now."""
    queue = service.find(request.queue_url)
    queue.advance(call.moment.at)
    timeout = checks.number("VisibilityTimeout", request.visibility_timeout, 0, MAX_HOLD, 0)
    queue.change(request.receipt_handle, timeout, call.moment.at)
    service.touch(queue, call.moment)


def change_message_visibility_batch(
    service: Service, request: ChangeMessageVisibilityBatchRequest, call: Call
) -> BatchResult:
    """Do so for up to ten messages."""
    queue = service.find(request.queue_url)
    queue.advance(call.moment.at)
    checks.batch(request.entries, "ChangeMessageVisibilityBatch")

    def step(entry: ChangeMessageVisibilityBatchRequestEntry) -> BatchResultEntry:
        timeout = checks.number("VisibilityTimeout", entry.visibility_timeout, 0, MAX_HOLD, queue.settings.visibility)
        queue.change(entry.receipt_handle, timeout, call.moment.at)
        return BatchResultEntry(entry.id)

    answer = carry_out(request.entries, step, call)
    service.touch(queue, call.moment)
    return answer


_SYSTEM: Final[dict[str, Callable[[Message], str | None]]] = {
    "SenderId": lambda _: SENDER,
    "SentTimestamp": lambda message: str(message.sent_ms),
    "ApproximateReceiveCount": lambda message: str(message.receives),
    "ApproximateFirstReceiveTimestamp": lambda message: str(message.first_received_ms),
    "SequenceNumber": lambda message: message.sequence,
    "MessageDeduplicationId": lambda message: message.dedup,
    "MessageGroupId": lambda message: message.group,
    "AWSTraceHeader": lambda message: message.trace_header,
    "DeadLetterQueueSourceArn": lambda message: message.dead_letter_source,
}


def _system_names(request: ReceiveMessageRequest) -> Collection[str]:
    names = [*(request.attribute_names or ()), *(request.message_system_attribute_names or ())]
    if "All" in names:
        return _SYSTEM
    for name in names:
        if name not in _SYSTEM:
            raise _unknown(name)
    return names


def _unknown(name: str) -> Refusal:
    return refuse("InvalidAttributeName", f"Unknown Attribute {name}.")


def _system(message: Message, names: Collection[str]) -> dict[str, str]:
    return {name: value for name in names if (value := _SYSTEM[name](message)) is not None}


def _chosen(attributes: Mapping[str, MessageAttributeValue], names: Sequence[str]) -> dict[str, MessageAttributeValue]:
    """Return those that were asked for: by name, by `prefix.*`, or all (`All`, `.*`)."""
    if "All" in names or ".*" in names:
        return dict(attributes)
    prefixes = tuple(name[:-1] for name in names if name.endswith(".*"))
    return {name: value for name, value in attributes.items() if name in names or name.startswith(prefixes)}
