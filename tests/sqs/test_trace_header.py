"""`AWSTraceHeader`: what SNS, EventBridge or S3 sent goes on in the trace of X-Ray that it came in."""

import json

import msgspec
import pytest
from aiobotocore.session import get_session
from tests.app.events import Placed

import dawdle
from dawdle.backends.sqs._trace_header import traceparent_of

ROOT = "1-5759e988-bd862e3fe1be46a994272793"
HEADER = f"Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=1"
TRACEPARENT = "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01"


@pytest.mark.parametrize(
    ("header", "means"),
    [
        (HEADER, TRACEPARENT),
        (f"Parent=53995c3f42cd8ad8;Root={ROOT.upper()};Sampled=0", TRACEPARENT[:-1] + "0"),
        (f" Root={ROOT} ; Parent=53995C3F42CD8AD8;Lineage=a87bd80c:1|68fd508a:5|c512fbe3:2", TRACEPARENT[:-1] + "0"),
        (f"Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=?", TRACEPARENT[:-1] + "0"),
        (f"Root={ROOT}", None),
        (f"Self={ROOT};Root=1-0-0;Parent=53995c3f42cd8ad8", None),
        (f"Root=1-{'0' * 8}-{'0' * 24};Parent=53995c3f42cd8ad8", None),
        (f"Root={ROOT};Parent={'0' * 16}", None),
        (f"Root={ROOT};Parent=53995c3f42cd8ad", None),
        ("", None),
        (";;=;", None),
        ("Root", None),
    ],
)
def test_a_header_of_x_ray_becomes_a_traceparent(header, means):
    assert traceparent_of(header) == means


async def send(server, body, header=None):
    """Send as another program does."""
    trace = {"AWSTraceHeader": {"DataType": "String", "StringValue": header}} if header else {}
    async with get_session().create_client("sqs", endpoint_url=server.endpoint_url, region_name="us-east-1") as client:
        await client.send_message(
            QueueUrl=server.queue_url("orders"), MessageBody=json.dumps(body), MessageSystemAttributes=trace
        )


def event(**more):
    return {"specversion": "1.0", "id": "1", "source": "/s3", "type": "Placed", "data": {"number": 1}, **more}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("header", "more", "means"),
    [
        (HEADER, {}, TRACEPARENT),
        (HEADER, {"traceparent": TRACEPARENT.replace("5", "6")}, TRACEPARENT.replace("5", "6")),
        ("Root=x", {}, None),
        (None, {}, None),
    ],
    ids=["X-Ray's", "the body's own wins", "nonsense", "none"],
)
async def test_an_event_of_another_program_has_the_trace_on_each_attempt(server, sqs, clock, way, header, more, means):
    seen, registry = [], dawdle.Registry()

    @registry.on_event(name="receipt", retry=dawdle.Retry(initial=1, jitter=0))
    async def handle(event: Placed, ctx: dawdle.Context):
        seen.append((ctx.attempt, ctx.headers.get("traceparent")))
        if ctx.attempt == 1:
            raise ConnectionError("away")

    traces = []
    async with dawdle.Dawdle(
        sqs(wait=0), registry=registry, hooks=[lambda moment: traces.append(getattr(moment, "trace", 0))]
    ) as app:
        await send(server, event(**more), header)
        while len(seen) < 2:
            await clock.advance(1)
            await app.idle()
    assert seen == [(1, means), (2, means)]
    assert {each.traceparent if each else each for each in traces} - {0} == {means}


@pytest.mark.anyio
async def test_the_facts_for_telemetry_name_the_queue_and_where_it_is(server, sqs):
    assert sqs().description == {
        "messaging.system": "aws_sqs",
        "messaging.destination.name": "orders",
        "aws.sqs.queue.url": server.queue_url("orders"),
        "server.address": "127.0.0.1",
        "server.port": int(server.endpoint_url.rstrip("/").rpartition(":")[2]),
    }
    plain = dawdle.backends.sqs.SQS("https://sqs.eu-central-1.amazonaws.com/123456789012/orders.fifo").description
    assert (plain["messaging.destination.name"], plain["server.address"], plain["server.port"]) == (
        "orders.fifo",
        "sqs.eu-central-1.amazonaws.com",
        443,
    )
    assert msgspec.json.encode(plain)
