"""A body that was damaged on its way is noticed by its MD5: it counts as not stored, and is not handled."""

import hashlib
import json

import pytest

from dawdle.abc import Outgoing
from dawdle.backends.sqs import SQS, _conversion
from dawdle.backends.sqs._conversion import batch_results, deliveries_of
from dawdle.backends.sqs._data_plane._shapes import read_batch, read_receive

CANARY = "canary-7f3a"
OTHER = hashlib.md5(b"other").hexdigest()


def md5_of(text):
    return hashlib.md5(text.encode()).hexdigest()


def stored(*digests):
    entries = [
        {"Id": str(number), "MessageId": "m"} | ({} if digest is None else {"MD5OfMessageBody": digest})
        for number, digest in enumerate(digests)
    ]
    return json.dumps({"Successful": entries}).encode()


def received(*messages):
    return json.dumps(
        {
            "Messages": [
                {"MessageId": f"m-{number}", "ReceiptHandle": CANARY, "Body": body}
                | ({} if digest is None else {"MD5OfBody": digest})
                for number, (body, digest) in enumerate(messages)
            ]
        }
    ).encode()


BATCH = [Outgoing(b"one"), Outgoing("größe".encode()), Outgoing(b"three")]


def test_an_entry_that_was_stored_otherwise_is_uncertain_and_the_others_are_stored():
    answer = read_batch(stored(md5_of("one"), OTHER, None))
    one, two, three = batch_results(answer, 3, BATCH)
    assert (one, three) == (None, None)
    assert (two.kind, two.uncertain) == ("unavailable", None)  # which counts as uncertain, as of every `unavailable`
    assert two.reason == "SQS stored another body than was sent: the MD5 in its response differs"


def test_a_call_that_stores_nothing_compares_nothing():
    assert batch_results(read_batch(stored(OTHER)), 1) == [None]


def test_a_message_that_arrived_otherwise_is_left_out_and_logged(caplog):
    answer = read_receive(received(("one", md5_of("one")), (CANARY, OTHER), ("größe", md5_of("größe")), ("x", None)))
    deliveries = deliveries_of(answer, None)
    assert [each.body for each in deliveries] == [b"one", "größe".encode(), b"x"]
    (record,) = caplog.records
    assert (record.levelname, record.name) == ("WARNING", "dawdle.backends.sqs._conversion")
    assert record.getMessage().startswith("message m-1 arrived damaged")
    assert CANARY not in record.getMessage()


def test_a_python_without_md5_compares_nothing(monkeypatch):
    def no_md5(*_, **__):
        raise ValueError("[digital envelope routines] unsupported")

    monkeypatch.setattr(hashlib, "md5", no_md5)
    assert not _conversion._has_md5()
    monkeypatch.setattr(_conversion, "_HAS_MD5", _conversion._has_md5())
    assert batch_results(read_batch(stored(OTHER)), 1, BATCH) == [None]
    assert len(deliveries_of(read_receive(received(("one", OTHER))), None)) == 1


@pytest.mark.anyio
async def test_a_queue_does_so_too(stub, caplog):
    async with SQS(stub.url, region="us-east-1") as queue:
        stub.says("200 OK", stored(md5_of("one"), OTHER, md5_of("three")))
        assert [fault and fault.kind for fault in await queue.send(BATCH)] == [None, "unavailable", None]
        stub.says("200 OK", received(("one", md5_of("one")), (CANARY, OTHER)))
        assert [each.body for each in await queue.receive(10, 0)] == [b"one"]
        stub.says("200 OK", stored(OTHER))
        assert await queue.ack(["receipt"]) == [None]
    assert "message m-1 arrived damaged" in caplog.text
    assert CANARY not in caplog.text
