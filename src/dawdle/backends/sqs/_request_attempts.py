"""What became of each attempt of one call: whether SQS may have carried it out, also where the last answer is a no.

A failed request is sent again (`MAX_ATTEMPTS`), and once with new credentials. Only the last attempt's result comes
back from a call. An earlier attempt may have stored the event although its response was lost, and then the refusal of
the last one says nothing about that. So each attempt is noted: the data plane does so itself, and of botocore's own
calls the events are counted::

    before-send    a request is about to be sent        started     ─┐
    needs-retry    a response came, or an error         finished    ─┴─ a response below 500, or "not connected", is
                                                                       certain; all else is not

The events run in the task that makes the call, so a context variable finds the right counter, whichever client set or
retry loop is in between. This module knows no error texts and no kinds of faults.
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

from dawdle.backends._http import HttpError
from dawdle.errors import BackendError

__all__ = ["RequestAttempts", "is_unsent", "observe_attempts", "observed"]

_HTTP_SERVER_ERROR = 500


class RequestAttempts:
    """The attempts of one call so far, and `deadline`: the time of the event loop at which the call ends."""

    __slots__ = ("_in_progress", "_unanswered", "deadline")

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self._in_progress = False
        self._unanswered = False

    @property
    def uncertain(self) -> bool:
        """Whether an attempt was sent, or may have been, and no response says what became of it."""
        return self._unanswered or self._in_progress

    def started(self) -> None:
        """Note that a request is about to be sent."""
        self._in_progress = True

    def finished(self, error: Exception | None, status: int | None) -> None:
        """Note how an attempt ended: by an error, or by a response with this HTTP status."""
        self._in_progress = False
        if error is not None:
            self._unanswered = self._unanswered or not is_unsent(error)
        elif status is not None and status >= _HTTP_SERVER_ERROR:  # SQS may fail after it has stored the message
            self._unanswered = True

    def unreadable(self) -> None:
        """Note that the response came, and does not say what SQS did."""
        self._unanswered = True


_attempts: ContextVar[RequestAttempts | None] = ContextVar(
    "dawdle: the attempts of the call that is made in this task", default=None
)


@contextmanager
def observed(attempts: RequestAttempts) -> Generator[None]:
    """Count the attempts of the call that botocore makes for this task in the block."""
    token = _attempts.set(attempts)
    try:
        yield
    finally:
        _attempts.reset(token)


def observe_attempts(events: Any) -> None:
    """Count the attempts of a client's calls.

    `register_first`, because botocore asks subscribers in turn and stops at the first that gives a result: the one that
    retries would hide an attempt from a subscriber behind it.
    """
    events.register_first("before-send.sqs", _on_send)
    events.register_first("needs-retry.sqs", _on_response)


def is_unsent(error: Exception) -> bool:
    """Return whether no connection was made, so that nothing can have been sent.

    aiobotocore raises EndpointConnectionError both for a connection that cannot be made and for one that breaks later.
    The error inside, aiohttp's or our own client's, tells them apart.
    """
    if isinstance(error, ConnectTimeoutError | ProxyConnectionError | SSLError):
        return True
    if isinstance(error, BackendError):  # our own, of what cannot be sent
        return not error.uncertain
    if not isinstance(error, EndpointConnectionError):
        return False
    untyped: Any = error  # botocore has no types
    cause = untyped.kwargs.get("error")
    return isinstance(cause, ClientConnectorError | gaierror) or (isinstance(cause, HttpError) and not cause.sent)


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
