"""HTTP/1.1 on one connection: bytes in, whole requests out, responses in their order. Knows no SQS."""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Final, cast

import httptools
import msgspec

__all__ = ["Connection", "Exchange", "Request"]

_MAX_BODY_BYTES: Final = 16 * 1024 * 1024
"""Bytes of a request. A batch of 1 MiB may be six times as long in JSON escapes."""

_MAX_PIPELINED: Final = 32
"""Requests that one connection may send before their responses. With more, reading from it pauses."""


class Request(msgspec.Struct):
    """One complete request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Exchange:
    """One request and what is done about it: `respond`, `reset`, or nothing at all."""

    __slots__ = ("_connection", "_keep_alive", "request")

    def __init__(self, connection: "Connection", request: Request, *, keep_alive: bool) -> None:
        self.request = request
        self._connection = connection
        self._keep_alive = keep_alive

    def respond(self, head: str, body: bytes) -> None:
        """Send the status line and headers (each ended by CRLF), and the body. The client may have gone away."""
        self._connection.send(head, body, keep_alive=self._keep_alive)

    def reset(self) -> None:
        """Reset the connection."""
        self._connection.reset()


class Connection(asyncio.Protocol):
    """One client. It may pipeline requests; each one is handled when the one before has its response."""

    def __init__(self, handle: Callable[[Exchange], None], connections: "set[Connection]") -> None:
        self._handle = handle
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._pipelined: deque[Exchange] = deque()
        self._response_is_due = False
        self._is_handling = False
        self._is_rejected = False
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._length = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._transport = None
        self._pipelined.clear()
        self._connections.discard(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._reject("400 Bad Request")

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = {}
        self._body = []
        self._length = 0

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self._transport is not None and self._headers.get("expect", "").lower() == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        # A body that is too large is read to its end and dropped. Closing a socket with unread bytes sends RST, and the
        # client would see that instead of the 413.
        self._length += len(body)
        if self._length <= _MAX_BODY_BYTES:
            self._body.append(body)

    def on_message_complete(self) -> None:
        if self._is_rejected:
            return
        if self._length > _MAX_BODY_BYTES:
            self._reject("413 Content Too Large")
            return
        request = Request(
            self._parser.get_method().decode("ascii"),
            self._url.decode("latin-1"),
            self._headers,
            self._body[0] if len(self._body) == 1 else b"".join(self._body),
        )
        # `should_keep_alive` is asked now: it is about this request, and the parser goes on with the next one.
        self._pipelined.append(Exchange(self, request, keep_alive=self._parser.should_keep_alive()))
        self._handle_pipelined()

    def send(self, head: str, body: bytes, *, keep_alive: bool) -> None:
        """Send the response to the present request, and handle the next one."""
        self._response_is_due = False
        if self._transport is None:
            return
        end = "\r\n" if keep_alive else "Connection: close\r\n\r\n"
        # Head and body in one write: one system call, and one packet for a small response.
        self._transport.write(f"{head}Content-Length: {len(body)}\r\n{end}".encode("latin-1") + body)
        if not keep_alive:
            self._transport.close()
            self._pipelined.clear()
        self._handle_pipelined()

    def reset(self) -> None:
        """Reset the connection: the client sees an error and not an orderly end."""
        if self._transport is None:
            return
        raw = self._transport.get_extra_info("socket")
        if raw is not None:  # with a linger time of 0, closing sends RST instead of FIN
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def _handle_pipelined(self) -> None:
        """Handle pipelined requests, one after another.

        A response that is sent at once calls this again. `_is_handling` keeps that from recursing: with a thousand
        pipelined requests it would be a thousand frames deep.
        """
        if self._is_handling:
            return
        self._is_handling = True
        try:
            while self._pipelined and not self._response_is_due:
                self._response_is_due = True
                self._handle(self._pipelined.popleft())
        finally:
            self._is_handling = False
        # A client that sends and never reads would fill the memory of this process.
        if self._transport is not None and not self._transport.is_closing():
            if len(self._pipelined) > _MAX_PIPELINED:
                self._transport.pause_reading()
            elif not self._transport.is_reading():
                self._transport.resume_reading()

    def _reject(self, status: str) -> None:
        if self._transport is not None and not self._is_rejected:
            self._transport.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            self._transport.close()
        self._is_rejected = True
        self._pipelined.clear()
