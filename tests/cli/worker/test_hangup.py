"""SIGHUP that interrupts a handler: the stop that it asks for waits for that handler too."""

import asyncio
import os
import signal
import sys

import msgspec
import pytest

from dawdle import Dawdle, Registry
from dawdle.backends.memory import Memory
from dawdle.cli.worker._hangup import Renewal

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")]


class Placed(msgspec.Struct):
    pass


async def test_a_hangup_in_the_midst_of_a_handler_waits_for_it():
    registry, told, done = Registry(), asyncio.Event(), []
    renewal = Renewal()

    @registry.on_event(Placed, name="works")
    async def works(event):
        os.kill(os.getpid(), signal.SIGHUP)  # it is taken here, in this handler's context
        await asyncio.sleep(0.05)
        done.append(event)

    before = signal.signal(signal.SIGTERM, lambda number, frame: told.set() if done else done.append("too early"))
    try:
        with renewal.taking_hangup():
            async with Dawdle(Memory(), registry=registry) as app:
                renewal.entered(app)
                await app.signal(Placed())
                async with asyncio.timeout(20):
                    while not done:
                        await asyncio.sleep(0.005)
                    await told.wait()
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert done == [Placed()]
