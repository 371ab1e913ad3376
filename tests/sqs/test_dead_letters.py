"""Dead letters on SQS: found without a listener, read whoever put them there, and moved in batches."""

import asyncio
import json

import msgspec
import pytest
from aiobotocore.session import get_session

from dawdle import ConfigurationError, Context, Dawdle, DeadLetter, Registry, Retry
from dawdle._rules.envelope import to_rfc3339, write
from dawdle.abc import Outgoing
from dawdle.backends.sqs import SQS
from dawdle.hooks import Requested
from dawdle.testing.sqs import SQSServer

pytestmark = pytest.mark.anyio


class Placed(msgspec.Struct, frozen=True):
    number: int = 0


@pytest.fixture(autouse=True)
async def leaves_no_task(no_task_is_left):
    return


def registry_of(runs, *, fail):
    registry = Registry()

    @registry.on_event(Placed, name="receipt")
    async def receipt(event, ctx: Context):
        runs.append(("receipt", event.number, ctx.attempt))

    @registry.on_event(Placed, name="shipping", retry=Retry(max_attempts=1))
    async def shipping(event, ctx: Context):
        runs.append(("shipping", event.number, ctx.attempt))
        if fail:
            raise ConnectionError("no carrier")

    return registry


async def passing(clock, work):
    """Let time pass on a held clock until something is done."""
    task = asyncio.ensure_future(work)
    async with asyncio.timeout(60):
        while not task.done():
            await clock.advance(0.1)
            await asyncio.sleep(0.001)
    return await task


async def until(clock, condition):
    async def wait():
        while not condition():
            await asyncio.sleep(0.001)

    await passing(clock, wait())


async def looked_at(app, **options):
    return [letter async for letter in app.dead_letters(**options)]


@pytest.mark.slow
async def test_letters_are_found_by_the_redrive_policy_without_a_listener_and_redriven(server, sqs, clock):
    runs = []
    async with Dawdle(sqs(), registry=registry_of(runs, fail=True), clock=clock, grace=0.1) as app:
        await app.signal_many([Placed(number) for number in range(25)])
        await until(clock, lambda: len(server.queue("dead")) == 25)
    async with Dawdle(sqs(), registry=registry_of(runs, fail=False), clock=clock, start_listener=False) as app:
        letters = await passing(clock, looked_at(app))
        assert {letter.event.number for letter in letters} == set(range(25))
        assert {(letter.handler, letter.error) for letter in letters} == {("shipping", "ConnectionError: no carrier")}
        assert {0 <= (letter.dead_at - letter.signaled_at).total_seconds() < 30 for letter in letters} == {True}
        assert server.queue("dead").visible == 25, "all of them are given back at once"
        server.requests.clear()
        assert await passing(clock, app.redrive(Placed, handler="shipping", older_than=0)) == 25
        asked = dict(server.requests)
        assert asked.pop("ReceiveMessage") <= 4 + 1
        assert asked == {"SendMessageBatch": 3, "DeleteMessageBatch": 3}
    assert (len(server.queue("dead")), len(server.queue("orders"))) == (0, 25)
    await clock.advance(60)  # the first app abandoned a poll, and that has swallowed some
    runs.clear()
    async with Dawdle(sqs(), registry=registry_of(runs, fail=False), clock=clock, grace=0.1):
        await until(clock, lambda: not len(server.queue("orders")))
    assert sorted(runs) == [("shipping", number, 1) for number in range(25)]


@pytest.mark.slow
async def test_what_fails_again_while_the_call_goes_on_waits_for_the_next(server, sqs, clock):
    runs = []
    async with Dawdle(sqs(), registry=registry_of(runs, fail=True), clock=clock, grace=0.1) as app:
        await app.signal_many([Placed(number) for number in range(40)])
        await until(clock, lambda: len(server.queue("dead")) == 40)
        assert await passing(clock, app.redrive()) == 40
        await until(clock, lambda: len(server.queue("dead")) == 40 and not len(server.queue("orders")))
        assert len([run for run in runs if run[0] == "shipping"]) == 80
        assert await passing(clock, app.purge()) == 40
    assert len(server.queue("dead")) == 0


