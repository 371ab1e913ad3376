"""The client: a pool of connections to one server, and the deadlines of all requests. Reads and writes no bytes itself.

A request takes the connection that was used last. Where none is idle it opens one, and where the pool is full it waits
in line; a connection that becomes free carries the first of the line at once, before that one's task even wakes.

One timer serves the whole client, set to the earliest time that anything ends. A request moves it only if its deadline
is earlier, and nothing moves it when a request ends; a timer for each request cost 1.3 µs more of about 28. With
nothing in flight and nothing idle there is no timer.
"""

import asyncio
import ssl
from collections import OrderedDict
from math import inf
from time import monotonic
from typing import Final

from dawdle.backends._http._answer import HttpAnswer
from dawdle.backends._http._connection import Connection
from dawdle.backends._http._connector import Connector
from dawdle.backends._http._errors import (
    HttpAnswerTimeoutError,
    HttpBrokenError,
    HttpClosedError,
    HttpConnectTimeoutError,
    HttpError,
    HttpPoolTimeoutError,
)

__all__ = ["HttpClient"]

SWEEP_SECONDS: Final = 0.01
"""Seconds at least between two sweeps: a thousand deadlines in one moment cost few sweeps. A deadline is late by it."""

PEEK_SECONDS: Final = 1.0
"""Seconds of idleness after which a connection's socket is asked for a FIN before it is used again.

The loop sees a FIN soon after it came, but not while other code holds the loop. A system call less than each time."""

CLOSE_SECONDS: Final = 1.0
"""Seconds to wait for the loop to close the sockets. It needs no server for that, so it takes two turns of the loop."""

_SLOT: Final = HttpAnswer(0, (), b"")
"""What a request in line gets instead of an answer: a slot of the pool, to open a connection of its own in."""


class _Waiting:
    """A request in line for a connection."""

    __slots__ = ("connection", "deadline", "request", "seconds")

    def __init__(self, request: bytes, deadline: float, seconds: float) -> None:
        self.request = request
        self.deadline = deadline
        self.seconds = seconds
        self.connection: Connection | None = None


