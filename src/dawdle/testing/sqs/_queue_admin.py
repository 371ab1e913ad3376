"""The life of a queue: create, find, list, attributes, tags, purge, delete."""

from collections.abc import Sequence
from typing import Final

from dawdle.testing.sqs import _attributes
from dawdle.testing.sqs import _validation as validate
from dawdle.testing.sqs._errors import service_error
from dawdle.testing.sqs._queue import Queue
from dawdle.testing.sqs._service import Call, Service
from dawdle.testing.sqs._shapes import (
    CreateQueueRequest,
    GetQueueAttributesRequest,
    GetQueueAttributesResult,
    GetQueueUrlRequest,
    ListDeadLetterSourceQueuesRequest,
    ListDeadLetterSourceQueuesResult,
    ListQueuesRequest,
    ListQueuesResult,
    ListQueueTagsResult,
    QueueRequest,
    QueueUrlResult,
    SetQueueAttributesRequest,
    TagQueueRequest,
    UntagQueueRequest,
)

__all__ = [
    "create_queue",
    "delete_queue",
    "get_queue_attributes",
    "get_queue_url",
    "list_dead_letter_source_queues",
    "list_queue_tags",
    "list_queues",
    "purge_queue",
    "set_queue_attributes",
    "tag_queue",
    "unsupported",
    "untag_queue",
]

_COOLDOWN_SECONDS: Final = 60.0
"""Seconds before the name of a deleted queue is free again, and between two purges (SQS API reference)."""

_MAX_TAGS: Final = 50


def create_queue(service: Service, request: CreateQueueRequest, call: Call) -> QueueUrlResult:
    """Create a queue, or return the one that is there already with the same attributes."""
    name, asked = request.queue_name, request.attributes or {}
    attributes = _attributes.parse_new(name, asked)
    existing = service.queues.get(name)
    # CreateQueue is idempotent: only an attribute that is asked for with another value is an error.
    if existing is not None:
        for key, value in asked.items():
            if existing.attributes.as_written.get(key) != value:
                raise service_error(
                    "QueueNameExists",
                    f"A queue already exists with the same name and a different value for attribute {key}",
                )
        return QueueUrlResult(service.url(existing))
    if call.now.monotonic < service.deleted_at.get(name, float("-inf")) + _COOLDOWN_SECONDS:
        raise service_error(
            "QueueDeletedRecently",
            "You must wait 60 seconds after deleting a queue before you can create another with the same name.",
        )
    arn = service.arn(name)
    _check_dead_letter_target(service, arn, attributes)
    queue = Queue(name, arn, attributes, receipt_secret=service.new_receipt_secret(), created_ms=call.now.epoch_ms)
    _tag(queue, request.tags or {})
    service.deleted_at.pop(name, None)
    service.queues[name] = queue
    return QueueUrlResult(service.url(queue))


def get_queue_url(service: Service, request: GetQueueUrlRequest, _call: Call) -> QueueUrlResult:
    """Return the URL of a queue by its name."""
    account = request.queue_owner_aws_account_id or service.account
    return QueueUrlResult(service.url(service.find(f"/{account}/{request.queue_name}")))


def list_queues(service: Service, request: ListQueuesRequest, _call: Call) -> ListQueuesResult:
    """Return the URLs of all queues, or of those whose name has this prefix."""
    prefix = request.queue_name_prefix or ""
    names = sorted(name for name in service.queues if name.startswith(prefix))
    page, token = _paginate(names, request.max_results, request.next_token)
    return ListQueuesResult([service.url(service.queues[name]) for name in page] or None, token)


def list_dead_letter_source_queues(
    service: Service, request: ListDeadLetterSourceQueuesRequest, _call: Call
) -> ListDeadLetterSourceQueuesResult:
    """Return the URLs of the queues that have this one as their dead-letter queue."""
    queue = service.find(request.queue_url)
    names = sorted(source.name for source in service.dead_letter_sources(queue))
    page, token = _paginate(names, request.max_results, request.next_token)
    return ListDeadLetterSourceQueuesResult([service.url(service.queues[name]) for name in page], token)


def _paginate(names: Sequence[str], limit: int | None, token: str | None) -> tuple[Sequence[str], str | None]:
    # The token is the last name of the page before: a queue that is created or deleted between two pages moves nothing.
    if token is not None:
        names = [name for name in names if name > token]
    size = validate.number("MaxResults", limit, 1, 1000, 1000)
    more = limit is not None and len(names) > size
    return names[:size], names[size - 1] if more else None


