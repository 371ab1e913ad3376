"""A FIFO queue keeps the order of each group in a function as well: the first failure stops its group."""

import asyncio

import msgspec
import pytest

from dawdle import Context, Dawdle, Retry
from dawdle.backends.sqs import SQS
from tests.aws_lambda.source import EventSource, ids

pytestmark = pytest.mark.anyio


class Placed(msgspec.Struct, frozen=True):
    order: str
    step: int = 0


@pytest.fixture
async def source(server):
    queue = server.queue("orders.fifo")
    async with EventSource(queue.url, queue.arn) as source:
        yield source


@pytest.fixture(params=[1, 100], ids=lambda concurrency: f"concurrency {concurrency}")
def function(request, made, server, registry):
    return made(Dawdle(SQS(server.queue("orders.fifo").url), registry=registry, concurrency=request.param), margin=2)


@pytest.fixture
async def signaler(server):
    async with Dawdle(SQS(server.queue("orders.fifo").url), start_listener=False) as app:
        yield app


async def signaled(signaler, orders="ab", steps=3):
    for step in range(steps):
        for order in orders:
            await signaler.signal(Placed(order, step), group=order)


async def test_each_group_is_handled_in_order(function, registry, source, signaler, server):
    ran = []

    @registry.on_event
    async def stock(event: Placed):
        await asyncio.sleep(0.002)
        ran.append((event.order, event.step))

    await signaled(signaler)
    while len(server.queue("orders.fifo")):
        _, answer = await source.invoke(function, wait=0)
        assert answer == {"batchItemFailures": []}
    for order in "ab":
        assert [step for name, step in ran if name == order] == [0, 1, 2]


async def test_the_first_failure_of_a_group_reports_the_rest_of_it_unrun(function, registry, source, signaler, server):
    ran = []

    @registry.on_event(retry=Retry(initial=30, jitter=0))
    async def stock(event: Placed):
        ran.append((event.order, event.step))
        if event == Placed("a", 1):
            raise ValueError("no")

    await signaled(signaler)
    records, answer = await source.invoke(function)
    while len(records) < 6:  # a receive may bring some groups only
        more, another = await source.invoke(function)
        records += more
        answer["batchItemFailures"] += another["batchItemFailures"]
    failed = [each for each in records if each["messageId"] in ids(answer)]
    assert [(each["attributes"]["MessageGroupId"]) for each in failed] == ["a", "a"]
    assert ("a", 2) not in ran
    assert [step for order, step in ran if order == "b"] == [0, 1, 2]
    # In its place, for its back-off, and not for the queue's visibility timeout.
    first, second = server.queue("orders.fifo").messages()
    assert 20 < first.visible_in <= 30
    assert second.visible_in == 0


async def test_a_retry_in_its_place_counts_the_receives(function, registry, source, signaler, server):
    ran = []

    @registry.on_event(retry=Retry(max_attempts=3, initial=0))
    async def stock(event: Placed, ctx: Context):
        ran.append((event.step, ctx.attempt))
        if event.step == 0:
            raise ValueError("no")

    await signaled(signaler, "a", 2)
    for _ in range(3):
        await source.invoke(function)
    assert ran[:3] == [(0, 1), (0, 2), (0, 3)]
    assert [step for step, _ in ran[3:]] == [1]
    assert len(server.queue("dead.fifo")) == 1
    assert len(server.queue("orders.fifo")) == 0


async def test_an_event_of_the_delay_queue_goes_to_its_place(made, registry, source, server):
    server.create_queue("later")
    later = server.queue("later")
    app = Dawdle(SQS(server.queue("orders.fifo").url, delay_queue_url=later.url), registry=registry)
    function, ran = made(app), []

    @registry.on_event
    async def stock(event: Placed):
        ran.append(event)

    async with Dawdle(
        SQS(server.queue("orders.fifo").url, delay_queue_url=later.url), start_listener=False
    ) as signaler:
        await signaler.signal(Placed("a"), group="a", delay=0.5)
    assert len(later) == 1
    async with EventSource(later.url, later.arn) as delayed:
        _, answer = await delayed.invoke(function)
    assert answer == {"batchItemFailures": []}
    assert not ran
    await source.invoke(function)
    assert ran == [Placed("a")]


async def test_a_group_is_not_run_on_when_time_is_over(function, registry, source, signaler, server):
    ran = []

    @registry.on_event(retry=Retry(initial=30))
    async def stock(event: Placed):
        ran.append(event.step)
        await asyncio.sleep(60)

    await signaled(signaler, "a", 3)
    records, answer = await source.invoke(function, seconds=2.5)
    assert ran == [0]
    assert len(ids(answer)) == len(records) == 3
