"""The error by which a function gives back what it could not finish, where it may not report it. Nothing else."""

from collections.abc import Sequence

from dawdle.errors import DawdleError

__all__ = ["UnfinishedRecordsError"]


class UnfinishedRecordsError(DawdleError):
    """Some records of an invocation are not finished. The others are deleted, and SQS gives these again.

    Raised instead of a report where `batchItemFailures` are not known to be read: Lambda would delete what is reported.
    `message_ids`: the SQS messages that come again.
    """

    def __init__(self, message: str, *, message_ids: Sequence[str]) -> None:
        super().__init__(message)
        self.message_ids = tuple(message_ids)
