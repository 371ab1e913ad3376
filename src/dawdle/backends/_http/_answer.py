"""One answer, and the reader that makes it of the bytes of a connection. Does no I/O.

An answer is in one of three places, and the reader's attributes say which::

    head ──── the blank line ────► body ──── its length, the last chunk, or the end of the connection ────► whole
     ▲                              │
     └──── 1xx: not the answer ─────┘
"""

from io import BytesIO
from typing import Final

import httptools
import msgspec

from dawdle.backends._http._errors import HttpBadAnswerError

__all__ = ["MAX_HEAD_BYTES", "AnswerReader", "HttpAnswer"]

MAX_HEAD_BYTES: Final = 64 * 1024
"""Bytes of an answer beside its body: all its heads (1xx too), its trailers, the lines of its chunks."""

MAX_OVERHEAD: Final = 8
"""Bytes beside the body that each byte of the body allows on top: a chunk of 1 byte has 5."""


class HttpAnswer(msgspec.Struct, frozen=True, gc=False):
    """An answer with its whole body. `fields` has the header fields as they came, without trailers."""

    status: int
    fields: tuple[tuple[bytes, bytes], ...] | list[tuple[bytes, bytes]]
    body: bytes

    @property
    def headers(self) -> dict[bytes, bytes]:
        """The header fields by lower-case name; those that came more than once are joined by `, `. Made at each call.

        Most answers are used without it, so it is not made for all: it takes about 1 µs.
        """
        headers: dict[bytes, bytes] = {}
        for name, value in self.fields:
            key = name.lower()
            text = value.strip(b" \t")
            headers[key] = headers[key] + b", " + text if key in headers else text
        return headers

    def __repr__(self) -> str:
        return f"HttpAnswer(status={self.status}, {len(self.body)} bytes)"  # a repr may be logged: no header, no body


class AnswerReader:
    """Reads the answers of one connection, one after another. The caller says with `begin` that it expects one."""

    __slots__ = (
        "_answer",
        "_body",
        "_body_bytes",
        "_fields",
        "_head_is_whole",
        "_is_surplus",
        "_keep_alive",
        "_long_body",
        "_max_body_bytes",
        "_parser",
        "_received_bytes",
        "_trailers_begin",
    )

    def __init__(self, max_body_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes
        # One parser for the life of the connection: llhttp begins anew after each answer.
        self._parser = httptools.HttpResponseParser(self)
        self.begin()

    def begin(self) -> None:
        """Expect the next answer."""
        self._answer: HttpAnswer | None = None
        self._fields: list[tuple[bytes, bytes]] = []
        self._body = b""
        self._long_body: BytesIO | None = None
        self._body_bytes = 0
        self._received_bytes = 0
        self._head_is_whole = False
        self._trailers_begin = False
        self._is_surplus = False
        self._keep_alive = False

    def feed(self, data: memoryview) -> HttpAnswer | None:
        """Take what came; returns the answer once it is whole. Raises `HttpBadAnswerError`."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if self._answer is None:
                raise HttpBadAnswerError(f"the answer is not HTTP/1: {_reason(error)}") from None
            self._is_surplus = True  # the answer is whole, and what follows belongs to none
        answer = self._answer
        if answer is None:
            self._received_bytes += len(data)
            if self._received_bytes - self._body_bytes > MAX_HEAD_BYTES + MAX_OVERHEAD * self._body_bytes:
                raise HttpBadAnswerError(f"the head of the answer, or its trailers, exceed {MAX_HEAD_BYTES:,} bytes")
        if self._body_bytes > self._max_body_bytes:
            raise HttpBadAnswerError(f"the body of the answer exceeds {self._max_body_bytes:,} bytes")
        return answer

    def feed_eof(self) -> HttpAnswer | None:
        """Take the end of the connection; returns the answer if that is where it ends, else None: it was cut off."""
        if self._answer is None and self._head_is_whole and not self._has_length():
            self._end()
        return self._answer

    def allows_reuse(self) -> bool:
        """Return whether the connection of a whole answer may carry another request."""
        return self._keep_alive and not self._is_surplus

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self._answer is not None:
            self._is_surplus = True
            self._fields = []  # not those of the answer

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._trailers_begin:
            self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        self._head_is_whole = True

    def on_body(self, body: bytes) -> None:
        if self._is_surplus:
            return
        if not self._body_bytes:
            self._body = body
        else:
            # One buffer and not a list: a body in chunks of one byte each would cost 40 times its size.
            if self._long_body is None:
                self._long_body = BytesIO()
                self._long_body.write(self._body)
            self._long_body.write(body)
        self._body_bytes += len(body)

    def on_chunk_header(self) -> None:
        self._trailers_begin = True  # between chunks there are no header fields, so those that come now are trailers

    def on_message_complete(self) -> None:
        if self._is_surplus:
            return
        if 100 <= self._parser.get_status_code() < 200:
            self._fields = []
            self._head_is_whole = False
            return
        self._end()

    def _end(self) -> None:
        self._keep_alive = self._parser.should_keep_alive()  # asked now: soon the parser knows nothing of this answer
        body = self._body if self._long_body is None else self._long_body.getvalue()
        self._answer = HttpAnswer(self._parser.get_status_code(), self._fields, body)

    def _has_length(self) -> bool:
        return any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in self._fields)


def _reason(error: Exception) -> str:
    """Return llhttp's reason: a fixed text of its own that repeats nothing of the answer."""
    return "it changes the protocol" if isinstance(error, httptools.HttpParserUpgrade) else str(error)
