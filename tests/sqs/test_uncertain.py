"""Of a call that failed: whether SQS may have carried it out all the same, and a message with the cause first."""

import asyncio
import socket
import struct
import sys

import msgspec
import pytest
from botocore.credentials import RefreshableCredentials

from dawdle import Dawdle, Registry, SignalError
from dawdle.abc import Outgoing
from dawdle.backends.sqs import SQS
from dawdle.backends.sqs._connection import Connection
from dawdle.backends.sqs._data_plane._credentials import SessionCredentials
from dawdle.backends.sqs._queue_address import QueueAddress
from dawdle.errors import BackendError

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("way")]

ENTRY = Outgoing(b"event")


class Placed(msgspec.Struct, frozen=True):
    number: int = 0


async def failure_of(url, *, response_seconds=30, max_attempts=1):
    """Return how a send to a URL fails."""
    connection = await Connection(
        QueueAddress.checked(url, "us-east-1", None), 0, response_seconds=response_seconds, max_attempts=max_attempts
    ).open()
    try:
        with pytest.raises(BackendError) as caught:
            await connection.send(url, [ENTRY])
    finally:
        await connection.close()
    return caught.value


@pytest.mark.parametrize(
    ("fault", "kind", "uncertain", "said"),
    [
        ("access_denied", "denied", False, "AccessDenied"),
        ("expired_token", "denied", False, "ExpiredToken"),
        ("queue_missing", "missing", False, "NonExistentQueue"),
        ("throttle", "throttled", False, "RequestThrottled"),
        ("server_error", "unavailable", True, "ServiceUnavailable"),
        ("reset", "unavailable", True, "the connection broke after the request was sent"),
        ("lost_answer", "unavailable", True, "the connection broke after the request was sent"),
        ("silence", "unavailable", True, "no answer came in time"),
    ],
)
async def test_only_a_request_whose_answer_is_missing_is_uncertain(server, fault, kind, uncertain, said):
    server.faults.add(fault)
    seconds = 0.5 if fault == "silence" else 30  # a busy machine takes its time for any other answer
    error = await failure_of(server.queue_url("orders"), response_seconds=seconds)
    assert (error.kind, error.uncertain) == (kind, uncertain)
    assert said in str(error)
    assert str(error).endswith(f"(SendMessageBatch on {server.queue_url('orders')})")


def in_line(listening):
    """Return how many connections wait to be accepted: Linux tells it as `tcpi_unacked` of the socket that listens."""
    return struct.unpack_from("I", listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 24)[0]


