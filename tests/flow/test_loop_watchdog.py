"""The watchdog of the loop ends when it is cancelled, whatever else happens just then."""

import asyncio
from types import SimpleNamespace

import pytest

from dawdle._flow import loop_watchdog
from dawdle._flow.hook_calls import HookCaller
from dawdle._flow.in_flight import InFlight
from dawdle._flow.loop_watchdog import LoopWatchdog, _within
from dawdle._flow.slots import Slots
from dawdle.abc import SystemClock

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


class Looked(InFlight):
    looks = 0

    def __len__(self):
        self.looks += 1
        return super().__len__()


async def turns(count):
    for _ in range(count):
        await asyncio.sleep(0)


async def test_it_sleeps_while_nothing_is_in_flight_and_checks_from_the_next_event_on(monkeypatch):
    monkeypatch.setattr(loop_watchdog, "CHECK_SECONDS", 0)
    clock = SystemClock()
    in_flight, checks = Looked(clock), []
    watchdog = LoopWatchdog(in_flight, clock, HookCaller(()))

    async def check():
        checks.append("checked")

    monkeypatch.setattr(watchdog, "_check", check)
    running = asyncio.create_task(watchdog.run())
    for _ in range(3):
        checks.clear()
        await turns(10)
        looks = in_flight.looks
        await turns(10)
        assert in_flight.looks == looks
        assert checks == []
        message = in_flight.add_direct(SimpleNamespace(slots=Slots(1, clock)))
        async with asyncio.timeout(5):
            while len(checks) < 3:
                await asyncio.sleep(0)
        in_flight.finish(message)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_what_comes_between_its_look_and_its_sleep_is_noticed():
    clock = SystemClock()
    in_flight = InFlight(clock)
    watchdog = LoopWatchdog(in_flight, clock, HookCaller(()))
    in_flight.add_direct(SimpleNamespace(slots=Slots(1, clock)))
    async with asyncio.timeout(5):
        await watchdog._until_in_flight()
