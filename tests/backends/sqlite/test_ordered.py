"""An ordered queue delivers one group's messages in order, and none while one of the group is in flight or hidden."""

import asyncio
import random
import sqlite3

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dawdle.abc import Outgoing, ReleaseEntry
from dawdle.backends.sqlite import SQLite
from dawdle.testing import ManualClock

pytestmark = pytest.mark.anyio

LEASE = 10


@pytest.fixture
async def queue(path, clock):
    async with SQLite(path, ordered=True, lease=LEASE, clock=clock) as queue:
        yield queue


def in_group(group, *bodies):
    return [Outgoing(body.encode(), group=group) for body in bodies]


async def receive(queue, limit=10):
    return await queue.receive(limit, 0)


def bodies(deliveries):
    return [delivery.body.decode() for delivery in deliveries]


async def test_messages_of_one_group_come_together_in_order(queue):
    await queue.send(in_group("a", "1", "2", "3"))
    got = await receive(queue)
    assert bodies(got) == ["1", "2", "3"]
    assert {delivery.group for delivery in got} == {"a"}


async def test_a_group_waits_until_all_that_was_received_is_acked(queue):
    await queue.send(in_group("a", "1", "2", "3"))
    one, two = await receive(queue, 2)
    assert await receive(queue) == []
    await queue.ack([one.receipt])
    assert await receive(queue) == []
    await queue.ack([two.receipt])
    assert bodies(await receive(queue)) == ["3"]


async def test_other_groups_and_messages_without_a_group_go_on(queue):
    await queue.send([*in_group("a", "1", "2"), *in_group("b", "3"), *in_group(None, "4", "5")])
    assert bodies(await receive(queue, 1)) == ["1"]
    assert sorted(bodies(await receive(queue))) == ["3", "4", "5"]


async def test_a_long_group_leaves_room_for_others_in_a_receive(queue):
    await queue.send(in_group("a", *map(str, range(20))))
    await queue.send(in_group("b", "x"))
    assert "x" in bodies(await receive(queue, 4))


async def test_a_message_released_for_later_holds_its_group_and_no_other(queue, clock):
    await queue.send([*in_group("a", "1", "2"), *in_group("b", "3")])
    one, *_ = await receive(queue, 1)
    await queue.release([ReleaseEntry(one.receipt, 5)])
    assert bodies(await receive(queue)) == ["3"]
    await clock.advance(4.9)
    assert await receive(queue) == []
    await clock.advance(0.2)
    assert bodies(await receive(queue)) == ["1"]


async def test_a_message_that_comes_again_comes_alone(queue):
    # Those behind it would be given back unrun if it fails again, and their receives count as attempts.
    await queue.send(in_group("a", "1", "2", "3"))
    one, *rest = await receive(queue)
    await queue.release([ReleaseEntry(each.receipt, 0) for each in (one, *rest)])
    (again,) = await receive(queue)
    assert (again.body, again.receive_count) == (b"1", 2)
    await queue.ack([again.receipt])
    (two,) = await receive(queue)
    assert (two.body, two.receive_count) == (b"2", 2)


async def test_a_lease_that_ends_gives_the_group_back_in_order(queue, clock):
    await queue.send(in_group("a", "1", "2"))
    await receive(queue)
    await clock.advance(LEASE + 0.1)
    (one,) = await receive(queue)
    assert (one.body, one.receive_count) == (b"1", 2)


async def test_a_renewal_keeps_the_whole_group_hidden(queue, clock):
    await queue.send(in_group("a", "1", "2"))
    one, two = await receive(queue)
    await clock.advance(6)
    assert await queue.renew([two.receipt]) == [None]
    await clock.advance(6)
    assert await receive(queue) == []  # the lease of the first has ended, and that of the second has not
    assert [fault.kind for fault in await queue.renew([one.receipt])] == ["lost"]
    await queue.ack([two.receipt])
    assert bodies(await receive(queue)) == ["1"]


async def test_a_receive_that_waits_is_woken_by_the_ack_before_it(queue):
    await queue.send(in_group("a", "1", "2"))
    (one,) = await receive(queue, 1)
    waiting = asyncio.create_task(queue.receive(1, 60))
    await asyncio.sleep(0)
    await queue.ack([one.receipt])
    assert bodies(await waiting) == ["2"]


async def test_delayed_messages_have_a_queue_of_their_own(queue, clock):
    (fault,) = await queue.send([Outgoing(b"1", delay=5, group="a")])
    assert fault.kind == "refused"
    assert await queue.delayed.send([Outgoing(b"1", delay=5, group="a")]) == [None]
    await clock.advance(5.1)
    (delivery,) = await receive(queue.delayed)
    assert delivery.group == "a"


