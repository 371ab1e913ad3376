"""What arrives at the server is the same by each way, to the byte, but for dates, ids, signatures and the user agent.

The bodies are JSON, in which botocore writes spaces and `\\u` escapes: these are compared as what they say.
"""

import asyncio
import json
import re

import pytest
from tests.backends.http.scripted import Authority

from dawdle.abc import Outgoing, ReleaseEntry
from dawdle.backends.sqs import SQS
from dawdle.errors import BackendError

pytestmark = pytest.mark.anyio

DIFFERS = {b"x-amz-date", b"user-agent", b"amz-sdk-invocation-id", b"content-length"}
SIGNATURE = re.compile(rb"Signature=[0-9a-f]{64}$")
ANSWERS = {
    b"ReceiveMessage": {"Messages": []},
    b"SendMessageBatch": {"Successful": [{"Id": "0"}, {"Id": "1"}, {"Id": "2"}], "Failed": []},
    b"DeleteMessageBatch": {"Successful": [{"Id": "0"}], "Failed": []},
    b"ChangeMessageVisibilityBatch": {"Successful": [{"Id": "0"}], "Failed": []},
}


class Recorder:
    """A server that notes each request as it comes, refuses those that it is told to, and answers all others well."""

    def __init__(self, tls=None):
        self.requests = []
        self.refusals = 0
        self._tls = tls

    async def _serve(self, reader, writer):
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            line, *lines = head.strip().split(b"\r\n")
            headers = [tuple(part.strip() for part in each.split(b":", 1)) for each in lines]
            named = {name.lower(): value for name, value in headers}
            body = await reader.readexactly(int(named[b"content-length"]))
            self.requests.append((line, headers, body))
            answer = json.dumps(ANSWERS[named[b"x-amz-target"].partition(b".")[2]]).encode()
            status = b"200 OK"
            if self.refusals:
                self.refusals -= 1
                status, answer = b"503 Slow Down", b'{"__type": "ServiceUnavailable"}'
            date = b"Sat, 28 Nov 2026 12:00:00 GMT"
            writer.write(
                b"HTTP/1.1 %s\r\nDate: %s\r\nContent-Length: %d\r\n\r\n%s" % (status, date, len(answer), answer)
            )
        writer.close()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()


async def requests_of(url, **options):
    """Make one call of each kind."""
    async with SQS(url, wait=1, lease=30, **options) as queue:
        assert await queue.receive(7, 1) == []
        batch = [
            Outgoing(b'{"plain": 1}'),
            Outgoing('Grüße, 世界 \U0001f600 \x7f \\ " \t\n'.encode(), delay=0.2, group="shop-1", dedup="d"),
            Outgoing(b"x" * 70_000, delay=900),
        ]
        assert await queue.send(batch) == [None] * 3
        assert await queue.ack(["a/receipt+handle=="]) == [None]
        assert await queue.release([ReleaseEntry("another", 11.5)]) == [None]


def as_compared(request):
    line, headers, body = request
    named = {name.lower(): SIGNATURE.sub(b"Signature=", value) for name, value in headers}
    assert len(named) == len(headers), "no header came twice"
    assert int(named[b"content-length"]) == len(body)
    return line, {name: value for name, value in named.items() if name not in DIFFERS}, json.loads(body)


async def test_each_call_arrives_the_same(monkeypatch, way):
    if way == "botocore":
        pytest.skip("it is what the others are compared with")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a/session+token==")
    async with Recorder() as server:
        url = f"http://127.0.0.1:{server.port}/000000000000/orders"
        await requests_of(url)
        ours, server.requests = server.requests, []
        await requests_of(url, client="aiobotocore")
    assert len(ours) == 4
    assert [as_compared(each) for each in ours] == [as_compared(each) for each in server.requests]


async def test_a_second_attempt_arrives_the_same(monkeypatch, way):
    if way == "botocore":
        pytest.skip("it is what the others are compared with")
    async with Recorder() as server:
        url = f"http://127.0.0.1:{server.port}/000000000000/orders"
        server.refusals = 1
        for options in ({}, {"client": "aiobotocore"}):
            server.refusals = 1
            async with SQS(url, **options) as queue:
                assert await queue.ack(["receipt"]) == [None]
        ours, again, theirs, theirs_again = server.requests
    assert as_compared(ours) == as_compared(theirs)
    assert as_compared(again) == as_compared(theirs_again)
    ids = [dict(headers)[b"amz-sdk-invocation-id"] for _, headers, _ in (ours, again)]
    assert ids[0] == ids[1], "both attempts are one call"


async def test_an_authority_of_ones_own_is_trusted_by_botocores_setting_and_only_then(monkeypatch, tmp_path, way):
    authority = Authority(tmp_path, "ours")
    async with Recorder(authority.context("localhost", "localhost")) as server:
        url = f"https://localhost:{server.port}/000000000000/orders"
        async with SQS(url, wait=0) as queue:
            with pytest.raises(BackendError, match="SSL") as caught:
                await queue.receive(1, 0)
        assert caught.value.kind == "unavailable"
        assert not caught.value.uncertain
        monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.certificate))
        async with SQS(url, wait=0) as queue:
            assert await queue.receive(1, 0) == []
    assert len(server.requests) == 1
