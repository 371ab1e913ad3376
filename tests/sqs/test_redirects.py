"""A redirect is not followed: where it leads must get neither events nor credentials."""

import asyncio

import pytest

from dawdle.abc import Outgoing
from dawdle.backends.sqs import SQS
from dawdle.errors import BackendError

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("way")]


@pytest.fixture
async def elsewhere():
    """A server that notes what it is sent."""
    got = []

    async def serve(reader, writer):
        got.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 18\r\nConnection: close\r\n\r\n{"Successful": []}')
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://localhost:{server.sockets[0].getsockname()[1]}/", got


@pytest.mark.parametrize(
    "status", ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"]
)
async def test_where_a_server_redirects_to_nothing_is_sent(stub, elsewhere, monkeypatch, status):
    monkeypatch.setenv("AWS_SESSION_TOKEN", "canary-token")
    url, got = elsewhere
    stub.answer = f"HTTP/1.1 {status}\r\nLocation: {url}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
    async with SQS(stub.url, region="us-east-1", wait=0) as queue:
        for call in (lambda: queue.send([Outgoing(b"canary-event")]), lambda: queue.receive(1, 0)):
            with pytest.raises(
                BackendError, match=rf"^HTTP {status[:3]}: the server redirects.*set endpoint_url"
            ) as caught:
                await call()
            assert (caught.value.kind, caught.value.uncertain) == ("unavailable", False)
    assert got == []
