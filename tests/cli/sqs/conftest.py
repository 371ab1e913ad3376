"""Servers for `dawdle sqs`: our own, and ministack as the witness."""

import asyncio
import threading
from contextlib import contextmanager

import pytest

from dawdle.cli.sqs._aws import Place, open_client
from dawdle.testing.sqs import SQSServer
from tests.servers import ministack


@pytest.fixture(autouse=True)
def credentials(monkeypatch):
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS", "AWS_SESSION_TOKEN", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name in ("QUEUE_URL", "ENDPOINT_URL", "REGION", "DEAD_LETTER_URL", "DELAY_QUEUE_URL"):
        monkeypatch.delenv(f"DAWDLE_SQS_{name}", raising=False)
    monkeypatch.delenv("DAWDLE_BACKEND", raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")


class Loop:
    """An event loop in a thread of its own, for what must outlast a test: commands and tests run loops of theirs."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(100)

    def stop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


@pytest.fixture(scope="session")
def loop():
    made = Loop()
    yield made
    made.stop()


@pytest.fixture(scope="session")
def server(loop):
    made = SQSServer()
    loop.run(made.__aenter__())
    yield made
    loop.run(made.__aexit__(None, None, None))


@contextmanager
def client_of(loop, url):
    """A client for many tests: to make one takes longer than most of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        opened = open_client("sqs", Place("us-east-1", url))
        client = loop.run(opened.__aenter__())
        loop.run(client.call("list_queues", "the first call, which looks for credentials"))
    yield client
    loop.run(opened.__aexit__(None, None, None))


@pytest.fixture(scope="session")
def client(loop, server):
    with client_of(loop, server.endpoint_url) as client:
        yield client


@pytest.fixture(scope="session")
def ministack_client(loop, ministack_url):
    with client_of(loop, ministack_url) as client:
        yield client


@pytest.fixture(scope="session")
def ministack_url():
    with ministack() as url:
        yield url
