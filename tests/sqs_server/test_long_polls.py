"""Long polls: on a clock that the test moves, over real sockets."""

import asyncio
import json
import time

import pytest

from dawdle.testing.sqs import SQSServer

pytestmark = pytest.mark.anyio


async def receive(client, server, name="orders", **more):
    answer = await client.receive_message(QueueUrl=server.queue_url(name), **{"MaxNumberOfMessages": 10} | more)
    return [message["Body"] for message in answer.get("Messages", [])]


async def send(client, server, body, name="orders", **more):
    await client.send_message(QueueUrl=server.queue_url(name), MessageBody=body, **more)


async def test_a_long_poll_ends_empty_when_its_time_is_over(server, client, clock, until):
    poll = asyncio.create_task(receive(client, server, WaitTimeSeconds=20))
    await until(lambda: server.queue("orders").polls == 1)
    await clock.advance(19.999)
    assert server.queue("orders").polls == 1
    await clock.advance(0.001)
    assert server.queue("orders").polls == 0
    assert await poll == []


async def test_a_send_wakes_one_poll_and_the_oldest_one(server, client, until):
    polls = []
    for number in range(3):
        polls.append(asyncio.create_task(receive(client, server, WaitTimeSeconds=20)))
        await until(lambda number=number: server.queue("orders").polls == number + 1)
    await send(client, server, "a")
    assert await polls[0] == ["a"]
    assert server.queue("orders").polls == 2
    await send(client, server, "b")
    assert await polls[1] == ["b"]
    polls[2].cancel()


async def test_a_batch_goes_to_as_few_polls_as_want_it(server, client, until):
    first = asyncio.create_task(receive(client, server, WaitTimeSeconds=20, MaxNumberOfMessages=2))
    await until(lambda: server.queue("orders").polls == 1)
    second = asyncio.create_task(receive(client, server, WaitTimeSeconds=20))
    await until(lambda: server.queue("orders").polls == 2)
    await client.send_message_batch(
        QueueUrl=server.queue_url("orders"), Entries=[{"Id": body, "MessageBody": body} for body in "abc"]
    )
    assert await first == ["a", "b"]
    assert await second == ["c"]


async def test_a_delay_that_ends_wakes_a_poll(server, client, clock, until):
    await send(client, server, "later", DelaySeconds=900)
    for _ in range(44):
        poll = asyncio.create_task(receive(client, server, WaitTimeSeconds=20))
        await until(lambda: server.queue("orders").polls == 1)
        await clock.advance(20)
        assert await poll == []
    poll = asyncio.create_task(receive(client, server, WaitTimeSeconds=20))
    await until(lambda: server.queue("orders").polls == 1)
    await clock.advance(19.9)
    assert server.queue("orders").delayed == 1
    await clock.advance(0.1)
    assert await poll == ["later"]


async def test_a_visibility_that_ends_wakes_a_poll(server, client, clock, until):
    await send(client, server, "a")
    assert await receive(client, server, VisibilityTimeout=12) == ["a"]
    poll = asyncio.create_task(receive(client, server, WaitTimeSeconds=20))
    await until(lambda: server.queue("orders").polls == 1)
    await clock.advance(12)
    assert await poll == ["a"]


async def test_a_release_wakes_a_poll_that_sleeps_until_later(server, client, clock, until):
    url = server.queue_url("orders")
    await send(client, server, "a")
    got = await client.receive_message(QueueUrl=url, VisibilityTimeout=100)
    poll = asyncio.create_task(receive(client, server, WaitTimeSeconds=20))
    await until(lambda: server.queue("orders").polls == 1)
    handle = got["Messages"][0]["ReceiptHandle"]
    await client.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=3)
    await clock.advance(3)
    assert await poll == ["a"]


async def test_an_abandoned_poll_swallows_the_next_message(server, client, connect, clock, until):
    async with connect(server) as leaver:
        poll = asyncio.create_task(receive(leaver, server, WaitTimeSeconds=20))
        await until(lambda: server.queue("orders").polls == 1)
        poll.cancel()
    await until(lambda: len(server._connections) == 0)
    await send(client, server, "swallowed")
    assert await receive(client, server) == []
    assert server.queue("orders").in_flight == 1
    await clock.advance(30)
    answer = await client.receive_message(QueueUrl=server.queue_url("orders"), AttributeNames=["All"])
    assert answer["Messages"][0]["Attributes"]["ApproximateReceiveCount"] == "2"


