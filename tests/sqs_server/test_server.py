"""The server as an object: opening, leaving, looking inside."""

import asyncio
import contextlib

import pytest

from dawdle.errors import ConfigurationError
from dawdle.testing import ManualClock
from dawdle.testing.sqs import SQSServer

pytestmark = pytest.mark.anyio


async def test_an_error_in_the_block_comes_out_as_it_is():
    with pytest.raises(KeyError, match="mine"):
        async with SQSServer(clock=ManualClock()):
            raise KeyError("mine")


async def test_a_port_that_is_taken_is_an_os_error_and_nothing_is_left_running():
    tasks = len(asyncio.all_tasks())
    async with SQSServer() as server:
        port = int(server.endpoint_url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            async with SQSServer(port=port):
                pass
    assert len(asyncio.all_tasks()) == tasks


async def test_a_server_may_be_entered_in_one_task_and_left_in_another(dial):
    server = SQSServer(queues=("orders",))
    await asyncio.create_task(server.__aenter__())
    async with dial(server) as client:
        client.send("ListQueues")
        assert (await client.answer())[0] == 200
    await asyncio.create_task(server.__aexit__(None, None, None))


async def test_a_cancelled_block_is_left_with_its_cancellation():
    opened = asyncio.Event()

    async def story():
        async with SQSServer(clock=ManualClock(), queues=("orders",)):
            opened.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(story())
    await opened.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_what_is_left_is_closed_to_clients(dial):
    async with SQSServer() as server, dial(server) as client:
        await server.__aexit__(None, None, None)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await client.answer()
        with pytest.raises(OSError, match=r"refused|failed"):
            async with dial(server):
                pass


def test_before_it_is_open_it_has_no_address():
    server = SQSServer(queues=("orders",))
    for ask in (lambda: server.endpoint_url, lambda: server.environment, lambda: server.queue_url("orders")):
        with pytest.raises(ConfigurationError, match="async with"):
            ask()
    assert server.queue("orders").visible == 0


def test_a_queue_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(ConfigurationError, match=r"'oders'.*orders"):
        SQSServer(queues=("orders",)).queue("oders")


def test_a_queue_that_cannot_be_is_refused():
    with pytest.raises(ConfigurationError, match="no good"):
        SQSServer(queues=("no good",))


async def test_a_view_shows_every_message_and_moves_none(server, client, clock):
    url = server.queue_url("orders")
    await client.send_message(QueueUrl=url, MessageBody="held", MessageGroupId="g")
    await client.receive_message(QueueUrl=url, VisibilityTimeout=40)
    await client.send_message(QueueUrl=url, MessageBody="delayed", DelaySeconds=60)
    await client.send_message(QueueUrl=url, MessageBody="waiting")
    await clock.advance(10)
    view = server.queue("orders")
    for _ in range(2):
        assert (view.visible, view.in_flight, view.delayed, len(view)) == (1, 1, 1, 3)
        assert [(m.body, m.state, m.receives, m.visible_in, m.group) for m in view.messages()] == [
            ("held", "held", 1, 30.0, "g"),
            ("delayed", "delayed", 0, 50.0, None),
            ("waiting", "waiting", 0, 0.0, None),
        ]
    await clock.advance(30)
    assert (view.visible, view.in_flight, view.delayed) == (2, 0, 1)
    assert view.arn == "arn:aws:sqs:us-east-1:000000000000:orders"


async def test_requests_are_counted_by_operation(server, client):
    url = server.queue_url("orders")
    for _ in range(3):
        await client.send_message(QueueUrl=url, MessageBody="a")
    await client.receive_message(QueueUrl=url)
    assert server.requests == {"SendMessage": 3, "ReceiveMessage": 1}
    server.requests.clear()
    await client.receive_message(QueueUrl=url)
    assert server.requests == {"ReceiveMessage": 1}


async def test_a_fifo_delay_that_changes_is_that_of_messages_already_sent(clock, connect):
    async with SQSServer(clock=clock, queues=("mail.fifo",)) as server, connect(server) as client:
        url = server.queue_url("mail.fifo")
        await client.set_queue_attributes(QueueUrl=url, Attributes={"DelaySeconds": "900"})
        await client.send_message(QueueUrl=url, MessageBody="a", MessageGroupId="g", MessageDeduplicationId="d")
        await clock.advance(60)
        assert server.queue("mail.fifo").delayed == 1
        await client.set_queue_attributes(QueueUrl=url, Attributes={"DelaySeconds": "30"})
        assert server.queue("mail.fifo").visible == 1


async def test_a_move_task_with_a_rate_keeps_to_it(server, client, clock):
    server.create_queue("live", dead_letter="dead", max_receives=1)
    live, dead = server.queue_url("live"), server.queue("dead")
    for number in range(5):
        await client.send_message(QueueUrl=live, MessageBody=str(number))
    for _ in range(2):
        await client.receive_message(QueueUrl=live, MaxNumberOfMessages=10, VisibilityTimeout=0)
    assert len(dead) == 5
    await client.start_message_move_task(SourceArn=dead.arn, MaxNumberOfMessagesPerSecond=2)
    moved = []
    for _ in range(3):
        moved.append(5 - len(dead))
        await clock.advance(1)
    assert moved == [2, 4, 5]


async def test_a_move_task_fails_on_a_message_that_came_from_nowhere(server, client):
    server.create_queue("live", dead_letter="dead")
    dead = server.queue("dead")
    await client.send_message(QueueUrl=dead.url, MessageBody="a")
    await client.start_message_move_task(SourceArn=dead.arn)
    (task,) = (await client.list_message_move_tasks(SourceArn=dead.arn))["Results"]
    assert (task["Status"], task["FailureReason"]) == ("FAILED", "CouldNotDetermineMessageSource")
    assert dead.visible == 1


async def test_deduplication_is_forgotten_after_five_minutes(server, client, clock):
    url = server.queue_url("orders.fifo")
    message = {"QueueUrl": url, "MessageBody": "a", "MessageGroupId": "g", "MessageDeduplicationId": "d"}
    for seconds, stored in ((0, 1), (299.9, 1), (0.1, 2)):
        await clock.advance(seconds)
        await client.send_message(**message)
        assert len(server.queue("orders.fifo")) == stored


async def test_an_attempt_is_not_repeated_once_its_message_was_changed(server, client):
    url = server.queue_url("orders.fifo")
    await client.send_message(QueueUrl=url, MessageBody="a", MessageGroupId="g", MessageDeduplicationId="d")
    got = await client.receive_message(QueueUrl=url, ReceiveRequestAttemptId="x")
    handle = got["Messages"][0]["ReceiptHandle"]
    await client.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=60)
    assert "Messages" not in await client.receive_message(QueueUrl=url, ReceiveRequestAttemptId="x")


async def test_a_repeated_attempt_resets_the_visibility_timeout(server, client, clock):
    url = server.queue_url("orders.fifo")
    await client.send_message(QueueUrl=url, MessageBody="a", MessageGroupId="g", MessageDeduplicationId="d")
    for _ in range(3):
        got = await client.receive_message(QueueUrl=url, ReceiveRequestAttemptId="x", AttributeNames=["All"])
        assert got["Messages"][0]["Attributes"]["ApproximateReceiveCount"] == "1"
        await clock.advance(20)
    assert server.queue("orders.fifo").in_flight == 1


async def test_a_queue_that_is_empty_is_a_queue_all_the_same(clock):
    async with SQSServer(clock=clock, queues=("orders",)) as server:
        assert len(server.queue("orders")) == 0
        assert bool(server.queue("orders"))
