"""Why a request got no answer, and whether the server may have it. No text repeats a header or a body.

::

    HttpError                            .sent: False = nothing of the request reached the server
    ├── HttpConnectError                 no connection: name unknown, refused, unreachable            not sent
    │   ├── HttpConnectTimeoutError      not within its time                                          not sent
    │   └── HttpTLSError                 the certificate or the handshake                             not sent
    ├── HttpPoolTimeoutError             no connection of the pool became free in time                not sent
    ├── HttpAnswerTimeoutError           sent, and no whole answer came in time                       sent
    ├── HttpBrokenError                  the connection ended before a whole answer                   sent, mostly
    ├── HttpBadAnswerError               what came is not HTTP, or too large                          sent
    └── HttpClosedError                  the client was closed                                        either

They stay inside the backends, which turn them into `BackendError`. Where the system or `ssl` gave a reason, it is the
error's `__cause__`.
"""

__all__ = [
    "HttpAnswerTimeoutError",
    "HttpBadAnswerError",
    "HttpBrokenError",
    "HttpClosedError",
    "HttpConnectError",
    "HttpConnectTimeoutError",
    "HttpError",
    "HttpPoolTimeoutError",
    "HttpTLSError",
]


class HttpError(Exception):
    """A request got no answer.

    `sent` is False where certainly nothing of the request reached the server: it may be sent again. It is True where
    the server may have carried the request out.
    """

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class HttpConnectError(HttpError):
    """There is no connection to the server. `sent` is False."""

    def __init__(self, message: str, *, sent: bool = False) -> None:
        super().__init__(message, sent=sent)


class HttpConnectTimeoutError(HttpConnectError):
    """There was no connection in time: DNS, TCP or TLS took too long. `sent` is False."""


class HttpTLSError(HttpConnectError):
    """The server's certificate is not trusted, or the handshake failed. `sent` is False."""


class HttpPoolTimeoutError(HttpError):
    """All connections were in use for as long as the request could wait. `sent` is False."""

    def __init__(self, message: str, *, sent: bool = False) -> None:
        super().__init__(message, sent=sent)


class HttpAnswerTimeoutError(HttpError):
    """The request was sent and no whole answer came in time. `sent` is True."""

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message, sent=sent)


class HttpBrokenError(HttpError):
    """The connection ended before a whole answer came. `sent` is False if it ended before anything was written."""

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message, sent=sent)


class HttpBadAnswerError(HttpError):
    """What came is not an HTTP/1 answer, or its head or body is too large. `sent` is True."""

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message, sent=sent)


class HttpClosedError(HttpError):
    """The client was closed, before the request or during it. `sent` says which."""