async def test_the_group_that_a_delete_unlocks_wakes_a_poll(server, client, until):
    url = server.queue_url("orders.fifo")
    for number in range(2):
        await send(client, server, str(number), "orders.fifo", MessageGroupId="g", MessageDeduplicationId=str(number))
    got = await client.receive_message(QueueUrl=url)
    poll = asyncio.create_task(receive(client, server, "orders.fifo", WaitTimeSeconds=20))
    await until(lambda: server.queue("orders.fifo").polls == 1)
    await client.delete_message(QueueUrl=url, ReceiptHandle=got["Messages"][0]["ReceiptHandle"])
    assert await poll == ["1"]


async def test_a_full_queue_refuses_short_polls_and_is_quiet_to_long_ones(clock, connect, until):
    async with (
        SQSServer(clock=clock, queues=("orders",), in_flight_limit=3) as server,
        connect(server) as client,
    ):
        for body in "abcd":
            await send(client, server, body)
        assert await receive(client, server) == ["a", "b", "c"]
        with pytest.raises(client.exceptions.OverLimit) as caught:
            await receive(client, server)
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
        poll = asyncio.create_task(receive(client, server, WaitTimeSeconds=20))
        await until(lambda: server.queue("orders").polls == 1)
        await clock.advance(20)
        assert await poll == []
        poll = asyncio.create_task(receive(client, server, WaitTimeSeconds=20))
        await until(lambda: server.queue("orders").polls == 1)
        await clock.advance(10)
        assert await poll == ["a", "b", "c"]


async def test_queues_that_dead_letter_into_each_other_serve_their_polls(server, client, clock, until):
    server.create_queue("a", dead_letter="b", max_receives=1)
    policy = json.dumps({"deadLetterTargetArn": server.queue("a").arn, "maxReceiveCount": 1})
    await client.set_queue_attributes(QueueUrl=server.queue_url("b"), Attributes={"RedrivePolicy": policy})
    await send(client, server, "round", "a")
    assert await receive(client, server, "a", VisibilityTimeout=5) == ["round"]
    polls = {}
    for name in "ab":
        polls[name] = asyncio.create_task(receive(client, server, name, WaitTimeSeconds=20, VisibilityTimeout=5))
        await until(lambda name=name: server.queue(name).polls == 1)
    await clock.advance(5)
    assert await polls["b"] == ["round"]
    await clock.advance(20)
    assert await polls["a"] == []
    assert await receive(client, server, "b") == []
    assert await receive(client, server, "a") == ["round"]


async def test_deleting_a_queue_ends_its_polls(server, client, until):
    poll = asyncio.create_task(receive(client, server, WaitTimeSeconds=20))
    await until(lambda: server.queue("orders").polls == 1)
    await client.delete_queue(QueueUrl=server.queue_url("orders"))
    assert await poll == []


async def test_leaving_the_server_ends_everything_while_polls_wait(clock, connect, until):
    tasks = len(asyncio.all_tasks())
    async with SQSServer(clock=clock, queues=("orders",)) as server, connect(server) as client:
        poll = asyncio.create_task(receive(client, server, WaitTimeSeconds=20))
        await until(lambda: server.queue("orders").polls == 1)
        poll.cancel()
    await until(lambda: len(asyncio.all_tasks()) == tasks)


async def test_a_send_wakes_a_poll_within_five_milliseconds(dial, until):
    async with SQSServer(queues=("orders",)) as server, dial(server) as sender, dial(server) as receiver:
        url = server.queue_url("orders")
        trips, took = [], []
        for _ in range(9):
            started = time.perf_counter()
            sender.send("GetQueueUrl", QueueName="orders")
            await sender.answer()
            trips.append(time.perf_counter() - started)
            receiver.send("ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20)
            await until(lambda: server.queue("orders").polls == 1)
            started = time.perf_counter()
            sender.send("SendMessage", QueueUrl=url, MessageBody="a")
            _, _, answer = await receiver.answer()
            took.append(time.perf_counter() - started)
            assert answer["Messages"][0]["Body"] == "a"
            await sender.answer()
        assert sorted(took)[4] < 0.005 + 4 * sorted(trips)[4], "a busy machine takes its time for any request"
