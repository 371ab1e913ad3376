"""One connection: writes a request, reads its answer, and says when it may be used again. Knows no pool.

::

    new ──── connection_made ────► in flight ──── a whole answer ────► idle ──── start ────► in flight
                                       │                                │
                                       │ cut off, bad answer, deadline, │ FIN, any byte, too old,
                                       │ cancelled, Connection: close   │ the client closes
                                       └──────────► closed ◄────────────┘
"""

import asyncio
import socket
import ssl
from typing import Final, Protocol, cast

from dawdle.backends._http._answer import AnswerReader, HttpAnswer
from dawdle.backends._http._errors import HttpBadAnswerError, HttpBrokenError, HttpError

__all__ = ["Connection", "Owner"]

READ_BYTES: Final = 64 * 1024
"""Bytes of a connection's read buffer. It is made once: without it, two of the four pairs of loop and TLS allocate
256 KiB at each read and give them back, which costs 6 to 13 µs an answer in page faults."""


class Owner(Protocol):
    """Who has the connections: the client's pool."""

    def free(self, connection: "Connection", /) -> None:
        """Its answer is whole, and it may carry another request."""

    def given_up(self, connection: "Connection", /) -> None:
        """It carries no more requests. Told once, and only of one that was `in_pool`."""

    def lost(self, connection: "Connection", /) -> None:
        """Its socket is gone."""


# Not also an asyncio.Protocol: uvloop would take it for one, and read over TLS without the buffer.
class Connection(asyncio.BufferedProtocol):
    """One connection. `answer` is what the request in flight waits for, and None while there is none."""

    __slots__ = (
        "_owner",
        "_reader",
        "_view",
        "answer",
        "deadline",
        "idle_since",
        "in_pool",
        "seconds",
        "socket",
        "transport",
    )

    def __init__(self, owner: Owner, max_body_bytes: int) -> None:
        self._owner = owner
        self._reader = AnswerReader(max_body_bytes)
        self._view = memoryview(bytearray(READ_BYTES))
        self.answer: asyncio.Future[HttpAnswer] | None = None
        self.deadline = 0.0
        self.seconds = 0.0
        self.idle_since = 0.0
        self.in_pool = False
        self.socket: socket.socket | None = None
        self.transport: asyncio.Transport | None = None

    def start(
        self,
        request: bytes,
        answer: "asyncio.Future[HttpAnswer]",
        deadline: float,
        seconds: float,
    ) -> None:
        """Write a request to a connection that is usable; `answer` gets its answer or an `HttpError`.

        The whole request is written at once, also a large one: its bytes are in memory anyway, so to feed them bit by
        bit as the socket takes them would save nothing. The transport keeps what the socket does not take yet, and the
        deadline bounds that as it bounds all else.
        """
        self.answer = answer
        self.deadline = deadline
        self.seconds = seconds
        if self.transport is not None:
            self.transport.write(request)

    def is_usable(self) -> bool:
        """Return whether a request may be written to it."""
        return self.transport is not None and not self.transport.is_closing()

    def abort(self) -> None:
        """Close the connection now. The request in flight, if any, is no longer told anything.

        Without TLS's goodbye, which would keep the socket open until the server has said its own: that goodbye tells
        a reader that nothing was cut off, and here the length of the answer does.
        """
        self.answer = None
        if self.transport is not None:
            self.transport.abort()
        if self.in_pool:
            self.in_pool = False
            self._owner.given_up(self)

    def fail(self, error: HttpError) -> None:
        """Give the request in flight, if any, this error, and close the connection."""
        answer = self.answer
        if answer is not None and not answer.done():
            answer.set_exception(error)
        self.abort()

    def has_news(self) -> bool:
        """Return whether the socket has something that the loop has not read yet, such as the server's FIN."""
        try:
            if self.socket is not None:
                self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        if self.answer is None:
            self.abort()  # no request is in flight: whatever it is, the next one must not take it for its answer
            return
        try:
            answer = self._reader.feed(self._view[:nbytes])
        except HttpBadAnswerError as error:
            self.fail(error)
            return
        if answer is not None:
            self._complete(answer)

    def eof_received(self) -> None:
        if self.answer is not None and self._is_in_order():
            answer = self._reader.feed_eof()
            if answer is not None:
                self._complete(answer)
        self.fail(HttpBrokenError("the server closed the connection before a whole answer"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self.socket = None
        error = HttpBrokenError("the connection broke before a whole answer")
        error.__cause__ = exc
        self.fail(error)
        self._owner.lost(self)

    def _is_in_order(self) -> bool:
        """Return whether the server itself ended the connection: over TLS, it may have been cut off on the way.

        The server's goodbye tells. uvloop asks for it by itself; asyncio does not tell the two apart.
        """
        tls = None if self.transport is None else self.transport.get_extra_info("ssl_object")
        try:
            return tls is None or tls.read(1) == b""
        except ssl.SSLError:
            return False

    def _complete(self, answer: HttpAnswer) -> None:
        waiter = self.answer
        self.answer = None
        if waiter is not None and not waiter.done():
            waiter.set_result(answer)
        transport = self.transport
        # An early answer, such as 413, may come before all of the request is written. The server may close then.
        if (
            transport is not None
            and self._reader.allows_reuse()
            and not transport.is_closing()
            and not transport.get_write_buffer_size()
        ):
            self._reader.begin()
            self._owner.free(self)
        else:
            self.abort()
