"""How a batch runs: entry by entry, in order, each with a result of its own."""

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
    """Run `step` for each entry and return all results; entries that a fault rule picks fail without being run."""
    result = BatchResult([], [])
    fault = call.faults.entries_failed
    for position, entry in enumerate(entries):
        if fault is not None and position in fault.entries:
            result.failed.append(
                BatchResultErrorEntry(entry.id, False, fault.code, "This entry was failed on purpose by a fault rule.")
            )
            continue
        try:
            result.successful.append(step(entry))
        except ServiceError as error:
            result.failed.append(
                BatchResultErrorEntry(entry.id, error.is_sender_fault, error.query_code, error.message)
            )
    return result
