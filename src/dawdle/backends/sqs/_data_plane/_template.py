"""Learns from botocore what it would send: where to, with which headers, signed how. Sends nothing itself.

Endpoint rules, FIPS, dual-stack, `AWS_ENDPOINT_URL_SQS`, the user agent and the app id are botocore's matter, and stay
so. Each data operation is called once, up to the point where its request is signed, and no further::

    before-sign        our credentials take the place of the real ones, so none is fetched, and none need be there
    (botocore signs)
    request-created    the request is complete: it is kept, and an exception ends the call before anything is sent

Then our own signer signs the request too. Where that differs in one byte there is no template, and the queue is used
through botocore alone.
"""

import os
from calendar import timegm
from collections.abc import Mapping, Sequence
from time import strptime
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlsplit

from aiobotocore.credentials import AioCredentials
from botocore import xform_name  # pyright: ignore[reportUnknownVariableType] - it has no types
from botocore.utils import normalize_url_path  # pyright: ignore[reportUnknownVariableType]

from dawdle._log import Log
from dawdle.backends.sqs._data_plane._signer import ALGORITHM, TOKEN_HEADER, Header, Request, Signer, Template

__all__ = ["OPERATIONS", "learn_template", "template_for"]

_log = Log(__name__)

_RECEIPT: Final = {"Id": "0", "ReceiptHandle": "x"}
OPERATIONS: Final[Mapping[str, Mapping[str, object]]] = {
    "DeleteMessageBatch": {"Entries": [_RECEIPT]},
    "ChangeMessageVisibilityBatch": {"Entries": [{**_RECEIPT, "VisibilityTimeout": 0}]},
    "SendMessageBatch": {"Entries": [{"Id": "0", "MessageBody": "x"}]},
    "ReceiveMessage": {},
}
"""The operations that move messages, each with arguments that botocore takes.

First one that does nothing if it is sent after all, by a botocore that no longer has these events.
"""

_ACCESS_KEY: Final = "AKIDEXAMPLE"
_SECRET_KEY: Final = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"  # noqa: S105 - the example of AWS's documentation

_WRITTEN_PER_REQUEST: Final = frozenset(
    {
        "amz-sdk-invocation-id",
        "amz-sdk-request",
        "authorization",
        "content-length",
        "host",
        "x-amz-date",
        TOKEN_HEADER.lower(),
    }
)
"""Headers that the signer or the transport writes for each request. All others are the same each time."""

_VARYING: Final = frozenset({"X-Amz-Target", "User-Agent"})
"""Constant headers that need not be the same for each operation."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class _CapturedError(Exception):
    """Ends a call of botocore's when its request is complete."""

    def __init__(self, request: Any) -> None:
        super().__init__()
        self.request = request


class _OnlyBotocoreError(Exception):
    """There is no template, and why."""


class _Signature(NamedTuple):
    """What an `Authorization` header says, but for the signature itself and the date."""

    region: str
    service: str
    headers: tuple[str, ...]


async def learn_template(client: Any, queue_url: str) -> Template | None:
    """Return what a client of aiobotocore sends for each of `OPERATIONS`; None where only botocore can send it.

    That is so in AWS Lambda, where requests are not signed by SigV4, where our signer would sign them otherwise, and
    where botocore itself fails: then each call fails in the same way. A line in the log says which. Fetches no
    credentials and counts as no attempt. No other call may be made by the client meanwhile.
    """
    try:
        _require_no_lambda()
        return _common({operation: await _capture(client, operation, queue_url) for operation in OPERATIONS})
    except _OnlyBotocoreError as error:
        why = str(error)
    except Exception as error:  # noqa: BLE001 - an app opens although its calls will fail, as it did
        why = f"it raised {type(error).__name__}"  # its text may hold a password, such as that of an endpoint
    _log.info("requests for %s are made by botocore alone: %s", queue_url, why)
    return None


