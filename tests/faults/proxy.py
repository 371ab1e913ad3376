"""A small TCP proxy that fails on command: it resets, refuses, swallows or delays."""

import asyncio
import contextlib
import socket
import struct
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlsplit

Mode = Literal["pass", "reset", "refuse", "swallow"]
"""pass: forward everything. reset: reset every connection with RST, open ones and new ones. refuse: refuse connections,
and reset open ones. swallow: accept connections, and forward nothing."""

_RST = struct.pack("ii", 1, 0)


class Proxy:
    """Stands on a port of its own between a client and a server."""

    def __init__(self, server: str) -> None:
        parts = urlsplit(server)
        self._host, self._port = parts.hostname, parts.port
        self._mode: Mode = "pass"
        self._listening: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}
        self.port = 0
        self.delay = 0.0
        """Seconds by which every response of the server is delayed."""

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.turn("refuse")

    def url(self, url: str) -> str:
        """Return a URL of the server with the address of this proxy."""
        return urlsplit(url)._replace(netloc=f"127.0.0.1:{self.port}").geturl()

    async def turn(self, mode: Mode) -> None:
        """Change the mode; it applies to open connections as well."""
        swallowing, self._mode = self._mode == "swallow", mode
        if mode != "swallow" or swallowing:
            await self._cut()
        if mode == "refuse" and self._listening is not None:
            self._listening.close()
            await self._listening.wait_closed()
            self._listening = None
        elif mode != "refuse" and self._listening is None:
            await self._listen()

    async def _listen(self) -> None:
        self._listening = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._listening.sockets[0].getsockname()[1]

    async def _cut(self) -> None:
        """Reset all connections that are open."""
        ended = list(self._open)
        for task in ended:
            for writer in self._open[task]:
                _reset(writer)
            task.cancel()
        await asyncio.gather(*ended, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "asyncio calls this in a task"
        self._open[task] = [writer]
        try:
            if self._mode in {"reset", "refuse"}:
                _reset(writer)
                return
            back, forth = await asyncio.open_connection(self._host, self._port)
            self._open[task].append(forth)
            await asyncio.gather(self._carry(reader, forth), self._carry(back, writer, late=True))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for each in self._open.pop(task):
                each.close()
                with contextlib.suppress(OSError):
                    await each.wait_closed()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, late: bool = False) -> None:
        while data := await reader.read(65536):
            if self._mode == "swallow":
                continue
            if late and self.delay:
                await asyncio.sleep(self.delay)
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof() and not writer.is_closing():
            writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection at once, with RST instead of FIN."""
    connected = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
    writer.transport.abort()
