"""Receives: more of them while they come back full, one while the queue is empty, never more than there is room for."""

import asyncio
from contextlib import asynccontextmanager

import msgspec
import pytest

from dawdle import Dawdle, Registry
from dawdle.abc import Outgoing
from dawdle.backends.memory import Memory

pytestmark = pytest.mark.anyio


class Placed(msgspec.Struct, frozen=True):
    number: int = 0


class Counting(Memory):
    """Counts the receives that are open, answers each after a while, and notes what was asked for."""

    def __init__(self, clock, **options):
        super().__init__(clock=clock, **options)
        self.time = clock
        self.open = self.most = self.renewers = 0
        self.asked = []

    async def receive(self, limit, wait):
        self.open += 1
        self.most = max(self.most, self.open)
        self.asked.append(limit)
        try:
            await self.time.sleep_until(self.time.monotonic() + 0.1)
            return await super().receive(limit, wait)
        finally:
            self.open -= 1

    @asynccontextmanager
    async def renewer(self):
        self.renewers += 1
        if self.renewers == 1:
            raise OSError("no route to host")
        async with super().renewer() as renew:
            yield renew


@pytest.fixture
def queue(clock):
    return Counting(clock, max_batch=10, lease=60)


async def test_receives_grow_with_a_backlog_and_fall_back_to_one_when_the_queue_is_empty(queue, clock):
    registry, seen = Registry(), []

    @registry.on_event(Placed)
    async def handler(event):
        seen.append(event.number)

    async with Dawdle(queue, registry=registry, clock=clock, concurrency=100) as app:
        await app.signal_many([Placed(number) for number in range(2000)])
        await clock.advance(1.05)
        assert queue.most > 5
        await clock.advance(100)
        assert sorted(seen) == list(range(2000))
        assert queue.most <= 10
        assert queue.open == 1


async def test_no_receive_asks_for_more_than_there_is_room_for(queue, clock):
    registry = Registry()

    @registry.on_event(Placed)
    async def handler(event):
        await clock.sleep_until(clock.monotonic() + 1)

    async with Dawdle(queue, registry=registry, clock=clock, concurrency=7) as app:
        await app.signal_many([Placed(number) for number in range(50)])
        await clock.advance(30)
    assert max(queue.asked) == 7
    assert queue.most == 1


async def test_what_renews_is_made_before_the_first_receive_and_made_again_if_that_failed_when_it_is_needed(
    queue, clock
):
    registry, runs = Registry(), []

    @registry.on_event(Placed)
    async def handler(event):
        runs.append(event.number)
        await clock.sleep_until(clock.monotonic() + event.number)

    async with Dawdle(queue, registry=registry, clock=clock) as app:
        await app.signal(Placed(0))
        await clock.advance(100)
        assert queue.renewers == 1
        await app.signal(Placed(300))
        await clock.advance(400)
        await asyncio.sleep(0)
    assert runs == [0, 300]
    assert queue.renewers == 2


async def test_a_queue_that_does_not_wait_is_asked_twice_a_second_while_it_is_empty(clock):
    registry, seen = Registry(), []

    @registry.on_event(Placed)
    async def handler(event):
        seen.append(clock.monotonic())

    class Impatient(Counting):
        async def receive(self, limit, wait):
            return await super().receive(limit, 0)

    queue = Impatient(clock=clock)
    async with Dawdle(queue, registry=registry, clock=clock) as app:
        await clock.advance(100)
        assert 195 <= len(queue.asked) <= 205
        await app.signal_many([Placed(number) for number in range(500)])
        await clock.advance(1)
    assert len(seen) == 500


class Redelivering(Counting):
    """Gives out what is in flight again with each receive, at once, and then what is new, if any."""

    def __init__(self, clock, **options):
        super().__init__(clock, **options)
        self.given = {}

    async def receive(self, limit, wait):
        self.asked.append(self.time.monotonic())
        for delivery in await Memory.receive(self, limit, 0):
            self.given[delivery.key] = delivery
        await asyncio.sleep(0)
        return list(self.given.values())[:limit]

    async def ack(self, receipts):
        keys = {each.receipt: key for key, each in self.given.items()}
        for receipt in receipts:
            self.given.pop(keys[receipt], None)
        return await super().ack(receipts)


async def test_a_queue_that_gives_out_what_is_in_flight_again_is_asked_twice_a_second(clock):
    registry, seen = Registry(), []

    @registry.on_event(Placed)
    async def handler(event):
        seen.append((event.number, clock.monotonic()))
        await clock.sleep_until(60)

    queue = Redelivering(clock, max_batch=10, lease=30)
    async with Dawdle(queue, registry=registry, clock=clock) as app:
        await app.signal_many([Placed(number) for number in range(10)])
        await clock.advance(10)
        assert len(queue.asked) <= 25
        assert [number for number, _ in seen] == list(range(10))
        await clock.advance(49)
        assert len(queue.asked) <= 125
        assert queue.most == 0
        await clock.advance(5)
        queue.asked.clear()
        await app.signal(Placed(11))
        await clock.advance(1)
        assert [number for number, _ in seen][-1] == 11


async def test_nothing_is_received_before_the_queue_has_been_asked_where_its_dead_letters_go(clock):
    registry = Registry()

    @registry.on_event(Placed)
    async def handler(event): ...

    class Slow(Counting):
        found = None

        @property
        def dead_letters(self):
            return self.found

        async def prepare_receive(self):
            await self.time.sleep_until(self.time.monotonic() + 5)
            self.found = self._dead

    queue = Slow(clock=clock)
    async with Dawdle(queue, registry=registry, clock=clock) as app:
        await queue.send([Outgoing(b"no event")])
        idle = asyncio.create_task(app.idle())
        await clock.advance(4)
        assert queue.asked == []
        await clock.advance(20)
        assert idle.done()
        await idle
    assert queue.messages() == []
    assert len(queue.found.messages()) == 1
