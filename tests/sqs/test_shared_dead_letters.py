"""Two queues on SQS share a dead-letter queue, and each app touches only the letters of its own."""

import asyncio
import json
import logging

import msgspec
import pytest
from aiobotocore.session import get_session
from tests.sqs.conftest import NUMBERS
from tests.sqs.test_dead_letters import looked_at, moved_by_sqs, passing, until

from dawdle import Context, Dawdle, Registry, Retry
from dawdle.backends.sqs import SQS
from dawdle.testing.sqs import SQSServer

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

ORDERS, MAILS = "000000000000/orders", "000000000000/mails"


class Placed(msgspec.Struct, frozen=True):
    number: int = 0


class Wanted(msgspec.Struct, frozen=True):
    number: int = 0


@pytest.fixture(autouse=True)
async def leaves_no_task(no_task_is_left):
    return


def registry_of(kind, name, runs, *, fail):
    registry = Registry()

    async def handle(event, ctx: Context):
        runs.append((ctx.handler, event.number, ctx.attempt))
        if fail:
            raise ConnectionError("away")

    registry.on_event(kind, name=name, retry=Retry(max_attempts=1))(handle)
    return registry


@pytest.fixture
async def server(clock):
    """A server with two queues that share a dead-letter queue."""
    async with SQSServer(clock=clock) as server:
        server.create_queue("dead")
        for name in ("orders", "mails"):
            server.create_queue(name, dead_letter="dead", max_receives=1000)
        yield server


@pytest.fixture
def make(server, clock):
    def app(queue, registry, **options):
        return Dawdle(SQS(server.queue_url(queue)), registry=registry, clock=clock, **{"grace": 0.1, **options})

    return app


async def give_up(server, make, clock, count=3):
    """Let both queues give up some events."""
    runs = []
    orders, mails = registry_of(Placed, "ship", runs, fail=True), registry_of(Wanted, "mail", runs, fail=True)
    async with make("orders", orders) as one, make("mails", mails) as two:
        await one.signal_many([Placed(number) for number in range(count)])
        await two.signal_many([Wanted(number) for number in range(count)])
        await until(clock, lambda: len(server.queue("dead")) == 2 * count)


def types_in(server, queue):
    return sorted(json.loads(message.body)["type"] for message in server.queue(queue).messages())


async def test_a_call_means_the_letters_of_its_own_queue(server, make, clock, caplog):
    await give_up(server, make, clock)
    await clock.advance(60)
    options = {"start_listener": False}
    caplog.set_level(logging.INFO)
    async with make("orders", registry_of(Placed, "ship", [], fail=False), **options) as app:
        letters = await passing(clock, looked_at(app))
        assert [(letter.event_type, letter.origin) for letter in letters] == [("Placed", ORDERS)] * 3
        assert server.queue("dead").visible == 6, "those of the other queue are given back at once, too"
        everything = await passing(clock, looked_at(app, foreign=True))
        assert sorted((letter.event_type, letter.origin) for letter in everything) == [
            *[("Placed", ORDERS)] * 3,
            *[("Wanted", MAILS)] * 3,
        ]
        assert await passing(clock, app.redrive()) == 3
        assert await passing(clock, app.purge()) == 0
        assert caplog.text.count("left 3 dead letters in the dead-letter queue: they come from other queues") == 2
        assert (types_in(server, "orders"), types_in(server, "mails")) == (["Placed"] * 3, [])
        assert (types_in(server, "dead"), server.queue("dead").visible) == (["Wanted"] * 3, 3)
    async with make("mails", registry_of(Wanted, "mail", [], fail=False), **options) as app:
        assert await passing(clock, app.redrive()) == 3
    assert (types_in(server, "mails"), types_in(server, "dead")) == (["Wanted"] * 3, [])


async def test_a_purge_leaves_the_letters_of_the_other_queue_unless_told_otherwise(server, make, clock):
    await give_up(server, make, clock)
    await clock.advance(60)
    async with make("orders", registry_of(Placed, "ship", [], fail=False), start_listener=False) as app:
        assert await passing(clock, app.purge()) == 3
        assert types_in(server, "dead") == ["Wanted"] * 3
        assert await passing(clock, app.purge("Wanted")) == 0
        assert await passing(clock, app.purge("Wanted", foreign=True)) == 3
    assert len(server.queue("dead")) == 0


