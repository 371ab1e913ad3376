"""A function handles the messages of its queue as a worker does: each handler, its retries, delays and letters."""

import asyncio
import contextlib
import time

import msgspec
import pytest

import dawdle
from dawdle import Context, Dawdle, Registry, Retry
from dawdle.backends.sqs import SQS
from tests.aws_lambda.source import LambdaTime, ids

pytestmark = pytest.mark.anyio


class Placed(msgspec.Struct, frozen=True):
    order: str = "o-1"


async def test_every_handler_runs_and_nothing_is_reported(function, registry, source, signaler):
    ran = []

    @registry.on_event
    async def receipt(event: Placed):
        ran.append(("receipt", event.order))

    @registry.on_event
    def stock(event: Placed):
        ran.append(("stock", event.order))

    await signaler.signal_many([Placed("a"), Placed("b")])
    records, answer = await source.invoke(function)
    assert len(records) == 2
    assert answer == {"batchItemFailures": []}
    assert sorted(ran) == [("receipt", "a"), ("receipt", "b"), ("stock", "a"), ("stock", "b")]


async def test_a_retry_runs_only_the_handler_that_failed(function, registry, source, signaler, server):
    ran = []

    @registry.on_event(retry=Retry(initial=0))
    async def receipt(event: Placed, ctx: Context):
        ran.append(("receipt", ctx.attempt))

    @registry.on_event(retry=Retry(initial=0))
    async def stock(event: Placed, ctx: Context):
        ran.append(("stock", ctx.attempt))
        if ctx.attempt < 3:
            raise ValueError("no")

    await signaler.signal(Placed())
    for _ in range(3):
        _, answer = await source.invoke(function)
        assert answer == {"batchItemFailures": []}
    assert ran == [("receipt", 1), ("stock", 1), ("stock", 2), ("stock", 3)]
    assert len(server.queue("orders")) == 0


async def test_a_copy_waits_for_its_back_off_in_the_queue(function, registry, source, signaler, server):
    @registry.on_event(retry=Retry(initial=60, jitter=0))
    async def stock(event: Placed):
        raise ValueError("no")

    await signaler.signal(Placed())
    await source.invoke(function)
    (copy,) = server.queue("orders").messages()
    assert 55 < copy.visible_in <= 60


async def test_a_spent_event_is_a_dead_letter_before_the_function_returns(function, registry, source, signaler, server):
    @registry.on_event
    async def stock(event: Placed):
        raise dawdle.Reject("sold out")

    await signaler.signal(Placed())
    _, answer = await source.invoke(function)
    assert answer == {"batchItemFailures": []}
    (letter,) = server.queue("dead").messages()
    assert "sold out" in letter.body


async def test_a_long_delay_goes_on_by_the_next_hop(function, registry, source, signaler, server):
    @registry.on_event
    async def stock(event: Placed):
        raise AssertionError("it is not due")

    await signaler.signal(Placed(), delay=3600)
    (first,) = server.queue("orders").messages()
    record = {
        "messageId": "first-hop",
        "receiptHandle": "handle",
        "body": first.body,
        "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": str(int((time.time() - 900) * 1000))},
        "eventSource": "aws:sqs",
        "eventSourceARN": server.queue("orders").arn,
    }
    answer = await asyncio.to_thread(function, {"Records": [record]}, LambdaTime(30))
    assert answer == {"batchItemFailures": []}
    assert len(server.queue("orders")) == 2  # the test has not deleted the first
    assert "dawdledue" in server.queue("orders").messages()[1].body


async def test_an_unclaimed_event_is_stored_for_another_node(function, registry, source, signaler, server):
    @registry.on_event
    async def other(event: dawdle.DeadLetter):
        raise AssertionError("it is for another type")

    await signaler.signal(Placed())
    _, answer = await source.invoke(function)
    assert answer == {"batchItemFailures": []}
    (copy,) = server.queue("orders").messages()
    assert "dawdlesince" in copy.body


async def test_a_body_that_is_no_event_is_a_dead_letter(function, registry, source, server):
    @registry.on_event
    async def every(event: Placed):
        raise AssertionError("it is none")

    await source.send("hello")
    _, answer = await source.invoke(function)
    assert answer == {"batchItemFailures": []}
    assert len(server.queue("dead")) == 1


