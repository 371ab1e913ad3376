"""Every refusal that SQS can answer: codes, HTTP status, whose fault it is. When to refuse is decided elsewhere."""

from typing import Final

__all__ = ["Refusal", "refuse"]

_PREFIX: Final = "com.amazonaws.sqs#"
_CORAL: Final = "com.amazon.coral.service#"
_OLD: Final = "AWS.SimpleQueueService."


class Refusal(Exception):  # noqa: N818 - an answer of the service, not a failure of ours
    """What the service answers instead of yes.

    `code` is the shape's name in the service model, `query_code` what the older query protocol called it (clients
    see that one as `Error.Code`), `status` the HTTP status, `sender` whether it is the caller's fault.
    """

    def __init__(self, code: str, message: str, *, query_code: str, status: int, sender: bool, prefix: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.query_code = query_code
        self.status = status
        self.sender = sender
        self.prefix = prefix


# The service model of 2026 has the shapes without their statuses; these are those of the model before the JSON
# protocol (2022), which the service still answers. What is not here is 400 under its own name.
_QUERY_CODES: Final = {
    "BatchEntryIdsNotDistinct": _OLD + "BatchEntryIdsNotDistinct",
    "BatchRequestTooLong": _OLD + "BatchRequestTooLong",
    "EmptyBatchRequest": _OLD + "EmptyBatchRequest",
    "InvalidBatchEntryId": _OLD + "InvalidBatchEntryId",
    "MessageNotInflight": _OLD + "MessageNotInflight",
    "PurgeQueueInProgress": _OLD + "PurgeQueueInProgress",
    "QueueDeletedRecently": _OLD + "QueueDeletedRecently",
    "QueueDoesNotExist": _OLD + "NonExistentQueue",
    "QueueNameExists": "QueueAlreadyExists",
    "TooManyEntriesInBatchRequest": _OLD + "TooManyEntriesInBatchRequest",
    "UnsupportedOperation": _OLD + "UnsupportedOperation",
    "ExpiredTokenException": "ExpiredToken",
    "AccessDeniedException": "AccessDenied",
    "IncompleteSignatureException": "IncompleteSignature",
    "MissingAuthenticationTokenException": "MissingAuthenticationToken",
    "UnknownOperationException": "InvalidAction",
}

_STATUSES: Final = {
    "AccessDeniedException": 403,
    "ExpiredTokenException": 403,
    "IncompleteSignatureException": 403,
    "InternalFailure": 500,
    "InvalidAddress": 404,
    "InvalidSecurity": 403,
    "MissingAuthenticationTokenException": 403,
    "OverLimit": 403,
    "PurgeQueueInProgress": 403,
    "ReceiptHandleIsInvalid": 404,
    "RequestThrottled": 403,
    "ResourceNotFoundException": 404,
    "ServiceUnavailable": 503,
}

_FRONT_DOOR: Final = frozenset(
    {
        "ExpiredTokenException",
        "IncompleteSignatureException",
        "MissingAuthenticationTokenException",
        "SerializationException",
        "UnknownOperationException",
    }
)


def refuse(code: str, message: str, *, status: int | None = None) -> Refusal:
    """Return the refusal with this name; `status` overrides the HTTP status that belongs to it."""
    status = status or _STATUSES.get(code, 400)
    return Refusal(
        code,
        message,
        query_code=_QUERY_CODES.get(code, code),
        status=status,
        sender=status < 500,
        prefix=_CORAL if code in _FRONT_DOOR else _PREFIX,
    )
