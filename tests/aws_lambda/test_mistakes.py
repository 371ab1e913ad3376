"""What cannot work is an error that says why, at the import in Lambda or in the first invocation, and never silence."""

import asyncio

import msgspec
import pytest

import dawdle
from dawdle import BackendError, ConfigurationError, Dawdle, EventError, Registry
from dawdle.aws_lambda import handler
from dawdle.backends.memory import Memory
from dawdle.backends.sqlite import SQLite
from dawdle.backends.sqs import SQS
from dawdle.testing import TestApp
from dawdle.testing.stand_in import standing_in
from tests.aws_lambda.source import LambdaTime

pytestmark = pytest.mark.anyio


class Placed(msgspec.Struct, frozen=True):
    order: str = "o-1"


@pytest.fixture
def handled(registry):
    @registry.on_event
    async def stock(event: Placed):
        pass


@pytest.mark.parametrize("make", [Memory, lambda: SQLite("/tmp/app.db")], ids=["memory", "SQLite"])
async def test_a_queue_in_the_process_or_its_files_is_refused(make, monkeypatch):
    function = handler(Dawdle(make(), registry=Registry()))  # a test may import the module of a function
    with pytest.raises(ConfigurationError, match="a Lambda function works on SQS queues only") as caught:
        function({"Records": []})
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "orders")
    with pytest.raises(ConfigurationError, match="a Lambda function works on SQS queues only"):
        handler(Dawdle(make(), registry=Registry()))
    assert str(caught.value).isascii()  # or AWS's client cannot report it


async def test_messages_of_another_queue_are_refused(function, handled, source, signaler, server):
    await signaler.signal(Placed())
    event = await source.batch()
    event["Records"][0]["eventSourceARN"] = "arn:aws:sqs:us-east-1:000000000000:invoices"
    with pytest.raises(
        ConfigurationError, match=r"messages of arn:aws:sqs:.*:invoices, and its app has 'default': <SQS"
    ):
        await asyncio.to_thread(function, event, LambdaTime(30))
    assert len(server.queue("orders")) == 1


async def test_messages_of_a_queue_that_the_app_does_not_listen_to_are_refused(made, server, registry, handled):
    server.create_queue("video")
    backends = {"default": SQS(server.queue("orders").url), "video": SQS(server.queue("video").url)}
    function = made(Dawdle(queues=backends, listen=("default",), registry=registry))
    record = {"messageId": "1", "receiptHandle": "1", "body": "{}", "eventSource": "aws:sqs"}
    record["eventSourceARN"] = server.queue("video").arn
    with pytest.raises(ConfigurationError, match="add 'video' to listen="):
        await asyncio.to_thread(function, {"Records": [record]}, LambdaTime(30))


async def test_an_app_without_handlers_is_refused(function, source, signaler, server):
    await signaler.signal(Placed())
    event = await source.batch()
    with pytest.raises(ConfigurationError, match="this app has no handlers: import the modules that have them"):
        await asyncio.to_thread(function, event, LambdaTime(30))
    assert len(server.queue("orders")) == 1


OTHER = {
    "a test event of the console": ({"key1": "value1"}, "the keys key1"),
    "nothing": (None, "a NoneType"),
    "a stream": ({"Records": [{"eventSource": "aws:kinesis"}]}, "the keys Records"),
}


@pytest.mark.parametrize(("event", "named"), OTHER.values(), ids=OTHER)
async def test_an_event_of_another_kind_is_an_error(function, handled, event, named):
    with pytest.raises(EventError, match=f"invoked with {named}, and takes messages of SQS"):
        await asyncio.to_thread(function, event, LambdaTime(30))


async def test_a_pipe_of_another_source_is_an_error(function, handled):
    with pytest.raises(EventError, match="record 0 comes from aws:kinesis"):
        await asyncio.to_thread(function, [{"eventSource": "aws:kinesis"}], LambdaTime(30))


