"""A function in AWS's runtime interface client, in a process of its own: frozen, stopped, killed, and nothing lost."""

import asyncio
import signal
import sys

import pytest

from dawdle import Dawdle, Registry
from dawdle.backends.sqs import SQS
from tests.aws_lambda.functions import Placed
from tests.aws_lambda.runtime import START_SECONDS, Sandbox
from tests.aws_lambda.source import EventSource, ids

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

pytest.importorskip("awslambdaric", reason="AWS builds its runtime interface client for Linux only")


@pytest.fixture
def environment(server, monkeypatch):
    return {**server.environment, "AWS_LAMBDA_LOG_LEVEL": "INFO", "AWS_LAMBDA_LOG_FORMAT": "JSON"}


@pytest.fixture
async def sandbox(environment):
    async with Sandbox("tests.aws_lambda.functions.handler", environment) as sandbox:
        yield sandbox


async def invoke(sandbox, source, seconds=30.0):
    event = await source.batch()
    kind, answer = await sandbox.invoke(event, seconds)
    assert kind == "response", answer
    await source.settle(event, answer)
    return event["Records"], answer


async def test_a_process_is_entered_once_and_retries_one_handler(sandbox, source, signaler, server):
    await asyncio.wait_for(sandbox.asked.wait(), START_SECONDS)
    assert "entered" in sandbox.said  # before the first invocation, while Lambda gives it a whole CPU
    assert not server.requests["ReceiveMessage"]
    await signaler.signal(Placed("o-1", fails=2))
    for _ in range(3):
        _, answer = await invoke(sandbox, source)
        assert answer == {"batchItemFailures": []}
    told = [line for line in sandbox.said if line.split()[0] in {"entered", "receipt", "stock", "left"}]
    assert told == ["entered", "receipt o-1 1 pool", "stock o-1 3"]
    assert len(server.queue("orders")) == 0


@pytest.mark.skipif(sys.version_info < (3, 12), reason="AWS's client notices no signal there while it waits")
async def test_sigterm_between_two_invocations_leaves_the_app(sandbox, source, signaler):
    await signaler.signal(Placed("o-1"))
    await invoke(sandbox, source)
    await asyncio.wait_for(sandbox.asked.wait(), START_SECONDS)
    sandbox.send(signal.SIGTERM)
    assert await asyncio.wait_for(sandbox.process.wait(), START_SECONDS) == -signal.SIGTERM
    await sandbox.says("left")


async def test_sigterm_in_mid_invocation_stores_what_is_owed(sandbox, source, signaler, server):
    await signaler.signal(Placed("o-1", seconds=20))
    event = await source.batch()
    answer = sandbox.begin(event)
    await sandbox.says("begins o-1")
    sandbox.send(signal.SIGTERM)
    kind, answer = await asyncio.wait_for(answer, START_SECONDS)
    assert (kind, answer) == ("response", {"batchItemFailures": []})  # the receipt is done, and stock is owed a copy
    await sandbox.says("left")
    await source.settle(event, answer)
    (copy,) = server.queue("orders").messages()
    assert '"dawdleowed":"tests.aws_lambda.functions.stock"' in copy.body


async def test_a_kill_in_mid_invocation_loses_nothing(environment, server, signaler):
    queue = server.queue("orders")
    async with EventSource(queue.url, queue.arn, visibility=1) as source:
        await signaler.signal(Placed("o-1", seconds=20))
        async with Sandbox("tests.aws_lambda.functions.handler", environment) as first:
            event = await source.batch()
            first.begin(event)
            await first.says("begins o-1")
            first.send(signal.SIGKILL)
            await first.process.wait()
        async with Sandbox("tests.aws_lambda.functions.handler", environment) as second:
            _, answer = await invoke(second, source, seconds=1.5)  # it comes again when it is visible again
            assert answer == {"batchItemFailures": []}
            assert "receipt o-1 1 pool" in second.said
            _, answer = await invoke(second, source)
            assert "stock o-1 2" in second.said
    assert len(queue) == 0


async def test_a_freeze_leaves_no_trace(environment, server, signaler):
    queue = server.queue("orders")
    async with Tunnel(server.endpoint_url) as tunnel, EventSource(queue.url, queue.arn) as source:
        url = queue.url.replace(server.endpoint_url, tunnel.url)
        through = {
            "DAWDLE_SQS_QUEUE_URL": url,
            "DAWDLE_SQS_ENDPOINT_URL": tunnel.url,
            "AWS_ENDPOINT_URL_SQS": tunnel.url,
        }
        async with Sandbox("tests.aws_lambda.functions.handler", environment | through) as sandbox:
            for number in range(2):
                await signaler.signal(Placed(f"o-{number}", fails=1))
                _, answer = await invoke(sandbox, source)
                assert answer == {"batchItemFailures": []}
                freezing = asyncio.create_task(sandbox.frozen(1.5))
                await asyncio.sleep(0.5)
                assert tunnel.cut() >= 1  # the connections die meanwhile
                await freezing
            await invoke(sandbox, source)
            assert sum(line.startswith("stock") for line in sandbox.said) == 2
            odd = [line for line in sandbox.said if "WARNING" in line and "attempt 1 of" not in line]
            assert not odd


async def test_an_app_in_memory_is_refused_with_the_reason(environment):
    async with Sandbox("tests.aws_lambda.in_memory.handler", environment) as sandbox:
        error = await asyncio.wait_for(sandbox.init_error, START_SECONDS)
    assert error["errorType"] == "ConfigurationError"
    assert "a Lambda function works on SQS queues only" in error["errorMessage"]


async def test_a_snapshot_has_no_app_in_it(environment):
    snap_start = {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}
    async with Sandbox("tests.aws_lambda.functions.handler", environment | snap_start) as sandbox:
        await asyncio.wait_for(sandbox.snapshot, START_SECONDS)
        assert "entered" not in sandbox.said


async def test_a_queue_that_does_not_exist_ends_the_first_invocation_at_once(environment, server, signaler, source):
    async with Dawdle(SQS(server.queue("orders").url), registry=Registry(), start_listener=False):
        pass
    server.faults.add("queue_missing", operation="GetQueueAttributes")
    await signaler.signal(Placed("o-1"))
    async with Sandbox("tests.aws_lambda.functions.handler", environment) as sandbox:
        event = await source.batch()
        kind, error = await asyncio.wait_for(sandbox.begin(event, 60.0), 20)
    assert kind == "error"
    assert error["errorType"] == "BackendError" or "Error" in error["errorType"]
    assert "orders" in error["errorMessage"]
    assert ids({"batchItemFailures": []}) == set()


class Tunnel:
    """A way to a server whose connections can be cut, as they are while a process is frozen."""

    def __init__(self, url):
        self._host, _, port = url.removeprefix("http://").partition(":")
        self._port = int(port)
        self._writers, self._tasks = [], set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *error):
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self):
        """End all connections, and return how many there were."""
        writers, self._writers = self._writers, []
        for writer in writers:
            writer.transport.abort()
        return len(writers) // 2

    async def _connect(self, reader, writer):
        there_reader, there_writer = await asyncio.open_connection(self._host, self._port)
        self._writers += [writer, there_writer]
        for one, other in ((reader, there_writer), (there_reader, writer)):
            task = asyncio.create_task(self._copy(one, other))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _copy(self, reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
        except OSError:
            pass
        writer.close()