@pytest.mark.slow
async def test_where_no_connection_is_made_nothing_was_sent(monkeypatch):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        closed = await failure_of(f"http://127.0.0.1:{nobody.getsockname()[1]}/0/orders")
        nobody.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(nobody.getsockname())
        while sys.platform == "linux" and not in_line(nobody):  # on a busy machine even loopback takes a while
            await asyncio.sleep(0.001)
        full = await failure_of(f"http://127.0.0.1:{nobody.getsockname()[1]}/0/orders", response_seconds=1)
        for each in waiting:
            each.close()

    async def no_tls(reader, writer):
        await reader.read(1)
        writer.write(b"no TLS\r\n")
        writer.close()

    async with await asyncio.start_server(no_tls, "127.0.0.1", 0) as plain:
        bare = await failure_of(f"https://127.0.0.1:{plain.sockets[0].getsockname()[1]}/0/orders")

    async def nowhere(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", nowhere)
    unknown = await failure_of("http://nowhere.invalid/0/orders")
    for error in (closed, full, bare, unknown):
        assert (error.kind, error.uncertain) == ("unavailable", False), error
    for error in (closed, bare, unknown):
        assert ", so nothing was sent (SendMessageBatch on " in str(error)


async def test_without_credentials_nothing_was_sent_and_it_says_what_to_set(server, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    error = await failure_of(server.queue_url("orders"))
    assert (error.kind, error.uncertain) == ("denied", False)
    assert str(error).startswith("no AWS credentials found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")


@pytest.mark.slow
@pytest.mark.parametrize("first", ["lost_answer", "server_error"])
async def test_a_refusal_after_a_try_without_an_answer_says_nothing_of_that_try(server, first):
    """botocore tries again by itself: the first try stored the event, and then the permission was gone."""
    server.faults.add(first, nth=1)
    server.faults.add("access_denied", nth=2 if first == "lost_answer" else 1)
    error = await failure_of(server.queue_url("orders"), response_seconds=5, max_attempts=3)
    assert (error.kind, error.uncertain) == ("denied", True)
    assert "; an earlier attempt of the same request may have been carried out" in str(error)
    assert len(server.queue("orders")) == (1 if first == "lost_answer" else 0)


async def test_an_entry_that_is_refused_after_a_try_without_an_answer_is_uncertain(server, sqs):
    server.faults.add("server_error", operation="SendMessageBatch", nth=1)
    server.faults.add("entries_failed", operation="SendMessageBatch", entries=(0,), code="KmsAccessDenied")
    async with sqs() as queue:
        answers = await queue.send([Outgoing(b"one"), Outgoing(b"two")])
    assert [fault and (fault.kind, fault.uncertain) for fault in answers] == [("denied", True), None]


async def test_an_answer_that_cannot_be_read_is_uncertain(stub):
    for body in (b"<html>", b'{"Successful": [{"Id": "7"}]}'):
        stub.says("200 OK", body)
        assert (await failure_of(stub.url)).uncertain
    stub.says("200 OK", b'{"Successful": []}')
    async with SQS(stub.url) as queue:
        (fault,) = await queue.send([Outgoing(b"one")])
    assert BackendError("", kind=fault.kind, uncertain=fault.uncertain).uncertain


class EndlessCredentials(RefreshableCredentials):
    """Credentials whose source does not answer."""

    def __init__(self):
        pass

    async def get_frozen_credentials(self):
        await asyncio.Event().wait()


async def test_a_call_that_ends_before_it_was_sent_is_not_uncertain(server, way):
    """Looking for credentials may take long."""
    url = server.queue_url("orders")
    connection = await Connection(
        QueueAddress.checked(url, "us-east-1", None), 0, response_seconds=0.1, max_attempts=1
    ).open()
    clients = connection._clients._current
    if way == "botocore":
        clients.botocore._request_client._request_signer._credentials = EndlessCredentials()
    else:
        clients.calls._credentials = SessionCredentials(EndlessCredentials())
    with pytest.raises(BackendError, match="no answer came in time") as caught:
        await connection.send(url, [ENTRY])
    await connection.close()
    assert not caught.value.uncertain


@pytest.mark.slow
async def test_signal_says_not_stored_or_may_be_and_the_cause(server, sqs):
    async with Dawdle(sqs(), registry=Registry(), start_listener=False) as app:
        rule = server.faults.add("access_denied", operation="SendMessageBatch")
        with pytest.raises(SignalError, match="^could not store event mine: AccessDenied") as caught:
            await app.signal(Placed(), id="mine")
        assert (caught.value.not_stored, caught.value.uncertain) == (("mine",), ())
        server.faults.remove(rule)
        server.faults.add("lost_answer", operation="SendMessageBatch", nth=(1, 2, 3))
        told = "^event mine may or may not be stored: the connection broke after the request was sent"
        with pytest.raises(SignalError, match=told) as caught:
            await app.signal(Placed(), id="mine")
        assert (caught.value.not_stored, caught.value.uncertain) == ((), ("mine",))
    assert len(server.queue("orders")) == 3


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
async def test_under_any_faults_what_is_not_stored_is_not_there_and_what_is_stored_is(server, sqs, seed):
    for number, fault in enumerate(("lost_answer", "reset", "server_error", "access_denied")):
        server.faults.add(fault, operation="SendMessageBatch", share=0.25, seed=10 * seed + number)
    server.faults.add("entries_failed", operation="SendMessageBatch", share=0.2, seed=seed, entries=(0, 3))
    ids = [f"event-{number}" for number in range(300)]
    async with Dawdle(sqs(), registry=Registry(), start_listener=False) as app:
        answers = await asyncio.gather(*(app.signal(Placed(), id=each) for each in ids), return_exceptions=True)
    there = {msgspec.json.decode(message.body)["id"] for message in server.queue("orders").messages()}
    errors = [answer for answer in answers if isinstance(answer, SignalError)]
    not_stored = {each for error in errors for each in error.not_stored}
    uncertain = {each for error in errors for each in error.uncertain}
    stored = {answer for answer in answers if isinstance(answer, str)}
    assert stored | not_stored | uncertain == set(ids)
    assert stored <= there
    assert not_stored.isdisjoint(there)
    assert not_stored
    assert uncertain
