"""What SQS answers instead of yes, and what the backend asks it for."""

import asyncio
import logging
import math

import pytest

from dawdle.abc import Outgoing, ReleaseEntry
from dawdle.backends.sqs import SQS, _clients
from dawdle.errors import BackendError
from dawdle.testing.sqs import SQSServer

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("way")]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("throttle", "throttled"),
        ("expired_token", "denied"),
        ("access_denied", "denied"),
        ("queue_missing", "missing"),
        ("server_error", "unavailable"),
        ("reset", "unavailable"),
    ],
)
async def test_every_kind_of_no_is_told_apart(server, sqs, fault, kind):
    async with sqs() as queue:
        server.faults.add(fault, operation="ReceiveMessage")
        with pytest.raises(BackendError) as caught:
            await queue.receive(1, 0)
        assert caught.value.kind == kind
        assert "ReceiveMessage on" in str(caught.value)
        server.faults.clear()
        server.faults.add(fault, operation="DeleteMessageBatch")
        with pytest.raises(BackendError) as caught:
            await queue.ack(["receipt"])
        assert caught.value.kind == kind


async def test_a_receive_is_asked_once_and_a_send_is_tried_again_a_few_times(server, sqs):
    async with sqs() as queue:
        rule = server.faults.add("server_error", operation="ReceiveMessage")
        with pytest.raises(BackendError):
            await queue.receive(1, 0)
        assert rule.fired == 1
        server.faults.clear()
        server.faults.add("server_error", operation="SendMessageBatch", nth={1, 2})
        assert await queue.send([Outgoing(b"one")]) == [None]


async def test_entries_that_fail_inside_a_200_are_each_their_own(server, sqs):
    async with sqs() as queue:
        server.faults.add("entries_failed", operation="SendMessageBatch", entries=(1, 3))
        answers = await queue.send([Outgoing(b"%d" % number) for number in range(5)])
        assert [answer is None for answer in answers] == [True, False, True, False, True]
        assert len(server.queue("orders")) == 3


async def test_bytes_that_sqs_does_not_take_are_refused_alone(server, sqs):
    async with sqs() as queue:
        answers = await queue.send(
            [Outgoing(b"good"), Outgoing(b"\xff\x00"), Outgoing(b""), Outgoing("gut ä".encode())]
        )
    assert [None if fault is None else fault.kind for fault in answers] == [None, "refused", "refused", None]
    assert sorted(message.body for message in server.queue("orders").messages()) == ["good", "gut ä"]


async def test_a_body_that_sqs_refuses_is_refused_alone(server, sqs):
    async with sqs() as queue:
        answers = await queue.send([Outgoing(b"good"), Outgoing(b"\x00"), Outgoing(b"also good")])
        assert [None if answer is None else answer.kind for answer in answers] == [None, "refused", None]


@pytest.mark.parametrize("group", [5, "", "x" * 129, "a b", "é", b"x"], ids=repr)
async def test_a_group_that_sqs_does_not_take_is_refused_alone(server, sqs, group):
    async with sqs() as queue:
        answers = await queue.send([Outgoing(b"good"), Outgoing(b"bad", group=group), Outgoing(b"good", group="a!~")])
    assert [None if fault is None else fault.kind for fault in answers] == [None, "refused", None]
    assert len(server.queue("orders")) == 2


@pytest.mark.parametrize("receipt", [None, "", 7], ids=repr)
async def test_a_receipt_of_an_odd_server_is_refused_alone(server, sqs, receipt):
    async with sqs() as queue:
        await queue.send([Outgoing(b"one")])
        (delivery,) = await queue.receive(1, 0)
        for call in (
            lambda: queue.renew([receipt, delivery.receipt]),
            lambda: queue.release([(receipt, 5), (delivery.receipt, 5)]),
            lambda: queue.ack([receipt, delivery.receipt]),
        ):
            assert [None if fault is None else fault.kind for fault in await call()] == ["refused", None]
    assert len(server.queue("orders")) == 0


