"""The error codes of SQS, of KMS and of AWS in general, and which kind of fault each is. One table, no other decision.

The codes are from the service model of SQS in botocore, and from "Common errors" in the SQS API reference, 2026. The
code decides, never the HTTP status: RequestThrottled arrives as 403, which elsewhere means "forbidden", and an app that
took it for that would report missing permissions whenever it is busy.
"""

from collections.abc import Mapping
from typing import Final

from dawdle.errors import FaultKind

__all__ = ["ECHOES_HEADERS", "MISSING_PERMISSION", "STALE_CREDENTIALS", "fault_kind_of"]

_CODES: Final[Mapping[FaultKind, tuple[str, ...]]] = {
    # Too many requests now. It passes by itself.
    "throttled": (
        "BandwidthLimitExceeded",
        "KmsThrottled",
        "OverLimit",
        "PurgeQueueInProgress",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    ),
    # Credentials, a permission or a KMS key are wrong. Once an administrator mends them, the same call succeeds, so it
    # is tried again.
    "denied": (
        "AccessDenied",
        "AccessDeniedException",
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSecurity",
        "InvalidSignatureException",
        "KmsAccessDenied",
        "KmsDisabled",
        "KmsInvalidKeyUsage",
        "KmsInvalidState",
        "KmsNotFound",
        "KmsOptInRequired",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "NotAuthorized",
        "OptInRequired",
        "RequestExpired",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "UnauthorizedOperation",
        "UnrecognizedClientException",
    ),
    # There is no such queue, or not yet, or it was just deleted.
    "missing": (
        "NonExistentQueue",
        "QueueDeletedRecently",
        "QueueDoesNotExist",
        "ResourceNotFoundException",
    ),
    # The receipt handle no longer holds its message. Only these let dawdle cancel a running handler.
    "lost": (
        "MessageNotInflight",
        "ReceiptHandleIsInvalid",
    ),
    # The request itself is wrong, and would be refused again. A code that is unknown must not be added by guessing:
    # what is refused is not tried again.
    "refused": (
        "BatchEntryIdsNotDistinct",
        "BatchRequestTooLong",
        "EmptyBatchRequest",
        "InvalidAction",
        "InvalidAddress",
        "InvalidAttributeName",
        "InvalidAttributeValue",
        "InvalidBatchEntryId",
        "InvalidIdFormat",
        "InvalidMessageContents",
        "InvalidParameterCombination",
        "InvalidParameterValue",
        "InvalidParameterValueException",
        "InvalidQueryParameter",
        "MalformedQueryString",
        "MissingAction",
        "MissingParameter",
        "QueueAlreadyExists",
        "QueueNameExists",
        "ReadCountOutOfRange",
        "SerializationException",
        "TooManyEntriesInBatchRequest",
        "UnknownOperationException",
        "UnsupportedOperation",
        "ValidationError",
        "ValidationException",
    ),
}
_KINDS: Final[Mapping[str, FaultKind]] = {code: kind for kind, codes in _CODES.items() for code in codes}

STALE_CREDENTIALS: Final = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSecurity",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "RequestExpired",
        "UnrecognizedClientException",
    }
)
"""Codes for credentials that have expired or were replaced. A new session may find better ones."""

MISSING_PERMISSION: Final = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "NotAuthorized",
        "UnauthorizedOperation",
    }
)
"""Codes for good credentials that lack a permission. Some programs never get it, and do without."""

ECHOES_HEADERS: Final = frozenset(
    {
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
    }
)
"""Codes whose message repeats the signed headers, and with them the session token. It must not be logged."""


def fault_kind_of(code: str) -> FaultKind | None:
    """Return the kind of an error code, None of an unknown one.

    The older codes come with a prefix, `AWS.SimpleQueueService.NonExistentQueue`, and those of the JSON protocol may
    come with a namespace, `com.amazonaws.sqs#QueueDoesNotExist`.
    """
    return _KINDS.get(code) or _KINDS.get(without_prefix(code))


def without_prefix(code: str) -> str:
    """Return a code without its prefix or namespace."""
    return code.replace("#", ".").rpartition(".")[2]