async def test_no_line_is_left_when_all_is_acked(queue, path):
    import sqlite3

    await queue.send([*in_group("a", "1", "2"), *in_group(None, "3")])
    while got := await receive(queue):
        await queue.ack([each.receipt for each in got])
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM dawdle_line").fetchall() == [(0,)]
    connection.close()


async def test_messages_that_stand_in_no_line_are_put_into_it_when_the_queue_is_opened(path, clock, caplog):
    """A dawdle before this one stored them so, in a queue that two processes had open in two ways."""
    async with SQLite(path, ordered=True, lease=LEASE, clock=clock) as queue:
        await queue.send([*in_group("a", "1", "2"), *in_group(None, "3"), *in_group("b", "4")])
    connection = sqlite3.connect(path)
    connection.execute("UPDATE dawdle_message SET line=NULL WHERE body IN (?,?)", (b"1", b"3"))
    hidden = int((clock.now() + 5) * 1_000_000)
    connection.execute("UPDATE dawdle_message SET line=NULL,visible_at=?,receives=1 WHERE body=?", (hidden, b"4"))
    connection.execute("DELETE FROM dawdle_line WHERE grp IS NULL OR grp='b'")
    connection.commit()
    connection.close()
    async with SQLite(path, ordered=True, lease=LEASE, clock=clock) as queue:
        got = await receive(queue)
        assert sorted(bodies(got)) == ["1", "2", "3"]
        assert bodies(got).index("1") < bodies(got).index("2")
        await queue.ack([each.receipt for each in got])
        await clock.advance(6)
        assert bodies(await receive(queue)) == ["4"]
    (line,) = [record.getMessage() for record in caplog.records if "into the order" in record.getMessage()]
    assert line.startswith("put 3 messages of the queue default in")


@pytest.mark.slow
async def test_another_process_hears_of_an_ack_that_frees_a_group(path, program):
    other = program("""
        async def main():
            async with SQLite(path, ordered=True) as queue:
                say("ready")
                await queue.receive(1, 30)
                say("got it")
        asyncio.run(main())
    """, TICK="60")  # fmt: skip
    async with SQLite(path, ordered=True) as queue:
        await queue.send(in_group("a", "1", "2"))
        (one,) = await queue.receive(1, 0)
        assert await asyncio.to_thread(other.line) == "ready"
        await asyncio.sleep(1.2)  # the list of the other processes is made anew once a second
        loop = asyncio.get_running_loop()
        began = loop.time()
        await queue.ack([one.receipt])
        assert await asyncio.to_thread(other.line) == "got it"
        assert loop.time() - began < 20


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1 << 30), groups=st.integers(1, 4), limit=st.integers(1, 7))
def test_the_order_of_first_acks_is_the_order_of_sends(tmp_path_factory, seed, groups, limit):
    chance = random.Random(seed)
    path = tmp_path_factory.mktemp("ordered") / "app.db"

    async def run():
        clock = ManualClock()
        acked = {f"g{number}": [] for number in range(groups)}
        async with SQLite(path, ordered=True, lease=LEASE, clock=clock, durability="normal") as queue:
            sent = dict.fromkeys(acked, 0)
            held = {}
            for _ in range(120):
                act = chance.random()
                if act < 0.3:
                    group = chance.choice(list(acked))
                    await queue.send([Outgoing(b"%d" % sent[group], group=group)])
                    sent[group] += 1
                elif act < 0.6:
                    for delivery in await queue.receive(limit, 0):
                        # A group that has a message in flight elsewhere gives no other.
                        held.setdefault(delivery.group, []).append(delivery)
                elif act < 0.9 and any(held.values()):
                    group = chance.choice([group for group, each in held.items() if each])
                    first, *rest = held[group]
                    if chance.random() < 0.7:
                        assert await queue.ack([first.receipt]) == [None]
                        acked[group].append(int(first.body))
                        held[group] = rest
                    else:  # it failed: it is released for later, and those behind it unrun
                        later = [ReleaseEntry(first.receipt, chance.choice([0, 3]))]
                        await queue.release([*later, *(ReleaseEntry(each.receipt, 0) for each in rest)])
                        held[group] = []
                else:
                    await clock.advance(LEASE + 1)
                    held.clear()
            while any(len(acked[group]) < sent[group] for group in acked):
                await clock.advance(LEASE + 1)
                for delivery in await queue.receive(limit, 0):
                    await queue.ack([delivery.receipt])
                    acked[delivery.group].append(int(delivery.body))
            assert acked == {group: list(range(sent[group])) for group in acked}

    asyncio.run(run())
