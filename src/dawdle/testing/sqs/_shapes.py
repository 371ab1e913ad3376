"""What travels, as the service model names it: one struct per request, entry and answer. No rule lives here."""

import msgspec

__all__ = [
    "AttributeValue",
    "BatchAnswer",
    "ChangeMessageVisibility",
    "ChangeMessageVisibilityBatch",
    "ChangeVisibilityEntry",
    "CreateQueue",
    "DeleteEntry",
    "DeleteMessage",
    "DeleteMessageBatch",
    "FailedEntry",
    "GetQueueAttributes",
    "GetQueueUrl",
    "ListDeadLetterSourceQueues",
    "ListQueues",
    "MoveTaskHandle",
    "MoveTaskSource",
    "MoveTaskStart",
    "OnQueue",
    "ReceiveMessage",
    "ReceivedMessage",
    "SendEntry",
    "SendMessage",
    "SendMessageBatch",
    "SentMessage",
    "SetQueueAttributes",
    "TagQueue",
    "UntagQueue",
]


class AttributeValue(msgspec.Struct, frozen=True, rename="pascal", omit_defaults=True, gc=False):
    """One attribute of a message: its type, and its value as text or as bytes."""

    data_type: str
    string_value: str | None = None
    binary_value: bytes | None = None


class OnQueue(msgspec.Struct, rename="pascal"):
    queue_url: str


class GetQueueUrl(msgspec.Struct, rename="pascal"):
    queue_name: str
    queue_owner_aws_account_id: str | None = msgspec.field(name="QueueOwnerAWSAccountId", default=None)


class CreateQueue(msgspec.Struct, rename="pascal"):
    queue_name: str
    attributes: dict[str, str] | None = None
    tags: dict[str, str] | None = msgspec.field(name="tags", default=None)


class ListQueues(msgspec.Struct, rename="pascal"):
    queue_name_prefix: str | None = None
    next_token: str | None = None
    max_results: int | None = None


class ListDeadLetterSourceQueues(OnQueue):
    next_token: str | None = None
    max_results: int | None = None


class GetQueueAttributes(OnQueue):
    attribute_names: list[str] | None = None


class SetQueueAttributes(OnQueue):
    attributes: dict[str, str]


class TagQueue(OnQueue):
    tags: dict[str, str]


class UntagQueue(OnQueue):
    tag_keys: list[str]


class SendEntry(msgspec.Struct, rename="pascal", kw_only=True, gc=False):
    """What one message is sent with; a single send and an entry of a batch differ only in the id."""

    id: str = ""
    message_body: str
    delay_seconds: int | None = None
    message_attributes: dict[str, AttributeValue] | None = None
    message_system_attributes: dict[str, AttributeValue] | None = None
    message_deduplication_id: str | None = None
    message_group_id: str | None = None


class SendMessage(SendEntry, kw_only=True):
    queue_url: str


class SendMessageBatch(OnQueue):
    entries: list[SendEntry]


class SentMessage(msgspec.Struct, rename="pascal", omit_defaults=True, gc=False):
    """The answer to one stored message."""

    message_id: str
    body_md5: str = msgspec.field(name="MD5OfMessageBody")
    id: str = ""
    attributes_md5: str | None = msgspec.field(name="MD5OfMessageAttributes", default=None)
    system_attributes_md5: str | None = msgspec.field(name="MD5OfMessageSystemAttributes", default=None)
    sequence_number: str | None = None


class ReceiveMessage(OnQueue):
    attribute_names: list[str] | None = None
    message_system_attribute_names: list[str] | None = None
    message_attribute_names: list[str] | None = None
    max_number_of_messages: int | None = None
    visibility_timeout: int | None = None
    wait_time_seconds: int | None = None
    receive_request_attempt_id: str | None = None


class ReceivedMessage(msgspec.Struct, rename="pascal", omit_defaults=True, gc=False):
    """One message of the answer to a receive."""

    message_id: str
    receipt_handle: str
    body_md5: str = msgspec.field(name="MD5OfBody")
    body: str
    attributes: dict[str, str] | None = None
    attributes_md5: str | None = msgspec.field(name="MD5OfMessageAttributes", default=None)
    message_attributes: dict[str, AttributeValue] | None = None


class DeleteEntry(msgspec.Struct, rename="pascal", gc=False):
    id: str
    receipt_handle: str


class DeleteMessage(OnQueue):
    receipt_handle: str


class DeleteMessageBatch(OnQueue):
    entries: list[DeleteEntry]


class ChangeVisibilityEntry(msgspec.Struct, rename="pascal", gc=False):
    id: str
    receipt_handle: str
    visibility_timeout: int | None = None


class ChangeMessageVisibility(OnQueue):
    receipt_handle: str
    visibility_timeout: int


class ChangeMessageVisibilityBatch(OnQueue):
    entries: list[ChangeVisibilityEntry]


class MoveTaskStart(msgspec.Struct, rename="pascal"):
    source_arn: str
    destination_arn: str | None = None
    max_number_of_messages_per_second: int | None = None


class MoveTaskSource(msgspec.Struct, rename="pascal"):
    source_arn: str
    max_results: int | None = None


class MoveTaskHandle(msgspec.Struct, rename="pascal"):
    task_handle: str


class FailedEntry(msgspec.Struct, rename="pascal", omit_defaults=False):
    """One entry of a batch that was not taken."""

    id: str
    sender_fault: bool
    code: str
    message: str


class BatchAnswer(msgspec.Struct, rename="pascal"):
    """The answer to a batch: HTTP 200, whatever happened to the entries."""

    successful: list[object]
    failed: list[FailedEntry]
