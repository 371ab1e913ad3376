"""What stands in for an answer of SQS: a proxy, half a body, a server that is not there, a queue's own no."""

import asyncio
import logging
import socket
import traceback

import pytest

from dawdle.abc import Outgoing
from dawdle.backends.sqs import SQS
from dawdle.backends.sqs._calls import Poll
from dawdle.backends.sqs._connection import Connection
from dawdle.backends.sqs._queue_address import QueueAddress
from dawdle.errors import BackendError

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("way")]

CANARY = "canary-7f3a"


async def failures_of(url):
    """Return how each kind of call fails: which kind of no it is, and its text."""
    connection = await Connection(
        QueueAddress.checked(url, "us-east-1", None), 0, response_seconds=5, max_attempts=1
    ).open()
    failures = []
    try:
        for call in (
            lambda: connection.receive(Poll(url, limit=10, wait=0, lease=30)),
            lambda: connection.delete(url, [CANARY]),
            lambda: connection.attributes(url, ["All"]),
        ):
            with pytest.raises(BackendError) as caught:
                await call()
            failures.append((caught.value.kind, str(caught.value)))
            assert CANARY not in "".join(traceback.format_exception(caught.value))
    finally:
        await connection.close()
    return failures


HTML = f"<html>{CANARY}</html>".encode()
REFUSAL = f'{{"__type": "InvalidParameterValue", "message": "Value {CANARY} for parameter ReceiptHandle"}}'.encode()
MESSAGE = f'{{"Messages": [{{"Body": "{CANARY}", "ReceiptHandle": "{CANARY}"'.encode()


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        ("403 Forbidden", HTML, "unavailable"),
        ("404 Not Found", HTML, "unavailable"),
        ("407 Proxy Authentication Required", HTML, "unavailable"),
        ("429 Too Many Requests", HTML, "throttled"),
        ("502 Bad Gateway", HTML, "unavailable"),
        ("403 Forbidden", b'{"message": "' + CANARY.encode() + b'"}', "unavailable"),
        ("403 Forbidden", b"[1]", "unavailable"),
        ("403 Forbidden", b"\xff\xfe" + HTML, "unavailable"),
        ("200 OK", HTML, "unavailable"),
        ("200 OK", b"", "unavailable"),
        ("200 OK", MESSAGE, "unavailable"),
        ("200 OK", b"[1]", "unavailable"),
        ("200 OK", b"\xff\xfe" + HTML, "unavailable"),
    ],
)
async def test_what_is_no_answer_of_sqs_is_nobodys_mistake(stub, status, body, kind):
    stub.says(status, body)
    for failure in await failures_of(stub.url):
        assert failure[0] == kind, failure


@pytest.mark.parametrize(
    "answer",
    [
        f"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{MESSAGE.decode()}",
        f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{CANARY}\r\n",
        f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{CANARY}\r\n",
        f"HTTP/1.1 2 {CANARY}\r\n\r\n",
        f"HTTP/1.1 200 OK\r\nContent-Length: {CANARY}\r\n\r\n",
        f"{CANARY}\r\n\r\n",
        "",
    ],
    ids=["half a body", "no chunk", "half a chunk", "no status", "no length", "no HTTP", "nothing"],
)
async def test_an_answer_that_breaks_off_or_breaks_http_is_unavailable(stub, answer):
    stub.answer = answer.encode()
    for kind, text in await failures_of(stub.url):
        assert kind == "unavailable", text


@pytest.mark.parametrize(
    "body",
    [
        f'{{"Messages": [{{"Body": "{CANARY}"}}]}}',
        MESSAGE.decode() + f', "MessageId": "a", "Attributes": {{"SentTimestamp": "{CANARY}"}}}}]}}',
        f'{{"Messages": "{CANARY}"}}',
        f'{{"Messages": ["{CANARY}"]}}',
    ],
)
async def test_messages_that_make_no_sense_are_unavailable(stub, body):
    stub.says("200 OK", body.encode())
    async with SQS(stub.url) as queue:
        with pytest.raises(BackendError) as caught:
            await queue.receive(1, 0)
    assert caught.value.kind == "unavailable"
    assert CANARY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("body", ['{"Successful": [{"Id": "canary-7f3a"}]}', '{"Failed": [{"Id": "7"}]}'])
