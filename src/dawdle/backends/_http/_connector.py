"""Opens connections to one host and port: DNS, TCP and TLS, each without blocking the loop. Keeps none of them."""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain, zip_longest
from typing import Final, TypeAlias

from dawdle.backends._http._connection import Connection
from dawdle.backends._http._errors import HttpConnectError, HttpTLSError

__all__ = ["ATTEMPT_SECONDS", "Connector"]

ATTEMPT_SECONDS: Final = 0.25
"""Seconds that an address has for itself before the next one is tried beside it (RFC 8305, section 5)."""

_KEEPALIVE: Final = (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
"""A server that vanished while a request waits shows after 30 seconds. Where the system has an option, it is set."""

Address: TypeAlias = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]


class Connector:
    """Connects to `host` and `port`; over TLS if there is a context, which then says what is verified."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None, server_hostname: str | None) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        # A name may end in a dot, which says that it is absolute. Certificates never have it.
        self._server_hostname = None if tls is None else (server_hostname or host).rstrip(".")
        self._lookup: asyncio.Task[Sequence[Address]] | None = None

    @property
    def target(self) -> str:
        """The host and port, for an error's text."""
        return f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"

    async def connect(self, connection: Connection) -> None:
        """Open `connection`. Raises `HttpConnectError` or `HttpTLSError`; cancelled, it leaves no socket."""
        try:
            raw = await _first_of(_interleaved(await self._addresses()))
        except (OSError, ValueError) as error:  # ValueError: a host name that cannot be one
            raise HttpConnectError(f"could not connect to {self.target}: {error}") from error
        connection.socket = raw
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: connection, sock=raw, ssl=self._tls, server_hostname=self._server_hostname
            )
        except BaseException as error:
            raw.close()
            if isinstance(error, ssl.SSLError | ValueError):
                raise HttpTLSError(f"could not make a TLS connection to {self.target}: {error}") from error
            if isinstance(error, OSError):
                raise HttpConnectError(f"the connection to {self.target} broke in the handshake: {error}") from error
            raise

    def close(self) -> None:
        """End the lookup that is under way, if any."""
        if self._lookup is not None:
            self._lookup.cancel()

    async def _addresses(self) -> Sequence[Address]:
        """Look the host up; all that connect meanwhile share one lookup.

        A lookup blocks a thread of the loop's pool and cannot be ended. With one for each connection, a name server
        that does not answer would take all these threads from the rest of the program.
        """
        lookup = self._lookup
        if lookup is None:
            lookup = asyncio.get_running_loop().create_task(self._look_up())
            lookup.add_done_callback(self._looked_up)
            self._lookup = lookup
        # Not shield(): it reports the error of a lookup for which no request waits any more.
        await asyncio.wait([lookup])
        if lookup.cancelled():
            raise OSError("the client is closed")
        return lookup.result()

    async def _look_up(self) -> Sequence[Address]:
        return await asyncio.get_running_loop().getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)

    def _looked_up(self, lookup: asyncio.Task[Sequence[Address]]) -> None:
        self._lookup = None
        if not lookup.cancelled():
            lookup.exception()


def _interleaved(addresses: Sequence[Address]) -> Sequence[Address]:
    """Order addresses so that the families take turns, the first one's first (RFC 8305, section 4)."""
    first = [each for each in addresses if each[0] == addresses[0][0]]
    others = [each for each in addresses if each[0] != addresses[0][0]]
    return [each for each in chain.from_iterable(zip_longest(first, others)) if each is not None]


async def _first_of(addresses: Sequence[Address]) -> socket.socket:
    """Connect to whichever address answers first: happy eyeballs. Raises the first address's error if none does.

    uvloop's `create_connection` has no happy eyeballs, so they are here, for all loops.
    """
    if not addresses:
        raise OSError("the name has no address")
    if len(addresses) == 1:
        return await _connected(addresses[0])
    attempts: list[asyncio.Task[socket.socket]] = []
    winner: asyncio.Task[socket.socket] | None = None
    try:
        running: set[asyncio.Task[socket.socket]] = set()
        waiting = list(reversed(addresses))
        while waiting or running:
            if waiting:
                attempts.append(asyncio.get_running_loop().create_task(_connected(waiting.pop())))
                running.add(attempts[-1])
            done, running = await asyncio.wait(
                running, timeout=ATTEMPT_SECONDS if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            winner = next((each for each in done if each.exception() is None), None)
            if winner is not None:
                return winner.result()
        return attempts[0].result()
    finally:
        try:
            await _end([each for each in attempts if each is not winner])
        except BaseException:  # cancelled meanwhile: the connection that was made has no owner any more
            if winner is not None:
                winner.result().close()
            raise


async def _connected(address: Address) -> socket.socket:
    family, kind, protocol, _, sockaddr = address
    raw = socket.socket(family, kind, protocol)
    try:
        raw.setblocking(False)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE:
            if hasattr(socket, name):
                raw.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        await asyncio.get_running_loop().sock_connect(raw, sockaddr)
    except BaseException:
        raw.close()
        raise
    return raw


async def _end(attempts: Sequence[asyncio.Task[socket.socket]]) -> None:
    """End the attempts that lost, and close the socket of one that came in second."""
    for attempt in attempts:
        attempt.add_done_callback(_close_result)
        attempt.cancel()
    if attempts:
        await asyncio.wait(attempts)


def _close_result(attempt: asyncio.Task[socket.socket]) -> None:
    if not attempt.cancelled() and attempt.exception() is None:
        with suppress(OSError):
            attempt.result().close()
