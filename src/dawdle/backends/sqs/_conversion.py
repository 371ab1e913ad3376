"""Converts messages and results between `dawdle.abc` and the shapes of SQS's API. Values in, values out.

Both ways to SQS use it, through botocore and past it, so each rule is here once.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from math import ceil
from typing import Any, Final
from uuid import uuid4

import msgspec

from dawdle._log import Log
from dawdle.abc import Delivery, Fault, Outgoing, ReleaseEntry
from dawdle.backends.sqs._data_plane._shapes import (
    BatchAnswer,
    DeleteEntry,
    Message,
    MessageAttributes,
    ReceiveAnswer,
    SendEntry,
    VisibilityEntry,
    from_botocore,
)
from dawdle.backends.sqs._errors import EARLIER_ATTEMPT, NOT_FROM_SQS, to_fault
from dawdle.backends.sqs._queue_address import is_fifo
from dawdle.backends.sqs._queue_ids import identity_from_arn
from dawdle.backends.sqs._trace_header import traceparent_of
from dawdle.errors import BackendError

__all__ = [
    "as_uncertain",
    "batch_results",
    "delete_entries",
    "deliveries_of",
    "http_date_to_epoch",
    "parse_deliveries",
    "send_entries",
    "system_attributes",
    "visibility_entries",
]

_log = Log(__name__)

_SYSTEM_ATTRIBUTES: Final = (
    "SentTimestamp",
    "ApproximateReceiveCount",
    "ApproximateFirstReceiveTimestamp",
    "MessageGroupId",
    "AWSTraceHeader",
)
_SOURCE_ATTRIBUTE: Final = "DeadLetterQueueSourceArn"
"""The queue that a redrive policy moved the message from. Other messages do not have it."""

NOT_MENTIONED: Final = Fault("unavailable", "the response does not mention this entry")
_DAMAGED: Final = Fault("unavailable", "SQS stored another body than was sent: the MD5 in its response differs")
_NO_ATTRIBUTES: Final = MessageAttributes()


def system_attributes(*, with_source: bool) -> list[str]:
    """Return the names of the attributes that a receive asks for; `with_source`: of the source queue too."""
    return [*_SYSTEM_ATTRIBUTES, _SOURCE_ATTRIBUTE] if with_source else [*_SYSTEM_ATTRIBUTES]


def send_entries(url: str, batch: Sequence[Outgoing]) -> list[SendEntry]:
    """Return the entries of a SendMessageBatch; delays are whole seconds there, and never rounded down."""
    if is_fifo(url):
        return [_fifo_entry(number, outgoing) for number, outgoing in enumerate(batch)]
    return [
        # A group makes a standard queue a fair queue: one with a large backlog does not delay the other groups.
        SendEntry(str(number), outgoing.body.decode(), ceil(outgoing.delay), outgoing.group)
        for number, outgoing in enumerate(batch)
    ]


def _fifo_entry(number: int, outgoing: Outgoing) -> SendEntry:
    """Return an entry for a FIFO queue, which wants a group and a deduplication id, and takes no delay."""
    dedup = uuid4().hex if outgoing.dedup is None else outgoing.dedup
    # Without a group it is in order with nothing: it is the only one of its group.
    group = dedup if outgoing.group is None else outgoing.group
    return SendEntry(str(number), outgoing.body.decode(), message_group_id=group, message_deduplication_id=dedup)


def visibility_entries(batch: Sequence[ReleaseEntry]) -> list[VisibilityEntry]:
    """Return the entries of a ChangeMessageVisibilityBatch; whole seconds there, and never rounded down."""
    return [VisibilityEntry(str(number), receipt, ceil(seconds)) for number, (receipt, seconds) in enumerate(batch)]


def delete_entries(receipts: Sequence[str]) -> list[DeleteEntry]:
    """Return the entries of a DeleteMessageBatch."""
    return [DeleteEntry(str(number), receipt) for number, receipt in enumerate(receipts)]


def batch_results(answer: BatchAnswer, count: int, sent: Sequence[Outgoing] = ()) -> list[Fault | None]:
    """Return one slot per entry of a batch. `sent`: the messages of a send, to compare with what SQS stored.

    HTTP 200 does not mean that all went well: SQS lists each entry under `Successful` or under `Failed`, by its number.
    An entry in neither list may have been carried out. Raises `BackendError` for an entry that was not asked for.
    """
    slots: list[Fault | None] = [NOT_MENTIONED] * count
    try:
        for entry in answer.successful or ():
            damaged = sent and _is_damaged(sent[entry.id].body, entry.md5_of_message_body)
            slots[entry.id] = _DAMAGED if damaged else None
        for failed in answer.failed or ():
            slots[failed.id] = to_fault(failed.code, failed.message, failed.sender_fault)
    except IndexError:
        raise BackendError(NOT_FROM_SQS.format(200)) from None
    return slots


def as_uncertain(slot: Fault | None) -> Fault | None:
    """Return an entry's result where an earlier attempt of the same call may have been carried out."""
    # A success stays one, also if an earlier attempt stored the message too: at least once is what was promised.
    if slot is None or slot.uncertain:
        return slot
    return msgspec.structs.replace(slot, reason=f"{slot.reason}; {EARLIER_ATTEMPT}", uncertain=True)


