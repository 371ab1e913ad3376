"""Slots: taken in batches, never more than there are, first come first served."""

import asyncio

import pytest

from dawdle._flow.slots import Slots

pytestmark = pytest.mark.anyio


async def test_a_batch_is_granted_at_once_while_there_is_room(clock):
    slots = Slots(10, clock)
    assert await slots.reserve(4) == 4
    assert await slots.reserve(6) == 6
    assert slots.free == 0


async def test_nobody_gets_more_than_there_are(clock):
    slots = Slots(3, clock)
    assert await slots.reserve(10) == 3


async def test_a_taker_waits_for_a_whole_batch_and_then_makes_do_with_less(clock):
    slots = Slots(10, clock)
    await slots.reserve(8)
    waiting = asyncio.create_task(slots.reserve(5))
    await clock.advance(0.01)
    assert not waiting.done()
    await clock.advance(0.01)
    assert await waiting == 2


async def test_a_taker_gets_the_whole_batch_when_there_is_room_in_time(clock):
    slots = Slots(10, clock)
    await slots.reserve(8)
    waiting = asyncio.create_task(slots.reserve(5))
    await clock.advance(0.01)
    slots.unreserve(3)
    assert await waiting == 5


async def test_with_no_room_at_all_a_taker_waits_for_the_first_slot(clock):
    slots = Slots(2, clock)
    await slots.reserve(2)
    waiting = asyncio.create_task(slots.reserve(2))
    await clock.advance(5)
    assert not waiting.done()
    slots.unreserve()
    assert await waiting == 1


async def test_who_came_first_is_served_first(clock):
    slots = Slots(2, clock)
    await slots.reserve(2)
    first, second = (asyncio.create_task(slots.reserve(1)) for _ in range(2))
    await clock.advance(1)
    slots.unreserve()
    await clock.advance(0)
    assert first.done()
    assert not second.done()
    slots.unreserve()
    assert await second == 1


async def test_the_second_in_line_waits_for_a_batch_from_its_own_turn_on(clock):
    slots = Slots(10, clock)
    await slots.reserve(10)
    first, second = (asyncio.create_task(slots.reserve(5)) for _ in range(2))
    await clock.advance(0.02)
    slots.unreserve(1)
    assert await first == 1
    await clock.advance(0.01)
    slots.unreserve(4)
    await clock.advance(0)
    assert not second.done()
    slots.unreserve(1)
    assert await second == 5


@pytest.mark.parametrize("moment", [0, 0.01, 0.02, 1])
async def test_a_cancelled_taker_has_taken_nothing(clock, moment):
    slots = Slots(5, clock)
    await slots.reserve(4)
    waiting = asyncio.create_task(slots.reserve(5))
    await clock.advance(0)
    slots.overdraw()
    await clock.advance(moment)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    slots.unreserve(5)
    assert slots.free == 5


async def test_a_taker_cancelled_just_after_it_was_granted_gives_back(clock):
    slots = Slots(5, clock)
    await slots.reserve(5)
    waiting = asyncio.create_task(slots.reserve(2))
    await clock.advance(1)
    slots.unreserve(5)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert slots.free == 5


async def test_slots_given_back_while_a_taker_is_being_cancelled_go_to_the_next(clock):
    slots = Slots(5, clock)
    await slots.reserve(5)
    cancelled, waiting = (asyncio.create_task(slots.reserve(2)) for _ in range(2))
    await clock.advance(1)
    cancelled.cancel()
    slots.unreserve(5)  # in the same step: the one that is cancelled has not heard of it yet
    await asyncio.gather(cancelled, return_exceptions=True)
    assert await waiting == 2
    assert slots.free == 3
