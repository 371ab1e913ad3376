"""What became of each attempt of one call: whether SQS may have carried it out, also where the last answer is a no.

botocore tries a call again by itself, and so do we with new credentials. A first attempt may have come through without
an answer, and then the refusal of a second one says nothing of it. It knows no texts, and decides no kinds.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from socket import gaierror
from typing import Any

from aiohttp import ClientConnectorError
from botocore.exceptions import (
    ConnectTimeoutError,
    EndpointConnectionError,
    ProxyConnectionError,
    SSLError,
)

__all__ = ["RequestAttempts", "is_unsent", "observe_attempts", "track_attempts"]

_HTTP_SERVER_ERROR = 500


class RequestAttempts:
    """The attempts of one call so far."""

    __slots__ = ("_in_progress", "_unanswered")

    def __init__(self) -> None:
        self._in_progress = False
        self._unanswered = False

    @property
    def uncertain(self) -> bool:
        """Whether a try was sent, or may have been, of which no answer says what became of it."""
        return self._unanswered or self._in_progress

    def started(self) -> None:
        """Note that a request is about to be sent."""
        self._in_progress = True

    def finished(self, error: Exception | None, status: int | None) -> None:
        """Note how a try ended: by an error, or by an answer with this HTTP status."""
        self._in_progress = False
        if error is not None:
            self._unanswered = self._unanswered or not is_unsent(error)
        elif status is not None and status >= _HTTP_SERVER_ERROR:
            self._unanswered = True


_attempts: ContextVar[RequestAttempts | None] = ContextVar(
    "dawdle: the attempts of the call that is made in this task", default=None
)


@contextmanager
def track_attempts() -> Generator[RequestAttempts]:
    """Count the attempts of the calls that this task makes in the block."""
    attempts = RequestAttempts()
    token = _attempts.set(attempts)
    try:
        yield attempts
    finally:
        _attempts.reset(token)


def observe_attempts(events: Any) -> None:
    """Register with a client's events what counts its attempts."""
    events.register_first("before-send.sqs", _on_send)
    events.register_first("needs-retry.sqs", _on_response)


def is_unsent(error: Exception) -> bool:
    """Return whether no connection was made, so that nothing can have been sent.

    aiobotocore has one class for a connection that cannot be made and for one that breaks under way; what is inside
    tells them apart.
    """
    if isinstance(error, ConnectTimeoutError | ProxyConnectionError | SSLError):
        return True
    if not isinstance(error, EndpointConnectionError):
        return False
    told: Any = error  # botocore has no types
    return isinstance(told.kwargs.get("error"), ClientConnectorError | gaierror)


def _on_send(**_: object) -> None:
    attempts = _attempts.get()
    if attempts is not None:
        attempts.started()


def _on_response(
    response: tuple[Any, Mapping[str, Any]] | None, caught_exception: Exception | None, **_: object
) -> None:
    attempts = _attempts.get()
    if attempts is not None:
        attempts.finished(caught_exception, None if response is None else response[0].status_code)
