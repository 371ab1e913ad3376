"""What SQS and the way to it say instead of yes, as ours. The one table of codes."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    NoAuthTokenError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    SSOError,
    TokenRetrievalError,
)
from botocore.exceptions import (
    ConnectionError as BotoConnectionError,
)

from dawdle.abc import Fault
from dawdle.errors import BackendError, FaultKind

__all__ = ["as_error", "as_fault"]

_KINDS: Final[Mapping[str, FaultKind]] = {
    # RequestThrottled arrives as HTTP 403, so the code decides and not the status (SQS API reference, 2026).
    "RequestThrottled": "throttled",
    "Throttling": "throttled",
    "ThrottlingException": "throttled",
    "ThrottledException": "throttled",
    "TooManyRequestsException": "throttled",
    "RequestLimitExceeded": "throttled",
    "RequestThrottledException": "throttled",
    "BandwidthLimitExceeded": "throttled",
    "SlowDown": "throttled",
    "KmsThrottled": "throttled",
    "OverLimit": "throttled",
    "AccessDenied": "denied",
    "AccessDeniedException": "denied",
    "AuthFailure": "denied",
    "ExpiredToken": "denied",
    "ExpiredTokenException": "denied",
    "IncompleteSignature": "denied",
    "InvalidAccessKeyId": "denied",
    "InvalidClientTokenId": "denied",
    "InvalidSecurity": "denied",
    "KmsAccessDenied": "denied",
    "MissingAuthenticationToken": "denied",
    "NotAuthorized": "denied",
    "OptInRequired": "denied",
    "RequestExpired": "denied",
    "SignatureDoesNotMatch": "denied",
    "UnrecognizedClientException": "denied",
    "QueueDoesNotExist": "missing",
    "NonExistentQueue": "missing",
    "QueueDeletedRecently": "missing",
    "MessageNotInflight": "lost",
    "ReceiptHandleIsInvalid": "lost",
}
_AUTH = (
    CredentialRetrievalError,
    NoAuthTokenError,
    NoCredentialsError,
    PartialCredentialsError,
    SSOError,
    TokenRetrievalError,
)
_CALLERS_ERRORS: Final = 400
_SERVERS_ERRORS: Final = 500


def as_error(error: Exception, what: str) -> BackendError:
    """Return what a call raised as a `BackendError` that says which call it was; to be raised `from` it."""
    kind, told = _read(error)
    return BackendError(f"{what}: {told}", kind=kind)


def as_fault(entry: Mapping[str, object]) -> Fault:
    """Return an entry of `Failed` as a fault."""
    code = str(entry.get("Code", ""))
    unknown: FaultKind = "refused" if entry.get("SenderFault") else "unavailable"
    return Fault(*_told(code, entry.get("Message"), unknown))


def _read(error: Exception) -> tuple[FaultKind, str]:
    match error:
        case ClientError():
            response: Mapping[str, Any] = getattr(error, "response", {})
            details = response.get("Error", {})
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            unknown: FaultKind = "refused" if _CALLERS_ERRORS <= status < _SERVERS_ERRORS else "unavailable"
            return _told(str(details.get("Code", "")), details.get("Message"), unknown)
        case asyncio.TimeoutError():
            return "unavailable", "no answer in time"
        case NoRegionError() | ParamValidationError():
            return "refused", str(error)
        case BotoConnectionError() | HTTPClientError():
            return "unavailable", str(error)
        case BotoCoreError() if isinstance(error, _AUTH):
            return "denied", f"{error}"
        case _:
            return "unavailable", f"{type(error).__name__}: {error}"


def _told(code: str, message: object, unknown: FaultKind) -> tuple[FaultKind, str]:
    kind = _kind_of(code) or unknown
    # What SQS says of a receipt handle repeats it, and receipts are never logged.
    return kind, code if kind == "lost" or not message else f"{code}: {message}"


def _kind_of(code: str) -> FaultKind | None:
    """Return the kind of an error code, which may come with a prefix such as `AWS.SimpleQueueService.`."""
    return _KINDS.get(code) or _KINDS.get(code.rpartition(".")[2]) or _KINDS.get(code.rpartition("#")[2])