def get_queue_attributes(service: Service, request: GetQueueAttributesRequest, call: Call) -> GetQueueAttributesResult:
    """Return attributes by name, or `All`."""
    queue = service.find(request.queue_url)
    queue.advance(call.now.monotonic)
    names = request.attribute_names or ()
    shown = {
        "QueueArn": queue.arn,
        "ApproximateNumberOfMessages": str(queue.visible),
        "ApproximateNumberOfMessagesNotVisible": str(queue.in_flight),
        "ApproximateNumberOfMessagesDelayed": str(queue.delayed),
        "CreatedTimestamp": str(queue.created_ms // 1000),
        "LastModifiedTimestamp": str(queue.modified_ms // 1000),
        **queue.attributes.as_written,
    }
    for name in names:
        if name != "All" and not _attributes.is_known(name):
            raise service_error("InvalidAttributeName", f"Unknown Attribute {name}.")
    if "All" in names:
        return GetQueueAttributesResult(shown)
    return GetQueueAttributesResult({name: shown[name] for name in names if name in shown} or None)


def set_queue_attributes(service: Service, request: SetQueueAttributesRequest, call: Call) -> None:
    """Change attributes."""
    queue = service.find(request.queue_url)
    attributes = _attributes.parse_change(queue.attributes, request.attributes)
    _check_dead_letter_target(service, queue.arn, attributes)
    # Before and after: what was due until now is due by the old attributes, and a shorter retention applies at once.
    queue.advance(call.now.monotonic)
    queue.attributes = attributes
    queue.modified_ms = call.now.epoch_ms
    if queue.fifo is not None and "DelaySeconds" in request.attributes:
        queue.apply_delay(call.now.monotonic)
    queue.advance(call.now.monotonic)
    service.serve_polls(queue, call.now)


def _check_dead_letter_target(service: Service, source_arn: str, attributes: _attributes.QueueAttributes) -> None:
    """Raise for a redrive policy whose target is missing, of the other type, or does not allow this source."""
    if attributes.redrive_policy is None:
        return
    target = service.find_arn(attributes.redrive_policy.dead_letter_target_arn)
    if target is None:
        reason = "Dead letter target does not exist."
    elif target.attributes.fifo is not attributes.fifo:
        reason = "Dead-letter queue must be same type of queue as the source."
    elif not target.attributes.redrive_allow_policy.allows(source_arn):
        reason = "Dead-letter queue does not allow this queue as a source."
    else:
        return
    raise service_error(
        "InvalidParameterValue",
        f"Value {attributes.as_written['RedrivePolicy']} for parameter RedrivePolicy is invalid. Reason: {reason}",
    )


def purge_queue(service: Service, request: QueueRequest, call: Call) -> None:
    """Delete every message of a queue."""
    queue = service.find(request.queue_url)
    if queue.purged_at is not None and call.now.monotonic < queue.purged_at + _COOLDOWN_SECONDS:
        raise service_error(
            "PurgeQueueInProgress",
            f"Only one PurgeQueue operation on {queue.name} is allowed every 60 seconds.",
        )
    queue.purged_at = call.now.monotonic
    queue.purge()


def delete_queue(service: Service, request: QueueRequest, call: Call) -> None:
    """Delete a queue with all its messages."""
    service.delete_queue(service.find(request.queue_url), call.now)


def tag_queue(service: Service, request: TagQueueRequest, _call: Call) -> None:
    """Set tags."""
    _tag(service.find(request.queue_url), request.tags)


def untag_queue(service: Service, request: UntagQueueRequest, _call: Call) -> None:
    """Remove tags."""
    queue = service.find(request.queue_url)
    for key in request.tag_keys:
        queue.tags.pop(key, None)


def list_queue_tags(service: Service, request: QueueRequest, _call: Call) -> ListQueueTagsResult:
    """Return all tags."""
    return ListQueueTagsResult(service.find(request.queue_url).tags or None)


def unsupported(service: Service, request: QueueRequest, _call: Call) -> None:
    """Raise: every signed request may do everything here, so there are no permissions to add or remove."""
    service.find(request.queue_url)
    raise service_error(
        "UnsupportedOperation",
        "This test server has no permissions: every signed request may do everything.",
    )


def _tag(queue: Queue, tags: dict[str, str]) -> None:
    if len(queue.tags | tags) > _MAX_TAGS:
        raise service_error("InvalidParameterValue", f"Too many tags added for queue {queue.name}.")
    queue.tags.update(tags)
