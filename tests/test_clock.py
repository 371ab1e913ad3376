"""The clock that a test holds: one hand at a time."""

import asyncio

import pytest

pytestmark = pytest.mark.anyio


async def test_two_hands_on_one_clock_are_an_error_and_not_an_endless_loop(clock):
    async with asyncio.timeout(60):
        answers = await asyncio.gather(clock.advance(1), clock.advance(1), return_exceptions=True)
    assert [type(answer) for answer in answers] == [type(None), RuntimeError]
    await clock.advance(1)
    assert clock.monotonic() == 2
