"""Every error that SQS can respond with: codes, HTTP status, whose fault it is. Other modules decide when."""

from typing import Final

__all__ = ["ServiceError", "service_error"]

_SQS_NAMESPACE: Final = "com.amazonaws.sqs#"
_PROTOCOL_NAMESPACE: Final = "com.amazon.coral.service#"
_QUERY_PREFIX: Final = "AWS.SimpleQueueService."


class ServiceError(Exception):
    """An error response of the service.

    `code` is the shape's name in the service model, `query_code` what the older query protocol called it (clients
    see that one as `Error.Code`), `status` the HTTP status, `is_sender_fault` whether the caller is at fault.
    """

    def __init__(
        self, code: str, message: str, *, query_code: str, status: int, is_sender_fault: bool, namespace: str
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.query_code = query_code
        self.status = status
        self.is_sender_fault = is_sender_fault
        self.namespace = namespace


# The service model of 2026 has the shapes without their statuses; these are those of the model before the JSON
# protocol (2022), which the service still answers. What is not here is 400 under its own name.
_QUERY_CODES: Final = {
    "BatchEntryIdsNotDistinct": _QUERY_PREFIX + "BatchEntryIdsNotDistinct",
    "BatchRequestTooLong": _QUERY_PREFIX + "BatchRequestTooLong",
    "EmptyBatchRequest": _QUERY_PREFIX + "EmptyBatchRequest",
    "InvalidBatchEntryId": _QUERY_PREFIX + "InvalidBatchEntryId",
    "MessageNotInflight": _QUERY_PREFIX + "MessageNotInflight",
    "PurgeQueueInProgress": _QUERY_PREFIX + "PurgeQueueInProgress",
    "QueueDeletedRecently": _QUERY_PREFIX + "QueueDeletedRecently",
    "QueueDoesNotExist": _QUERY_PREFIX + "NonExistentQueue",
    "QueueNameExists": "QueueAlreadyExists",
    "TooManyEntriesInBatchRequest": _QUERY_PREFIX + "TooManyEntriesInBatchRequest",
    "UnsupportedOperation": _QUERY_PREFIX + "UnsupportedOperation",
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

# Errors of the protocol and not of SQS: clients find them under the namespace of AWS's web framework.
_PROTOCOL_ERRORS: Final = frozenset(
    {
        "ExpiredTokenException",
        "IncompleteSignatureException",
        "MissingAuthenticationTokenException",
        "SerializationException",
        "UnknownOperationException",
    }
)


def service_error(code: str, message: str, *, status: int | None = None) -> ServiceError:
    """Return the error with this code; `status` overrides the HTTP status that belongs to it."""
    status = status or _STATUSES.get(code, 400)
    return ServiceError(
        code,
        message,
        query_code=_QUERY_CODES.get(code, code),
        status=status,
        is_sender_fault=status < 500,
        namespace=_PROTOCOL_NAMESPACE if code in _PROTOCOL_ERRORS else _SQS_NAMESPACE,
    )
