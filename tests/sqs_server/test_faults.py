"""Every kind of fault, as an aiobotocore client sees it, and as `fired` lists it."""

import asyncio
import json
import urllib.request
from email.utils import parsedate_to_datetime

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError, ReadTimeoutError
from hypothesis import given
from hypothesis import strategies as st

from dawdle.errors import ConfigurationError
from dawdle.testing.sqs import Asked, Faults
from dawdle.testing.sqs._faults import OPERATION_NAMES
from dawdle.testing.sqs._operations import OPERATIONS

pytestmark = pytest.mark.anyio

CUT = (ConnectionClosedError, EndpointConnectionError)
"""aiobotocore names a reset after whatever it was doing when it noticed."""


async def send(client, server, body="a"):
    return await client.send_message(QueueUrl=server.queue_url("orders"), MessageBody=body)


async def receive(client, server, **more):
    answer = await client.receive_message(
        QueueUrl=server.queue_url("orders"), AttributeNames=["All"], **{"MaxNumberOfMessages": 10} | more
    )
    return answer.get("Messages", [])


def fired(server):
    return [(fault.fault, fault.operation, fault.queue) for fault in server.faults.fired]


async def test_a_delayed_call_is_carried_out_later(server, client, clock, until):
    server.faults.add("delay", operation="SendMessage", seconds=7)
    call = asyncio.create_task(send(client, server))
    await until(lambda: server.faults.fired)
    await clock.advance(6.9)
    assert len(server.queue("orders")) == 0
    await clock.advance(0.1)
    assert (await call)["MessageId"] == server.queue("orders").messages()[0].id
    assert fired(server) == [("delay", "SendMessage", "orders")]


async def test_a_reset_cuts_the_connection_before_anything_is_done(server, client):
    rule = server.faults.add("reset", operation="SendMessage", nth=1)
    with pytest.raises(CUT):
        await send(client, server)
    assert len(server.queue("orders")) == 0
    await send(client, server)
    assert (rule.seen, rule.fired, fired(server)) == (2, 1, [("reset", "SendMessage", "orders")])


@pytest.mark.slow
async def test_silence_is_no_answer_at_all(server, connect):
    server.faults.add("silence", operation="SendMessage")
    async with connect(server, read_timeout=0.3) as client:
        with pytest.raises(ReadTimeoutError):
            await send(client, server)
    assert len(server.queue("orders")) == 0
    assert fired(server) == [("silence", "SendMessage", "orders")]


@pytest.mark.parametrize(("status", "code"), [(500, "InternalFailure"), (503, "ServiceUnavailable")])
async def test_a_server_error_has_its_status(server, client, status, code):
    server.faults.add("server_error", status=status)
    with pytest.raises(ClientError) as caught:
        await send(client, server)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["Error"]["Type"] == "Receiver"
    assert fired(server) == [("server_error", "SendMessage", "orders")]


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("throttle", 403, "RequestThrottled"),
        ("expired_token", 403, "ExpiredToken"),
        ("access_denied", 403, "AccessDenied"),
        ("queue_missing", 400, "AWS.SimpleQueueService.NonExistentQueue"),
    ],
)
async def test_an_error_by_a_fault_rule_looks_like_that_of_sqs(server, client, fault, status, code):
    server.faults.add(fault, queue="orders", times=1)
    with pytest.raises(ClientError) as caught:
        await send(client, server)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert caught.value.response["Error"]["Code"] == code
    assert len(server.queue("orders")) == 0
    await send(client, server)
    assert fired(server) == [(fault, "SendMessage", "orders")]


async def test_a_throttle_and_a_missing_queue_are_caught_by_class(server, client):
    server.faults.add("throttle", nth=1)
    server.faults.add("queue_missing", nth=1)
    with pytest.raises(client.exceptions.RequestThrottled):
        await send(client, server)
    with pytest.raises(client.exceptions.QueueDoesNotExist):
        await send(client, server)


async def test_some_entries_of_a_batch_fail_and_the_others_are_carried_out(server, client):
    server.faults.add("entries_failed", entries=(0, 2), code="InternalError")
    answer = await client.send_message_batch(
        QueueUrl=server.queue_url("orders"), Entries=[{"Id": i, "MessageBody": i} for i in "abc"]
    )
    assert [entry["Id"] for entry in answer["Successful"]] == ["b"]
    assert [(e["Id"], e["Code"], e["SenderFault"]) for e in answer["Failed"]] == [
        ("a", "InternalError", False),
        ("c", "InternalError", False),
    ]
    assert [message.body for message in server.queue("orders").messages()] == ["b"]
    assert fired(server) == [("entries_failed", "SendMessageBatch", "orders")]


