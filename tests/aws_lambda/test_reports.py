"""What is unfinished is reported only where Lambda reads it: else Lambda would delete what a report names."""

import asyncio
import json

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from dawdle import Dawdle, Retry
from dawdle.aws_lambda import UnfinishedRecordsError
from dawdle.backends.sqs import SQS
from tests.aws_lambda.source import LambdaTime, ids

pytestmark = pytest.mark.anyio


class Placed(msgspec.Struct, frozen=True):
    order: str = "o-1"


@pytest.fixture
def function(made, server, registry):
    """Make a function of which one message of two comes again: its copy cannot be stored."""

    def make(**options):
        @registry.on_event(retry=Retry(initial=0))
        async def some(event: Placed):
            if event.order == "bad":
                raise ValueError("no")

        return made(Dawdle(SQS(server.queue("orders").url), registry=registry), **options)

    return make


@pytest.fixture
async def batch(server, signaler, source):
    await signaler.signal_many([Placed("good"), Placed("bad")])
    event = await source.batch()
    server.faults.add("access_denied", operation="SendMessageBatch")
    return event


@pytest.fixture
async def lambda_api(monkeypatch):
    """Lambda's own API: `answers` is what the event source mappings say, or the status of an error."""
    answers, asked = [], []

    async def answer(request):
        asked.append(dict(request.query))
        if isinstance(answers[0], int):
            return web.json_response({"Message": "not allowed"}, status=answers[0])
        return web.json_response({"EventSourceMappings": [{"FunctionResponseTypes": answers[0]}]})

    app = web.Application()
    app.router.add_get("/2015-03-31/event-source-mappings", answer)
    app.router.add_get("/2015-03-31/event-source-mappings/", answer)
    async with TestServer(app) as server:
        monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "orders")
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", str(server.make_url("")).rstrip("/"))
        answers.append(["ReportBatchItemFailures"])
        yield answers, asked


def bad_id(event):
    return next(each["messageId"] for each in event["Records"] if json.loads(each["body"])["data"]["order"] == "bad")


async def test_it_is_reported_where_the_mapping_says_so(function, batch, lambda_api, server):
    _, asked = lambda_api
    answer = await asyncio.to_thread(function(), batch, LambdaTime(30))
    assert ids(answer) == {bad_id(batch)}
    assert asked[0]["EventSourceArn"] == server.queue("orders").arn
    assert asked[0]["FunctionName"] == LambdaTime.invoked_function_arn
    assert len(server.queue("orders")) == 2  # Lambda deletes the good one


@pytest.mark.parametrize("answered", [[], 403], ids=["it is not set", "it may not ask"])
async def test_it_is_an_error_where_a_report_would_be_lost(function, batch, lambda_api, server, caplog, answered):
    answers, asked = lambda_api
    answers[0] = answered
    made = function()
    with pytest.raises(UnfinishedRecordsError, match="1 of 2 messages are unfinished") as caught:
        await asyncio.to_thread(made, batch, LambdaTime(30))
    assert caught.value.message_ids == (bad_id(batch),)
    (left,) = server.queue("orders").messages()  # the good one is deleted
    assert left.id == bad_id(batch)
    assert "ReportBatchItemFailures" in caplog.text
    assert len(asked) == 1


async def test_nothing_is_asked_where_the_user_has_said_it(function, batch, lambda_api):
    answers, asked = lambda_api
    answers[0] = 403
    made = function(report_batch_item_failures=True)
    answer = await asyncio.to_thread(made, batch, LambdaTime(30))
    assert ids(answer) == {bad_id(batch)}
    assert not asked


async def test_a_user_may_say_that_it_is_not_set(function, batch, server):
    made = function(report_batch_item_failures=False)
    with pytest.raises(UnfinishedRecordsError):
        await asyncio.to_thread(made, batch, LambdaTime(30))
    assert len(server.queue("orders")) == 1


async def test_a_pipe_reads_reports_without_a_setting(function, batch, lambda_api):
    answers, asked = lambda_api
    answers[0] = 403
    answer = await asyncio.to_thread(function(), batch["Records"], LambdaTime(30))
    assert ids(answer) == {bad_id(batch)}
    assert not asked


async def test_nothing_is_asked_while_all_is_well(function, signaler, source, lambda_api, server):
    _, asked = lambda_api
    await signaler.signal(Placed("good"))
    await source.invoke(function())
    assert not asked
    assert len(server.queue("orders")) == 0
