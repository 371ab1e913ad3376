"""A server on a clock that the test moves, and clients for it."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from tests.ports import free_port
from tests.servers import running, venv_with

from dawdle.testing import ManualClock
from dawdle.testing.sqs import SQSServer


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def server(clock: ManualClock) -> AsyncIterator[SQSServer]:
    async with SQSServer(clock=clock, queues=("orders", "orders.fifo")) as server:
        yield server


def client_of(server: SQSServer, **config: object) -> AbstractAsyncContextManager:
    return get_session().create_client(
        "sqs",
        endpoint_url=server.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=AioConfig(retries={"max_attempts": 0}, **config),
    )


@pytest.fixture
async def client(server: SQSServer) -> AsyncIterator[object]:
    """An aiobotocore client that does not retry."""
    async with client_of(server, read_timeout=5) as client:
        yield client


@pytest.fixture
def connect() -> Callable[..., AbstractAsyncContextManager]:
    return client_of


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], object]:
    """`await until(condition)`: sockets have no clock, so this one wait is real, and bounded."""

    async def wait(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                await asyncio.sleep(0.001)

    return wait


class RawClient:
    """One connection, byte by byte: what no AWS client would send."""

    SIGNED = {
        "Authorization": "AWS4-HMAC-SHA256 Credential=a/b/c/sqs/aws4_request, SignedHeaders=host, Signature=0",
        "X-Amz-Date": "20260101T000000Z",
    }

    def __init__(self, reader, writer) -> None:
        self.reader = reader
        self.writer = writer

    @staticmethod
    def request(target, body=b"{}", headers=SIGNED, method="POST", path="/") -> bytes:
        lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
        lines += [f"X-Amz-Target: {target}"] if target else []
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    def send(self, operation, **parameters) -> None:
        self.writer.write(self.request(f"AmazonSQS.{operation}", json.dumps(parameters).encode()))

    async def answer(self):
        """Return status, headers (lower case) and the JSON body (or None)."""
        head = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 60)).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}
        body = await self.reader.readexactly(int(headers["content-length"]))
        return int(head[0].split()[1]), headers, json.loads(body) if body else None


@pytest.fixture
def dial() -> Callable[[SQSServer], AbstractAsyncContextManager[RawClient]]:
    @asynccontextmanager
    async def dial(server: SQSServer) -> AsyncIterator[RawClient]:
        host, port = server.endpoint_url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            yield RawClient(reader, writer)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    return dial


@pytest.fixture
async def raw(server: SQSServer, dial) -> AsyncIterator[RawClient]:
    async with dial(server) as client:
        yield client


def botocore_client(url: str) -> object:
    from botocore.config import Config
    from botocore.session import get_session

    return get_session().create_client(
        "sqs",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"max_attempts": 0}, read_timeout=10, parameter_validation=True),
    )


@pytest.fixture(scope="session")
def ours_client() -> Iterator[object]:
    port = free_port()
    with running([sys.executable, "-m", "dawdle.testing.sqs", "--port", str(port)], port, dict(os.environ)) as url:
        client = botocore_client(url)
        yield client
        client.close()


@pytest.fixture(scope="session")
def ministack_client(ministack_url: str) -> Iterator[object]:
    client = botocore_client(ministack_url)
    yield client
    client.close()


@pytest.fixture(scope="session")
def venv_of() -> Callable[[str, str, str, str], Path]:
    return venv_with
