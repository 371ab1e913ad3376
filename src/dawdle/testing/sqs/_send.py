"""SendMessage and its batch: from a request to a stored message."""

import hashlib

from dawdle.testing.sqs import _md5 as md5
from dawdle.testing.sqs import _validation as validate
from dawdle.testing.sqs._batches import run_batch
from dawdle.testing.sqs._errors import service_error
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
    service.serve_polls(queue, call.now)
    return sent


def send_message_batch(service: Service, request: SendMessageBatchRequest, call: Call) -> BatchResult:
    """Store up to ten messages; an invalid one fails alone."""
    queue = service.find(request.queue_url)
    validate.batch(request.entries, "SendMessageBatch")
    validate.batch_size(request.entries)
    result = run_batch(request.entries, lambda entry: _send(service, queue, entry, call), call)
    service.serve_polls(queue, call.now)
    return result


def _send(service: Service, queue: Queue, entry: SendMessageBatchRequestEntry, call: Call) -> SendMessageResult:
    body = validate.body(entry.message_body)
    attributes = entry.message_attributes
    system = entry.message_system_attributes
    validate.size(
        len(body) + (validate.attributes(attributes) if attributes else 0), queue.attributes.max_message_bytes
    )
    message = Message(
        serial=0,
        id="",
        body=entry.message_body,
        body_md5=md5.of_body(body),
        sent_ms=call.now.epoch_ms,
        stored_at=call.now.monotonic,
        attributes=attributes or None,
        trace_header=validate.trace_header(system) if system else None,
        group_id=entry.message_group_id,
        deduplication_id=entry.message_deduplication_id,
    )
    if message.group_id is not None:
        validate.identifier("MessageGroupId", message.group_id)
    if message.deduplication_id is not None:
        validate.identifier("MessageDeduplicationId", message.deduplication_id)
    # For a duplicate on a FIFO queue this is the first message, whose id and sequence number are the result.
    stored = _store(service, queue, message, entry.delay_seconds, call)
    return SendMessageResult(
        stored.id,
        message.body_md5,
        entry.id,
        md5.of_attributes(attributes) if attributes else None,
        md5.of_attributes(system) if system else None,
        stored.sequence_number,
    )


def _store(service: Service, queue: Queue, message: Message, delay: int | None, call: Call) -> Message:
    if queue.fifo is None:
        if message.deduplication_id is not None:
            raise _wrong_queue_type(message.deduplication_id, "MessageDeduplicationId")
        message.id = service.new_id()
        return queue.store(
            message, validate.number("DelaySeconds", delay, 0, 900, queue.attributes.delay), call.now.monotonic
        )
    if delay:
        raise _wrong_queue_type(str(delay), "DelaySeconds")
    if message.group_id is None:
        raise service_error("MissingParameter", "The request must contain the parameter MessageGroupId.")
    if message.deduplication_id is None and not queue.attributes.content_based_deduplication:
        raise service_error(
            "InvalidParameterValue",
            "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided "
            "explicitly",
        )
    message.deduplication_id = message.deduplication_id or hashlib.sha256(message.body.encode()).hexdigest()
    # DeduplicationScope: the id counts in its group, or in the whole queue. A newline is in neither.
    scope = (
        f"{message.group_id}\n{message.deduplication_id}"
        if queue.attributes.deduplicate_by_group
        else message.deduplication_id
    )
    duplicate = queue.fifo.sent.get(scope, call.now.monotonic)
    if duplicate is not None:
        return duplicate  # SQS accepts it, stores nothing, and answers as for the first one
    message.id = service.new_id()
    message.sequence_number = queue.fifo.next_sequence()
    queue.fifo.sent.put(scope, message, call.now.monotonic)
    return queue.store(message, queue.attributes.delay, call.now.monotonic)


def _wrong_queue_type(value: str, name: str) -> Exception:
    return service_error(
        "InvalidParameterValue",
        f"Value {value} for parameter {name} is invalid. Reason: The request include parameter that is not valid "
        "for this queue type.",
    )