async def test_answers_to_what_was_not_asked_are_unavailable(stub, body):
    stub.says("200 OK", body.encode())
    async with SQS(stub.url) as queue:
        with pytest.raises(BackendError) as caught:
            await queue.ack(["receipt"])
    assert caught.value.kind == "unavailable"
    assert CANARY not in "".join(traceback.format_exception(caught.value))


async def test_an_empty_object_is_an_empty_receive(stub):
    stub.says("200 OK", b" {} ")
    async with SQS(stub.url) as queue:
        assert await queue.receive(1, 0) == []


async def test_what_botocore_will_not_send_is_ours_and_is_not_shown(server):
    url = server.queue_url("orders")
    connection = await Connection(QueueAddress.checked(url, "us-east-1", None), 0).open()
    with pytest.raises(BackendError) as caught:
        await connection.send(url, [Outgoing(CANARY.encode(), group=[CANARY])])
    await connection.close()
    assert caught.value.kind == "refused"
    assert CANARY not in "".join(traceback.format_exception(caught.value))


async def test_a_password_in_an_endpoint_is_not_shown(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", f"http://me:{CANARY}@127.0.0.1:1")
    for kind, text in await failures_of("http://127.0.0.1:1/000000000000/orders"):
        assert kind == "unavailable"
        assert CANARY not in text


async def test_a_server_that_is_not_there_or_not_found_or_speaks_no_tls_is_unavailable(monkeypatch):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        for kind, text in await failures_of(f"http://127.0.0.1:{nobody.getsockname()[1]}/0/orders"):
            assert kind == "unavailable", text
            assert "connect" in text.lower(), text

    async def no_tls(reader, writer):
        await reader.read(1)
        writer.write(b"no TLS\r\n")
        writer.close()

    async with await asyncio.start_server(no_tls, "127.0.0.1", 0) as plain:
        for kind, text in await failures_of(f"https://127.0.0.1:{plain.sockets[0].getsockname()[1]}/0/orders"):
            assert (kind, "SSL validation failed" in text) == ("unavailable", True)

    async def nowhere(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", nowhere)
    for kind, text in await failures_of("http://nowhere.invalid/0/orders"):
        assert (kind, "nowhere.invalid" in text) == ("unavailable", True)


async def test_the_dead_letter_queue_names_itself(server, sqs):
    async with sqs(dead_letter_url=server.queue_url("dead")) as queue:
        await queue.dead_letters.send([Outgoing(b"given up")])
        (letter,) = await queue.dead_letters.receive(10, 0)
        assert (letter.body, letter.receive_count, letter.stored_at is not None) == (b"given up", 1, True)
        assert await queue.dead_letters.ack([letter.receipt]) == [None]
        server.faults.add("access_denied", queue="dead")
        with pytest.raises(BackendError, match=r"^AccessDenied.* \(ReceiveMessage on .*/dead\)$"):
            await queue.dead_letters.receive(10, 0)


async def test_past_botocore_no_body_is_logged_not_even_to_debug(way, stub, caplog):
    """botocore writes what it parses to its debug log, and the answer to a delete may quote a receipt."""
    if way == "botocore":
        pytest.skip("its debug log shows all bodies")
    caplog.set_level(logging.DEBUG)
    async with SQS(stub.url, wait=0) as queue:
        for status, body in (("400 Bad Request", REFUSAL), ("503 Unavailable", REFUSAL), ("200 OK", MESSAGE)):
            stub.says(status, body)
            for call in (queue.receive(1, 0), queue.ack([CANARY])):
                with pytest.raises(BackendError):
                    await call
    assert "botocore" in caplog.text
    assert CANARY not in caplog.text