@pytest.mark.parametrize("seconds", [-1, 43_201, math.inf, math.nan])
async def test_a_release_for_no_number_of_seconds_is_refused_alone(server, sqs, seconds):
    async with sqs() as queue:
        await queue.send([Outgoing(b"one"), Outgoing(b"two")])
        one, two = await queue.receive(2, 0)
        answers = await queue.release([(one.receipt, seconds), (two.receipt, 0)])
    assert [None if fault is None else fault.kind for fault in answers] == ["refused", None]
    assert server.queue("orders").visible == 1


async def test_no_credentials_is_denied_and_says_so(server, sqs, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    async with sqs() as queue:
        with pytest.raises(BackendError, match="no AWS credentials found: set AWS_ACCESS_KEY_ID") as caught:
            await queue.receive(1, 0)
        assert caught.value.kind == "denied"


async def test_no_region_says_so(monkeypatch):
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(BackendError, match="no AWS region is set.*DAWDLE_SQS_REGION"):
        async with SQS("http://localhost:9324/1/orders"):
            pass


async def test_polls_do_not_starve_the_rest(server, sqs):
    async with sqs() as queue:
        polls = [asyncio.create_task(queue.receive(10, 20)) for _ in range(60)]
        async with asyncio.timeout(60):
            while server.queue("orders").polls < 60:
                await asyncio.sleep(0.005)
            for number in range(20):
                await queue.send([Outgoing(b"%d" % number)])
        for poll in polls:
            poll.cancel()
        await asyncio.gather(*polls, return_exceptions=True)


async def test_the_dead_letter_queue_is_found_from_the_redrive_policy(server, sqs):
    async with sqs() as queue:
        assert queue.dead_letters is None
        await queue.prepare_receive()
        assert repr(queue.dead_letters) == f"<SQS {server.queue_url('dead')}>"
        assert await queue.dead_letters.send([Outgoing(b"given up")]) == [None]
    assert [message.body for message in server.queue("dead").messages()] == ["given up"]


async def test_where_it_may_not_be_read_a_warning_names_dead_letter_url(server, sqs, caplog):
    server.faults.add("access_denied", operation="GetQueueAttributes")
    async with sqs() as queue:
        await queue.prepare_receive()
        assert queue.dead_letters is None
        assert "set dead_letter_url, or allow sqs:GetQueueAttributes" in caplog.text
    caplog.clear()
    async with sqs(dead_letter_url=server.queue_url("dead")) as queue:
        await queue.prepare_receive()
        assert caplog.text == ""


@pytest.mark.parametrize("fault", ["expired_token", "none"])
async def test_while_credentials_are_no_good_it_is_asked_again_and_not_done_without(
    server, sqs, monkeypatch, caplog, fault
):
    """A worker that starts a second before its role would otherwise never know its dead-letter queue."""
    if fault == "none":
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    else:
        server.faults.add(fault, operation="GetQueueAttributes", times=2)
    monkeypatch.setattr(_clients, "REFRESH_RETRY_SECONDS", 0)
    async with sqs() as queue:
        with pytest.raises(BackendError) as caught:
            await queue.prepare_receive()
        assert caught.value.kind == "denied"
        assert "dead_letter_url" not in caplog.text
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        await queue.prepare_receive()
        assert repr(queue.dead_letters) == f"<SQS {server.queue_url('dead')}>"


async def test_a_low_redrive_policy_and_a_missing_one_are_warned_about(server, caplog):
    server.create_queue("eager", dead_letter="dead", max_receives=5)
    server.create_queue("bare")
    async with SQS(server.queue_url("eager")) as queue:
        await queue.prepare_receive()
    assert "moves a message to the dead-letter queue after 5 receives" in caplog.text
    caplog.clear()
    async with SQS(server.queue_url("bare")) as queue:
        await queue.prepare_receive()
    assert "has no dead-letter queue, so failed events are retried without end" in caplog.text


async def test_no_delay_is_longer_than_half_of_what_the_queue_keeps(server):
    from dawdle._rules.delay import max_hop_of

    server.create_queue("short", dead_letter="dead", attributes={"MessageRetentionPeriod": "120"})
    async with SQS(server.queue_url("short")) as queue:
        await queue.prepare_receive()
        assert queue.limits.retention == 120
        assert max_hop_of(queue.limits.max_delay, queue.limits.retention) == 60


async def test_a_group_makes_a_fair_queue(server, sqs):
    async with sqs() as queue:
        await queue.send([Outgoing(b"one", group="tenant-7")])
        assert [message.group for message in server.queue("orders").messages()] == ["tenant-7"]
        assert [delivery.group for delivery in await queue.receive(1, 0)] == ["tenant-7"]


async def test_a_delay_is_rounded_up_to_whole_seconds(server, sqs, clock):
    async with sqs() as queue:
        await queue.send([Outgoing(b"one", delay=1.2)])
        assert [message.visible_in for message in server.queue("orders").messages()] == [2.0]


async def test_at_the_first_receive_the_time_is_exact_and_later_it_is_the_answers_date(server, sqs, clock):
    async with sqs(lease=5) as queue:
        await clock.advance(0.25)
        await queue.send([Outgoing(b"one")])
        await clock.advance(3.5)
        (first,) = await queue.receive(1, 0)
        assert first.stored_at == pytest.approx(clock.now() - 3.5, abs=0.002)
        assert first.received_at == pytest.approx(clock.now(), abs=0.002)
        await clock.advance(6)
        (second,) = await queue.receive(1, 0)
        assert second.receive_count == 2
        assert 0 <= clock.now() - second.received_at < 1


async def test_nothing_is_called_that_needs_more_than_the_queue_url(server, sqs):
    server.requests.clear()
    async with sqs(lease=5) as queue:
        await queue.prepare_receive()
        await queue.send([Outgoing(b"one")])
        (delivery,) = await queue.receive(1, 0)
        await queue.renew([delivery.receipt])
        await queue.release([ReleaseEntry(delivery.receipt, 0)])
        (delivery,) = await queue.receive(1, 0)
        await queue.ack([delivery.receipt])
    assert set(server.requests) == {
        "GetQueueAttributes",
        "SendMessageBatch",
        "ReceiveMessage",
        "ChangeMessageVisibilityBatch",
        "DeleteMessageBatch",
    }


async def test_a_queue_that_is_not_open_says_so(sqs):
    with pytest.raises(BackendError, match="is not open"):
        await sqs().send([Outgoing(b"one")])


async def test_neither_bodies_nor_receipts_nor_keys_are_ever_logged(server, sqs, caplog, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-secret")
    caplog.set_level(logging.DEBUG, logger="dawdle")
    server.faults.add("entries_failed", operation="DeleteMessageBatch", entries=(0,), times=1)
    async with sqs() as queue:
        await queue.send([Outgoing(b"canary-body")])
        (delivery,) = await queue.receive(1, 0)
        (fault,) = await queue.ack([delivery.receipt])
        written = caplog.text + repr(fault) + repr(queue)
    for secret in ("canary-body", "canary-secret", delivery.receipt):
        assert secret not in written


async def test_a_queue_with_too_much_in_flight_goes_quiet_and_is_found_out(clock):
    async with SQSServer(clock=clock, queues=("orders",), in_flight_limit=5) as server:
        url = server.queue_url("orders")
        async with SQS(url, wait=1) as queue:
            await queue.send([Outgoing(b"%d" % number) for number in range(10)])
            assert len(await queue.receive(10, 0)) == 5

            async def poll():
                polling = asyncio.create_task(queue.receive(10, 1))
                while not polling.done():
                    await clock.advance(0.1 if server.queue("orders").polls else 0)
                    await asyncio.sleep(0.001)
                return await polling

            for _ in range(30):
                assert await poll() == []
            with pytest.raises(BackendError, match="OverLimit") as caught:
                await poll()
            assert caught.value.kind == "throttled"
            await clock.advance(60)
            assert len(await queue.receive(10, 0)) == 5
