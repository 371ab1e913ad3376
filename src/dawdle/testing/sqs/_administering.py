"""The life of a queue: create, find, list, attributes, tags, purge, delete."""

from collections.abc import Sequence
from typing import Final

import msgspec

from dawdle.testing.sqs import _attributes
from dawdle.testing.sqs import _checks as checks
from dawdle.testing.sqs._errors import refuse
from dawdle.testing.sqs._queue import Queue
from dawdle.testing.sqs._service import Call, Service
from dawdle.testing.sqs._shapes import (
    CreateQueueRequest,
    GetQueueAttributesRequest,
    GetQueueUrlRequest,
    ListDeadLetterSourceQueuesRequest,
    ListQueuesRequest,
    QueueRequest,
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

_PAUSE: Final = 60.0
"""Seconds before a deleted queue's name is free, and between two purges (SQS API reference)."""

_MAX_TAGS: Final = 50


class QueueUrlResult(msgspec.Struct, rename="pascal"):
    queue_url: str


class ListQueuesResult(msgspec.Struct, rename="pascal", omit_defaults=True):
    queue_urls: list[str] | None = None
    next_token: str | None = None


class ListDeadLetterSourceQueuesResult(msgspec.Struct, omit_defaults=True):
    urls: list[str] = msgspec.field(name="queueUrls")
    next_token: str | None = msgspec.field(name="NextToken", default=None)


class GetQueueAttributesResult(msgspec.Struct, rename="pascal", omit_defaults=True):
    attributes: dict[str, str] | None = None


class ListQueueTagsResult(msgspec.Struct, rename="pascal", omit_defaults=True):
    tags: dict[str, str] | None = None


def create_queue(service: Service, request: CreateQueueRequest, call: Call) -> QueueUrlResult:
    """Create a queue, or return the one that is there already with the same attributes."""
    name, asked = request.queue_name, request.attributes or {}
    settings = _attributes.create(name, asked)
    known = service.queues.get(name)
    if known is not None:
        for key, value in asked.items():
            if known.settings.shown.get(key) != value:
                raise refuse(
                    "QueueNameExists",
                    f"A queue already exists with the same name and a different value for attribute {key}",
                )
        return QueueUrlResult(service.url(known))
    if call.moment.at < service.deleted.get(name, float("-inf")) + _PAUSE:
        raise refuse(
            "QueueDeletedRecently",
            "You must wait 60 seconds after deleting a queue before you can create another with the same name.",
        )
    arn = service.arn(name)
    _check_target(service, arn, settings)
    queue = Queue(name, arn, settings, seal=service.new_seal(), created_ms=call.moment.ms)
    _tag(queue, request.tags or {})
    service.deleted.pop(name, None)
    service.queues[name] = queue
    return QueueUrlResult(service.url(queue))


def get_queue_url(service: Service, request: GetQueueUrlRequest, _call: Call) -> QueueUrlResult:
    """Return the URL of a queue by its name."""
    account = request.queue_owner_aws_account_id or service.account
    return QueueUrlResult(service.url(service.find(f"/{account}/{request.queue_name}")))


def list_queues(service: Service, request: ListQueuesRequest, _call: Call) -> ListQueuesResult:
    """Return the URLs of all queues, or of those whose name starts so."""
    prefix = request.queue_name_prefix or ""
    names = sorted(name for name in service.queues if name.startswith(prefix))
    page, token = _page(names, request.max_results, request.next_token)
    return ListQueuesResult([service.url(service.queues[name]) for name in page] or None, token)


def list_dead_letter_source_queues(
    service: Service, request: ListDeadLetterSourceQueuesRequest, _call: Call
) -> ListDeadLetterSourceQueuesResult:
    """Return the URLs of the queues that send their dead letters to this one."""
    queue = service.find(request.queue_url)
    names = sorted(source.name for source in service.sources(queue))
    page, token = _page(names, request.max_results, request.next_token)
    return ListDeadLetterSourceQueuesResult([service.url(service.queues[name]) for name in page], token)


def _page(names: Sequence[str], limit: int | None, token: str | None) -> tuple[Sequence[str], str | None]:
    if token is not None:
        names = [name for name in names if name > token]
    size = checks.number("MaxResults", limit, 1, 1000, 1000)
    more = limit is not None and len(names) > size
    return names[:size], names[size - 1] if more else None


def get_queue_attributes(service: Service, request: GetQueueAttributesRequest, call: Call) -> GetQueueAttributesResult:
    """Return attributes by name, or `All`."""
    queue = service.find(request.queue_url)
    queue.advance(call.moment.at)
    names = request.attribute_names or ()
    shown = {
        "QueueArn": queue.arn,
        "ApproximateNumberOfMessages": str(queue.waiting),
        "ApproximateNumberOfMessagesNotVisible": str(queue.held),
        "ApproximateNumberOfMessagesDelayed": str(queue.delayed),
        "CreatedTimestamp": str(queue.created_ms // 1000),
        "LastModifiedTimestamp": str(queue.modified_ms // 1000),
        **queue.settings.shown,
    }
    for name in names:
        if name != "All" and not _attributes.known(name):
            raise refuse("InvalidAttributeName", f"Unknown Attribute {name}.")
    if "All" in names:
        return GetQueueAttributesResult(shown)
    return GetQueueAttributesResult({name: shown[name] for name in names if name in shown} or None)


def set_queue_attributes(service: Service, request: SetQueueAttributesRequest, call: Call) -> None:
    """Change attributes."""
    queue = service.find(request.queue_url)
    settings = _attributes.changed(queue.settings, request.attributes)
    _check_target(service, queue.arn, settings)
    queue.advance(call.moment.at)
    queue.settings = settings
    queue.modified_ms = call.moment.ms
    if queue.ordering is not None and "DelaySeconds" in request.attributes:
        queue.redelay(call.moment.at)
    queue.advance(call.moment.at)
    service.touch(queue, call.moment)


def _check_target(service: Service, source_arn: str, settings: _attributes.Settings) -> None:
    """Refuse a redrive policy whose target is missing, of the other kind, or does not want it."""
    if settings.redrive is None:
        return
    target = service.find_arn(settings.redrive.dead_letter_target_arn)
    if target is None:
        reason = "Dead letter target does not exist."
    elif target.settings.fifo is not settings.fifo:
        reason = "Dead-letter queue must be same type of queue as the source."
    elif not target.settings.redrive_allow.admits(source_arn):
        reason = "Dead-letter queue does not allow this queue as a source."
    else:
        return
    raise refuse(
        "InvalidParameterValue",
        f"Value {settings.shown['RedrivePolicy']} for parameter RedrivePolicy is invalid. Reason: {reason}",
    )


def purge_queue(service: Service, request: QueueRequest, call: Call) -> None:
    """Delete every message of a queue."""
    queue = service.find(request.queue_url)
    if queue.purged_at is not None and call.moment.at < queue.purged_at + _PAUSE:
        raise refuse(
            "PurgeQueueInProgress",
            f"Only one PurgeQueue operation on {queue.name} is allowed every 60 seconds.",
        )
    queue.purged_at = call.moment.at
    queue.purge()


def delete_queue(service: Service, request: QueueRequest, call: Call) -> None:
    """Delete a queue with all that is in it."""
    service.close(service.find(request.queue_url), call.moment)


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
    """Refuse: everybody who signs may do everything here, so there are no permissions to add or remove."""
    service.find(request.queue_url)
    raise refuse(
        "UnsupportedOperation",
        "This server to test against has no permissions: every request that is signed may do all.",
    )


def _tag(queue: Queue, tags: dict[str, str]) -> None:
    if len(queue.tags | tags) > _MAX_TAGS:
        raise refuse("InvalidParameterValue", f"Too many tags added for queue {queue.name}.")
    queue.tags.update(tags)
