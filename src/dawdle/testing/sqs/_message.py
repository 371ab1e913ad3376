"""One stored message, the moment of a call, and receipts; values only, nothing here changes a queue."""

import binascii
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Literal

import msgspec

from dawdle.testing.sqs._shapes import MessageAttributeValue

__all__ = ["Instant", "Message", "ReceiptHandle", "State", "decode_receipt_handle", "encode_receipt_handle"]

State = Literal["delayed", "visible", "in_flight", "deleted"]
"""Delayed → waiting ⇄ held → gone. `held` is what SQS calls in flight; from every state it may be gone."""


class Instant(msgspec.Struct, frozen=True):
    """When a call happens, by both faces of the clock that was handed in."""

    monotonic: float
    """Seconds by `monotonic()`: delays, visibility and polls are counted in these."""

    epoch_ms: int
    """Milliseconds since 1970 by `now()`: what answers show."""


class Message(msgspec.Struct, kw_only=True, eq=False, gc=False):
    """One stored copy of a message. A queue may hold a million: no reference cycles, nothing computed kept."""

    serial: int
    """Number of this copy within its queue; receipts name it."""

    id: str
    body: str
    body_md5: str
    sent_ms: int
    stored_at: float
    """Monotonic seconds; retention counts from here."""

    state: State = "visible"
    visible_at: float = 0.0
    """Monotonic seconds at which a delayed or held message is waiting (again)."""

    timer_id: int = -1
    """Which entry of the queue's heap says so; older entries for this message are void."""

    receive_count: int = 0
    """Over all queues that this message has been in."""

    receive_count_on_arrival: int = 0
    """How many of the receives happened in the queue that it came from."""

    received_at: float = 0.0
    first_received_ms: int = 0
    attributes: Mapping[str, MessageAttributeValue] | None = None
    trace_header: str | None = None
    group_id: str | None = None
    deduplication_id: str | None = None
    sequence_number: str | None = None
    dead_letter_source: str | None = None


class ReceiptHandle(msgspec.Struct, frozen=True):
    """What a receipt handle says: which copy, and at which of its receives the handle was given out."""

    serial: int
    receive_count: int


def encode_receipt_handle(message: Message, secret: str) -> str:
    """Return the handle for the latest receive; `seal` is the queue's own, so that no other queue takes it."""
    return b64encode(f"{secret}:{message.serial}:{message.receive_count}".encode()).decode()


def decode_receipt_handle(handle: str, secret: str) -> ReceiptHandle | None:
    """Return what the handle says; None if this queue never wrote it."""
    try:
        found, key, receives = b64decode(handle, validate=True).decode("ascii").split(":")
        return ReceiptHandle(int(key), int(receives)) if found == secret else None
    except (ValueError, binascii.Error):
        return None