async def moved_by_sqs(server, url, bodies, receives):
    """Receive messages until the queue's own redrive policy takes them away."""
    async with get_session().create_client("sqs", endpoint_url=server, region_name="us-east-1") as client:
        answer = await client.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"])
        policy = json.loads(answer["Attributes"]["RedrivePolicy"]) | {"maxReceiveCount": receives}
        await client.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": json.dumps(policy)})
        for body in bodies:
            await client.send_message(QueueUrl=url, MessageBody=body)
        for _ in range(receives + 1):
            for _ in bodies:
                await client.receive_message(QueueUrl=url, VisibilityTimeout=0)


@pytest.mark.slow
async def test_letters_that_sqs_moved_itself_are_read_and_go_on_where_they_were(clock):
    runs = []
    event = {"specversion": "1.0", "id": "e-1", "source": "/shop", "type": "Placed", "data": {"number": 7}}
    failed = event | {"dawdleowed": "shipping", "dawdleattempt": 3, "dawdleerror": "ValueError: late", "dawdletrial": 2}
    async with SQSServer(clock=clock) as server:
        server.create_queue("orders", dead_letter="dead")
        url = server.queue_url("orders")
        bodies = [json.dumps(event), json.dumps(failed), "garbage"]
        await moved_by_sqs(server.endpoint_url, url, bodies, 2)
        assert len(server.queue("dead")) == 3
        async with Dawdle(SQS(url), registry=registry_of(runs, fail=False), clock=clock, start_listener=False) as app:
            letters = {letter.error: letter for letter in await passing(clock, looked_at(app))}
            whole = letters["redriven by SQS"]
            retry = letters["redriven by SQS; before that: ValueError: late"]
            assert (whole.handler, whole.attempts, whole.event, whole.dead_at) == (None, 1, Placed(7), None)
            assert (retry.handler, retry.attempts, retry.event, retry.dead_at) == ("shipping", 3, Placed(7), None)
            (error,) = letters.keys() - {whole.error, retry.error}
            assert error.startswith("redriven by SQS; not a CloudEvent 1.0 in JSON")
            garbage = letters[error]
            assert (garbage.event_type, garbage.body) == ("dawdle.undecodable", b"garbage")
            assert await passing(clock, app.redrive()) == 3
        sent = [message.body for message in server.queue("orders").messages()]
        assert len(sent) == 3
        parsed = [json.loads(body) for body in sent if body != "garbage"]
        assert event in parsed
        assert {name: value for name, value in failed.items() if name != "dawdletrial"} in parsed


@pytest.mark.slow
async def test_a_queue_polled_without_a_wait_is_walked_to_its_end(server, sqs, clock):
    runs = []
    async with Dawdle(sqs(), registry=registry_of(runs, fail=True), clock=clock, grace=0.1) as app:
        await app.signal_many([Placed(number) for number in range(12)])
        await until(clock, lambda: len(server.queue("dead")) == 12)
    async with Dawdle(sqs(wait=0), registry=registry_of(runs, fail=True), clock=clock, start_listener=False) as app:
        server.requests.clear()
        assert await app.purge() == 12
        assert server.requests["ReceiveMessage"] == 2 + 3, "one empty receive may have missed some"


async def test_without_a_dead_letter_queue_the_error_says_how_to_get_one(server, clock):
    server.create_queue("bare")
    app = Dawdle(SQS(server.queue_url("bare")), registry=Registry(), clock=clock, start_listener=False)
    async with app:
        with pytest.raises(ConfigurationError, match="has no dead-letter queue, so there are no letters"):
            await app.redrive()


