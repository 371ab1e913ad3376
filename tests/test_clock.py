"""The clock that a test holds: one hand at a time. And a deadline, which may be moved."""

import asyncio
from math import inf

import pytest

from dawdle.abc import Deadline, SystemClock

pytestmark = pytest.mark.anyio


async def test_two_hands_on_one_clock_are_an_error_and_not_an_endless_loop(clock):
    async with asyncio.timeout(60):
        answers = await asyncio.gather(clock.advance(1), clock.advance(1), return_exceptions=True)
    assert [type(answer) for answer in answers] == [type(None), RuntimeError]
    await clock.advance(1)
    assert clock.monotonic() == 2


HOUR = 3600


@pytest.mark.parametrize("moves", [[5], [10], [inf, 10], [10, inf, 2], [inf, inf, 1]], ids=str)
async def test_a_deadline_expires_at_the_last_time_that_it_was_moved_to(clock, moves):
    async def block():
        async with Deadline(clock, 5) as deadline:
            for at in moves:
                deadline.move(at)
            await asyncio.Event().wait()

    task = asyncio.create_task(block())
    await asyncio.sleep(0)
    await clock.advance(moves[-1] - 0.5)
    assert not task.done()
    await clock.advance(0.5)
    await asyncio.wait([task], timeout=10)
    assert isinstance(task.exception(), TimeoutError)


@pytest.mark.parametrize("moves", [[0], [HOUR, 0], [inf, 0]], ids=str)
async def test_a_deadline_of_the_machines_clock_is_moved_too(moves):
    clock = SystemClock()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(60) as patience, Deadline(clock, clock.monotonic() + 0.01) as deadline:
            for after in moves:
                deadline.move(clock.monotonic() + after)
                if after:
                    await asyncio.sleep(0.02)  # the first time is over, and does not count
            await asyncio.Event().wait()
    assert deadline.expired()
    assert not patience.expired()


async def test_a_deadline_that_has_expired_cannot_be_moved_any_more(clock):
    async def block():
        async with Deadline(clock, 1) as deadline:
            try:
                await asyncio.Event().wait()
            finally:
                deadline.move(inf)

    task = asyncio.create_task(block())
    await asyncio.sleep(0)
    await clock.advance(5)
    await asyncio.wait([task], timeout=10)
    assert isinstance(task.exception(), TimeoutError)
