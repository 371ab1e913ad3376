"""Batches are full under load, and nothing waits for a batch to fill where nothing comes. On a held clock."""

import asyncio
import random
from statistics import mean

import pytest

from dawdle._flow.batcher import MAX_CALLS, Batcher

pytestmark = pytest.mark.anyio

MAX_COUNT = 10
CALL = 0.02
"""Seconds."""


class Queue:
    """Takes `CALL` seconds for each batch, more or less, and notes how many entries each has."""

    def __init__(self, clock, spread=0.0):
        self.sizes = []
        self.clock = clock
        self.random = random.Random(1)
        self.spread = spread

    async def __call__(self, batch):
        self.sizes.append(len(batch))
        await self.sleep(CALL * (1 - self.spread), CALL * (1 + self.spread))
        return [None] * len(batch)

    async def sleep(self, least, most):
        await self.clock.sleep_until(self.clock.monotonic() + self.random.uniform(least, most))


async def submit_from(workers, queue, *, pause, each=50):
    """Let so many workers submit one entry after another, and return how long each entry took, in seconds."""
    took = []

    async def work(batcher):
        for _ in range(each):
            await queue.sleep(*pause)
            started = queue.clock.monotonic()
            await batcher.submit("an entry")
            took.append(queue.clock.monotonic() - started)

    async with asyncio.TaskGroup() as group:
        batcher = Batcher(queue, spawn=group.create_task, max_count=MAX_COUNT)
        working = [group.create_task(work(batcher)) for _ in range(workers)]
        while not all(task.done() for task in working):
            await queue.clock.advance(0.001)
    assert sum(queue.sizes) == len(took) == workers * each
    return took


@pytest.mark.parametrize("spread", [0.0, 0.5])
@pytest.mark.parametrize(
    ("workers", "pause"),
    [(200, (0, 0)), (100, (0, 0)), (200, (0, 0.05)), (100, (0, 0.05)), (100, (0.01, 0.03)), (50, (0, 0.05))],
    ids=["200 signalers", "100 signalers", "200 processors", "100 processors", "100 even ones", "50 processors"],
)
async def test_under_load_nine_of_ten_places_are_taken(clock, workers, pause, spread):
    queue = Queue(clock, spread)
    await submit_from(workers, queue, pause=pause)
    assert mean(queue.sizes) >= 0.9 * MAX_COUNT


@pytest.mark.parametrize(("workers", "pause"), [(100, (0, 0.05)), (50, (0, 0.05)), (20, (0, 0.05)), (3, (0, 0.05))])
async def test_an_entry_waits_for_less_than_a_call_in_front_of_its_own(clock, workers, pause):
    took = await submit_from(workers, Queue(clock), pause=pause)
    assert min(took) == pytest.approx(CALL)
    assert max(took) <= 2 * CALL + 0.001
    assert mean(took) <= 1.6 * CALL


async def test_few_entries_wait_for_no_others(clock):
    queue = Queue(clock)
    took = await submit_from(1, queue, pause=(0.01, 0.5))
    assert queue.sizes == [1] * 50
    assert took == pytest.approx([CALL] * 50)


async def test_the_last_open_call_takes_what_is_left(clock):
    queue = Queue(clock)
    async with asyncio.TaskGroup() as group:
        batcher = Batcher(queue, spawn=group.create_task, max_count=MAX_COUNT)
        futures = [batcher.submit(number) for number in range(MAX_CALLS * MAX_COUNT + 15)]
        await clock.advance(CALL)
        assert queue.sizes == [MAX_COUNT] * (MAX_CALLS + 1)
        assert not futures[-1].done()
        await clock.advance(CALL)
        assert queue.sizes[-1] == 5
        await clock.advance(CALL)
        assert all(future.done() for future in futures)


async def test_entries_that_fill_a_batch_by_their_bytes_wait_for_no_call(clock):
    queue = Queue(clock)
    async with asyncio.TaskGroup() as group:
        batcher = Batcher(queue, spawn=group.create_task, max_count=MAX_COUNT, max_bytes=100, size=len)
        futures = [batcher.submit("a")]
        await clock.advance(CALL / 2)
        futures += [batcher.submit("b" * 45) for _ in range(2)]
        await clock.advance(0)
        assert queue.sizes == [1]
        many = batcher.submit_many(["c" * 45 for _ in range(3)])
        await clock.advance(0)
        assert queue.sizes == [1, 2, 2]
        await clock.advance(2 * CALL)
        assert queue.sizes == [1, 2, 2, 1]
        assert await many == [None] * 3
        assert all(future.done() for future in futures)