async def test_signals_and_direct_events_of_a_handler_end_before_the_function_returns(
    function, registry, source, signaler, server
):
    ran = []

    class Shipped(msgspec.Struct, frozen=True):
        order: str

    class Noted(msgspec.Struct, frozen=True):
        order: str

    @registry.on_event
    async def ship(event: Placed):
        await dawdle.signal(Shipped(event.order))
        await dawdle.signal(Noted(event.order), direct=True)

    @registry.on_event
    async def note(event: Noted):
        await asyncio.sleep(0.05)
        ran.append(event.order)

    await signaler.signal(Placed())
    await source.invoke(function)
    assert ran == ["o-1"]
    assert "Shipped" in server.queue("orders").messages()[0].body


async def test_the_lifespan_lives_over_invocations_and_ends_with_close(made, server, registry, source, signaler):
    seen = []

    @contextlib.asynccontextmanager
    async def lifespan(app):
        seen.append("entered")
        yield "pool"
        seen.append("left")

    function = made(Dawdle(SQS(server.queue("orders").url), registry=registry, lifespan=lifespan))

    @registry.on_event
    async def stock(event: Placed, ctx: Context):
        seen.append(ctx.state(str))

    for _ in range(2):
        await signaler.signal(Placed())
        await source.invoke(function)
    assert seen == ["entered", "pool", "pool"]
    await asyncio.to_thread(function.close)
    assert seen[-1] == "left"
    await signaler.signal(Placed())
    await source.invoke(function)  # it is entered again
    assert seen[-2:] == ["entered", "pool"]


async def test_nothing_polls_and_no_request_is_made_but_what_is_stored(function, registry, source, signaler, server):
    @registry.on_event
    async def stock(event: Placed):
        pass

    await signaler.signal(Placed())
    event = await source.batch()
    server.requests.clear()
    await asyncio.to_thread(function, event, LambdaTime(30))
    assert set(server.requests) == {"GetQueueAttributes"}  # the dead-letter queue, once
    server.requests.clear()
    await asyncio.sleep(0.1)
    await asyncio.to_thread(function, event, LambdaTime(30))
    assert not server.requests


async def test_a_batch_of_thousands_goes_through_at_the_apps_concurrency(made, server, source):
    registry, running, most, ran = Registry(), 0, 0, 0
    function = made(Dawdle(SQS(server.queue("orders").url), registry=registry, concurrency=50))

    @registry.on_event
    async def stock(event: Placed):
        nonlocal running, most, ran
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        ran += 1

    body = '{"specversion":"1.0","id":"%d","source":"shop","type":"Placed","data":{"order":"%d"}}'
    records = [
        {
            "messageId": f"m-{number}",
            "receiptHandle": f"r-{number}",
            "body": body % (number, number),
            "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1545082649183"},
            "eventSource": "aws:sqs",
            "eventSourceARN": server.queue("orders").arn,
        }
        for number in range(2000)
    ]
    answer = await asyncio.to_thread(function, {"Records": records}, LambdaTime(60))
    assert answer == {"batchItemFailures": []}
    assert ran == 2000
    assert most <= 50


async def test_a_pipe_hands_a_bare_list(function, registry, source, signaler):
    ran = []

    @registry.on_event
    async def stock(event: Placed):
        ran.append(event)

    await signaler.signal(Placed())
    _, answer = await source.invoke(function, as_pipe=True)
    assert ran == [Placed()]
    assert answer == {"batchItemFailures": []}


async def test_records_of_several_queues_run_the_handlers_of_each(made, server, registry, source):
    server.create_queue("video", dead_letter="dead", max_receives=1000)
    orders, video = server.queue("orders"), server.queue("video")
    app = Dawdle(
        queues={"default": SQS(orders.url), "video": SQS(video.url)},
        routes={Placed: ("default", "video")},
        registry=registry,
    )
    function, ran = made(app), []

    @registry.on_event(queue="video")
    async def encode(event: Placed, ctx: Context):
        ran.append(ctx.queue)

    @registry.on_event
    async def stock(event: Placed, ctx: Context):
        ran.append(ctx.queue)

    body = '{"specversion":"1.0","id":"1","source":"shop","type":"Placed","data":{}}'
    records = [
        {
            "messageId": arn,
            "receiptHandle": arn,
            "body": body,
            "attributes": {},
            "eventSource": "aws:sqs",
            "eventSourceARN": arn,
        }
        for arn in (orders.arn, video.arn)
    ]
    answer = await asyncio.to_thread(function, {"Records": records}, LambdaTime(30))
    assert ids(answer) == set()
    assert sorted(ran) == ["default", "video", "video"]
