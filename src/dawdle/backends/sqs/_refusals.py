"""What SQS would refuse, found before it is asked: one wrong entry makes botocore, or SQS, refuse its whole batch.

Values in, values out. The numbers are those of the SQS API reference and of the quotas in its developer guide, 2026.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from dawdle.abc import Fault, Outgoing, ReleaseEntry

__all__ = ["MAX_DELAY", "MAX_VISIBILITY", "MEBIBYTE", "each_alone", "of_outgoing", "of_receipt", "of_release"]

Entry = TypeVar("Entry")

MEBIBYTE: Final = 1_048_576
"""Bytes of a message, and of a batch, at most."""

MAX_DELAY: Final = 900
"""Seconds that a message may be delayed at most."""

MAX_VISIBILITY: Final = 43_200
"""Seconds that a received message may be hidden at most."""

_GROUP: Final = re.compile(r"[!-~]{1,128}")


async def each_alone(
    batch: Sequence[Entry],
    refusal: Callable[[Entry], Fault | None],
    call: Callable[[list[Entry]], Awaitable[list[Fault | None]]],
) -> list[Fault | None]:
    """Make a call with the entries that may be taken, and return one slot per entry of the batch."""
    slots = [refusal(entry) for entry in batch]
    taken = [number for number, fault in enumerate(slots) if fault is None]
    if taken:
        answers = await call([batch[number] for number in taken])
        for number, fault in zip(taken, answers, strict=True):
            slots[number] = fault
    return slots


def of_outgoing(outgoing: Outgoing) -> Fault | None:
    """Return why a message is not sent, if so."""
    if not outgoing.body or not _is_text(outgoing.body):
        return Fault("refused", "a body of SQS is text, at least one byte of it, and this is none")
    if len(outgoing.body) > MEBIBYTE:
        return Fault("refused", f"{len(outgoing.body):,} bytes, and {MEBIBYTE:,} is the most")
    if not 0 <= outgoing.delay <= MAX_DELAY:
        return Fault("refused", f"a delay of {outgoing.delay} s, and {MAX_DELAY} is the most")
    if outgoing.group is not None and not _is(outgoing.group, _GROUP):
        return Fault("refused", "a group of SQS is 1 to 128 printable ASCII characters without a space")
    return None


def of_receipt(receipt: str) -> Fault | None:
    """Return why a receipt cannot be used, if so; one of an odd server may be anything."""
    return None if isinstance(receipt, str) and receipt else Fault("refused", "a receipt is text, and this is none")


def of_release(release: ReleaseEntry) -> Fault | None:
    """Return why a message is not released, or not hidden for longer, if so."""
    receipt, seconds = release
    if not 0 <= seconds <= MAX_VISIBILITY:
        return Fault("refused", f"hidden for {seconds} s, and {MAX_VISIBILITY:,} is the most")
    return of_receipt(receipt)


def _is(value: object, pattern: re.Pattern[str]) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_text(body: bytes) -> bool:
    if body.isascii():
        return True
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True
