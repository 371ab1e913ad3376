"""Which way the requests that move messages take, by botocore's settings and by what the user asks for."""

import pytest

from dawdle import ConfigurationError
from dawdle.backends.sqs import SQS
from dawdle.backends.sqs._botocore_calls import BotocoreCalls
from dawdle.backends.sqs._data_plane._transports import DirectTransport, SessionTransport
from dawdle.errors import BackendError

pytestmark = pytest.mark.anyio


def transports(queue):
    calls = queue._connection._clients._current.calls
    return [type(lane.transport) for lane in (calls._polls, calls._requests)]


async def test_by_our_own_client_as_a_rule(sqs):
    async with sqs() as queue:
        assert transports(queue) == [DirectTransport, DirectTransport]


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy"])
async def test_by_aiohttp_through_a_proxy_and_past_it_where_no_proxy_is_said(sqs, monkeypatch, name):
    monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with sqs() as queue:
        assert transports(queue) == [SessionTransport, SessionTransport]
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    async with sqs() as queue:
        assert transports(queue) == [DirectTransport, DirectTransport]


@pytest.mark.parametrize("name", ["NO_PROXY", "FTP_PROXY", "HTTPS_PROXY"])
async def test_past_a_proxy_that_is_for_something_else(sqs, monkeypatch, name):
    monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with sqs() as queue:
        assert transports(queue) == [DirectTransport, DirectTransport]


async def test_a_bundle_that_cannot_be_read_fails_at_each_call_as_through_botocore(monkeypatch):
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nonexistent/ca.pem")
    async with SQS("https://127.0.0.1:1/000000000000/orders") as queue:
        with pytest.raises(BackendError, match="FileNotFoundError"):
            await queue.receive(1, 0)


@pytest.mark.parametrize("how", ["argument", "variable"])
async def test_by_botocore_where_that_is_asked_for(sqs, monkeypatch, how):
    if how == "variable":
        monkeypatch.setenv("DAWDLE_SQS_CLIENT", "aiobotocore")
    async with sqs(**({"client": "aiobotocore"} if how == "argument" else {})) as queue:
        assert isinstance(queue._connection._clients._current.calls, BotocoreCalls)
        async with queue.renewer() as renew:
            assert (await renew(["no such receipt"]))[0].kind == "lost"


def test_another_client_is_told(monkeypatch):
    url = "http://127.0.0.1:1/000000000000/orders"
    with pytest.raises(
        ConfigurationError, match=r'^client is "aiobotocore", or not given: \'boto3\' is no client of SQS'
    ):
        SQS(url, client="boto3")
    monkeypatch.setenv("DAWDLE_SQS_CLIENT", "boto3")
    with pytest.raises(ConfigurationError, match=r"^DAWDLE_SQS_CLIENT is"):
        SQS(url)
