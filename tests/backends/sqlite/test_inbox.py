"""Calls that share a transaction: those of one turn of the loop, and of several while it is busy."""

import asyncio
from types import SimpleNamespace

import pytest

from dawdle.backends.sqlite._inbox import BUSY_ENTRIES, BUSY_TURNS, MAX_CALLS, Inbox

pytestmark = pytest.mark.anyio


@pytest.fixture
def inbox():
    return Inbox(SimpleNamespace(wake=lambda: None, wait=lambda seconds: None))


def call():
    return SimpleNamespace(loop=asyncio.get_running_loop())


async def turns(count):
    for _ in range(count):
        await asyncio.sleep(0)


async def test_the_calls_of_one_turn_go_together_and_wait_for_no_other(inbox):
    calls = [call(), call()]
    for each in calls:
        inbox.put(each)
    assert len(inbox) == 0
    await turns(1)
    assert inbox.take() == calls


async def test_the_calls_of_several_turns_go_together_while_the_loop_is_busy(inbox):
    inbox.note_load(BUSY_ENTRIES)
    calls = []
    for _ in range(BUSY_TURNS):
        calls.append(call())
        inbox.put(calls[-1])
        await turns(1)
        assert len(inbox) == 0
    await turns(1)
    assert inbox.take() == calls
    inbox.note_load(BUSY_ENTRIES - 1)
    inbox.put(call())
    await turns(1)
    assert len(inbox) == 1


async def test_another_process_gets_its_turn_before_all_calls_are_done(inbox):
    for _ in range(MAX_CALLS + 1):
        inbox.put(call())
    await turns(1)
    assert (len(inbox.take()), len(inbox.take())) == (MAX_CALLS, 1)
