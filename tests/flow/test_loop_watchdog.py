"""The watchdog of the loop ends when it is cancelled, whatever else happens just then."""

import asyncio

import pytest

from dawdle._flow.loop_watchdog import _within

pytestmark = pytest.mark.anyio


async def test_a_cancellation_that_comes_with_the_answer_is_not_swallowed():
    turned = asyncio.Event()
    waiting = asyncio.create_task(_within(turned, 5))
    await asyncio.sleep(0)
    turned.set()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_an_event_comes_in_time_or_does_not():
    turned = asyncio.Event()
    assert not await _within(turned, 0.01)
    turned.set()
    assert await _within(turned, 0.01)
