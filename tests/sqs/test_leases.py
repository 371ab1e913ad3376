"""Leases hold while a handler blocks the event loop, since a thread renews them. Real time, with leases of seconds."""

import asyncio
import threading
import time
from contextlib import contextmanager

import msgspec
import pytest

from dawdle import Dawdle, Registry
from dawdle.backends.sqs import SQS
from dawdle.hooks import LeaseLost, LoopBlocked
from dawdle.testing.sqs import SQSServer

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

LEASE = 2


class Placed(msgspec.Struct, frozen=True):
    number: int = 0


@contextmanager
def server_in_a_thread():
    """Run a server that goes on while this thread's loop is blocked."""
    server, started, loops = SQSServer(queues=("orders",)), threading.Event(), []
    ended = asyncio.Event()

    async def serve():
        async with server:
            loops.append(asyncio.get_running_loop())
            started.set()
            await ended.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert started.wait(60)
    try:
        yield server
    finally:
        loops[0].call_soon_threadsafe(ended.set)
        thread.join(60)


def sleep(seconds):
    time.sleep(seconds)


def count(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(1000))


@pytest.mark.parametrize("block", [sleep, count])
async def test_a_handler_that_blocks_the_loop_for_three_leases_runs_once_and_is_named(block, caplog):
    registry, runs, moments = Registry(), [], []

    @registry.on_event(Placed, name="blocker")
    async def blocker(event):
        runs.append(event.number)
        block(3 * LEASE)

    with server_in_a_thread() as server:
        url = server.queue_url("orders")
        async with Dawdle(SQS(url, lease=LEASE, wait=1), registry=registry, hooks=[moments.append], grace=5) as app:
            await app.signal(Placed(1))
            async with asyncio.timeout(60):
                while not runs or len(server.queue("orders")):
                    await asyncio.sleep(0.05)
            await asyncio.sleep(LEASE + 1)  # a second delivery would have come by now
    assert runs == [1]
    (told,) = [moment for moment in moments if isinstance(moment, LoopBlocked)]
    assert told.handler == "blocker"
    assert 3 * LEASE - 1 <= told.seconds <= 3 * LEASE + 15
    assert not [moment for moment in moments if isinstance(moment, LeaseLost)]
    assert "handler blocker has blocked the event loop for" in caplog.text
    assert __file__ in caplog.text


async def test_a_long_handler_keeps_its_lease_and_the_thread_ends_with_the_app():
    registry, runs = Registry(), []
    before = threading.active_count()

    @registry.on_event(Placed)
    async def long(event):
        runs.append(event.number)
        await asyncio.sleep(2.5 * LEASE)

    with server_in_a_thread() as server:
        url = server.queue_url("orders")
        async with Dawdle(SQS(url, lease=LEASE, wait=1), registry=registry, grace=10) as app:
            await app.signal_many([Placed(number) for number in range(25)])
            async with asyncio.timeout(60):
                while len(runs) < 25 or len(server.queue("orders")):
                    await asyncio.sleep(0.05)
            assert threading.active_count() > before
        renewals = server.requests["ChangeMessageVisibilityBatch"]
    assert sorted(runs) == list(range(25))
    assert 3 * 6 <= renewals <= 3 * 20, "by the batch, and not by the message"
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("dawdle: leases")]


async def test_a_renewal_that_says_the_message_is_gone_cancels_the_handler_at_once():
    registry, story = Registry(), []

    @registry.on_event(Placed)
    async def long(event):
        started = time.monotonic()
        try:
            await asyncio.sleep(20 if not story else 0)
        except asyncio.CancelledError:
            story.append(time.monotonic() - started)
            raise

    with server_in_a_thread() as server:
        server.faults.add(
            "entries_failed", operation="ChangeMessageVisibilityBatch", code="ReceiptHandleIsInvalid", times=1
        )
        url = server.queue_url("orders")
        async with Dawdle(SQS(url, lease=LEASE, wait=1), registry=registry, grace=10) as app:
            await app.signal(Placed())
            async with asyncio.timeout(60):
                while not story:
                    await asyncio.sleep(0.02)
    assert story[0] <= LEASE / 3 + 15
