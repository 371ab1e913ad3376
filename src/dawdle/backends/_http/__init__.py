"""A small keep-alive HTTP/1.1 client: bytes out, one whole answer in. Knows no queue, no proxy and no redirect."""

from dawdle.backends._http._answer import HttpAnswer
from dawdle.backends._http._client import HttpClient
from dawdle.backends._http._errors import (
    HttpAnswerTimeoutError,
    HttpBadAnswerError,
    HttpBrokenError,
    HttpClosedError,
    HttpConnectError,
    HttpConnectTimeoutError,
    HttpError,
    HttpPoolTimeoutError,
    HttpTLSError,
)

__all__ = [
    "HttpAnswer",
    "HttpAnswerTimeoutError",
    "HttpBadAnswerError",
    "HttpBrokenError",
    "HttpClient",
    "HttpClosedError",
    "HttpConnectError",
    "HttpConnectTimeoutError",
    "HttpError",
    "HttpPoolTimeoutError",
    "HttpTLSError",
]
