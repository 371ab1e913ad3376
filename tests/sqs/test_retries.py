"""Whether a failed attempt is tried again is decided by botocore's standard mode, quota included."""

import json

import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import ConnectionClosedError, NoCredentialsError, ReadTimeoutError

from dawdle.backends._http import HttpAnswer
from dawdle.backends.sqs._data_plane._retries import Retries

pytestmark = pytest.mark.anyio

SEND = "SendMessageBatch"


@pytest.fixture
async def retries():
    config = AioConfig(retries={"total_max_attempts": 3, "mode": "standard"})
    async with get_session().create_client("sqs", config=config, endpoint_url="http://127.0.0.1:1") as client:
        yield Retries(client)


def answer(status, code=None, headers=()):
    return HttpAnswer(status, headers, b"" if code is None else json.dumps({"__type": code, "message": "m"}).encode())


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (ReadTimeoutError(endpoint_url="x"), True),
        (ConnectionClosedError(endpoint_url="x"), True),
        (NoCredentialsError(), False),
        (ValueError(), False),
    ],
    ids=repr,
)
async def test_network_errors_are_tried_again(retries, error, again):
    pause = await retries.after_error(SEND, 1, error, {})
    assert (pause is not None) == again
    assert pause is None or 0 <= pause <= 1


async def test_the_last_attempt_is_the_last(retries):
    error = ReadTimeoutError(endpoint_url="x")
    assert [await retries.after_error(SEND, number, error, {}) is None for number in (1, 2, 3)] == [False, False, True]


@pytest.mark.parametrize(
    ("status", "code", "again", "said"),
    [
        (500, "InternalFailure", True, "InternalFailure"),
        (503, None, True, "503"),
        (403, "RequestThrottled", True, "RequestThrottled"),
        (400, "com.amazonaws.sqs#QueueDoesNotExist", False, "QueueDoesNotExist"),
        (302, None, False, "302"),
    ],
)
async def test_of_answers_only_those_that_may_pass_by_themselves(retries, status, code, again, said):
    pause, error = await retries.after_answer(SEND, 1, answer(status, code), {})
    assert (pause is not None) == again
    assert error.response["Error"]["Code"] == said
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert error.operation_name == SEND


async def test_an_older_code_of_sqs_wins(retries):
    headers = [(b"X-Amzn-Query-Error", b"AWS.SimpleQueueService.NonExistentQueue;Sender")]
    _, error = await retries.after_answer(SEND, 1, answer(400, "com.amazonaws.sqs#QueueDoesNotExist", headers), {})
    assert error.response["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"


async def spent(retries):
    """Fail until botocore's quota is spent, and return after how many retries it was."""
    for number in range(1000):
        if await retries.after_error(SEND, 1, ReadTimeoutError(endpoint_url="x"), {}) is None:
            return number
    raise AssertionError("it has no end")


async def test_the_quota_is_spent_by_failures_and_filled_again_by_successes(retries):
    assert not retries.owes, "no success need be told while nothing failed"
    first = await spent(retries)
    assert first > 10
    told = 0
    while retries.owes:
        await retries.succeeded(SEND, answer(200), {})
        told += 1
    assert told >= 500, "as many as fill it, whatever each retry took"
    assert await spent(retries) == first


async def test_a_retry_that_succeeds_gives_back_what_it_took(retries):
    for _ in range(200):
        state = {}
        assert await retries.after_error(SEND, 1, ReadTimeoutError(endpoint_url="x"), state) is not None
        await retries.succeeded(SEND, answer(200), state)
