"""What the queue in memory costs does not grow with what waits in it. Counted, not timed."""

import gc
import sys
import tracemalloc

import pytest

from dawdle.abc import Outgoing
from dawdle.backends.memory import Memory

pytestmark = pytest.mark.anyio

WAITING = 10_000
BODY = 200
ROUNDS = 200


async def calls_of(work):
    """Return how many functions are called while something works, those in C too."""
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        calls += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        await work()
    finally:
        sys.setprofile(None)
    return calls


async def store_delayed(queue, count):
    for first in range(0, count, 100):
        batch = [Outgoing(b"%0*d" % (BODY, first + number), 600.0 + first) for number in range(100)]
        assert await queue.send(batch) == [None] * 100


def traffic(queue):
    """Return a coroutine function that sends, receives and acks messages, ten at a time."""

    async def work():
        for _ in range(ROUNDS):
            await queue.send([Outgoing(b"now")] * 10)
            await queue.ack([delivery.receipt for delivery in await queue.receive(10, 0)])

    return work


async def test_a_delayed_message_takes_less_than_a_kilobyte_beyond_its_body(clock):
    queue = Memory(clock=clock)
    await store_delayed(queue, 100)
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        await store_delayed(queue, WAITING)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    each = (after - before) / WAITING - BODY
    assert 0 < each <= 1024


async def test_delayed_messages_are_not_looked_at_until_they_are_due(clock):
    empty, full = Memory(clock=clock), Memory(clock=clock)
    await store_delayed(full, WAITING)
    assert await calls_of(traffic(full)) == pytest.approx(await calls_of(traffic(empty)), rel=0.01)
    assert (await full.count()).delayed == WAITING


async def test_messages_in_flight_are_not_looked_at_until_a_lease_ends(clock):
    looked_at = 0

    class Leases(dict):
        def items(self):
            raise AssertionError

        def values(self):
            nonlocal looked_at
            looked_at += 1
            return super().values()

    few, many = Memory(clock=clock), Memory(clock=clock)
    for queue, count in ((few, 10), (many, WAITING)):
        await queue.send([Outgoing(b"held")] * count)
        await queue.receive(count, 0)
        queue._in_flight = Leases(queue._in_flight)
    assert await calls_of(traffic(many)) == pytest.approx(await calls_of(traffic(few)), rel=0.01)
    assert looked_at == 0


async def test_a_lease_ends_in_time_however_many_messages_were_acked_before_it(clock):
    queue = Memory(clock=clock, lease=10)
    await queue.send([Outgoing(b"held")])
    [held] = await queue.receive(1, 0)
    for _ in range(50):
        await queue.send([Outgoing(b"now")])
        [delivery] = await queue.receive(1, 0)
        await queue.ack([delivery.receipt])
        await clock.advance(0.1)
    await queue.renew([held.receipt])  # at 5 s: it ends at 15 s
    await queue.send([Outgoing(b"later")])
    await clock.advance(1)
    assert [each.body for each in await queue.receive(10, 0)] == [b"later"]  # at 6 s: it ends at 16 s
    await clock.advance(8.9)
    assert await queue.receive(10, 0) == []
    await clock.advance(0.2)
    assert [each.key for each in await queue.receive(10, 0)] == [held.key]
    await clock.advance(1)
    assert [each.body for each in await queue.receive(10, 0)] == [b"later"]
