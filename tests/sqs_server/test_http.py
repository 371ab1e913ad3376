"""The thin part: connections, requests in pieces, requests that no client should send."""

import asyncio
import json

import pytest

pytestmark = pytest.mark.anyio


async def test_pipelined_requests_are_answered_in_their_order(server, raw, clock, until):
    url = server.queue_url("orders")
    raw.send("ReceiveMessage", QueueUrl=url, WaitTimeSeconds=5)
    raw.send("SendMessage", QueueUrl=url, MessageBody="a")
    raw.send("ReceiveMessage", QueueUrl=url)
    await until(lambda: server.queue("orders").polls == 1)
    assert len(server.queue("orders")) == 0
    await clock.advance(5)
    answers = [(await raw.answer())[2] for _ in range(3)]
    assert answers[0] == {}
    assert [message["MessageId"] for message in answers[2]["Messages"]] == [answers[1]["MessageId"]]


async def test_a_request_may_come_byte_by_byte(server, raw):
    request = raw.request(
        "AmazonSQS.SendMessage",
        json.dumps({"QueueUrl": server.queue_url("orders"), "MessageBody": "bit by bit"}).encode(),
    )
    for byte in request:
        raw.writer.write(bytes([byte]))
        await raw.writer.drain()
        await asyncio.sleep(0)
    status, _, answer = await raw.answer()
    assert status == 200
    assert server.queue("orders").messages()[0].id == answer["MessageId"]


async def test_a_thousand_requests_on_one_connection_are_all_answered(server, raw):
    for number in range(1000):
        raw.send("SendMessage", QueueUrl=server.queue_url("orders"), MessageBody=str(number))
    for _ in range(1000):
        assert (await raw.answer())[0] == 200
    assert [message.body for message in server.queue("orders").messages()] == [str(n) for n in range(1000)]


async def test_a_client_that_wants_to_close_gets_its_answer_first(server, raw):
    raw.writer.write(raw.request("AmazonSQS.ListQueues", headers=raw.SIGNED | {"Connection": "close"}))
    status, headers, answer = await raw.answer()
    assert (status, headers["connection"], len(answer["QueueUrls"])) == (200, "close", 2)
    assert await raw.reader.read() == b""


async def test_a_chunked_request_with_expect_is_continued(server, raw):
    head = raw.request("AmazonSQS.ListQueues", b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    raw.writer.write(head.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
    assert await raw.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    raw.writer.write(b"2\r\n{}\r\n0\r\n\r\n")
    assert (await raw.answer())[0] == 200


async def test_what_is_not_http_is_refused_and_the_server_lives_on(server, raw, dial):
    raw.writer.write(b"\x16\x03\x01 this is TLS\r\n\r\n")
    assert (await raw.answer())[0] == 400
    async with dial(server) as other:
        other.send("ListQueues")
        assert (await other.answer())[0] == 200


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 403, "MissingAuthenticationTokenException"),
        ({"Authorization": "Bearer x", "X-Amz-Date": "x"}, 403, "IncompleteSignatureException"),
        (
            {"Authorization": "AWS4-HMAC-SHA256 Credential=a, Signature=b", "X-Amz-Date": "x"},
            403,
            "IncompleteSignatureException",
        ),
        (
            {"Authorization": "AWS4-HMAC-SHA256 Credential=a, SignedHeaders=h, Signature=b"},
            403,
            "IncompleteSignatureException",
        ),
    ],
)
async def test_a_request_that_is_not_signed_is_refused(raw, headers, status, code):
    raw.writer.write(raw.request("AmazonSQS.ListQueues", headers=headers))
    got, head, answer = await raw.answer()
    assert (got, answer["__type"].rpartition("#")[2]) == (status, code)
    assert head["x-amzn-query-error"].endswith(";Sender")


@pytest.mark.parametrize(
    ("target", "body", "code"),
    [
        ("AmazonSQS.Fly", b"{}", "UnknownOperationException"),
        ("", b"Action=ListQueues", "UnknownOperationException"),
        ("AmazonSQS.ListQueues", b"{", "SerializationException"),
        ("AmazonSQS.ListQueues", b'{"MaxResults":"3"}', "SerializationException"),
        ("AmazonSQS.GetQueueUrl", b"{}", "MissingParameter"),
        (
            "AmazonSQS.SendMessage",
            b'{"QueueUrl":"/000000000000/orders","MessageBody":"\\ud800"}',
            "SerializationException",
        ),
        (
            "AmazonSQS.SendMessage",
            b'{"QueueUrl":"/000000000000/orders","MessageBody":"\xff"}',
            "SerializationException",
        ),
        ("AmazonSQS.SendMessage", b'{"QueueUrl":"/999999999999/orders","MessageBody":"x"}', "QueueDoesNotExist"),
    ],
)
async def test_a_request_that_makes_no_sense_is_a_bad_request(server, raw, target, body, code):
    raw.writer.write(raw.request(target, body))
    status, _, answer = await raw.answer()
    assert (status, answer["__type"].rpartition("#")[2]) == (400, code)


async def test_the_date_is_that_of_the_clock(server, raw, clock):
    await clock.advance(3600)
    raw.send("ListQueues")
    _, headers, _ = await raw.answer()
    assert headers["date"] == "Sun, 15 Jun 2025 16:06:40 GMT"


async def test_an_error_of_the_server_itself_is_an_answer_and_a_log_entry(server, raw, monkeypatch, caplog):
    monkeypatch.setattr(server._service, "find", lambda url: 1 / 0)
    raw.send("PurgeQueue", QueueUrl=server.queue_url("orders"))
    status, _, answer = await raw.answer()
    assert (status, answer["__type"]) == (500, "com.amazonaws.sqs#InternalFailure")
    assert "PurgeQueue" in caplog.text


async def test_a_request_that_is_too_long_is_refused_once(server, raw):
    head = raw.request("AmazonSQS.ListQueues", b"").replace(b"Content-Length: 0", b"Content-Length: 20000000")
    raw.writer.write(head)
    for _ in range(20):
        raw.writer.write(b" " * 1_000_000)
    assert (await raw.reader.read()).startswith(b"HTTP/1.1 413 ")
    assert not server.requests