async def test_one_letter_that_sqs_does_not_take_stops_no_other(server, sqs, clock, caplog):
    marks = {"dawdledead": to_rfc3339(clock.now()), "dawdleerror": "x"}
    frame = {"specversion": "1.0", "id": "e", "source": "s", **marks}
    good = write({**frame, "type": "Placed", "data": {"number": 7}})
    bad = write({**frame, "type": "dawdle.undecodable", "data_base64": b"\xff\x00"})
    queue = sqs()
    async with Dawdle(queue, registry=Registry(), clock=clock, start_listener=False) as app:
        await queue.prepare_receive()
        await queue.dead_letters.send([Outgoing(bad), Outgoing(good), Outgoing(bad)])
        assert await passing(clock, app.redrive()) == 1
    assert caplog.text.count("it stays in the dead-letter queue, purge it there") == 2
    assert (server.queue("orders").visible, server.queue("dead").visible) == (1, 2)


@pytest.mark.once
@pytest.mark.xdist_group("ministack")
@pytest.mark.slow
async def test_letters_are_looked_at_redriven_and_purged_on_a_server_that_nobody_here_wrote(ministack_url, make_pair):
    runs = []
    url, _ = await make_pair(ministack_url)
    async with Dawdle(SQS(url, wait=1), registry=registry_of(runs, fail=True), grace=3) as app:
        await app.signal_many([Placed(number) for number in range(15)])
        async with asyncio.timeout(60):
            while len([run for run in runs if run[0] == "shipping"]) < 15:
                await asyncio.sleep(0.05)
    async with Dawdle(SQS(url, wait=1), registry=registry_of(runs, fail=False), start_listener=False) as app:
        letters = await looked_at(app)
        assert {letter.event.number for letter in letters} == set(range(15))
        assert {letter.error for letter in letters} == {"ConnectionError: no carrier"}
        assert await app.redrive(Placed, where=lambda letter: letter.event.number < 10) == 10
        assert await app.purge(older_than=3600) == 0
        assert await app.purge() == 5
        assert await looked_at(app) == []
    runs.clear()
    async with Dawdle(SQS(url, wait=1), registry=registry_of(runs, fail=False), grace=3):
        async with asyncio.timeout(60):
            while len(runs) < 10:
                await asyncio.sleep(0.05)
    assert sorted(runs) == [("shipping", number, 1) for number in range(10)]
    event = {"specversion": "1.0", "id": "e-1", "source": "/shop", "type": "Placed", "data": {"number": 7}}
    await moved_by_sqs(ministack_url, url, [json.dumps(event | {"dawdleerror": "ValueError: late"})], 2)
    async with Dawdle(SQS(url, wait=1), registry=registry_of(runs, fail=False), start_listener=False) as app:
        (letter,) = await looked_at(app)
        assert (letter.error, letter.event) == ("redriven by SQS; before that: ValueError: late", Placed(7))
        assert await app.redrive(where=lambda letter: letter.dead_at is None) == 1
        assert await looked_at(app) == []


@pytest.mark.slow
async def test_a_handler_of_letters_is_told_of_those_that_this_app_stores_with_their_origin(server, sqs, clock):
    registry, told, moments = registry_of([], fail=True), [], []

    @registry.on_dead_letter(Placed)
    async def page(letter: DeadLetter[Placed]) -> None:
        told.append(letter)

    app = Dawdle(sqs(wait=1), registry=registry, clock=clock, grace=0.1, hooks=[moments.append])
    async with app:
        await app.signal(Placed(1))
        await until(clock, lambda: told)
        found = await passing(clock, looked_at(app))
    assert [(each.event, each.handler, each.origin, each.queue) for each in told] == [
        (Placed(1), "shipping", found[0].origin, "default")
    ]
    assert told == found
    calls = [(each.queue, each.call, each.limit) for each in moments if isinstance(each, Requested)]
    assert calls[:3] == [
        ("default", "send", 10),
        ("default (dead letters)", "send", 10),
        ("default", "delete", 10),
    ]
