"""What is stored where a receive waits is received in the same statement, and behaves as if it had been claimed."""

import asyncio

import pytest

from dawdle.abc import Outgoing
from dawdle.backends.sqlite import SQLite
from dawdle.testing import ManualClock

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def opened(path, clock):
    return SQLite(path, clock=clock, lease=60)


async def test_what_is_sent_while_a_receive_waits_is_leased_and_comes_again(opened, clock):
    async with opened as queue:
        waiting = asyncio.create_task(queue.receive(10, 20))
        await asyncio.sleep(0)
        await queue.send([Outgoing(b"one"), Outgoing(b"two", group="g")])
        first, second = await waiting
        assert (first.body, second.body, second.group) == (b"one", b"two", "g")
        assert first.receive_count == second.receive_count == 1
        assert int(second.key) == int(first.key) + 1
        assert await queue.receive(10, 0) == []
        assert await queue.ack([first.receipt]) == [None]
        await clock.advance(61)
        (again,) = await queue.receive(10, 0)
        assert (again.key, again.receive_count, again.body) == (second.key, 2, b"two")
        assert (await queue.renew([second.receipt]))[0].kind == "lost"


async def test_a_receive_that_waits_takes_no_more_than_its_limit(opened):
    async with opened as queue:
        waiting = [asyncio.create_task(queue.receive(limit, 20)) for limit in (2, 1, 4)]
        await asyncio.sleep(0)
        await queue.send([Outgoing(str(number).encode()) for number in range(5)])
        taken = await asyncio.gather(*waiting)
        assert [[each.body for each in some] for some in taken] == [[b"0", b"1"], [b"2"], [b"3", b"4"]]


async def test_more_than_the_limit_stays_in_the_queue(opened):
    async with opened as queue:
        waiting = asyncio.create_task(queue.receive(3, 20))
        await asyncio.sleep(0)
        await queue.send([Outgoing(str(number).encode()) for number in range(100)])
        assert [each.body for each in await waiting] == [b"0", b"1", b"2"]
        assert [each.body for each in await queue.receive(2, 0)] == [b"3", b"4"]
        assert (await queue.count()).waiting == 95


async def test_a_receive_that_waits_gets_no_delayed_message(opened, clock):
    async with opened as queue:
        waiting = asyncio.create_task(queue.receive(10, 20))
        await asyncio.sleep(0)
        await queue.send([Outgoing(b"later", delay=5), Outgoing(b"now")])
        assert [each.body for each in await waiting] == [b"now"]
        await clock.advance(5)
        assert [each.body for each in await queue.receive(10, 0)] == [b"later"]


async def test_what_was_due_before_is_received_first(opened):
    async with opened as queue:
        await queue.send([Outgoing(b"old")])
        (old,) = await queue.receive(1, 0)
        waiting = asyncio.create_task(queue.receive(1, 20))
        await asyncio.sleep(0)
        await queue.release([(old.receipt, 0)])
        assert [each.body for each in await waiting] == [b"old"]
        await queue.send([Outgoing(b"new")])
        assert (await queue.count()).waiting == 1


async def test_what_the_same_transaction_releases_is_received_before_what_it_stores(path):
    async with SQLite(path) as queue:
        await queue.send([Outgoing(b"old")])
        (old,) = await queue.receive(1, 0)
        waiting = asyncio.create_task(queue.receive(1, 20))
        await queue.receive(1, 0)  # the other one waits in the thread by now
        _, _, taken = await asyncio.gather(queue.send([Outgoing(b"new")]), queue.release([(old.receipt, 0)]), waiting)
        assert [each.body for each in taken] == [b"old"]
        assert [each.body for each in await queue.receive(2, 0)] == [b"new"]