async def test_an_answer_is_lost_after_the_call_was_carried_out(server, client):
    server.faults.add("lost_answer", operation="SendMessage")
    with pytest.raises(CUT):
        await send(client, server)
    assert len(server.queue("orders")) == 1
    assert fired(server) == [("lost_answer", "SendMessage", "orders")]


@pytest.mark.slow
async def test_an_answer_is_lost_without_a_sound(server, connect):
    server.faults.add("lost_answer", operation="SendMessage", silent=True)
    async with connect(server, read_timeout=0.3) as client:
        with pytest.raises(ReadTimeoutError):
            await send(client, server)
    assert len(server.queue("orders")) == 1


async def test_a_receive_whose_answer_is_lost_hides_the_message(server, client, clock):
    server.faults.add("lost_answer", operation="ReceiveMessage", nth=1)
    assert await receive(client, server) == []
    await send(client, server)
    with pytest.raises(CUT):
        await receive(client, server)
    assert await receive(client, server) == []
    await clock.advance(30)
    assert [m["Attributes"]["ApproximateReceiveCount"] for m in await receive(client, server)] == ["2"]


async def test_a_message_is_delivered_twice_one_after_the_other(server, client):
    await send(client, server)
    server.faults.add("twice", nth=1)
    (first,) = await receive(client, server)
    (second,) = await receive(client, server)
    assert first["MessageId"] == second["MessageId"]
    assert first["ReceiptHandle"] != second["ReceiptHandle"]
    url = server.queue_url("orders")
    await client.delete_message(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"])
    assert len(server.queue("orders")) == 1
    await client.delete_message(QueueUrl=url, ReceiptHandle=second["ReceiptHandle"])
    assert len(server.queue("orders")) == 0
    assert fired(server) == [("twice", "ReceiveMessage", "orders")]


async def test_a_message_is_delivered_twice_within_one_receive(server, client):
    await send(client, server)
    server.faults.add("twice", nth=1, within=True)
    first, second = await receive(client, server)
    assert first["MessageId"] == second["MessageId"]
    assert first["ReceiptHandle"] != second["ReceiptHandle"]
    assert await receive(client, server) == []


async def test_a_receive_never_gets_more_than_it_asked_for(server, client):
    await send(client, server)
    server.faults.add("twice", nth=1, within=True)
    assert len(await receive(client, server, MaxNumberOfMessages=1)) == 1
    assert len(await receive(client, server)) == 1


async def test_a_deleted_message_comes_back(server, client, clock, until):
    sent = await send(client, server)
    server.faults.add("comes_back", seconds=5)
    (got,) = await receive(client, server)
    await client.delete_message(QueueUrl=server.queue_url("orders"), ReceiptHandle=got["ReceiptHandle"])
    assert len(server.queue("orders")) == 0
    poll = asyncio.create_task(receive(client, server, WaitTimeSeconds=20))
    await until(lambda: server.queue("orders").polls == 1)
    await clock.advance(5)
    (again,) = await poll
    assert again["MessageId"] == sent["MessageId"]
    assert again["Attributes"]["ApproximateReceiveCount"] == "2"
    assert fired(server) == [("comes_back", "DeleteMessage", "orders")]


@pytest.mark.parametrize("seconds", [7200, -7200])
async def test_the_date_of_an_answer_is_skewed(server, client, clock, seconds):
    server.faults.add("skew", seconds=seconds)
    answer = await send(client, server)
    date = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    assert date.timestamp() == clock.now() + seconds
    assert fired(server) == [("skew", "SendMessage", "orders")]


async def test_a_rule_holds_while_its_predicate_does(server, client, clock):
    rule = server.faults.add("throttle", when=lambda call: 10 <= call.at < 20 and call.operation == "SendMessage")
    await send(client, server)
    await clock.advance(10)
    with pytest.raises(client.exceptions.RequestThrottled):
        await send(client, server)
    await clock.advance(10)
    await send(client, server)
    assert rule.fired == 1


async def test_a_rule_that_is_removed_fires_no_more_and_stays_listed(server, client):
    rule = server.faults.add("throttle")
    with pytest.raises(client.exceptions.RequestThrottled):
        await send(client, server)
    server.faults.remove(rule)
    await send(client, server)
    server.faults.add("reset")
    server.faults.clear()
    await send(client, server)
    assert fired(server) == [("throttle", "SendMessage", "orders")]


@pytest.mark.slow
async def test_a_retrying_client_gets_past_faults_and_stores_twice_what_it_was_not_told(server, connect):
    from aiobotocore.session import get_session

    server.faults.add("lost_answer", operation="SendMessage", nth=1)
    server.faults.add("server_error", operation="SendMessage", nth=2, status=500)
    async with get_session().create_client(
        "sqs",
        endpoint_url=server.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="y",
    ) as client:
        await send(client, server)
    assert server.requests["SendMessage"] == 3
    assert len(server.queue("orders")) == 2


def test_rules_know_every_operation_of_the_server():
    assert set(OPERATIONS) == OPERATION_NAMES


def asked(number, operation="SendMessage", queue="orders"):
    return Asked(operation, queue, number, float(number))


@pytest.mark.slow
@given(seed=st.integers(), share=st.floats(0.05, 0.95))
def test_a_share_strikes_the_same_calls_whenever_the_seed_is_the_same(seed, share):
    struck = []
    for _ in range(2):
        faults = Faults()
        faults.add("throttle", share=share, seed=seed)
        struck.append([number for number in range(1, 301) if faults.on_request(asked(number)).replaced_by])
    assert struck[0] == struck[1]
    assert abs(len(struck[0]) / 300 - share) < 0.2


def test_one_call_has_one_refusal_and_any_number_of_delays():
    faults = Faults()
    for fault in ("throttle", "access_denied", "delay", "delay"):
        faults.add(fault, seconds=2)
    found = faults.on_request(asked(1))
    assert (found.replaced_by.fault, found.delay) == ("throttle", 4)
    assert [f.fault for f in faults.fired] == ["throttle", "delay", "delay"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"fault": "explode"},
        {"fault": "twice", "operation": "SendMessage"},
        {"fault": "entries_failed", "operation": "SendMessage"},
        {"fault": "throttle", "share": 2.0},
        {"fault": "throttle", "nth": 0},
        {"fault": "delay", "seconds": -1},
        {"fault": "server_error", "status": 404},
        {"fault": "throttle", "operation": "SendMessages"},
    ],
)
def test_a_rule_that_could_never_fire_is_refused(wrong):
    with pytest.raises(ConfigurationError):
        Faults().add(**wrong)


