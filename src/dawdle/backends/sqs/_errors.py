"""What SQS and the way to it say instead of yes, as ours: of which kind, and in words that give nothing away.

A text from elsewhere is shown only where it is known to repeat nothing of ours: no body, no receipt, no credential.
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
from dawdle.backends.sqs._codes import FORBIDDING, REPEATING, STALE, kind_of, short
from dawdle.backends.sqs._tries import is_unsent
from dawdle.errors import BackendError, FaultKind

__all__ = ["EARLIER_TRY", "NO_ANSWER", "NotAllowedError", "as_error", "as_fault", "cause_of", "is_stale"]

NO_ANSWER: Final = "HTTP {}, and no answer of SQS"
"""What a proxy, a captive portal or half an answer is."""

_AUTH: Final = (
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
_OURS: Final = (InvalidConfigError, ParamValidationError, ValidationError)
_NETWORK: Final = (BotoConnectionError, ConnectionClosedError, ReadTimeoutError)
# CredentialRetrievalError and TokenRetrievalError repeat what a credential process wrote, ParamValidationError and
# ValidationError the values that were handed in.
_OPEN: Final = (
    *_NETWORK,
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
_MESSAGE_SHOWN: Final = frozenset({"denied", "missing", "throttled"})
_CODE: Final = re.compile(r"[A-Za-z][\w.:#-]{0,99}")
# The value comes first and may hold anything, so what counts is the last match.
_REASON: Final = re.compile(r".*\bfor parameter (\w+) is invalid\. Reason: (.*)", re.DOTALL)
_USER: Final = re.compile(r"://[^/\s\"'?]*@")
_LONGEST: Final = 500
_TOO_MANY: Final = 429
_REDIRECTS: Final = range(300, 400)
_REDIRECTED: Final = (
    "HTTP {}: the server redirects to another address, which would get events and credentials, so it is not followed: "
    "set endpoint_url, or the environment's DAWDLE_SQS_ENDPOINT_URL, to where the queue is"
)
EARLIER_TRY: Final = "an earlier try of the same call may have come through"
_NO_CREDENTIALS: Final = (
    "no AWS credentials found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the instance, "
    "container or function a role"
)
_NO_REGION: Final = (
    "no region is set, and the URL does not say it: SQS(region=…), or the environment's DAWDLE_SQS_REGION or "
    "AWS_DEFAULT_REGION"
)


class NotAllowedError(BackendError):
    """A permission is missing. Credentials that are no good, or not there yet, are `denied` as well, and not this."""


def as_error(error: Exception, what: str, *, uncertain: bool) -> BackendError:
    """Return what a call raised as a `BackendError`: the cause, then which call. Raise it `from cause_of(error)`.

    `uncertain`: whether one of the call's tries may have come through.
    """
    kind, told = _read(error)
    if uncertain and (kind != "unavailable" or is_unsent(error)):
        told = f"{told}; {EARLIER_TRY}"
    elif is_unsent(error):
        told = f"{told}, so nothing was sent"
    forbidden = isinstance(error, ClientError) and short(_code_of(error)) in FORBIDDING
    kind_of_error = NotAllowedError if forbidden else BackendError
    return kind_of_error(_masked(f"{told} ({what})"), kind=kind, uncertain=uncertain)


def as_fault(entry: Mapping[str, object]) -> Fault:
    """Return an entry of `Failed` as a fault; of an unknown code SQS itself says whose fault it is."""
    unknown: FaultKind = "refused" if entry.get("SenderFault") else "unavailable"
    return Fault(*_told(str(entry.get("Code", "")), str(entry.get("Message") or ""), unknown))


def is_stale(error: BaseException) -> bool:
    """Return whether a call failed because the credentials in use are no good any more, or there were none."""
    match error:
        case ClientError():
            return short(_code_of(error)) in STALE
        case RuntimeError():
            return _is_still_expired(error)
        case _:
            return isinstance(error, NoCredentialsError)


def cause_of(error: Exception) -> Exception | None:
    """Return the error to chain to; None where a traceback would print what is never logged."""
    each: BaseException | None = error
    while each is not None:
        if not _may_be_printed(each):
            return None
        each = each.__cause__ or each.__context__
    return error


def _read(error: Exception) -> tuple[FaultKind, str]:
    match error:
        case BackendError():
            return error.kind, str(error)
        case ClientError():
            return _read_answer(error)
        case NoRegionError():
            return "refused", _NO_REGION
        case NoCredentialsError():
            return "denied", _NO_CREDENTIALS
        case BotoCoreError() if isinstance(error, _OURS):
            return "refused", _shown(error)
        case BotoCoreError() if isinstance(error, _AUTH):
            return "denied", _shown(error)
        case HTTPClientError() | BotoConnectionError():
            return "unavailable", _network(error)
        case TimeoutError():
            return "unavailable", "no answer came in time"
        case RuntimeError() if _is_still_expired(error):
            return "denied", "the credentials were renewed, and those that came are expired, too"
        case _:
            return "unavailable", f"{type(error).__name__} {_place_of(error)}"


def _network(error: BotoCoreError) -> str:
    match error:
        case ReadTimeoutError():
            return f"no answer came in time: {_shown(error)}"
        case ConnectionClosedError() | EndpointConnectionError() if not is_unsent(error):
            return f"the connection broke after the request was sent ({_inside(error)})"
        case _:
            return _shown(error)


def _read_answer(error: ClientError) -> tuple[FaultKind, str]:
    """Read an answer that is a no. Without a code of a service it came from something on the way."""
    response: Mapping[str, Any] = error.response
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = _code_of(error)
    unknown: FaultKind = "throttled" if status == _TOO_MANY else "unavailable"
    if status in _REDIRECTS:
        return unknown, _REDIRECTED.format(status)
    if not _CODE.fullmatch(code):
        return unknown, NO_ANSWER.format(status)
    return _told(code, str(response["Error"].get("Message") or ""), unknown)


def _told(code: str, message: str, unknown: FaultKind) -> tuple[FaultKind, str]:
    kind = kind_of(code)
    found = _REASON.fullmatch(message)
    if kind == "refused" and found:
        # A handle that was good once is an InvalidParameterValue to SQS, whatever its API reference says:
        # github.com/aws/aws-sdk-java/issues/1628, github.com/aws/aws-sdk-net/issues/1927
        kind = "lost" if found[1] == "ReceiptHandle" else kind
        message = f"{found[1]}: {found[2]}"
    elif kind not in _MESSAGE_SHOWN or short(code) in REPEATING:
        message = ""
    code = code if _CODE.fullmatch(code) else "no code"
    return kind or unknown, f"{code}: {message[:_LONGEST]}" if message else code


def _code_of(error: ClientError) -> str:
    response: Mapping[str, Any] = error.response
    return str(response.get("Error", {}).get("Code", ""))


def _shown(error: Any) -> str:
    """Return what botocore says, or only its name; of network troubles also which kind of trouble it was."""
    name = type(error).__name__
    facts: Mapping[str, object] = error.kwargs
    if isinstance(error, CredentialRetrievalError | TokenRetrievalError):
        return f"{name} from {facts.get('provider')}"
    trouble = f" ({_inside(error)})" if isinstance(facts.get("error"), Exception) else ""
    return f"{str(error)[:_LONGEST] if isinstance(error, _OPEN) else name}{trouble}"


def _inside(error: Any) -> str:
    """Return which kind of trouble a network error was made of."""
    facts: Mapping[str, object] = error.kwargs
    return type(facts.get("error", error)).__name__


def _may_be_printed(error: BaseException) -> bool:
    """Return whether an error's own text is safe; those of the operating system name hosts and numbers."""
    if isinstance(error, ClientError):
        kind = kind_of(_code_of(error))
        return kind in _MESSAGE_SHOWN and short(_code_of(error)) not in REPEATING
    return isinstance(error, (*_OPEN, OSError, CancelledError)) and not _USER.search(str(error))


def _is_still_expired(error: RuntimeError) -> bool:
    """Return whether botocore says that credentials which it has just renewed are expired; it has no class for it."""
    return "refreshed credentials are still expired" in str(error)


def _place_of(error: Exception) -> str:
    """Return where an error comes from that nobody expected: its text may hold anything, and is not shown."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "from nowhere"
    return f"in {trace.tb_frame.f_globals.get('__name__')}, line {trace.tb_lineno}"


def _masked(text: str) -> str:
    """Return a text without the users and passwords of its URLs."""
    return _USER.sub("://", text)