async def test_a_record_that_is_no_sqs_message_is_an_error(function, handled):
    with pytest.raises(EventError, match="record 0 is no SQS message as Lambda writes it: .*messageId"):
        await asyncio.to_thread(function, {"Records": [{"eventSource": "aws:sqs"}]}, LambdaTime(30))


async def test_no_records_are_no_error(function, handled):
    assert await asyncio.to_thread(function, {"Records": []}, LambdaTime(30)) == {"batchItemFailures": []}


async def test_other_events_go_to_a_function_of_the_users_own(made, server, registry, handled):
    async def api(event, context):
        return {"statusCode": 202, "body": await dawdle.signal(Placed(event["path"]))}

    function = made(Dawdle(SQS(server.queue("orders").url), registry=registry), otherwise=api)
    answer = await asyncio.to_thread(function, {"path": "/o-1"}, LambdaTime(30))
    assert answer["statusCode"] == 202
    assert len(server.queue("orders")) == 1


async def test_a_function_is_not_called_in_a_running_loop(function, handled):
    with pytest.raises(ConfigurationError, match=r"await asyncio.to_thread\(handler, event, context\)"):
        function({"Records": []}, LambdaTime(30))


async def test_one_app_has_one_function(function):
    with pytest.raises(ConfigurationError, match="this app has a Lambda handler already"):
        handler(function.app)


async def test_what_is_no_app_is_refused():
    with pytest.raises(ConfigurationError, match=r"handler\(\) takes the app, a dawdle.Dawdle"):
        handler(Dawdle)


async def test_missing_credentials_are_named_in_the_first_invocation(made, server, registry, handled, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    function = made(Dawdle(SQS(server.queue("orders").url), registry=registry))
    record = {"messageId": "1", "receiptHandle": "1", "body": "{}", "eventSource": "aws:sqs"}
    record["eventSourceARN"] = server.queue("orders").arn
    async with asyncio.timeout(15):
        with pytest.raises(BackendError, match="credentials"):
            await asyncio.to_thread(function, {"Records": [record]}, LambdaTime(60))


async def test_a_failed_start_is_tried_again_by_the_next_invocation(function, handled, source, signaler, server):
    await signaler.signal(Placed())
    event = await source.batch()
    fault = server.faults.add("queue_missing", operation="GetQueueAttributes", times=1)
    with pytest.raises(BackendError, match="orders"):
        await asyncio.to_thread(function, event, LambdaTime(60))
    assert fault is not None
    assert await asyncio.to_thread(function, event, LambdaTime(60)) == {"batchItemFailures": []}


async def test_a_lifespan_that_fails_is_the_error_of_the_invocation(made, server, registry, handled):
    def lifespan(app):
        raise RuntimeError("no database")

    function = made(Dawdle(SQS(server.queue("orders").url), registry=registry, lifespan=lifespan))
    record = {"messageId": "1", "receiptHandle": "1", "body": "{}", "eventSource": "aws:sqs"}
    record["eventSourceARN"] = server.queue("orders").arn
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no database"):
            await asyncio.to_thread(function, {"Records": [record]}, LambdaTime(30))


async def test_a_worker_that_imports_the_functions_module_receives_as_ever(made, server, registry):
    ran = asyncio.Event()

    @registry.on_event
    async def stock(event: Placed):
        ran.set()

    app = Dawdle(SQS(server.queue("orders").url, wait=1), registry=registry)
    made(app)
    async with app, asyncio.timeout(20):
        await app.signal(Placed())
        await ran.wait()


async def test_a_function_whose_app_is_under_test_says_so(made, server, registry, handled):
    function = made(Dawdle(SQS(server.queue("orders").url), registry=registry))
    with standing_in(TestApp(registry=registry)), pytest.raises(ConfigurationError, match="it is under test"):
        await asyncio.to_thread(function, {"Records": [], "path": "/"}, LambdaTime(5))
