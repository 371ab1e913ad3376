"""The one table of what SQS, its key service and the front door of AWS answer instead of yes. Decides nothing else.

From the service model of SQS as botocore has it, and from "Common errors" of the SQS API reference, 2026.
"""

from collections.abc import Mapping
from typing import Final

from dawdle.errors import FaultKind

__all__ = ["ECHOES_HEADERS", "MISSING_PERMISSION", "STALE_CREDENTIALS", "fault_kind_of"]

_CODES: Final[Mapping[FaultKind, tuple[str, ...]]] = {
    # RequestThrottled arrives as HTTP 403, so the code decides and not the status.
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
    # Somebody must mend a key or a permission, and then it works again without anything here being changed.
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
    "missing": (
        "NonExistentQueue",
        "QueueDeletedRecently",
        "QueueDoesNotExist",
        "ResourceNotFoundException",
    ),
    "lost": (
        "MessageNotInflight",
        "ReceiptHandleIsInvalid",
    ),
    # The caller's own mistake, which no waiting mends. What is not known is never put here by guessing.
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
"""Those that say that the credentials in use are no good any more: others may be there by now."""

MISSING_PERMISSION: Final = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "NotAuthorized",
        "UnauthorizedOperation",
    }
)
"""Those that say that the credentials are good and lack a permission, which some programs are never given."""

ECHOES_HEADERS: Final = frozenset(
    {
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
    }
)
"""Those whose message repeats the headers that were signed, and with them a session token."""


def fault_kind_of(code: str) -> FaultKind | None:
    """Return the kind of an error code, which may come with a prefix such as `AWS.SimpleQueueService.`."""
    return _KINDS.get(code) or _KINDS.get(without_prefix(code))


def without_prefix(code: str) -> str:
    """Return a code without its prefix."""
    return code.replace("#", ".").rpartition(".")[2]
