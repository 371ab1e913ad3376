"""Checks each entry against the limits of SQS before it is sent. Makes no request of its own.

One bad entry makes botocore, or SQS, refuse its whole batch, and with it the events of other callers. So it is refused
here, alone. The numbers are from the SQS API reference and from the quotas in the SQS developer guide, 2026.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from dawdle.abc import Fault, Outgoing, ReleaseEntry

__all__ = [
    "MAX_DELAY_SECONDS",
    "MAX_MESSAGE_BYTES",
    "MAX_VISIBILITY_SECONDS",
    "call_with_valid",
    "check_fifo_outgoing",
    "check_outgoing",
    "check_receipt",
    "check_release",
]

Entry = TypeVar("Entry")

MAX_MESSAGE_BYTES: Final = 1_048_576
"""Bytes of one message's body, and of all bodies in one batch."""

MAX_DELAY_SECONDS: Final = 900
"""Seconds that a message may be delayed: DelaySeconds."""

MAX_VISIBILITY_SECONDS: Final = 43_200
"""Seconds that a received message may stay hidden, from its receive on: VisibilityTimeout."""

_GROUP_ID: Final = re.compile(r"[!-~]{1,128}")


async def call_with_valid(
    batch: Sequence[Entry],
    check: Callable[[Entry], Fault | None],
    call: Callable[[list[Entry]], Awaitable[list[Fault | None]]],
) -> list[Fault | None]:
    """Make a call with the valid entries of a batch. Return one slot per entry: its result, or why it is not valid."""
    slots = [check(entry) for entry in batch]
    valid = [number for number, fault in enumerate(slots) if fault is None]
    if valid:  # SQS refuses an empty batch
        answers = await call([batch[number] for number in valid])
        for number, fault in zip(valid, answers, strict=True):
            slots[number] = fault
    return slots


def check_outgoing(outgoing: Outgoing) -> Fault | None:
    """Return why SQS would not take a message; None if it would."""
    if not outgoing.body or not _is_text(outgoing.body):
        return Fault("refused", "the body is empty or not UTF-8, and SQS takes only text")
    if len(outgoing.body) > MAX_MESSAGE_BYTES:
        return Fault(
            "refused", f"the body has {len(outgoing.body):,} bytes, and SQS takes at most {MAX_MESSAGE_BYTES:,}"
        )
    if not 0 <= outgoing.delay <= MAX_DELAY_SECONDS:
        return Fault("refused", f"the delay is {outgoing.delay} s, and SQS takes 0 to {MAX_DELAY_SECONDS}")
    if outgoing.group is not None and not _matches(outgoing.group, _GROUP_ID):
        return Fault("refused", "the group is not 1 to 128 printable ASCII characters without a space")
    return None


def check_fifo_outgoing(outgoing: Outgoing) -> Fault | None:
    """Return why a FIFO queue of SQS would not take a message; None if it would."""
    if outgoing.delay:
        return Fault("refused", f"the delay is {outgoing.delay} s, and a FIFO queue of SQS delays no single message")
    if outgoing.dedup is not None and not _matches(outgoing.dedup, _GROUP_ID):
        return Fault("refused", "the deduplication id is not 1 to 128 printable ASCII characters without a space")
    return check_outgoing(outgoing)


def check_receipt(receipt: str) -> Fault | None:
    """Return why SQS would not take a receipt handle; None if it would. An emulator's handles may be anything."""
    return None if isinstance(receipt, str) and receipt else Fault("refused", "the receipt is empty or not text")


def check_release(release: ReleaseEntry) -> Fault | None:
    """Return why SQS would not change a message's visibility; None if it would."""
    receipt, seconds = release
    if not 0 <= seconds <= MAX_VISIBILITY_SECONDS:
        return Fault("refused", f"it would be hidden for {seconds} s, and SQS takes 0 to {MAX_VISIBILITY_SECONDS:,}")
    return check_receipt(receipt)


def _matches(value: object, pattern: re.Pattern[str]) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_text(body: bytes) -> bool:
    if body.isascii():  # the usual case, without making a copy
        return True
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True
