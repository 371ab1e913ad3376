"""Memory passes the contract, by a clock that the test moves; and what only Memory has."""

import asyncio
import logging
from contextlib import asynccontextmanager

import pytest

from dawdle.abc import Outgoing
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


async def test_messages_shows_what_is_ready_in_hand_and_delayed_and_receives_nothing(clock):
    queue = Memory(clock=clock)
    await queue.send([Outgoing(b"held"), Outgoing(b"ready"), Outgoing(b"delayed", delay=60)])
    await queue.receive(1, 0)
    assert sorted(queue.messages()) == [b"delayed", b"held", b"ready"]
    assert [delivery.receives for delivery in await queue.receive(5, 0)] == [1]


async def test_closing_a_queue_that_holds_messages_says_so(caplog):
    async with Memory() as queue:
        await queue.send([Outgoing(b"one")])
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "messages left in memory that end with the process: 1; a durable queue keeps them"
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
    assert not queue._waiters


@pytest.mark.parametrize(
    "wrong", [{"lease": 0}, {"max_batch": 0}, {"max_delay": -1}, {"max_body": 0}, {"lease": float("nan")}]
)
def test_a_limit_that_cannot_work_is_an_error(wrong):
    with pytest.raises(ConfigurationError, match="Memory takes"):
        Memory(**wrong)
