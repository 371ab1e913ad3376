"""What SQS would refuse, found before it is asked: one wrong entry makes botocore, or SQS, refuse its whole batch.

Values in, values out. The numbers are those of the SQS API reference and of the quotas in its developer guide, 2026.
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
    "check_outgoing",
    "check_receipt",
    "check_release",
]

Entry = TypeVar("Entry")

MAX_MESSAGE_BYTES: Final = 1_048_576
"""Bytes of a message, and of a batch, at most."""

MAX_DELAY_SECONDS: Final = 900
"""Seconds that a message may be delayed at most."""

MAX_VISIBILITY_SECONDS: Final = 43_200
"""Seconds that a received message may be hidden at most."""

_GROUP_ID: Final = re.compile(r"[!-~]{1,128}")


async def call_with_valid(
    batch: Sequence[Entry],
    check: Callable[[Entry], Fault | None],
    call: Callable[[list[Entry]], Awaitable[list[Fault | None]]],
) -> list[Fault | None]:
    """Make a call with the entries that may be taken, and return one slot per entry of the batch."""
    slots = [check(entry) for entry in batch]
    taken = [number for number, fault in enumerate(slots) if fault is None]
    if taken:
        answers = await call([batch[number] for number in taken])
        for number, fault in zip(taken, answers, strict=True):
            slots[number] = fault
    return slots


def check_outgoing(outgoing: Outgoing) -> Fault | None:
    """Return why a message is not sent, if so."""
    if not outgoing.body or not _is_text(outgoing.body):
        return Fault("refused", "a body of SQS is text, at least one byte of it, and this is none")
    if len(outgoing.body) > MAX_MESSAGE_BYTES:
        return Fault("refused", f"{len(outgoing.body):,} bytes, and {MAX_MESSAGE_BYTES:,} is the most")
    if not 0 <= outgoing.delay <= MAX_DELAY_SECONDS:
        return Fault("refused", f"a delay of {outgoing.delay} s, and {MAX_DELAY_SECONDS} is the most")
    if outgoing.group is not None and not _matches(outgoing.group, _GROUP_ID):
        return Fault("refused", "a group of SQS is 1 to 128 printable ASCII characters without a space")
    return None


def check_receipt(receipt: str) -> Fault | None:
    """Return why a receipt cannot be used, if so; one of an odd server may be anything."""
    return None if isinstance(receipt, str) and receipt else Fault("refused", "a receipt is text, and this is none")


def check_release(release: ReleaseEntry) -> Fault | None:
    """Return why a message is not released, or not hidden for longer, if so."""
    receipt, seconds = release
    if not 0 <= seconds <= MAX_VISIBILITY_SECONDS:
        return Fault("refused", f"hidden for {seconds} s, and {MAX_VISIBILITY_SECONDS:,} is the most")
    return check_receipt(receipt)


def _matches(value: object, pattern: re.Pattern[str]) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_text(body: bytes) -> bool:
    if body.isascii():
        return True
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True