class HttpClient:
    """Sends requests to one server over connections that it keeps open.

    Made inside the event loop that it serves; it does nothing before the first request. It follows no redirect, decodes
    no content, repeats no request, logs nothing, and gives answers of every status as they come.

    - `tls`: a context that says what is verified, or None for a plain connection.
    - `server_hostname`: the name that the certificate must have; by default `host`.
    - `max_connections`: connections at once. Further requests wait for one, first come first served.
    - `connect_seconds`: seconds for DNS, TCP and TLS together.
    - `idle_seconds`: seconds that an unused connection is kept. It must be less than the server's own: a request that
      crosses the server's FIN may or may not have been carried out. SQS closes after somewhat more than 20 seconds; 15
      leaves 5 for a slow network and a busy loop.
    - `max_body_bytes`: bytes of the largest answer. Ten messages of SQS, 1 MiB in all, may be six times that in JSON.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
        max_connections: int = 32,
        connect_seconds: float = 5.0,
        idle_seconds: float = 15.0,
        max_body_bytes: int = 16 * 1024 * 1024,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._connector = Connector(host, port, tls, server_hostname)
        self._max_connections = max_connections
        self._connect_seconds = connect_seconds
        self._idle_seconds = idle_seconds
        self._max_body_bytes = max_body_bytes
        self._closed = False
        self._slots = 0
        """Connections in the pool and those being opened. A slot is handed on and never shared."""
        self._open: set[Connection] = set()
        """Connections of the pool, and those that left it and still have a socket."""
        self._idle: list[Connection] = []
        """Those that wait for a request. The one that was used last is the last, so the first is idle for longest."""
        self._line: OrderedDict[asyncio.Future[HttpAnswer], _Waiting] = OrderedDict()
        """Requests that wait for a connection. The future gets the answer, or a slot to open a connection in."""
        self._connecting: set[asyncio.Timeout] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._sweep_at = inf
        self._drained: asyncio.Future[None] | None = None

    async def request(self, head: bytes, body: bytes, seconds: float) -> HttpAnswer:
        """Send one request and return its answer.

        `head` is the whole head with its blank line. `seconds` is the time for everything: waiting for a connection,
        opening it, sending and receiving. A cancelled request closes its connection.

        Raises `HttpError`; its `sent` says whether the server may have the request.
        """
        now = monotonic()
        deadline = now + seconds
        request = head + body  # in one write: one system call, one TLS record, one packet for a small one
        connection = self._take_idle(now)
        if connection is None:
            if not self._takes_slot():
                answer_or_slot = await self._wait_in_line(request, deadline, seconds)
                if answer_or_slot is not _SLOT:
                    return answer_or_slot
            connection = await self._connect(deadline)
        answer: asyncio.Future[HttpAnswer] = self._loop.create_future()
        connection.start(request, answer, deadline, seconds)
        if deadline < self._sweep_at:
            self._sweep_by(deadline)
        try:
            return await answer
        finally:
            if connection.answer is answer:  # cancelled
                connection.abort()

    async def close(self) -> None:
        """Fail all requests with `HttpClosedError` and close all connections; returns when their sockets are closed."""
        self._closed = True
        self._connector.close()
        for timeout in self._connecting:
            if not timeout.expired():
                timeout.reschedule(self._loop.time())
        line, self._line = self._line, OrderedDict()
        for future in line:
            if not future.done():
                future.set_exception(HttpClosedError("the client is closed", sent=False))
        for connection in tuple(self._open):
            connection.fail(HttpClosedError("the client was closed before an answer came", sent=True))
        if self._timer is not None:
            self._timer.cancel()
        if self._slots or self._open:
            if self._drained is None:
                self._drained = self._loop.create_future()
            await asyncio.wait([self._drained], timeout=CLOSE_SECONDS)

    # What a connection tells.

    def free(self, connection: Connection) -> None:
        """Give the connection to the request that waits longest, else keep it."""
        now = monotonic()
        while self._line:
            future, waiting = self._line.popitem(last=False)
            if not future.done():
                waiting.connection = connection
                connection.start(waiting.request, future, waiting.deadline, waiting.seconds)
                return
        connection.idle_since = now
        self._idle.append(connection)
        if now + self._idle_seconds < self._sweep_at:
            self._sweep_by(now + self._idle_seconds)

    def given_up(self, connection: Connection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)
        self._give_slot_back()

    def lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._tell_if_drained()

    # The pool.

    def _take_idle(self, now: float) -> Connection | None:
        """Return the idle connection that was used last, and close those that cannot be used."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable() and (
                now - connection.idle_since < PEEK_SECONDS or self._is_fresh(connection, now)
            ):
                return connection
            connection.abort()
        return None

    def _is_fresh(self, connection: Connection, now: float) -> bool:
        return now - connection.idle_since < self._idle_seconds and not connection.has_news()

    def _takes_slot(self) -> bool:
        self._require_open()
        if self._slots == self._max_connections:
            return False
        self._slots += 1
        return True

    def _give_slot_back(self) -> None:
        """Let the request that waits longest open a connection, else have one slot more."""
        while self._line:
            future, _ = self._line.popitem(last=False)
            if not future.done():
                future.set_result(_SLOT)
                return
        self._slots -= 1
        self._tell_if_drained()

    def _tell_if_drained(self) -> None:
        if self._drained is not None and not self._drained.done() and not self._slots and not self._open:
            self._drained.set_result(None)

    async def _wait_in_line(self, request: bytes, deadline: float, seconds: float) -> HttpAnswer:
        """Return the answer, which a connection of another request brought, or `_SLOT`."""
        future: asyncio.Future[HttpAnswer] = self._loop.create_future()
        waiting = _Waiting(request, deadline, seconds)
        self._line[future] = waiting
        if deadline < self._sweep_at:
            self._sweep_by(deadline)
        try:
            return await future
        except asyncio.CancelledError:
            # It may have been served in the same moment in which it was cancelled.
            if waiting.connection is not None and waiting.connection.answer is future:
                waiting.connection.abort()
            elif not future.cancelled() and future.exception() is None and future.result() is _SLOT:
                self._give_slot_back()
            raise
        finally:
            self._line.pop(future, None)

    async def _connect(self, deadline: float) -> Connection:
        """Open a connection in a slot that was taken; the slot goes with it, or back."""
        connection = Connection(self, self._max_body_bytes)
        try:
            await self._open_in_time(connection, max(0.0, min(deadline - monotonic(), self._connect_seconds)))
        except BaseException:
            connection.abort()
            self._give_slot_back()
            raise
        # Only now, not when the socket is open: where an opening is cancelled in its last step, uvloop calls
        # connection_made and never connection_lost, and close() would wait for that.
        self._open.add(connection)
        connection.in_pool = True
        return connection

    async def _open_in_time(self, connection: Connection, seconds: float) -> None:
        try:
            self._require_open()  # the slot may have been handed on just before the client was closed
            async with asyncio.timeout(seconds) as timeout:
                self._connecting.add(timeout)
                try:
                    await self._connector.connect(connection)
                finally:
                    self._connecting.discard(timeout)
            self._require_open()  # and the connection opened in the same turn of the loop
            if not connection.is_usable():
                raise HttpBrokenError("the server closed the connection before the request was written", sent=False)
        except HttpError:
            self._require_open()
            raise
        except TimeoutError:
            self._require_open()
            target = self._connector.target
            raise HttpConnectTimeoutError(f"could not connect to {target} within {seconds:.3g} seconds") from None

    def _require_open(self) -> None:
        if self._closed:
            raise HttpClosedError("the client is closed", sent=False) from None

    # The deadlines.

    def _sweep_by(self, when: float) -> None:
        if self._closed:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._sweep_at = when
        self._timer = self._loop.call_later(when - monotonic(), self._sweep)

    def _sweep(self) -> None:
        """End all that is over, and sleep until the next end, if any."""
        self._timer = None
        self._sweep_at = inf
        now = monotonic()
        for connection in tuple(self._open):
            if connection.answer is not None and connection.deadline <= now:
                connection.fail(HttpAnswerTimeoutError(f"no whole answer came within {connection.seconds:g} seconds"))
        for future, waiting in tuple(self._line.items()):
            if waiting.deadline <= now and not future.done():
                del self._line[future]
                future.set_exception(
                    HttpPoolTimeoutError(
                        f"all {self._max_connections} connections were in use for {waiting.seconds:g} seconds"
                    )
                )
        while self._idle and self._idle[0].idle_since + self._idle_seconds <= now:
            self._idle[0].abort()
        self._sweep_again(now)

    def _sweep_again(self, now: float) -> None:
        ends = [each.deadline for each in self._open if each.answer is not None]
        ends += [each.deadline for each in self._line.values()]
        ends += [each.idle_since + self._idle_seconds for each in self._idle[:1]]
        if ends:
            self._sweep_by(max(min(ends), now + SWEEP_SECONDS))
