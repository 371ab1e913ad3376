"""SQS queues of each test's own, on our server and on ministack."""

import asyncio
import itertools

import pytest
from aiobotocore.session import get_session

from dawdle.backends.sqs import SQS, _client_set
from dawdle.backends.sqs._data_plane import _transports
from dawdle.testing.sqs import SQSServer

NUMBERS = itertools.count(1)


@pytest.fixture(autouse=True)
def credentials(monkeypatch):
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("QUEUE_URL", "ENDPOINT_URL", "REGION", "DEAD_LETTER_URL", "DELAY_QUEUE_URL"):
        monkeypatch.delenv(f"DAWDLE_SQS_{name}", raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")


async def no_template(_client, _queue_url):
    return None


@pytest.fixture(params=["direct", *(pytest.param(way, marks=pytest.mark.once) for way in ("aiohttp", "botocore"))])
def way(request, monkeypatch):
    """How the requests that move messages are made: what a test says must be true of each way."""
    if request.param == "aiohttp":
        monkeypatch.setattr(_transports, "_is_direct", lambda *_: False)
    if request.param == "botocore":
        monkeypatch.setattr(_client_set, "learn_template", no_template)
    return request.param


@pytest.fixture
async def server(clock):
    async with SQSServer(clock=clock) as server:
        server.create_queue("dead")
        server.create_queue("orders", dead_letter="dead", max_receives=1000)
        yield server


@pytest.fixture
def sqs(server):
    return lambda **options: SQS(server.queue_url("orders"), **options)


async def queue_pair(url):
    """Create a queue and its dead-letter queue on a server, and return both URLs."""
    number = next(NUMBERS)
    async with get_session().create_client("sqs", endpoint_url=url, region_name="us-east-1") as client:
        dead = (await client.create_queue(QueueName=f"dead-{number}"))["QueueUrl"]
        answer = await client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])
        arn = answer["Attributes"]["QueueArn"]
        policy = f'{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": 1000}}'
        made = await client.create_queue(QueueName=f"orders-{number}", Attributes={"RedrivePolicy": policy})
        return made["QueueUrl"], dead


@pytest.fixture
def make_pair():
    return queue_pair


async def fifo_queues(url):
    """Create a FIFO queue, its dead-letter queue and a delay queue on a server; return the first and the last URL."""
    number = next(NUMBERS)
    async with get_session().create_client("sqs", endpoint_url=url, region_name="us-east-1") as client:
        dead = (await client.create_queue(QueueName=f"dead-{number}.fifo", Attributes={"FifoQueue": "true"}))[
            "QueueUrl"
        ]
        answer = await client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])
        arn = answer["Attributes"]["QueueArn"]
        policy = f'{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": 1000}}'
        attributes = {"FifoQueue": "true", "RedrivePolicy": policy}
        made = await client.create_queue(QueueName=f"orders-{number}.fifo", Attributes=attributes)
        delayed = await client.create_queue(QueueName=f"delayed-{number}")
        return made["QueueUrl"], delayed["QueueUrl"]


@pytest.fixture
def make_fifo():
    return fifo_queues


class Stub:
    """A server that writes what it is told to, and nothing else: `answer` to each request, then it closes or waits."""

    def __init__(self):
        self.answer = b""
        self.closes = True
        self.trickle = 0.0
        self._tasks = []

    def says(self, status, body):
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        self.answer = head.encode() + body

    async def _serve(self, reader, writer):
        self._tasks.append(asyncio.current_task())
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            (length,) = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if b"content-length" in line]
            await reader.readexactly(int(length))
            writer.write(self.answer)
            while self.trickle:
                await asyncio.sleep(self.trickle)
                writer.write(b" ")
            if not self.closes:
                await reader.read()
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/000000000000/orders"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@pytest.fixture
async def stub():
    async with Stub() as stub:
        yield stub
