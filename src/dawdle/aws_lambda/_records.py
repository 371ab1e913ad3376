"""Reads what a function is invoked with: which shape it has, and the SQS messages in it. Values in, values out.

The shapes:

a list                            SQS messages from EventBridge Pipes
Records of aws:sqs                SQS messages from an event source mapping
Records of aws:s3 and aws:sns     foreign events, past any queue
detail-type and detail            a foreign event of EventBridge, past any queue
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple, cast

import msgspec

from dawdle.abc import Delivery
from dawdle.backends.sqs import traceparent_of
from dawdle.errors import EventError, one_line

__all__ = ["Message", "Shape", "messages_of", "shape_of"]

Shape = Literal["sqs", "pipes", "foreign", "other"]

SQS_SOURCE: Final = "aws:sqs"


class _Record(msgspec.Struct, frozen=True, rename="camel"):
    """One SQS message as Lambda and Pipes write it: Lambda developer guide, "Using Lambda with Amazon SQS", 2026."""

    message_id: str
    receipt_handle: str
    body: str
    attributes: dict[str, str] = {}
    event_source_arn: str = msgspec.field(default="", name="eventSourceARN")


class Message(NamedTuple):
    """One SQS message of an invocation."""

    id: str
    """What a report names it by."""
    receipt: str
    queue_arn: str
    delivery: Delivery

    def __repr__(self) -> str:
        """Show no receipt: it lets its owner delete the message."""
        return f"<Message {one_line(self.id)} from {one_line(self.queue_arn)}>"


def shape_of(event: object) -> Shape:
    """Return what a function was invoked with."""
    if isinstance(event, list):
        return "pipes"
    if not isinstance(event, Mapping):
        return "other"
    fields = cast("Mapping[object, object]", event)
    records = fields.get("Records")
    if isinstance(records, list):
        first = cast("list[object]", records)[:1]
        source = _source_of(first[0]) if first else SQS_SOURCE
        return "sqs" if source == SQS_SOURCE else "foreign" if source in {"aws:s3", "aws:sns"} else "other"
    return "foreign" if {"detail-type", "detail"} <= fields.keys() else "other"


def messages_of(records: object) -> list[Message]:
    """Return the SQS messages of an invocation. Raises `EventError` for a record that is none."""
    found: list[Message] = []
    for number, record in enumerate(cast("Sequence[object]", records)):
        source = _source_of(record)
        if source != SQS_SOURCE:
            raise EventError(
                f"record {number} comes from {one_line(str(source))}, and only SQS messages can be handled here: give "
                f"the function an SQS queue as its event source, or as the source of its pipe"
            )
        try:
            found.append(_message(msgspec.convert(record, _Record)))
        except (msgspec.ValidationError, ValueError) as error:
            raise EventError(f"record {number} is no SQS message as Lambda writes it: {error}") from None
    return found


def _source_of(record: object) -> object:
    if not isinstance(record, Mapping):
        return None
    fields = cast("Mapping[object, object]", record)
    return fields.get("eventSource", fields.get("EventSource"))  # SNS writes it with a capital


def _message(record: _Record) -> Message:
    attributes = record.attributes
    sent, trace = attributes.get("SentTimestamp"), attributes.get("AWSTraceHeader")
    delivery = Delivery(
        receipt=record.receipt_handle,
        key=record.message_id,
        body=record.body.encode(),
        receive_count=int(attributes.get("ApproximateReceiveCount", "1")),
        stored_at=None if sent is None else int(sent) / 1000,
        # Not the time of its first receive. Lambda may have kept the message for minutes since, in its batching window
        # or while it was throttled, and an event that has expired meanwhile would run. The clock here is AWS's as well.
        received_at=None,
        group=attributes.get("MessageGroupId"),
        traceparent=None if trace is None else traceparent_of(trace),
    )
    return Message(record.message_id, record.receipt_handle, record.event_source_arn, delivery)