async def test_fault_rules_are_set_over_the_control_api(server, client):
    def ask(method, path="faults", body=None):
        request = urllib.request.Request(
            f"{server.endpoint_url}/_control/{path}", method=method, data=json.dumps(body).encode() if body else None
        )
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)

    async def control(*arguments):
        return await asyncio.to_thread(ask, *arguments)

    rule = await control("POST", "faults", {"fault": "throttle", "operation": "SendMessage", "nth": [2]})
    await send(client, server)
    with pytest.raises(client.exceptions.RequestThrottled):
        await send(client, server)
    listed = await control("GET")
    assert [(r["id"], r["seen"], r["fired"]) for r in listed["rules"]] == [(rule["id"], 2, 1)]
    assert [f["fault"] for f in listed["fired"]] == ["throttle"]
    assert (await control("GET", "requests"))["SendMessage"] == 2
    assert (await control("GET", "queues"))["orders"]["visible"] == 1
    await control("DELETE", f"faults/{rule['id']}")
    assert server.faults.rules == {}
    await control("POST", "faults", {"fault": "reset"})
    assert len((await control("DELETE"))["fired"]) == 1
    assert server.faults.rules == {}


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/_control/faults", b"{", 400),
        ("POST", "/_control/faults", b'{"fault":"explode"}', 400),
        ("POST", "/_control/faults", b'{"fault":"reset","operatoin":"x"}', 400),
        ("DELETE", "/_control/faults/7", b"", 404),
        ("GET", "/_control/nothing", b"", 404),
    ],
)
async def test_the_control_api_says_what_is_wrong(server, raw, method, path, body, status):
    raw.writer.write(raw.request("", body, {}, method, path))
    got, _, answer = await raw.answer()
    assert got == status
    assert answer["error"]
    assert not server.requests
