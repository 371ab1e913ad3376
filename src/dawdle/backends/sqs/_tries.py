"""What became of each try of one call: whether SQS may have done what it was asked, also where the last answer is a no.

botocore tries a call again by itself, and so do we with new credentials. A first try may have come through without an
answer, and then the refusal of a second one says nothing of it. It knows no texts, and decides no kinds.
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

__all__ = ["Tries", "counted", "is_unsent", "watch_tries"]

_SERVER_ERROR = 500


class Tries:
    """The tries of one call so far."""

    __slots__ = ("_lost", "_open")

    def __init__(self) -> None:
        self._open = False
        self._lost = False

    @property
    def uncertain(self) -> bool:
        """Whether a try was sent, or may have been, of which no answer says what became of it."""
        return self._lost or self._open

    def sent(self) -> None:
        """Note that a request is about to be sent."""
        self._open = True

    def ended(self, error: Exception | None, status: int | None) -> None:
        """Note how a try ended: by an error, or by an answer with this HTTP status."""
        self._open = False
        if error is not None:
            self._lost = self._lost or not is_unsent(error)
        elif status is not None and status >= _SERVER_ERROR:
            self._lost = True


_tries: ContextVar[Tries | None] = ContextVar("dawdle: the tries of the call that is made in this task", default=None)


@contextmanager
def counted() -> Generator[Tries]:
    """Count the tries of the calls that this task makes in the block."""
    tries = Tries()
    token = _tries.set(tries)
    try:
        yield tries
    finally:
        _tries.reset(token)


def watch_tries(events: Any) -> None:
    """Register with a client's events what counts its tries."""
    events.register_first("before-send.sqs", _sent)
    events.register_first("needs-retry.sqs", _ended)


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


def _sent(**_: object) -> None:
    tries = _tries.get()
    if tries is not None:
        tries.sent()


def _ended(response: tuple[Any, Mapping[str, Any]] | None, caught_exception: Exception | None, **_: object) -> None:
    tries = _tries.get()
    if tries is not None:
        tries.ended(caught_exception, None if response is None else response[0].status_code)
