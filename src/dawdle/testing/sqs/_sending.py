"""SendMessage and its batch: from what was asked to a stored message."""

import hashlib

from dawdle.testing.sqs import _checks as checks
from dawdle.testing.sqs import _md5 as md5
from dawdle.testing.sqs._batches import carry_out
from dawdle.testing.sqs._errors import refuse
from dawdle.testing.sqs._message import Message
from dawdle.testing.sqs._queue import Queue
from dawdle.testing.sqs._service import Call, Service
from dawdle.testing.sqs._shapes import (
    BatchResult,
    SendMessageBatchRequest,
    SendMessageBatchRequestEntry,
    SendMessageRequest,
    SendMessageResult,
)

__all__ = ["send_message", "send_message_batch"]


def send_message(service: Service, request: SendMessageRequest, call: Call) -> SendMessageResult:
    """Store one message."""
    queue = service.find(request.queue_url)
    sent = _send(service, queue, request, call)
    service.touch(queue, call.moment)
    return sent


def send_message_batch(service: Service, request: SendMessageBatchRequest, call: Call) -> BatchResult:
    """Store up to ten messages; one that is not in order fails alone."""
    queue = service.find(request.queue_url)
    checks.batch(request.entries, "SendMessageBatch")
    checks.batch_size(request.entries)
    answer = carry_out(request.entries, lambda entry: _send(service, queue, entry, call), call)
    service.touch(queue, call.moment)
    return answer


def _send(service: Service, queue: Queue, entry: SendMessageBatchRequestEntry, call: Call) -> SendMessageResult:
    body = checks.body(entry.message_body)
    attributes = entry.message_attributes
    system = entry.message_system_attributes
    checks.size(len(body) + (checks.attributes(attributes) if attributes else 0), queue.settings.max_bytes)
    message = Message(
        key=0,
        id="",
        body=entry.message_body,
        md5=md5.of_body(body),
        sent_ms=call.moment.ms,
        stored_at=call.moment.at,
        attributes=attributes or None,
        trace_header=checks.trace_header(system) if system else None,
        group=entry.message_group_id,
        dedup=entry.message_deduplication_id,
    )
    if message.group is not None:
        checks.identifier("MessageGroupId", message.group)
    if message.dedup is not None:
        checks.identifier("MessageDeduplicationId", message.dedup)
    stored = _store(service, queue, message, entry.delay_seconds, call)
    return SendMessageResult(
        stored.id,
        message.md5,
        entry.id,
        md5.of_attributes(attributes) if attributes else None,
        md5.of_attributes(system) if system else None,
        stored.sequence,
    )


def _store(service: Service, queue: Queue, message: Message, delay: int | None, call: Call) -> Message:
    if queue.ordering is None:
        if message.dedup is not None:
            raise _not_of_this_type(message.dedup, "MessageDeduplicationId")
        message.id = service.new_id()
        return queue.store(message, checks.number("DelaySeconds", delay, 0, 900, queue.settings.delay), call.moment.at)
    if delay:
        raise _not_of_this_type(str(delay), "DelaySeconds")
    if message.group is None:
        raise refuse("MissingParameter", "The request must contain the parameter MessageGroupId.")
    if message.dedup is None and not queue.settings.content_dedup:
        raise refuse(
            "InvalidParameterValue",
            "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided "
            "explicitly",
        )
    message.dedup = message.dedup or hashlib.sha256(message.body.encode()).hexdigest()
    scope = f"{message.group}\n{message.dedup}" if queue.settings.dedup_by_group else message.dedup
    known = queue.ordering.sent.find(scope, call.moment.at)
    if known is not None:
        return known
    message.id = service.new_id()
    message.sequence = queue.ordering.next_sequence()
    queue.ordering.sent.keep(scope, message, call.moment.at)
    return queue.store(message, queue.settings.delay, call.moment.at)


def _not_of_this_type(value: str, name: str) -> Exception:
    return refuse(
        "InvalidParameterValue",
        f"Value {value} for parameter {name} is invalid. Reason: The request include parameter that is not valid "
        "for this queue type.",
    )
