"""Turns errors of botocore, aiohttp and SQS into a `BackendError` or a `Fault`, with a text that may be logged.

A foreign text is shown only where it is known to repeat no body, no receipt and no credential: `_SAFE_TO_SHOW` lists
the errors, `_KINDS_WITH_SAFE_MESSAGE` the kinds of codes. A traceback prints the causes of an error too, so
`safe_cause` cuts off the whole chain where one of them is not safe. What may be logged is decided here only.
"""

import re
from asyncio import CancelledError
from collections.abc import Mapping
from typing import Any, Final

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigNotFound,
    ConfigParseError,
    ConnectionClosedError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    InvalidConfigError,
    NoAuthTokenError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    ReadTimeoutError,
    SSOError,
    TokenRetrievalError,
    ValidationError,
)
from botocore.exceptions import (
    ConnectionError as BotoConnectionError,
)

from dawdle.abc import Fault
from dawdle.backends._http import HttpError
from dawdle.backends.sqs._error_codes import (
    ECHOES_HEADERS,
    MISSING_PERMISSION,
    STALE_CREDENTIALS,
    fault_kind_of,
    without_prefix,
)
from dawdle.backends.sqs._request_attempts import is_unsent
from dawdle.errors import BackendError, FaultKind

__all__ = [
    "EARLIER_ATTEMPT",
    "NOT_FROM_SQS",
    "AccessDeniedError",
    "has_stale_credentials",
    "safe_cause",
    "to_backend_error",
    "to_fault",
]

NOT_FROM_SQS: Final = "HTTP {}, but not a response of SQS: check endpoint_url, and any proxy on the way"
"""What a proxy or a captive portal sends, or a response that was cut."""

_CREDENTIAL_ERRORS: Final = (
    ConfigNotFound,
    ConfigParseError,
    CredentialRetrievalError,
    NoAuthTokenError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)
_CONFIGURATION_ERRORS: Final = (InvalidConfigError, ParamValidationError, ValidationError)
_NETWORK_ERRORS: Final = (BotoConnectionError, ConnectionClosedError, ReadTimeoutError)
# Not in here: CredentialRetrievalError and TokenRetrievalError, which repeat the output of a credential process, and
# ParamValidationError and ValidationError, which repeat the arguments, with bodies and receipts.
_SAFE_TO_SHOW: Final = (
    *_NETWORK_ERRORS,
    ConfigNotFound,
    ConfigParseError,
    InvalidConfigError,
    NoAuthTokenError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
)
_KINDS_WITH_SAFE_MESSAGE: Final = frozenset({"denied", "missing", "throttled"})
_CODE_PATTERN: Final = re.compile(r"[A-Za-z][\w.:#-]{0,99}")
# "Value … for parameter ReceiptHandle is invalid. Reason: …": the value may be anything, also this phrase, so the match
# is greedy and takes the last one.
_INVALID_PARAMETER: Final = re.compile(r".*\bfor parameter (\w+) is invalid\. Reason: (.*)", re.DOTALL)
_USER_INFO: Final = re.compile(r"://[^/\s\"'?]*@")
_MAX_TEXT_CHARACTERS: Final = 500
_HTTP_TOO_MANY_REQUESTS: Final = 429
_HTTP_REDIRECTS: Final = range(300, 400)
_REDIRECTED: Final = (
    "HTTP {}: the server redirects to another address. dawdle does not follow, since events and credentials would go "
    "there: set endpoint_url or DAWDLE_SQS_ENDPOINT_URL to the address of the queue itself"
)
EARLIER_ATTEMPT: Final = "an earlier attempt of the same request may have been carried out"
_NO_CREDENTIALS: Final = (
    "no AWS credentials found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the instance, "
    "container or function a role"
)
_NO_REGION: Final = (
    "no AWS region is set, and the queue URL does not name one: pass SQS(region=…), or set DAWDLE_SQS_REGION or "
    "AWS_DEFAULT_REGION"
)
_STILL_EXPIRED: Final = "refreshed AWS credentials are expired too: check their source, and the clock of this machine"


class AccessDeniedError(BackendError):
    """The credentials are good and lack a permission. Bad or missing credentials are `denied` too, but not this."""


def to_backend_error(error: Exception, what: str, *, uncertain: bool) -> BackendError:
    """Return what a call raised as a `BackendError`: the cause, then which call. Raise it `from safe_cause(error)`.

    `uncertain`: whether one of the call's attempts may have been carried out.
    """
    kind, text = _classify(error)
    if uncertain and (kind != "unavailable" or is_unsent(error)):
        text = f"{text}; {EARLIER_ATTEMPT}"
    elif is_unsent(error):
        text = f"{text}, so nothing was sent"
    forbidden = isinstance(error, ClientError) and without_prefix(_code_of(error)) in MISSING_PERMISSION
    error_type = AccessDeniedError if forbidden else BackendError
    return error_type(_without_user_info(f"{text} ({what})"), kind=kind, uncertain=uncertain)


def to_fault(code: str, message: str | None, sender_fault: bool | None) -> Fault:
    """Return an entry of `Failed` as a fault. Where the code is unknown, `SenderFault` says whose mistake it is."""
    return Fault(*_classify_code(code, message or "", "refused" if sender_fault else "unavailable"))


def has_stale_credentials(error: BaseException) -> bool:
    """Return whether a call failed because its credentials have expired or were replaced, or there were none."""
    match error:
        case ClientError():
            return without_prefix(_code_of(error)) in STALE_CREDENTIALS
        case RuntimeError():
            return _is_still_expired(error)
        case _:
            return isinstance(error, NoCredentialsError)


