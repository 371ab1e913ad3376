"""An SQS server, the event source of a function, and an environment without credentials but the test's own."""

import pytest

from dawdle import Dawdle, Registry
from dawdle.aws_lambda import handler
from dawdle.backends.sqs import SQS
from dawdle.testing.sqs import SQSServer
from tests.aws_lambda.source import EventSource


@pytest.fixture(autouse=True)
def credentials(monkeypatch):
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("QUEUE_URL", "ENDPOINT_URL", "REGION", "DEAD_LETTER_URL", "DELAY_QUEUE_URL"):
        monkeypatch.delenv(f"DAWDLE_SQS_{name}", raising=False)
    monkeypatch.delenv("AWS_LAMBDA_FUNCTION_NAME", raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")


@pytest.fixture
def registry():
    return Registry()


@pytest.fixture
async def server():
    async with SQSServer() as server:
        server.create_queue("orders", dead_letter="dead", max_receives=1000)
        server.create_queue("orders.fifo", dead_letter="dead.fifo", max_receives=1000)
        yield server


@pytest.fixture
async def source(server):
    queue = server.queue("orders")
    async with EventSource(queue.url, queue.arn) as source:
        yield source


@pytest.fixture
def made():
    """Make functions, and close them when the test is over. `made(app, …)` takes what `aws_lambda.handler` takes."""
    functions = []

    def make(app, **options):
        functions.append(handler(app, **options))
        return functions[-1]

    yield make
    for each in functions:
        each.close()


@pytest.fixture
def function(made, server, registry):
    """A function on the queue `orders`."""
    return made(Dawdle(SQS(server.queue("orders").url), registry=registry))


@pytest.fixture
async def signaler(server):
    """An app that only signals, in the loop of the test."""
    async with Dawdle(SQS(server.queue("orders").url), registry=Registry(), start_listener=False) as app:
        yield app
