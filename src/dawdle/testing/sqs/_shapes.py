"""Requests, entries and results under their names in the AWS service model. No rule lives here."""

import msgspec

__all__ = [
    "BatchResult",
    "BatchResultEntry",
    "BatchResultErrorEntry",
    "CancelMessageMoveTaskRequest",
    "CancelMessageMoveTaskResult",
    "ChangeMessageVisibilityBatchRequest",
    "ChangeMessageVisibilityBatchRequestEntry",
    "ChangeMessageVisibilityRequest",
    "CreateQueueRequest",
    "DeleteMessageBatchRequest",
    "DeleteMessageBatchRequestEntry",
    "DeleteMessageRequest",
    "GetQueueAttributesRequest",
    "GetQueueAttributesResult",
    "GetQueueUrlRequest",
    "ListDeadLetterSourceQueuesRequest",
    "ListDeadLetterSourceQueuesResult",
    "ListMessageMoveTasksRequest",
    "ListMessageMoveTasksResult",
    "ListMessageMoveTasksResultEntry",
    "ListQueueTagsResult",
    "ListQueuesRequest",
    "ListQueuesResult",
    "MessageAttributeValue",
    "QueueRequest",
    "QueueUrlResult",
    "ReceiveMessageRequest",
    "ReceiveMessageResult",
    "ReceivedMessage",
    "SendMessageBatchRequest",
    "SendMessageBatchRequestEntry",
    "SendMessageRequest",
    "SendMessageResult",
    "SetQueueAttributesRequest",
    "StartMessageMoveTaskRequest",
    "StartMessageMoveTaskResult",
    "TagQueueRequest",
    "UntagQueueRequest",
]


class MessageAttributeValue(msgspec.Struct, frozen=True, rename="pascal", omit_defaults=True, gc=False):
    """One attribute of a message: its type, and its value as text or as bytes."""

    data_type: str
    string_value: str | None = None
    binary_value: bytes | None = None


class QueueRequest(msgspec.Struct, rename="pascal"):
    """A request that names a queue by its URL, as most do. Alone: PurgeQueue, DeleteQueue, ListQueueTags."""

    queue_url: str


class GetQueueUrlRequest(msgspec.Struct, rename="pascal"):
    queue_name: str
    queue_owner_aws_account_id: str | None = msgspec.field(name="QueueOwnerAWSAccountId", default=None)


class CreateQueueRequest(msgspec.Struct, rename="pascal"):
    queue_name: str
    attributes: dict[str, str] | None = None
    tags: dict[str, str] | None = msgspec.field(name="tags", default=None)


class ListQueuesRequest(msgspec.Struct, rename="pascal"):
    queue_name_prefix: str | None = None
    next_token: str | None = None
    max_results: int | None = None


class ListDeadLetterSourceQueuesRequest(QueueRequest):
    next_token: str | None = None
    max_results: int | None = None


class GetQueueAttributesRequest(QueueRequest):
    attribute_names: list[str] | None = None


class SetQueueAttributesRequest(QueueRequest):
    attributes: dict[str, str]


class TagQueueRequest(QueueRequest):
    tags: dict[str, str]


class UntagQueueRequest(QueueRequest):
    tag_keys: list[str]


class SendMessageBatchRequestEntry(msgspec.Struct, rename="pascal", kw_only=True, gc=False):
    """One message to send. A single send is the same but for the id, and inherits from this."""

    id: str = ""
    message_body: str
    delay_seconds: int | None = None
    message_attributes: dict[str, MessageAttributeValue] | None = None
    message_system_attributes: dict[str, MessageAttributeValue] | None = None
    message_deduplication_id: str | None = None
    message_group_id: str | None = None


class SendMessageRequest(SendMessageBatchRequestEntry, kw_only=True):
    queue_url: str


class SendMessageBatchRequest(QueueRequest):
    entries: list[SendMessageBatchRequestEntry]


