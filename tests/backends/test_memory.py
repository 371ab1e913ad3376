"""Memory passes the contract, by a clock that the test moves; and what only Memory has."""

import asyncio
import logging
import sys
from contextlib import asynccontextmanager

import pytest

from dawdle.abc import Backend, Outgoing, ReleaseEntry
from dawdle.backends.memory import Memory
from dawdle.errors import ConfigurationError
from dawdle.testing import ManualClock
from dawdle.testing.contract import BackendContract

pytestmark = pytest.mark.anyio


class TestMemory(BackendContract):
    slack = 0.0

    @asynccontextmanager
    async def opened(self):
        self.clock = ManualClock()
        async with Memory(clock=self.clock, lease=10) as backend:
            yield backend

    async def parked(self):
        await asyncio.sleep(0)

    async def passes(self, seconds):
        await self.clock.advance(seconds)


class TestMemoryLikeSQS(TestMemory):
    @asynccontextmanager
    async def opened(self):
        self.clock = ManualClock()
        async with Memory(clock=self.clock, lease=10, max_batch=10, max_delay=900) as backend:
            yield backend


class TestMemoryOrdered(TestMemory):
    @asynccontextmanager
    async def opened(self):
        self.clock = ManualClock()
        async with Memory(clock=self.clock, lease=10, ordered=True) as backend:
            yield backend


async def test_messages_shows_what_is_ready_in_hand_and_delayed_and_receives_nothing(clock):
    queue = Memory(clock=clock)
    await queue.send([Outgoing(b"held"), Outgoing(b"ready"), Outgoing(b"delayed", delay=60)])
    await queue.receive(1, 0)
    assert sorted(queue.messages()) == [b"delayed", b"held", b"ready"]
    assert [delivery.receive_count for delivery in await queue.receive(5, 0)] == [1]


async def test_closing_a_queue_that_holds_messages_says_so(caplog):
    async with Memory() as queue:
        await queue.send([Outgoing(b"one")])
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "the queue in memory still holds messages: 1. They are lost when this process ends; a durable queue keeps them"
    ]


async def test_a_wake_up_meant_for_a_cancelled_receive_goes_to_the_next_one(clock):
    queue = Memory(clock=clock)
    first, second = (asyncio.create_task(queue.receive(1, 20)) for _ in range(2))
    await asyncio.sleep(0)
    await queue.send([Outgoing(b"one")])
    first.cancel()
    assert [delivery.body for delivery in await second] == [b"one"]
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_waiting_leaves_nothing_behind_in_the_queue(clock):
    queue = Memory(clock=clock)
    for _ in range(3):
        waiting = asyncio.create_task(queue.receive(1, 20))
        await clock.advance(20)
        assert await waiting == []
    assert not queue._waiting_receives


@pytest.mark.parametrize(
    "wrong",
    [
        {"lease": 0},
        {"max_batch": 0},
        {"max_delay": -1},
        {"max_body": 0},
        {"lease": float("nan")},
        {"dead_letters": "no"},
    ],
)
def test_a_limit_that_cannot_work_is_an_error(wrong):
    with pytest.raises(ConfigurationError, match="Memory takes"):
        Memory(**wrong)


class Jumping:
    """A clock whose time of day is set anew now and then."""

    def __init__(self, clock):
        self.offset = 0.0
        self.monotonic, self.sleep_until = clock.monotonic, clock.sleep_until
        self._clock = clock

    def now(self):
        return self._clock.now() + self.offset


DAY = 86_400.0


@pytest.mark.parametrize("offset", [-DAY, DAY, -0.5, 0.5])
async def test_a_time_of_day_that_jumps_is_not_that_of_the_queue(clock, offset):
    jumping = Jumping(clock)
    async with Memory(clock=jumping, lease=90) as queue:
        start = jumping.now()
        await queue.send([Outgoing(b"one"), Outgoing(b"two", delay=60)])
        (one,) = await queue.receive(5, 0)
        jumping.offset = offset
        await queue.dead_letters.send([Outgoing(b"dead")])
        await clock.advance(60)
        (two,) = await queue.receive(5, 0)
        (dead,) = await queue.dead_letters.receive(5, 0)
        await queue.ack([one.receipt, two.receipt])
        await queue.dead_letters.ack([dead.receipt])
    assert (one.stored_at, one.received_at) == (start, start)
    assert (two.stored_at, two.received_at) == (start, start + 60)
    assert (dead.stored_at, dead.received_at) == (start, start + 60)


async def test_a_queue_takes_the_time_of_day_when_it_is_opened_unless_it_holds_messages(clock):
    jumping = Jumping(clock)
    queue = Memory(clock=jumping)
    for offset in (DAY, 2 * DAY):
        jumping.offset = offset
        async with queue:
            await queue.send([Outgoing(b"one")])
            (delivery,) = await queue.receive(1, 0)
            assert delivery.stored_at == jumping.now()
            await queue.ack([delivery.receipt])
    await queue.send([Outgoing(b"kept")])
    stored_at = jumping.now()
    jumping.offset = 0
    async with queue:
        (delivery,) = await queue.receive(1, 0)
        assert (delivery.stored_at, delivery.received_at) == (stored_at, stored_at)
        await queue.ack([delivery.receipt])


def test_the_core_protocol_does_not_grow():
    members = {name for name in vars(Backend) if not name.startswith("_") or name in {"__aenter__", "__aexit__"}}
    assert members == {
        *("limits", "dead_letters", "delayed", "__aenter__", "__aexit__", "prepare_receive"),
        *("send", "receive", "ack", "renew", "release", "renewer"),
    }


async def looked_through(queue):
    """Return the bodies of all messages, page by page, and how many Python functions were called for that."""
    calls, bodies, after = 0, [], None

    def count(frame, event, arg):
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        while page := await queue.browse(10, after):
            bodies += [each.body for each in page]
            after = page[-1].key
    finally:
        sys.setprofile(None)
    return bodies, calls


async def test_to_look_through_four_times_as_many_takes_four_times_as_long():
    counts = []
    for messages in (500, 2000):
        queue = Memory()
        sent = [b"%d" % number for number in range(messages)]
        await queue.send([Outgoing(body) for body in sent])
        bodies, calls = await looked_through(queue)
        assert bodies == sent
        counts.append(calls)
    assert counts[1] < 5 * counts[0]


@pytest.mark.parametrize("ordered", [False, True])
async def test_a_look_lets_other_tasks_run_and_sees_what_is_deleted_and_stored_meanwhile(ordered):
    queue = Memory(ordered=ordered)
    await queue.send([Outgoing(b"%d" % number, group=f"g-{number}") for number in range(10)])
    received = await queue.receive(10, 0)
    ran = []
    other = asyncio.create_task(asyncio.sleep(0))
    other.add_done_callback(ran.append)
    page = await queue.browse(2)
    await queue.ack([each.receipt for each in received[:6]])
    await queue.release([ReleaseEntry(each.receipt, delay) for delay, each in enumerate(received[6:])])
    await queue.send([Outgoing(b"10", group="g-10")])
    found = [page[-1].body]
    other_page = await queue.browse(1)  # another look at the same time
    while page := await queue.browse(2, page[-1].key):
        found += [each.body for each in page]
    assert found == [b"1", b"6", b"7", b"8", b"9", b"10"]
    assert [each.body for each in await queue.browse(9, other_page[0].key)] == found[2:]
    assert ran
