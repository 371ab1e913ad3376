"""What an event costs does not grow with what else is there. Counted in calls and bytes, not in time."""

import asyncio
import gc
import logging
import sys
import tracemalloc
from pathlib import Path

import msgspec
import pytest

import dawdle
from dawdle import Dawdle, Registry
from dawdle.abc import Outgoing
from dawdle.backends.memory import Memory

pytestmark = pytest.mark.anyio

OURS = str(Path(dawdle.__file__).parent)


class Placed(msgspec.Struct, frozen=True):
    number: int


class Other(msgspec.Struct, frozen=True):
    number: int


def body_of(number):
    event = {"specversion": "1.0", "id": f"{number:032}", "source": "/shop", "type": "Placed"}
    return msgspec.json.encode({**event, "data": {"number": number}})


class Waves:
    """Handlers that wait for each other: so many of them run at once, then all end."""

    def __init__(self, size):
        self._size = size
        self._gate = asyncio.get_running_loop().create_future()
        self._waiting = 0
        self.ended = 0

    async def handle(self, event):
        self._waiting += 1
        if self._waiting == self._size:
            self._gate.set_result(None)
            self._gate, self._waiting = asyncio.get_running_loop().create_future(), 0
        else:
            await self._gate
        self.ended += 1


async def calls_per_event(*, in_flight=10, handlers=1, others=0, events=300):
    """Return how many calls of Python functions of dawdle one event takes, from its receive until it is settled."""
    registry, waves, queue = Registry(), Waves(in_flight * handlers), Memory()
    for number in range(handlers):

        @registry.on_event(Placed, name=f"handler-{number}")
        async def handle(event):
            await waves.handle(event)

    for number in range(others):

        @registry.on_event(Other, name=f"other-{number}")
        async def handle_other(event): ...

    calls = 0

    def count(frame, what, argument):
        nonlocal calls
        calls += what == "call" and frame.f_code.co_filename.startswith(OURS)

    async with Dawdle(queue, registry=registry, concurrency=in_flight, start_listener=False) as app:
        await queue.send([Outgoing(body_of(number)) for number in range(events)])
        sys.setprofile(count)
        try:
            await app.start_listener()
            await app.idle()
        finally:
            sys.setprofile(None)
    assert waves.ended == events * handlers
    return calls / events


async def test_an_event_takes_few_calls():
    one = await calls_per_event(in_flight=100)
    assert one < 100
    assert await calls_per_event(in_flight=100, handlers=3) < 1.6 * one


async def test_an_event_takes_no_more_calls_with_a_thousand_in_flight_than_with_ten():
    assert await calls_per_event(in_flight=1000, events=1000) < 1.2 * await calls_per_event(in_flight=10)


async def test_an_event_takes_no_more_calls_with_a_hundred_handlers_registered_than_with_one():
    assert await calls_per_event(others=99) < 1.05 * await calls_per_event()


async def test_a_message_in_flight_takes_four_kilobytes_at_most(caplog):
    # What pytest keeps of the log counts as well: on a busy machine the watchdog has much to say.
    caplog.set_level(logging.CRITICAL + 1, "dawdle")
    registry, queue, started, messages = Registry(), Memory(), [], 500
    gate = asyncio.get_running_loop().create_future()

    @registry.on_event(Placed)
    async def handle(event: Placed) -> None:
        started.append(event)
        await gate

    async def take_in():
        await queue.send([Outgoing(body_of(number)) for number in range(messages)])
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        until = len(started) + messages
        while len(started) < until:
            await asyncio.sleep(0)
        gc.collect()
        return (tracemalloc.get_traced_memory()[0] - before) / messages

    async with Dawdle(queue, registry=registry, concurrency=10 * messages):
        await take_in()  # what is made once
        tracemalloc.start()
        try:
            # In some rounds a table of tasks doubles, here or in asyncio: half of it is for messages of later rounds.
            used = min([await take_in() for _ in range(3)])
        finally:
            tracemalloc.stop()
        gate.set_result(None)
    # Tasks and frames are larger on 3.11, by 100 bytes or two.
    assert 0 < used <= (4096 if sys.version_info >= (3, 12) else 4400), used