def template_for(
    url: str, region: str, service: str, headers: Mapping[str, Sequence[Header]], signed: Sequence[str]
) -> Template:
    """Return the template of requests to a URL. `headers`, `signed`: as in `Template`."""
    parts = urlsplit(url)
    host = parts.netloc.lower()
    if parts.port == _DEFAULT_PORTS.get(parts.scheme):
        host = host.removesuffix(f":{parts.port}")
    return Template(
        url=url,
        host=host,
        target=parts.path or "/",
        canonical_path=quote(normalize_url_path(parts.path), safe="/~"),
        region=region,
        service=service,
        headers={operation: tuple(each) for operation, each in headers.items()},
        signed=tuple(signed),
    )


def _require_no_lambda() -> None:
    if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
        # botocore sends the trace of the invocation that is running, which is another one for each.
        raise _OnlyBotocoreError("AWS Lambda wants each request to name its invocation")


def _common(requests: Mapping[str, Any]) -> Template:
    """Return the template that the requests follow. Raises `_OnlyBotocoreError` where they follow none of ours."""
    kinds = {(str(request.url), _signature_of(request)) for request in requests.values()}
    url, signature = kinds.pop()
    if kinds or signature is None:
        raise _OnlyBotocoreError("they are not all signed by SigV4, or not in the same way")
    parts = urlsplit(url)
    if parts.query or parts.username is not None or not url.isascii():
        raise _OnlyBotocoreError("the endpoint has more than a scheme, a host, a port and a path")
    headers = {operation: _constant_headers(request) for operation, request in requests.items()}
    if len({frozenset(each for each in one if each[0] not in _VARYING) for one in headers.values()}) > 1:
        raise _OnlyBotocoreError("a header is not the same in each of them")
    template = template_for(url, signature.region, signature.service, headers, signature.headers)
    if not all(_is_signed_the_same(template, *each) for each in requests.items()):
        raise _OnlyBotocoreError("this version of it signs in another way")
    return template


async def _capture(client: Any, operation: str, queue_url: str) -> Any:
    """Return the signed request of one operation, of which nothing was sent."""
    events = client.meta.events
    # botocore asks the subscribers of `request-created.sqs` before those of `request-created`. So ours comes after the
    # one that signs.
    steps = (("before-sign.sqs", _replace_credentials), ("request-created", _stop))
    for name, handler in steps:
        events.register_last(name, handler)
    try:
        await getattr(client, xform_name(operation))(QueueUrl=queue_url, **OPERATIONS[operation])
    except _CapturedError as captured:
        return captured.request
    finally:
        for name, handler in steps:
            events.unregister(name, handler)
    raise _OnlyBotocoreError("it sends without an event")


def _replace_credentials(request: Any, **_: object) -> None:
    signing: dict[str, Any] = request.context.get("signing", {})
    request.context["signing"] = {**signing, "request_credentials": AioCredentials(_ACCESS_KEY, _SECRET_KEY)}


def _stop(request: Any, **_: object) -> None:
    raise _CapturedError(request)


def _signature_of(request: Any) -> _Signature | None:
    """Return how a request is signed; None if not by SigV4, or not with our credentials."""
    authorization: str = request.headers["Authorization"] or ""
    algorithm, _, parts = authorization.partition(" ")
    if algorithm != ALGORITHM:
        return None
    values = dict(part.split("=", 1) for part in parts.split(", "))
    access_key, _, region, service, _ = values["Credential"].split("/")
    return _Signature(region, service, tuple(values["SignedHeaders"].split(";"))) if access_key == _ACCESS_KEY else None


def _constant_headers(request: Any) -> list[Header]:
    return [(name, value) for name, value in request.headers.items() if name.lower() not in _WRITTEN_PER_REQUEST]


def _is_signed_the_same(template: Template, operation: str, request: Any) -> bool:
    """Whether our signer writes the `Authorization` that botocore wrote."""
    sent = request.headers
    moment = timegm(strptime(sent["X-Amz-Date"], "%Y%m%dT%H%M%SZ"))
    credentials = AioCredentials(_ACCESS_KEY, _SECRET_KEY)
    try:
        ours = dict(Signer(template).headers(Request(operation, request.data, ""), moment, credentials))
    except KeyError:  # it signs a header that is another one in each request
        return False
    return ours["Authorization"] == str(sent["Authorization"])
