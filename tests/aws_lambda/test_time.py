"""The function's time is bounded: what would outlive it is cut before, stored or given back, and never lost."""

import asyncio
import threading
import time

import msgspec
import pytest

from dawdle import Context, Dawdle, Retry
from dawdle.backends.sqs import SQS
from tests.aws_lambda.source import ids

pytestmark = [pytest.mark.anyio, pytest.mark.once, pytest.mark.slow]


class Placed(msgspec.Struct, frozen=True):
    order: str = "o-1"


@pytest.fixture
def function(made, server, registry):
    """A function that cancels its handlers two seconds before its timeout, so that a busy machine can store copies."""
    return made(Dawdle(SQS(server.queue("orders").url), registry=registry), margin=2)


async def test_a_handler_that_would_outlive_the_function_is_cut_and_tried_again(
    function, registry, source, signaler, server, caplog
):
    done = []

    @registry.on_event
    async def quick(event: Placed):
        done.append(event)

    @registry.on_event(retry=Retry(initial=60, jitter=0))
    async def slow(event: Placed):
        await asyncio.sleep(60)

    await signaler.signal(Placed())
    _, answer = await source.invoke(function, seconds=2.5)
    assert answer == {"batchItemFailures": []}
    assert done == [Placed()]
    (copy,) = server.queue("orders").messages()
    assert '"dawdleowed":"tests.aws_lambda.test_time' in copy.body
    assert '"dawdleattempt":2' in copy.body
    assert "the function's time is nearly over: cancelling its handlers (tests.aws_lambda.test_time" in caplog.text


async def test_a_handler_that_never_has_enough_time_is_dead_lettered_at_last(
    function, registry, source, signaler, server
):
    @registry.on_event(retry=Retry(max_attempts=2, initial=0))
    async def slow(event: Placed):
        await asyncio.sleep(60)

    await signaler.signal(Placed())
    for _ in range(2):
        await source.invoke(function, seconds=2.5)
    (letter,) = server.queue("dead").messages()
    assert "that its message may be held here" in letter.body
    assert len(server.queue("orders")) == 0


async def test_what_was_not_begun_is_given_back(made, server, registry, source, signaler):
    function = made(Dawdle(SQS(server.queue("orders").url), registry=registry, concurrency=1), margin=2)
    began = []

    @registry.on_event(retry=Retry(initial=60))
    async def slow(event: Placed):
        began.append(event.order)
        await asyncio.sleep(60)

    await signaler.signal_many([Placed("1"), Placed("2"), Placed("3")])
    records, answer = await source.invoke(function, seconds=2.5)
    assert len(began) == 1
    assert len(ids(answer)) == len(records) - 1
    assert len(server.queue("orders")) == 3  # two as they were, and a copy


async def test_a_thread_that_cannot_be_ended_does_not_hold_the_function(function, registry, source, signaler, server):
    release = threading.Event()

    @registry.on_event(retry=Retry(initial=60))
    def blocks(event: Placed):
        release.wait(60)

    await signaler.signal(Placed())
    try:
        _, answer = await source.invoke(function, seconds=2.5)
        assert answer == {"batchItemFailures": []}
        assert len(server.queue("orders")) == 1
    finally:
        release.set()


async def test_a_handler_that_ignores_its_cancellation_is_reported(function, registry, source, signaler, server):
    release = asyncio.Event()

    @registry.on_event
    async def stubborn(event: Placed, ctx: Context):
        while ctx.attempt and not release.is_set():
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if len(kept) > 5:
                    return
                kept.append(1)

    kept = []
    await signaler.signal(Placed())
    records, answer = await source.invoke(function, seconds=2.5)
    assert ids(answer) == {records[0]["messageId"]}
    kept += [1] * 10  # the end of the test ends it


async def test_copies_that_cannot_be_stored_give_the_message_back(function, registry, source, signaler, server):
    @registry.on_event(retry=Retry(initial=0))
    async def fails(event: Placed):
        raise ValueError("no")

    await signaler.signal_many([Placed("1"), Placed("2")])
    server.faults.add("access_denied", operation="SendMessageBatch")
    records, answer = await source.invoke(function, seconds=10)
    assert ids(answer) == {each["messageId"] for each in records}
    assert len(server.queue("orders")) == 2


async def test_what_is_done_is_deleted_while_a_long_invocation_goes_on(function, registry, source, signaler, server):
    release = asyncio.Event()

    @registry.on_event
    async def some(event: Placed):
        if event.order == "long":
            for _ in range(300):
                if len(server.queue("orders")) == 1:
                    return
                await asyncio.sleep(0.01)
            raise AssertionError("the other is not deleted")

    await signaler.signal_many([Placed("long"), Placed("short")])
    _, answer = await source.invoke(function, seconds=20)
    assert answer == {"batchItemFailures": []}
    assert len(server.queue("dead")) == len(server.queue("orders")) == 0
    release.set()


async def test_no_time_is_left_without_a_context(function, registry, source, signaler):
    ran = []

    @registry.on_event
    async def quick(event: Placed):
        ran.append(event)

    await signaler.signal(Placed())
    event = await source.batch()
    assert await asyncio.to_thread(function, event) == {"batchItemFailures": []}
    assert ran == [Placed()]


async def test_a_hand_made_margin_is_taken(made, server, registry, source, signaler):
    function = made(Dawdle(SQS(server.queue("orders").url), registry=registry), margin=8.7)

    @registry.on_event(retry=Retry(initial=60))
    async def slow(event: Placed):
        await asyncio.sleep(60)

    await signaler.signal(Placed())
    began = time.monotonic()
    await source.invoke(function, seconds=9)
    assert time.monotonic() - began < 8