class SendMessageResult(msgspec.Struct, rename="pascal", omit_defaults=True, gc=False):
    """The result for one stored message, also as an entry of a batch's result."""

    message_id: str
    body_md5: str = msgspec.field(name="MD5OfMessageBody")
    id: str = ""
    attributes_md5: str | None = msgspec.field(name="MD5OfMessageAttributes", default=None)
    system_attributes_md5: str | None = msgspec.field(name="MD5OfMessageSystemAttributes", default=None)
    sequence_number: str | None = None


class ReceiveMessageRequest(QueueRequest):
    attribute_names: list[str] | None = None
    message_system_attribute_names: list[str] | None = None
    message_attribute_names: list[str] | None = None
    max_number_of_messages: int | None = None
    visibility_timeout: int | None = None
    wait_time_seconds: int | None = None
    receive_request_attempt_id: str | None = None


class ReceivedMessage(msgspec.Struct, rename="pascal", omit_defaults=True, gc=False):
    """One message of a receive's result. The service model calls it `Message`, as `_message` calls a stored one."""

    message_id: str
    receipt_handle: str
    body_md5: str = msgspec.field(name="MD5OfBody")
    body: str
    attributes: dict[str, str] | None = None
    attributes_md5: str | None = msgspec.field(name="MD5OfMessageAttributes", default=None)
    message_attributes: dict[str, MessageAttributeValue] | None = None


class DeleteMessageBatchRequestEntry(msgspec.Struct, rename="pascal", gc=False):
    id: str
    receipt_handle: str


class DeleteMessageRequest(QueueRequest):
    receipt_handle: str


class DeleteMessageBatchRequest(QueueRequest):
    entries: list[DeleteMessageBatchRequestEntry]


class ChangeMessageVisibilityBatchRequestEntry(msgspec.Struct, rename="pascal", gc=False):
    id: str
    receipt_handle: str
    visibility_timeout: int | None = None


class ChangeMessageVisibilityRequest(QueueRequest):
    receipt_handle: str
    visibility_timeout: int


class ChangeMessageVisibilityBatchRequest(QueueRequest):
    entries: list[ChangeMessageVisibilityBatchRequestEntry]


class StartMessageMoveTaskRequest(msgspec.Struct, rename="pascal"):
    source_arn: str
    destination_arn: str | None = None
    max_number_of_messages_per_second: int | None = None


class ListMessageMoveTasksRequest(msgspec.Struct, rename="pascal"):
    source_arn: str
    max_results: int | None = None


class CancelMessageMoveTaskRequest(msgspec.Struct, rename="pascal"):
    task_handle: str


class BatchResultErrorEntry(msgspec.Struct, rename="pascal", omit_defaults=False):
    """The error of one entry in a batch."""

    id: str
    sender_fault: bool
    code: str
    message: str


class BatchResult(msgspec.Struct, rename="pascal"):
    """The result of a batch: HTTP 200, also when every entry failed."""

    successful: list[object]
    failed: list[BatchResultErrorEntry]


class ReceiveMessageResult(msgspec.Struct, rename="pascal", omit_defaults=True):
    messages: list[ReceivedMessage] | None = None


class BatchResultEntry(msgspec.Struct, rename="pascal"):
    id: str


class StartMessageMoveTaskResult(msgspec.Struct, rename="pascal"):
    task_handle: str


class CancelMessageMoveTaskResult(msgspec.Struct, rename="pascal"):
    approximate_number_of_messages_moved: int


class ListMessageMoveTasksResultEntry(msgspec.Struct, rename="pascal", omit_defaults=True, kw_only=True):
    task_handle: str | None = None
    status: str
    source_arn: str
    destination_arn: str | None = None
    max_number_of_messages_per_second: int | None = None
    approximate_number_of_messages_moved: int
    approximate_number_of_messages_to_move: int
    failure_reason: str | None = None
    started_timestamp: int


class ListMessageMoveTasksResult(msgspec.Struct, rename="pascal"):
    results: list[ListMessageMoveTasksResultEntry]


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