async def test_own_letters_are_found_behind_any_number_of_others(server, make, clock):
    await give_up(server, make, clock, count=2)
    await clock.advance(60)
    async with get_session().create_client("sqs", endpoint_url=server.endpoint_url, region_name="us-east-1") as client:
        others = [message.body for message in server.queue("dead").messages() if "Wanted" in message.body]
        url = server.queue_url("dead")
        for _ in range(12):
            entries = [{"Id": str(number), "MessageBody": others[0]} for number in range(10)]
            await client.send_message_batch(QueueUrl=url, Entries=entries)
        own = [message.body for message in server.queue("dead").messages() if "Placed" in message.body]
        await client.send_message(QueueUrl=url, MessageBody=own[0])
    async with make("orders", registry_of(Placed, "ship", [], fail=False), start_listener=False) as app:
        assert await passing(clock, app.redrive()) == 3
    assert (server.queue("dead").visible, len(server.queue("orders"))) == (122, 3)


async def test_what_sqs_moved_by_itself_is_known_by_the_queue_that_it_names(server, make, clock):
    event = {"specversion": "1.0", "id": "e-1", "source": "/shop", "type": "Placed", "data": {"number": 7}}
    for name in ("orders", "mails"):
        await moved_by_sqs(server.endpoint_url, server.queue_url(name), [json.dumps(event), f"garbage of {name}"], 2)
    assert len(server.queue("dead")) == 4
    async with make("orders", registry_of(Placed, "ship", [], fail=False), start_listener=False) as app:
        letters = await passing(clock, looked_at(app))
        assert {(letter.event_type, letter.origin) for letter in letters} == {
            ("Placed", ORDERS),
            ("dawdle.undecodable", ORDERS),
        }
        assert await passing(clock, app.redrive()) == 2
    assert {message.body for message in server.queue("orders").messages()} == {json.dumps(event), "garbage of orders"}
    assert len(server.queue("dead")) == 2


async def test_a_letter_that_says_no_queue_is_left_with_a_warning_that_says_what_to_do(server, make, clock, caplog):
    url = server.queue_url("dead")
    event = {"specversion": "1.0", "id": "e-1", "source": "/shop", "type": "Unheard", "data": {}}
    async with get_session().create_client("sqs", endpoint_url=server.endpoint_url, region_name="us-east-1") as client:
        await client.send_message(QueueUrl=url, MessageBody=json.dumps(event))
    async with make("orders", registry_of(Placed, "ship", [], fail=False), start_listener=False) as app:
        assert len(await passing(clock, looked_at(app))) == 1
        assert await passing(clock, app.redrive()) == 0
        assert "left 1 dead letters in the dead-letter queue: they do not name their queue" in caplog.text
        assert f"if they come from {ORDERS}, pass their types, their handler or foreign=True" in caplog.text
        assert await passing(clock, app.redrive("Unheard")) == 1


@pytest.mark.once
@pytest.mark.xdist_group("ministack")
async def test_a_shared_dead_letter_queue_on_a_server_that_nobody_here_wrote(ministack_url):
    number = next(NUMBERS)
    runs = []
    async with get_session().create_client("sqs", endpoint_url=ministack_url, region_name="us-east-1") as client:
        dead = (await client.create_queue(QueueName=f"shared-{number}"))["QueueUrl"]
        answer = await client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])
        policy = json.dumps({"deadLetterTargetArn": answer["Attributes"]["QueueArn"], "maxReceiveCount": 1000})
        orders, mails = [
            (await client.create_queue(QueueName=f"{name}-{number}", Attributes={"RedrivePolicy": policy}))["QueueUrl"]
            for name in ("orders-sharing", "mails-sharing")
        ]
    event = {"specversion": "1.0", "id": "e-1", "source": "/shop", "type": "Wanted", "data": {"number": 7}}
    await moved_by_sqs(ministack_url, mails, [json.dumps(event)], 2)
    for url, kind, name in ((orders, Placed, "ship"), (mails, Wanted, "mail")):
        registry = registry_of(kind, name, runs, fail=True)
        async with Dawdle(SQS(url, wait=1), registry=registry, grace=3) as app:
            await app.signal(kind(1))
            async with asyncio.timeout(60):
                while name not in {run[0] for run in runs}:
                    await asyncio.sleep(0.05)
    both = Registry()
    both.include(registry_of(Placed, "ship", runs, fail=False))
    both.include(registry_of(Wanted, "mail", runs, fail=False))
    async with Dawdle(SQS(orders, wait=1), registry=both, start_listener=False) as app:
        assert [letter.event async for letter in app.dead_letters()] == [Placed(1)]
        assert await app.redrive() == 1
    async with Dawdle(SQS(mails, wait=1), registry=both, start_listener=False) as app:
        assert sorted([letter.event.number async for letter in app.dead_letters()]) == [1, 7]
        assert await app.purge() == 2
