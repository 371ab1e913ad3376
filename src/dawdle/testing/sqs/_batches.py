"""How a batch is carried out: entry by entry, in order, each with a result of its own."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from dawdle.testing.sqs._errors import ServiceError
from dawdle.testing.sqs._service import Call
from dawdle.testing.sqs._shapes import BatchResult, BatchResultErrorEntry

__all__ = ["run_batch"]


class _Entry(Protocol):
    @property
    def id(self) -> str: ...


E = TypeVar("E", bound=_Entry)


def run_batch(entries: Sequence[E], step: Callable[[E], object], call: Call) -> BatchResult:
    """Return what happened to each entry; those that a fault picks fail without being carried out."""
    answer = BatchResult([], [])
    fault = call.faults.entries_failed
    for position, entry in enumerate(entries):
        if fault is not None and position in fault.entries:
            answer.failed.append(
                BatchResultErrorEntry(entry.id, False, fault.code, "This entry was failed on purpose by a fault rule.")
            )
            continue
        try:
            answer.successful.append(step(entry))
        except ServiceError as refusal:
            answer.failed.append(
                BatchResultErrorEntry(entry.id, refusal.is_sender_fault, refusal.query_code, refusal.message)
            )
    return answer
