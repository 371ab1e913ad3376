"""What SQS accepts of messages, batches and numbers. Every check raises the `ServiceError` that SQS responds with."""

import re
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from dawdle.testing.sqs._attributes import MAX_MESSAGE_BYTES
from dawdle.testing.sqs._errors import service_error
from dawdle.testing.sqs._shapes import MessageAttributeValue, SendMessageBatchRequestEntry

__all__ = ["attributes", "batch", "body", "identifier", "number", "size", "trace_header"]

# SQS API reference, SendMessage: #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF.
_FORBIDDEN_CHARACTERS: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_BATCH_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,80}")
_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]{1,128}")
_ATTRIBUTE_NAME: Final = re.compile(r"(?!(?i:aws\.|amazon\.))(?!\.)(?!.*\.\.)[A-Za-z0-9_.-]{1,256}(?<!\.)")
_ATTRIBUTE_TYPE: Final = re.compile(r"(String|Number|Binary)(\..+)?", re.DOTALL)
_MAX_BATCH_ENTRIES: Final = 10
_MAX_ATTRIBUTES: Final = 10


class _Entry(Protocol):
    @property
    def id(self) -> str: ...


def body(text: str) -> bytes:
    """Return a body's bytes. Raises for an empty one, and for characters that SQS does not accept."""
    if not text:
        raise service_error("MissingParameter", "The request must contain the parameter MessageBody.")
    if _FORBIDDEN_CHARACTERS.search(text):
        raise service_error("InvalidMessageContents", "The message contains characters outside the allowed set.")
    return text.encode()


def attributes(values: Mapping[str, MessageAttributeValue]) -> int:
    """Return how many bytes message attributes add to the size of a message."""
    if len(values) > _MAX_ATTRIBUTES:
        raise _invalid(f"Number of message attributes [{len(values)}] exceeds the allowed maximum [{_MAX_ATTRIBUTES}].")
    return sum(_attribute(name, value) for name, value in values.items())


def _attribute(name: str, value: MessageAttributeValue) -> int:
    if not _ATTRIBUTE_NAME.fullmatch(name):
        raise _invalid(f"The message attribute name '{name}' is invalid.")
    data_type = _ATTRIBUTE_TYPE.fullmatch(value.data_type)
    if not data_type or len(value.data_type) > 256:
        raise _invalid(
            f"The message attribute '{name}' has an invalid message attribute type, the set of supported type "
            "prefixes is Binary, Number, and String."
        )
    binary = data_type[1] == "Binary"
    content = value.binary_value if binary else value.string_value
    if not content or (value.string_value if binary else value.binary_value) is not None:
        raise _invalid(f"The message attribute '{name}' must contain non-empty message attribute value for its type.")
    if isinstance(content, str):
        if _FORBIDDEN_CHARACTERS.search(content):
            raise service_error(
                "InvalidMessageContents", f"The attribute '{name}' has characters outside the allowed set."
            )
        if data_type[1] == "Number" and not _is_number(content):
            raise _invalid(f"Can't cast the value of message (user) attribute '{name}' to a number.")
        content = content.encode()
    return len(name) + len(value.data_type.encode()) + len(content)


def _is_number(text: str) -> bool:
    # float() takes more than SQS does: "1_000", "nan", "infinity".
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text and text.strip().lower().lstrip("+-")[:1] not in {"n", "i"}


def trace_header(values: Mapping[str, MessageAttributeValue]) -> str | None:
    """Return the value of `AWSTraceHeader`, the only system attribute that may be sent."""
    for name, value in values.items():
        if name != "AWSTraceHeader":
            raise _invalid(f"Message system attribute name '{name}' is invalid.")
        if value.data_type != "String" or not value.string_value:
            raise _invalid("Message system attribute 'AWSTraceHeader' must be a non-empty String.")
        return value.string_value
    return None


def size(length: int, limit: int) -> None:
    """Raise for a message of more than `limit` bytes, body and attributes together."""
    if length > limit:
        raise _invalid(f"Message must be shorter than {limit} bytes.")


def batch(entries: Sequence[_Entry], operation: str) -> None:
    """Raise for a batch as a whole: no entries or more than ten, or ids that are invalid or not distinct."""
    if not entries:
        raise service_error(
            "EmptyBatchRequest", f"There should be at least one {operation}RequestEntry in the request."
        )
    if len(entries) > _MAX_BATCH_ENTRIES:
        raise service_error(
            "TooManyEntriesInBatchRequest",
            f"Maximum number of entries per request are {_MAX_BATCH_ENTRIES}. You have sent {len(entries)}.",
        )
    # One bad id fails the whole batch: the results could not be told apart.
    seen: set[str] = set()
    for entry in entries:
        if not _BATCH_ID.fullmatch(entry.id):
            raise service_error(
                "InvalidBatchEntryId",
                "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at "
                "most 80 letters long.",
            )
        if entry.id in seen:
            raise service_error("BatchEntryIdsNotDistinct", f"Id {entry.id} repeated.")
        seen.add(entry.id)


def batch_size(entries: Sequence[SendMessageBatchRequestEntry]) -> None:
    """Raise for a batch of more than 1 MiB."""
    total = sum(len(entry.message_body.encode()) + _attributes_size(entry.message_attributes) for entry in entries)
    if total > MAX_MESSAGE_BYTES:
        raise service_error(
            "BatchRequestTooLong",
            f"Batch requests cannot be longer than {MAX_MESSAGE_BYTES} bytes. You have sent {total} bytes.",
        )


def _attributes_size(values: Mapping[str, MessageAttributeValue] | None) -> int:
    return sum(
        len(name.encode())
        + len(v.data_type.encode())
        + len((v.string_value or "").encode())
        + len(v.binary_value or b"")
        for name, v in (values or {}).items()
    )


def identifier(name: str, value: str) -> None:
    """Raise for a group or deduplication id that is too long or has characters that SQS does not accept."""
    if not _IDENTIFIER.fullmatch(value):
        raise _invalid(
            f"{name} can only include alphanumeric and punctuation characters. 1 to 128 in length.",
            name,
            value,
        )


def number(name: str, value: int | None, lowest: int, highest: int, default: int) -> int:
    """Return the value, or the default if there is none. Raises for one that is out of range."""
    if value is None:
        return default
    if not lowest <= value <= highest:
        raise _invalid(f"Must be >= {lowest} and <= {highest}, if provided.", name, str(value))
    return value


def _invalid(reason: str, name: str | None = None, value: str = "") -> Exception:
    if name is None:
        return service_error("InvalidParameterValue", f"One or more parameters are invalid. Reason: {reason}")
    return service_error("InvalidParameterValue", f"Value {value} for parameter {name} is invalid. Reason: {reason}")
