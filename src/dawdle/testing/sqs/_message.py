"""One stored message, the time of a call, and receipt handles. Values only: nothing here changes a queue."""

import binascii
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Literal

import msgspec

from dawdle.testing.sqs._shapes import MessageAttributeValue

__all__ = ["Instant", "Message", "ReceiptHandle", "State", "decode_receipt_handle", "encode_receipt_handle"]

State = Literal["delayed", "visible", "in_flight", "deleted"]
"""delayed → visible ⇄ in_flight. From each of them a message may be deleted. `_queue` has the steps."""


class Instant(msgspec.Struct, frozen=True):
    """When a call happens, by both readings of the server's clock. They may differ: a clock can be set."""

    monotonic: float
    """Seconds by `monotonic()`. Delays, visibility timeouts and long polls are counted in these."""

    epoch_ms: int
    """Milliseconds since 1970 by `now()`. Responses show these."""


class Message(msgspec.Struct, kw_only=True, eq=False, gc=False):
    """One stored copy of a message.

    A queue may hold a million of them, so `gc=False`: it must not become part of a reference cycle.
    """

    serial: int
    """Number of this copy within its queue. Receipt handles name it; two copies of one message share only the `id`."""

    id: str
    body: str
    body_md5: str
    sent_ms: int
    stored_at: float
    """Monotonic seconds. The retention period counts from here."""

    state: State = "visible"
    visible_at: float = 0.0
    """Monotonic seconds at which a message that is delayed or in flight becomes visible."""

    timer_id: int = -1
    """Which entry of the queue's heap says so. Older entries for this message are void."""

    receive_count: int = 0
    """Over all queues that this message was in: SQS keeps counting in the dead-letter queue."""

    receive_count_on_arrival: int = 0
    """What it was when the message came to this queue. A redrive policy counts from here."""

    received_at: float = 0.0
    first_received_ms: int = 0
    attributes: Mapping[str, MessageAttributeValue] | None = None
    trace_header: str | None = None
    group_id: str | None = None
    deduplication_id: str | None = None
    sequence_number: str | None = None
    dead_letter_source: str | None = None


class ReceiptHandle(msgspec.Struct, frozen=True):
    """What a receipt handle encodes: which copy, and at which of its receives the handle was given out."""

    serial: int
    receive_count: int


def encode_receipt_handle(message: Message, secret: str) -> str:
    """Return the handle for the latest receive. `secret` is the queue's own: another queue refuses the handle."""
    return b64encode(f"{secret}:{message.serial}:{message.receive_count}".encode()).decode()


def decode_receipt_handle(handle: str, secret: str) -> ReceiptHandle | None:
    """Return what the handle encodes; None if this queue did not create it."""
    try:
        found, serial, receive_count = b64decode(handle, validate=True).decode("ascii").split(":")
        return ReceiptHandle(int(serial), int(receive_count)) if found == secret else None
    except (ValueError, binascii.Error):
        return None
