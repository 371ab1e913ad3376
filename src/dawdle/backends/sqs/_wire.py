"""How SQS and we say the same: entries of a batch, received messages. Values in, values out."""

from collections.abc import Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from math import ceil
from typing import Any

import msgspec

from dawdle.abc import Delivery, Fault, Outgoing, ReleaseEntry
from dawdle.backends.sqs._errors import EARLIER_TRY, as_fault
from dawdle.backends.sqs._identity import identity_of_arn

__all__ = ["answers_of", "deleting", "deliveries_of", "doubted", "hiding", "sending"]

Entry = dict[str, Any]
SILENT = Fault("unavailable", "the answer does not mention it")


def sending(batch: Sequence[Outgoing]) -> list[Entry]:
    """Return the entries of a SendMessageBatch; delays are whole seconds there, and never rounded down."""
    entries: list[Entry] = []
    for number, outgoing in enumerate(batch):
        entry: Entry = {"Id": str(number), "MessageBody": outgoing.body.decode()}
        if outgoing.delay > 0:
            entry["DelaySeconds"] = ceil(outgoing.delay)
        if outgoing.group is not None:
            entry["MessageGroupId"] = outgoing.group
        entries.append(entry)
    return entries


def hiding(batch: Sequence[ReleaseEntry]) -> list[Entry]:
    """Return the entries of a ChangeMessageVisibilityBatch; whole seconds there, and never rounded down."""
    return [
        {"Id": str(number), "ReceiptHandle": receipt, "VisibilityTimeout": ceil(seconds)}
        for number, (receipt, seconds) in enumerate(batch)
    ]


def deleting(receipts: Sequence[str]) -> list[Entry]:
    """Return the entries of a DeleteMessageBatch."""
    return [{"Id": str(number), "ReceiptHandle": receipt} for number, receipt in enumerate(receipts)]


def answers_of(answer: Mapping[str, Any], count: int) -> list[Fault | None]:
    """Return one slot per entry: a 200 may carry entries that failed, and one that is not mentioned is not sure."""
    slots: list[Fault | None] = [SILENT] * count
    for entry in answer.get("Successful", ()):
        slots[int(entry["Id"])] = None
    for entry in answer.get("Failed", ()):
        slots[int(entry["Id"])] = as_fault(entry)
    return slots


def doubted(slot: Fault | None) -> Fault | None:
    """Return an entry's answer where an earlier try of the same call may have come through."""
    if slot is None or slot.uncertain:
        return slot
    return msgspec.structs.replace(slot, reason=f"{slot.reason}; {EARLIER_TRY}", uncertain=True)


def deliveries_of(answer: Mapping[str, Any]) -> list[Delivery]:
    """Return what a ReceiveMessage brought."""
    answered_at = _seconds(answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date"))
    return [_delivery(message, answered_at) for message in answer.get("Messages", ())]


def _seconds(date: str | None) -> float | None:
    """Return an HTTP date in epoch seconds; None for none, and for one that makes no sense: a proxy may write it."""
    if date is None:
        return None
    try:
        told = parsedate_to_datetime(date)
        return (told if told.tzinfo is not None else told.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, OSError):
        return None


def _delivery(message: Mapping[str, Any], answered_at: float | None) -> Delivery:
    attributes: Mapping[str, str] = message.get("Attributes", {})
    receives = int(attributes.get("ApproximateReceiveCount", "1"))
    received_at = answered_at  # by the second, rounded down
    if receives == 1 and "ApproximateFirstReceiveTimestamp" in attributes:
        received_at = int(attributes["ApproximateFirstReceiveTimestamp"]) / 1000
    sent, source = attributes.get("SentTimestamp"), attributes.get("DeadLetterQueueSourceArn")
    return Delivery(
        receipt=message["ReceiptHandle"],
        key=message["MessageId"],
        body=message["Body"].encode(),
        receive_count=receives,
        stored_at=None if sent is None else int(sent) / 1000,
        received_at=received_at,
        group=attributes.get("MessageGroupId"),
        origin=None if source is None else identity_of_arn(source),
    )