def parse_deliveries(answer: Mapping[str, Any]) -> list[Delivery]:
    """Return the messages of a ReceiveMessage response that botocore parsed. As `deliveries_of`."""
    date: str | None = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    return deliveries_of(from_botocore(answer, ReceiveAnswer), date)


def deliveries_of(answer: ReceiveAnswer, date: str | None) -> list[Delivery]:
    """Return the messages of a ReceiveMessage response. `date`: its `Date` header.

    A message's times must be the queue's, because the clocks of workers differ. SQS gives a time of the receive only at
    the first one, so later ones take the `Date` header of the response: the same clock, in whole seconds.

    A message whose MD5 is not that of its body is left out, and logged: it comes again after its lease.
    """
    deliveries: list[Delivery] = []
    for message in answer.messages or ():
        body = message.body.encode()
        if _is_damaged(body, message.md5_of_body):
            _log.warning(
                "message %s arrived damaged (its MD5 differs) and is not handled: SQS gives it again after its lease",
                message.message_id,
            )
        else:
            deliveries.append(_delivery(message, body, date))
    return deliveries


def _delivery(message: Message, body: bytes, date: str | None) -> Delivery:
    attributes = message.attributes or _NO_ATTRIBUTES
    receive_count = attributes.approximate_receive_count
    receive_count = 1 if receive_count is None else receive_count
    first, sent = attributes.approximate_first_receive_timestamp, attributes.sent_timestamp
    source, trace = attributes.dead_letter_queue_source_arn, attributes.aws_trace_header
    return Delivery(
        receipt=message.receipt_handle,
        key=message.message_id,
        body=body,
        receive_count=receive_count,
        stored_at=None if sent is None else sent / 1000,
        # The date is rounded down to a second, so a delay that is counted from it never ends early.
        received_at=first / 1000 if receive_count == 1 and first is not None else http_date_to_epoch(date),
        group=attributes.message_group_id,
        origin=None if source is None else identity_from_arn(source),
        traceparent=None if trace is None else traceparent_of(trace),
    )


@lru_cache(maxsize=4)  # every message of a second has the same one, and parsing it takes 6 µs
def http_date_to_epoch(date: str | None) -> float | None:
    """Return an HTTP date in epoch seconds; None without one, and for nonsense, which a proxy may write."""
    if date is None:
        return None
    try:
        parsed = parsedate_to_datetime(date)
        return (parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, OSError):
        return None


def _has_md5() -> bool:
    """Whether this Python has MD5. Builds for FIPS may leave it out, even where it is not for security."""
    try:
        hashlib.md5(b"", usedforsecurity=False)
    except ValueError:
        return False
    return True


_HAS_MD5: Final = _has_md5()


def _is_damaged(body: bytes, md5: str | None) -> bool:
    """Whether a body is not the one whose MD5 SQS names. It takes 0.8 µs for 200 bytes.

    The checksum of TCP has 16 bits, and on plain HTTP nothing else would notice.
    """
    return md5 is not None and _HAS_MD5 and hashlib.md5(body, usedforsecurity=False).hexdigest() != md5
