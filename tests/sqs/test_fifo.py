"""The app on a FIFO queue of SQS: order in each group, on one worker and on two, on a held clock."""

import asyncio
import json
import logging

import msgspec
import pytest

from dawdle import ConfigurationError, Context, Dawdle, Registry, Reject, Retry
from dawdle._rules.envelope import write
from dawdle.abc import Outgoing
from dawdle.backends.sqs import SQS
from dawdle.testing.sqs import SQSServer

pytestmark = pytest.mark.anyio


class Step(msgspec.Struct, frozen=True):
    group: str
    number: int


@pytest.fixture(autouse=True)
async def leaves_no_task(no_task_is_left):
    return


@pytest.fixture
async def server(clock):
    async with SQSServer(clock=clock) as server:
        server.create_queue("dead.fifo")
        server.create_queue("delayed")
        server.create_queue("orders.fifo", dead_letter="dead.fifo", max_receives=1000)
        yield server


@pytest.fixture
def sqs(server):
    return lambda **options: SQS(
        server.queue_url("orders.fifo"), **{"delay_queue_url": server.queue_url("delayed"), **options}
    )


async def until(clock, condition, seconds=600):
    """Let time pass on a held clock until something is the case."""
    async with asyncio.timeout(60):
        end = clock.monotonic() + seconds
        while not condition():
            assert clock.monotonic() < end, "it did not come to pass"
            await clock.advance(0.1)
            await asyncio.sleep(0.001)


def of(runs, group):
    return [number for each, number in runs if each == group]


@pytest.mark.slow
async def test_two_workers_run_each_group_in_order_and_a_failure_holds_its_group_alone(server, sqs, clock):
    runs, done, busy = [], [], set()

    def node():
        registry = Registry()

        @registry.on_event(retry=Retry(initial=5, jitter=0))
        async def handler(event: Step, ctx: Context) -> None:
            assert event.group not in busy
            busy.add(event.group)
            runs.append((event.group, event.number))
            await clock.sleep_until(clock.monotonic() + 0.2)
            busy.remove(event.group)
            if event == Step("a", 3) and runs.count(("a", 3)) < 4:
                raise ConnectionError("not now")
            done.append((event.group, event.number))

        return Dawdle(sqs(), registry=registry, clock=clock, grace=1)

    async with node() as one, node():
        await one.signal_many([Step("a", number) for number in range(12)], group="a")
        await one.signal_many([Step("b", number) for number in range(12)], group="b")
        await until(clock, lambda: len(of(done, "b")) == 12)
        assert of(done, "a") in ([0, 1, 2], [0, 1, 2, 3, 4])
        await until(clock, lambda: len(done) == 24)
    assert of(done, "a") == of(done, "b") == list(range(12))
    assert of(runs, "a") == [0, 1, 2, 3, 3, 3, *range(3, 12)]


@pytest.mark.slow
async def test_a_letter_keeps_its_group_and_comes_back_into_it(server, sqs, clock):
    registry, broken = Registry(), True

    @registry.on_event
    async def handler(event: Step) -> None:
        if broken:
            raise Reject("broken")

    async with Dawdle(sqs(), registry=registry, clock=clock, grace=1) as app:
        for number in range(3):
            await app.signal(Step("a", number), group="a")
        await until(clock, lambda: server.queue("dead.fifo").visible == 3)
        await app.stop_listener()
        assert [message.group for message in server.queue("dead.fifo").messages()] == ["a"] * 3
        redriving = asyncio.ensure_future(app.redrive())
        await until(clock, redriving.done)
        assert await redriving == 3
        found = server.queue("orders.fifo").messages()
    assert [(message.group, json.loads(message.body)["data"]["number"]) for message in found] == [
        ("a", 0),
        ("a", 1),
        ("a", 2),
    ]


@pytest.mark.slow
async def test_a_delayed_event_takes_its_place_when_it_is_due(server, sqs, clock):
    registry, done = Registry(), []

    @registry.on_event
    async def handler(event: Step) -> None:
        done.append((event.number, clock.monotonic()))

    async with Dawdle(sqs(), registry=registry, clock=clock, grace=1) as app:
        start = clock.monotonic()
        await app.signal(Step("a", 1), group="a", delay=30)
        await app.signal(Step("a", 0), group="a")
        assert [message.group for message in server.queue("delayed").messages()] == ["a"]
        await until(clock, lambda: len(done) == 2)
    (first, _), (second, at) = done
    assert (first, second) == (0, 1)
    assert 30 <= at - start <= 32


async def test_a_delay_without_a_delay_queue_is_an_error(server, sqs, clock):
    async with Dawdle(sqs(delay_queue_url=None), registry=Registry(), clock=clock) as app:
        with pytest.raises(ConfigurationError, match="delay_queue_url, a standard queue"):
            await app.signal(Step("a", 0), group="a", delay=30)
    assert len(server.queue("orders.fifo")) == 0


async def test_an_id_is_stored_once_and_an_event_without_a_group_has_one_of_its_own(server, sqs, clock):
    async with Dawdle(sqs(), registry=Registry(), clock=clock) as app:
        for _ in range(3):
            await app.signal(Step("", 0), id="order-1")
        other = await app.signal(Step("", 1))
    stored = server.queue("orders.fifo").messages()
    assert [json.loads(message.body)["id"] for message in stored] == ["order-1", other]
    assert len({message.group for message in stored}) == 2


@pytest.mark.parametrize(("receives", "warns"), [(199, True), (200, False)])
async def test_a_low_receive_count_of_its_redrive_policy_is_warned_about(clock, caplog, receives, warns):
    async with SQSServer(clock=clock) as server:
        server.create_queue("orders.fifo", dead_letter="dead.fifo", max_receives=receives)
        async with SQS(server.queue_url("orders.fifo")) as queue:
            await queue.prepare_receive()
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == warns
    for text in warnings:
        assert f"after {receives} receives, even one that never failed" in text
        assert "each failure of an event before it in its group: set maxReceiveCount to 200 or more" in text


async def test_without_a_dead_letter_queue_it_says_that_groups_are_held(clock, caplog):
    async with SQSServer(clock=clock) as server:
        server.create_queue("orders.fifo")
        async with SQS(server.queue_url("orders.fifo")) as queue:
            await queue.prepare_receive()
    assert "failed events are retried without end, and hold their groups" in caplog.text


@pytest.mark.slow
async def test_a_redrive_goes_on_although_a_group_is_locked_while_its_letters_are_read(server, sqs, clock):
    async with Dawdle(sqs(), registry=Registry(), clock=clock, start_listener=False) as app:
        async with SQS(server.queue_url("dead.fifo")) as dead:
            for number in range(25):
                body = write({"specversion": "1.0", "id": f"{number}", "source": "/x", "type": "Step", "data": {}})
                assert await dead.send([Outgoing(body, group="a", dedup=f"{number}")]) == [None]
        redriving = asyncio.ensure_future(app.redrive(foreign=True))
        await until(clock, redriving.done)
        assert await redriving == 25
    found = server.queue("orders.fifo").messages()
    assert [(message.group, json.loads(message.body)["id"]) for message in found] == [("a", f"{n}") for n in range(25)]
