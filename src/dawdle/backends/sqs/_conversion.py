"""Converts messages and results between `dawdle.abc` and the fields of SQS's API. Values in, values out."""

from collections.abc import Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from math import ceil
from typing import Any, Final

import msgspec

from dawdle.abc import Delivery, Fault, Outgoing, ReleaseEntry
from dawdle.backends.sqs._errors import EARLIER_ATTEMPT, to_fault
from dawdle.backends.sqs._queue_ids import identity_from_arn

__all__ = [
    "as_uncertain",
    "batch_results",
    "delete_entries",
    "parse_deliveries",
    "send_entries",
    "system_attributes",
    "visibility_entries",
]

Entry = dict[str, Any]

_SYSTEM_ATTRIBUTES: Final = (
    "SentTimestamp",
    "ApproximateReceiveCount",
    "ApproximateFirstReceiveTimestamp",
    "MessageGroupId",
)
_SOURCE_ATTRIBUTE: Final = "DeadLetterQueueSourceArn"
"""The queue that a redrive policy moved the message from. Other messages do not have it."""
NOT_MENTIONED = Fault("unavailable", "the response does not mention this entry")


def system_attributes(*, with_source: bool) -> list[str]:
    """Return the names of the attributes that a receive asks for; `with_source`: of the source queue too."""
    return [*_SYSTEM_ATTRIBUTES, _SOURCE_ATTRIBUTE] if with_source else [*_SYSTEM_ATTRIBUTES]


def send_entries(batch: Sequence[Outgoing]) -> list[Entry]:
    """Return the entries of a SendMessageBatch; delays are whole seconds there, and never rounded down."""
    entries: list[Entry] = []
    for number, outgoing in enumerate(batch):
        # `Id` is only for this one request: SQS names each entry by it in the response.
        entry: Entry = {"Id": str(number), "MessageBody": outgoing.body.decode()}
        if outgoing.delay > 0:
            entry["DelaySeconds"] = ceil(outgoing.delay)
        if outgoing.group is not None:
            # Makes a standard queue a fair queue: a group with a large backlog does not delay the other groups.
            entry["MessageGroupId"] = outgoing.group
        entries.append(entry)
    return entries


def visibility_entries(batch: Sequence[ReleaseEntry]) -> list[Entry]:
    """Return the entries of a ChangeMessageVisibilityBatch; whole seconds there, and never rounded down."""
    return [
        {"Id": str(number), "ReceiptHandle": receipt, "VisibilityTimeout": ceil(seconds)}
        for number, (receipt, seconds) in enumerate(batch)
    ]


def delete_entries(receipts: Sequence[str]) -> list[Entry]:
    """Return the entries of a DeleteMessageBatch."""
    return [{"Id": str(number), "ReceiptHandle": receipt} for number, receipt in enumerate(receipts)]


def batch_results(answer: Mapping[str, Any], count: int) -> list[Fault | None]:
    """Return one slot per entry of a batch.

    HTTP 200 does not mean that all went well: SQS lists each entry under `Successful` or under `Failed`, by its number.
    An entry in neither list may have been carried out.
    """
    slots: list[Fault | None] = [NOT_MENTIONED] * count
    for entry in answer.get("Successful", ()):
        slots[int(entry["Id"])] = None
    for entry in answer.get("Failed", ()):
        slots[int(entry["Id"])] = to_fault(entry)
    return slots


def as_uncertain(slot: Fault | None) -> Fault | None:
    """Return an entry's result where an earlier attempt of the same call may have been carried out."""
    # A success stays one, also if an earlier attempt stored the message too: at least once is what was promised.
    if slot is None or slot.uncertain:
        return slot
    return msgspec.structs.replace(slot, reason=f"{slot.reason}; {EARLIER_ATTEMPT}", uncertain=True)


def parse_deliveries(answer: Mapping[str, Any]) -> list[Delivery]:
    """Return the messages of a ReceiveMessage response.

    A message's times must be the queue's, because the clocks of workers differ. SQS gives a time of the receive only at
    the first one, so later ones take the `Date` header of the response: the same clock, in whole seconds.
    """
    answered_at = _http_date_to_epoch(answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date"))
    return [_delivery(message, answered_at) for message in answer.get("Messages", ())]


def _http_date_to_epoch(date: str | None) -> float | None:
    """Return an HTTP date in epoch seconds; None without one, and for nonsense, which a proxy may write."""
    if date is None:
        return None
    try:
        parsed = parsedate_to_datetime(date)
        return (parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, OSError):
        return None


def _delivery(message: Mapping[str, Any], answered_at: float | None) -> Delivery:
    attributes: Mapping[str, str] = message.get("Attributes", {})
    receive_count = int(attributes.get("ApproximateReceiveCount", "1"))
    received_at = answered_at  # rounded down to a second, so a delay that is counted from it never ends early
    if receive_count == 1 and "ApproximateFirstReceiveTimestamp" in attributes:
        received_at = int(attributes["ApproximateFirstReceiveTimestamp"]) / 1000
    sent, source = attributes.get("SentTimestamp"), attributes.get("DeadLetterQueueSourceArn")
    return Delivery(
        receipt=message["ReceiptHandle"],
        key=message["MessageId"],
        body=message["Body"].encode(),
        receive_count=receive_count,
        stored_at=None if sent is None else int(sent) / 1000,
        received_at=received_at,
        group=attributes.get("MessageGroupId"),
        origin=None if source is None else identity_from_arn(source),
    )
