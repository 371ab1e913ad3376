"""A server that does what a test's script says, one run of it a connection; and a certificate authority of its own."""

import asyncio
import shutil
import socket
import ssl
import struct
import subprocess
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from dawdle.backends._http import HttpClient


def head(length=0):
    return b"POST /queue HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % length


def whole(body=b"ok", status=b"200 OK", *fields):
    lines = (b"HTTP/1.1 " + status, *fields, b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


class Peer:
    """One connection, as the server sees it. `number`: from 0, in the order of arrival."""

    def __init__(self, reader, writer, number):
        self.reader = reader
        self.writer = writer
        self.number = number

    async def request(self):
        """Return the next request, head and body; raises `IncompleteReadError` where the client has gone."""
        lines = await self.reader.readuntil(b"\r\n\r\n")
        length = int(lines.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return lines + await self.reader.readexactly(length)

    async def send(self, data):
        self.writer.write(data)
        await self.writer.drain()

    async def gone(self):
        """Return when the client has closed the connection."""
        with suppress(ConnectionError):
            while await self.reader.read(65536):
                pass

    def reset(self):
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Server:
    def __init__(self):
        self.port = 0
        self.accepted = 0
        self.open = 0
        self.requests = []


@asynccontextmanager
async def serving(script, *, tls=None):
    """Run `script(peer)` for each connection, and close the connection when it ends. Yields the `Server`."""
    state = Server()
    tasks = set()

    async def serve(reader, writer):
        tasks.add(asyncio.current_task())
        peer = Peer(reader, writer, state.accepted)
        state.accepted += 1
        state.open += 1
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError, RuntimeError):  # uvloop: the client has gone
                await script(peer)
        finally:
            state.open -= 1
            tasks.discard(asyncio.current_task())
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    state.port = server.sockets[0].getsockname()[1]
    try:
        yield state
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)


@asynccontextmanager
async def client_of(server, host="127.0.0.1", **options):
    client = HttpClient(host, server.port, **options)
    try:
        yield client
    finally:
        await asyncio.wait_for(client.close(), 5)


async def echo(peer):
    """Answer each request with its own body."""
    while True:
        request = await peer.request()
        await peer.send(whole(request.partition(b"\r\n\r\n")[2]))


def answers(*data):
    """Return a script that gives these answers, one a request, and then waits for the client to go."""

    async def script(peer):
        for each in data:
            await peer.request()
            await peer.send(each)
        await peer.gone()

    return script


async def until(holds):
    """Wait until `holds()`; fails after 5 seconds."""
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.001)


class Authority:
    """A certificate authority in a folder, made with the `openssl` command."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._contexts = {}
        self.certificate = folder / f"{name}.pem"
        self._openssl(
            *("req", "-x509", "-days", "2", "-subj", f"/CN={name}", "-out", self.certificate),
            *("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"),
            *self._new_key(name),
        )

    def context(self, name, host, days=2):
        """Return a server's context with a certificate for `host`; under each name it is made once."""
        if name not in self._contexts:
            self._contexts[name] = self._new_context(name, host, days)
        return self._contexts[name]

    def _new_context(self, name, host, days):
        request, certificate, extensions = (self._folder / f"{name}.{end}" for end in ("csr", "pem", "ext"))
        extensions.write_text(
            f"subjectAltName=DNS:{host}\nbasicConstraints=critical,CA:FALSE\n"
            "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
        )
        self._openssl("req", "-subj", f"/CN={host}", "-out", request, *self._new_key(name))
        self._openssl(
            *("x509", "-req", "-in", request, "-days", str(days), "-set_serial", str(days + 10), "-out", certificate),
            *("-CA", self.certificate, "-CAkey", self._folder / f"{self._name}.key", "-extfile", extensions),
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, self._folder / f"{name}.key")
        return context

    def trusted(self):
        """Return a client's context that trusts this authority alone."""
        return ssl.create_default_context(cafile=str(self.certificate))

    def _new_key(self, name):
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        return (*curve, "-keyout", self._folder / f"{name}.key")

    @staticmethod
    def _openssl(*arguments):
        command = shutil.which("openssl")
        if command is None:
            pytest.skip("needs the openssl command")
        done = subprocess.run([command, *map(str, arguments)], check=False, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
