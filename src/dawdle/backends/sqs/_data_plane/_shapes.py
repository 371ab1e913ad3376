"""The requests and answers of SQS that move messages, as Structs, and their JSON. Fields as in SQS's own service model.

Only what dawdle uses is here: an answer's other fields are ignored. What a message means is `_conversion`'s matter.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, TypeVar

import msgspec

from dawdle.backends.sqs._errors import NOT_FROM_SQS
from dawdle.errors import BackendError

__all__ = [
    "BatchAnswer",
    "BatchRequest",
    "DeleteEntry",
    "Failed",
    "Message",
    "MessageAttributes",
    "ReceiveAnswer",
    "ReceiveRequest",
    "SendEntry",
    "Succeeded",
    "VisibilityEntry",
    "encode",
    "from_botocore",
    "read_batch",
    "read_error",
    "read_receive",
]

Answer = TypeVar("Answer", bound="BatchAnswer | ReceiveAnswer")

_HTTP_OK: Final = 200

EntryNumber = Annotated[int, msgspec.Meta(ge=0)]
"""The `Id` of an entry, a text. Ours is its number in the batch: SQS names each entry by it in the answer."""


class SendEntry(msgspec.Struct, frozen=True, rename="pascal", omit_defaults=True, gc=False):
    """One message to store."""

    id: str
    message_body: str
    delay_seconds: int = 0
    message_group_id: str | None = None
    message_deduplication_id: str | None = None


class DeleteEntry(msgspec.Struct, frozen=True, rename="pascal", gc=False):
    """One received message to delete."""

    id: str
    receipt_handle: str


class VisibilityEntry(msgspec.Struct, frozen=True, rename="pascal", gc=False):
    """One received message to hide for so many seconds from now."""

    id: str
    receipt_handle: str
    visibility_timeout: int


class BatchRequest(msgspec.Struct, frozen=True, rename="pascal"):
    """A SendMessageBatch, DeleteMessageBatch or ChangeMessageVisibilityBatch."""

    queue_url: str
    entries: Sequence[SendEntry] | Sequence[DeleteEntry] | Sequence[VisibilityEntry]


class ReceiveRequest(msgspec.Struct, frozen=True, rename="pascal"):
    """A ReceiveMessage."""

    queue_url: str
    max_number_of_messages: int
    visibility_timeout: int
    wait_time_seconds: int
    message_system_attribute_names: Sequence[str]


class Succeeded(msgspec.Struct, frozen=True, rename="pascal", gc=False):
    """One entry that was carried out."""

    id: EntryNumber
    md5_of_message_body: str | None = msgspec.field(default=None, name="MD5OfMessageBody")
    """Of a message that was stored. Some emulators leave it out."""


class Failed(msgspec.Struct, frozen=True, rename="pascal", gc=False):
    """One entry that was not carried out."""

    id: EntryNumber
    code: str = ""
    message: str | None = None
    sender_fault: bool | None = None


class BatchAnswer(msgspec.Struct, frozen=True, rename="pascal"):
    """What became of each entry of a batch. SQS leaves out an empty list, or writes null."""

    successful: list[Succeeded] | None = None
    failed: list[Failed] | None = None


class MessageAttributes(msgspec.Struct, frozen=True, rename="pascal", gc=False):
    """What SQS knows of a message; its numbers are texts there. What is not known, or was not asked for, is None."""

    sent_timestamp: int | None = None
    approximate_receive_count: int | None = None
    approximate_first_receive_timestamp: int | None = None
    message_group_id: str | None = None
    dead_letter_queue_source_arn: str | None = None
    aws_trace_header: str | None = msgspec.field(default=None, name="AWSTraceHeader")


class Message(msgspec.Struct, frozen=True, rename="pascal", gc=False):
    """One received message."""

    message_id: str
    receipt_handle: str
    body: str
    md5_of_body: str | None = msgspec.field(default=None, name="MD5OfBody")
    attributes: MessageAttributes | None = None


class ReceiveAnswer(msgspec.Struct, frozen=True, rename="pascal"):
    """The messages of one receive. An empty queue has no list."""

    messages: list[Message] | None = None


encode = msgspec.json.Encoder().encode
"""Return a request as JSON."""

# Not strict, so that the texts of numbers become numbers while they are parsed.
_batch_decoder = msgspec.json.Decoder(BatchAnswer, strict=False)
_receive_decoder = msgspec.json.Decoder(ReceiveAnswer, strict=False)
_error_decoder = msgspec.json.Decoder(dict[str, Any])


def read_batch(body: bytes) -> BatchAnswer:
    """Return the answer in the body of a 200. Raises `BackendError` for what SQS would not write."""
    return _read(_batch_decoder, body)


def read_receive(body: bytes) -> ReceiveAnswer:
    """Return the answer in the body of a 200. Raises `BackendError` for what SQS would not write.

    A proxy may answer with a page of HTML. That must not look like an empty queue.
    """
    return _read(_receive_decoder, body)


def _read(decoder: msgspec.json.Decoder[Answer], body: bytes) -> Answer:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BackendError(NOT_FROM_SQS.format(_HTTP_OK)) from None  # the error's own text may quote the body


def from_botocore(answer: Mapping[str, Any], answer_type: type[Answer]) -> Answer:
    """Return an answer that botocore parsed. Raises `BackendError` for what SQS would not write."""
    try:
        return msgspec.convert(answer, answer_type, strict=False)
    except msgspec.ValidationError:
        raise BackendError(NOT_FROM_SQS.format(_HTTP_OK)) from None


def read_error(status: int, query_error: str | None, body: bytes) -> dict[str, Any]:
    """Return an answer that is no 2xx as botocore parses it, with the same code and message. Never raises.

    botocore's own parser writes each body to its debug log, and that of an error may quote receipts.

    `query_error`: the header `x-amzn-query-error`. In it are the codes that SQS had before it spoke JSON, such as
    `AWS.SimpleQueueService.NonExistentQueue;Sender`, and they win.
    """
    try:
        fields = _error_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        fields = {}
    code = fields.get("__type")
    # `com.amazonaws.sqs#QueueDoesNotExist:http://…` is possible. Without a code, the status stands for it.
    code = code.partition(":")[0].rpartition("#")[2] if isinstance(code, str) else str(status)
    match (query_error or "").split(";"):
        case [older, _] if older:
            code = older
        case _:
            pass
    message = fields.get("message", fields.get("Message", ""))
    return {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
