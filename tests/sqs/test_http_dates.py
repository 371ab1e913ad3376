"""The time of an answer is its Date header's; one that makes no sense stops nothing."""

import json

import pytest

from dawdle.backends.sqs import SQS
from dawdle.backends.sqs._conversion import parse_deliveries

pytestmark = pytest.mark.anyio

MESSAGE = {"MessageId": "m", "ReceiptHandle": "r", "Body": "b", "Attributes": {"ApproximateReceiveCount": "2"}}


def answer(date):
    return {"Messages": [MESSAGE], "ResponseMetadata": {"HTTPHeaders": {} if date is None else {"date": date}}}


@pytest.mark.parametrize(
    "date",
    [
        None,
        "",
        " ",
        "soon",
        "Sat, 28 Nov 2026",
        "28/11/2026 03:41",
        "2026-11-28T03:41:00Z",
        "Sat, 99 Nov 2026 03:41:00 GMT",
        "Sat, 28 Nov 99999 03:41:00 GMT",
        "Sat, 28 Nov 2026 25:61:00 GMT",
        "Sat, 28 Nov 2026 03:41:00 +99999999",
        "\x00",
        "0" * 10_000,
    ],
)
def test_a_date_that_makes_no_sense_is_no_date(date):
    (delivery,) = parse_deliveries(answer(date))
    assert delivery.received_at is None


@pytest.mark.parametrize("zone", ["GMT", "+0000", "-0000", "UT"])
def test_a_date_is_in_universal_time_whatever_the_machine_has(zone, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    (delivery,) = parse_deliveries(answer(f"Sat, 28 Nov 2026 03:41:00 {zone}"))
    assert delivery.received_at == 1_795_837_260.0


@pytest.mark.parametrize("date", ["soon", "Sat, 99 Nov 2026 03:41:00 GMT"])
async def test_a_receive_with_a_date_that_makes_no_sense_brings_its_messages(stub, date):
    body = json.dumps({"Messages": [MESSAGE]}).encode()
    head = f"HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    stub.answer = head.encode() + body
    async with SQS(stub.url, region="us-east-1", wait=0) as queue:
        (delivery,) = await queue.receive(1, 0)
    assert (delivery.key, delivery.received_at) == ("m", None)