def safe_cause(error: Exception) -> Exception | None:
    """Return the error to raise from; None where a traceback would print what must not be logged."""
    # Follows the chain as a traceback does. An unsafe cause hides all of it, since each link prints the next.
    each: BaseException | None = error
    while each is not None:
        if not _is_safe_to_print(each):
            return None
        each = each.__cause__ or each.__context__
    return error


def _classify(error: Exception) -> tuple[FaultKind, str]:
    # The order counts: all but the last few of these are BotoCoreErrors.
    match error:
        case BackendError():
            return error.kind, str(error)
        case ClientError():
            return _classify_response(error)
        case NoRegionError():
            return "refused", _NO_REGION
        case NoCredentialsError():
            return "denied", _NO_CREDENTIALS
        case BotoCoreError() if isinstance(error, _CONFIGURATION_ERRORS):
            return "refused", _safe_text(error)
        case BotoCoreError() if isinstance(error, _CREDENTIAL_ERRORS):
            return "denied", _safe_text(error)
        case HTTPClientError() | BotoConnectionError():
            return "unavailable", _network_text(error)
        case TimeoutError():
            return "unavailable", "no answer came in time"
        case RuntimeError() if _is_still_expired(error):
            return "denied", _STILL_EXPIRED
        case _:
            return "unavailable", f"{type(error).__name__} {_raised_in(error)}"


def _network_text(error: BotoCoreError) -> str:
    match error:
        case ReadTimeoutError():
            return f"no answer came in time: {_safe_text(error)}"
        case ConnectionClosedError() | EndpointConnectionError() if not is_unsent(error):
            return f"the connection broke after the request was sent ({_inner_error_name(error)})"
        case _:
            return _safe_text(error)


def _classify_response(error: ClientError) -> tuple[FaultKind, str]:
    """Read an error response. Without an error code it is from a server in between, not from SQS."""
    response: Mapping[str, Any] = error.response
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = _code_of(error)
    unknown: FaultKind = "throttled" if status == _HTTP_TOO_MANY_REQUESTS else "unavailable"
    if status in _HTTP_REDIRECTS:
        return unknown, _REDIRECTED.format(status)
    if not _CODE_PATTERN.fullmatch(code):
        return unknown, NOT_FROM_SQS.format(status)
    return _classify_code(code, str(response["Error"].get("Message") or ""), unknown)


def _classify_code(code: str, message: str, unknown: FaultKind) -> tuple[FaultKind, str]:
    kind = fault_kind_of(code)
    found = _INVALID_PARAMETER.fullmatch(message)
    if kind == "refused" and found:
        # A handle that was good once is an InvalidParameterValue to SQS, whatever its API reference says:
        # github.com/aws/aws-sdk-java/issues/1628, github.com/aws/aws-sdk-net/issues/1927
        kind = "lost" if found[1] == "ReceiptHandle" else kind
        message = f"{found[1]}: {found[2]}"
    # Of other kinds the message may quote the entry, and of unknown codes it may be anything: only the code is shown.
    elif kind not in _KINDS_WITH_SAFE_MESSAGE or without_prefix(code) in ECHOES_HEADERS:
        message = ""
    code = code if _CODE_PATTERN.fullmatch(code) else "no code"
    return kind or unknown, f"{code}: {message[:_MAX_TEXT_CHARACTERS]}" if message else code


def _code_of(error: ClientError) -> str:
    response: Mapping[str, Any] = error.response
    return str(response.get("Error", {}).get("Code", ""))


def _safe_text(error: Any) -> str:
    """Return botocore's own text where it is safe, else the error's name; for network errors also the error inside."""
    name = type(error).__name__
    facts: Mapping[str, object] = error.kwargs
    if isinstance(error, CredentialRetrievalError | TokenRetrievalError):
        return f"{name} from {facts.get('provider')}"
    trouble = f" ({_inner_error_name(error)})" if isinstance(facts.get("error"), Exception) else ""
    return f"{str(error)[:_MAX_TEXT_CHARACTERS] if isinstance(error, _SAFE_TO_SHOW) else name}{trouble}"


def _inner_error_name(error: Any) -> str:
    """Return the name of the error that a network error wraps, such as ConnectionRefusedError."""
    facts: Mapping[str, object] = error.kwargs
    cause = facts.get("error", error)
    inner = cause.__cause__ if isinstance(cause, BaseException) else None
    # Our own client's errors say no more than botocore's, and aiohttp's no more than that it could not connect. The
    # reason that the system gave, such as ConnectionRefusedError, is in their cause.
    if inner is not None and (isinstance(cause, HttpError) or isinstance(inner, ConnectionError)):
        return type(inner).__name__
    return type(cause).__name__


def _is_safe_to_print(error: BaseException) -> bool:
    """Return whether an error's own text is safe. Those of the operating system hold hosts, ports and error numbers."""
    if isinstance(error, ClientError):
        kind = fault_kind_of(_code_of(error))
        return kind in _KINDS_WITH_SAFE_MESSAGE and without_prefix(_code_of(error)) not in ECHOES_HEADERS
    return isinstance(error, (*_SAFE_TO_SHOW, HttpError, OSError, CancelledError)) and not _USER_INFO.search(str(error))


def _is_still_expired(error: RuntimeError) -> bool:
    """Return whether botocore refreshed credentials and got expired ones. It has no class for that, only this text."""
    return "refreshed credentials are still expired" in str(error)


def _raised_in(error: Exception) -> str:
    """Return the line of code that raised an unexpected error. Its text may hold anything, so it is not shown."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "from nowhere"
    return f"in {trace.tb_frame.f_globals.get('__name__')}, line {trace.tb_lineno}"


def _without_user_info(text: str) -> str:
    """Return a text without the user and password of any URL in it, such as that of a proxy."""
    return _USER_INFO.sub("://", text)
