"""How a batch is carried out: entry by entry, in order, each with a result of its own."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from dawdle.testing.sqs._errors import Refusal
from dawdle.testing.sqs._service import Call
from dawdle.testing.sqs._shapes import BatchResult, BatchResultErrorEntry

__all__ = ["carry_out"]


class _Entry(Protocol):
    @property
    def id(self) -> str: ...


E = TypeVar("E", bound=_Entry)


def carry_out(entries: Sequence[E], step: Callable[[E], object], call: Call) -> BatchResult:
    """Return what happened to each entry; those that a fault picks fail without being carried out."""
    answer = BatchResult([], [])
    fault = call.trouble.failed
    for position, entry in enumerate(entries):
        if fault is not None and position in fault.entries:
            answer.failed.append(
                BatchResultErrorEntry(entry.id, False, fault.code, "This entry was failed on purpose by a fault rule.")
            )
            continue
        try:
            answer.successful.append(step(entry))
        except Refusal as refusal:
            answer.failed.append(BatchResultErrorEntry(entry.id, refusal.sender, refusal.query_code, refusal.message))
    return answer
