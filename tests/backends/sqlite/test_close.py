"""A file that is closed, or opened in two ways, lets no call wait for ever, and strands no message."""

import asyncio
import gc
import threading
import weakref

import pytest

from dawdle.abc import Outgoing
from dawdle.backends.sqlite import SQLite, _open_files
from dawdle.errors import BackendError, ConfigurationError

pytestmark = pytest.mark.anyio

SOON = 10


def threads_of(path):
    return [thread for thread in threading.enumerate() if str(path) in thread.name]


@pytest.mark.parametrize("attached", ["dead_letters", "delayed"])
async def test_an_attached_queue_is_closed_too(path, attached):
    async with SQLite(path, ordered=True) as queue:
        other = getattr(queue, attached)
    with pytest.raises(ConfigurationError, match="is not open"):
        await asyncio.wait_for(other.send([Outgoing(b"late")]), SOON)


async def test_what_was_sent_before_the_close_is_stored_before_it(path):
    queue = SQLite(path)
    await queue.__aenter__()
    sends = [asyncio.create_task(queue.send([Outgoing(b"%d" % number)])) for number in range(20)]
    await asyncio.sleep(0)
    await asyncio.wait_for(queue.__aexit__(None, None, None), SOON)
    assert await asyncio.gather(*sends) == [[None]] * 20
    async with SQLite(path) as again:
        assert (await again.count()).waiting == 20


async def test_a_receive_that_is_cancelled_just_before_the_close_hides_nothing(path):
    for turn in range(20):
        queue = SQLite(path)
        await queue.__aenter__()
        await queue.send([Outgoing(b"one")])
        receive = asyncio.create_task(queue.receive(10, 0))
        await asyncio.sleep(0.0002 * (turn % 5))
        receive.cancel()
        await asyncio.wait([receive])
        got = [] if receive.cancelled() else receive.result()
        await asyncio.wait_for(queue.__aexit__(None, None, None), SOON)
        async with SQLite(path) as again:
            assert (await again.count()).in_flight == len(got)
            await again.ack([each.receipt for each in [*got, *await again.receive(10, 0)]])


async def test_a_receive_that_is_open_at_the_close_ends(path):
    for _ in range(30):
        queue = SQLite(path)
        await queue.__aenter__()
        receive = asyncio.create_task(queue.receive(10, 600))
        await asyncio.sleep(0)
        await queue.__aexit__(None, None, None)
        with pytest.raises(BackendError, match="was closed|is not open"):
            await asyncio.wait_for(receive, SOON)


async def test_a_close_that_is_cancelled_leaves_no_thread(path):
    queue = SQLite(path)
    await queue.__aenter__()
    closing = asyncio.create_task(queue.__aexit__(None, None, None))
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    async with asyncio.timeout(SOON):
        while threads_of(path):
            await asyncio.sleep(0.01)


async def test_a_loop_that_ends_without_leaving_gives_back_what_comes_for_it(program):
    """In another process, where the thread that is left behind ends with it."""
    other = program("""
        async def wait_and_vanish():
            queue = SQLite(path)
            await queue.__aenter__()
            asyncio.get_running_loop().create_task(queue.receive(10, 600))
            await asyncio.sleep(0.05)

        loop = asyncio.new_event_loop()
        loop.run_until_complete(wait_and_vanish())
        for task in asyncio.all_tasks(loop):
            task._log_destroy_pending = False
        loop.close()

        async def receive_there():
            async with SQLite(path) as queue:
                await queue.send([Outgoing(b"one")])
                return [delivery.body for delivery in await queue.receive(10, 5)]

        say(asyncio.run(receive_there()))
        os._exit(0)
    """)
    assert await asyncio.to_thread(other.line) == "[b'one']"


async def test_a_loop_that_has_ended_is_not_kept(path):
    """A program may run one loop after another on a file that stays open."""
    loops = []

    async def use():
        loops.append(weakref.ref(asyncio.get_running_loop()))
        async with SQLite(path) as queue:
            await queue.send([Outgoing(b"one")])

    async with SQLite(path):
        for _ in range(3):
            await asyncio.to_thread(asyncio.run, use())
        gc.collect()
        assert [loop() for loop in loops] == [None] * 3


async def test_a_receive_of_a_loop_that_has_ended_claims_nothing(path):
    async def wait_and_vanish():
        queue = await SQLite(path).__aenter__()
        waiting.append(asyncio.create_task(queue.receive(10, 600)))
        await asyncio.sleep(0.05)

    def run():
        loop = asyncio.new_event_loop()
        loop.run_until_complete(wait_and_vanish())
        for task in waiting:
            task._log_destroy_pending = False
        loop.close()

    waiting = []
    async with SQLite(path) as queue:
        await asyncio.to_thread(run)
        await queue.send([Outgoing(b"one")])
        (one,) = await queue.receive(10, 5)
        assert one.receive_count == 1
        (worker,) = (worker for worker in _open_files._workers.values() if worker.database.path == str(path))
        _open_files._uses[worker] -= 1  # the other one never leaves
        await queue.ack([one.receipt])


async def test_an_empty_queue_that_is_opened_in_the_other_way_refuses_those_who_have_it_open(path):
    """A message that is stored in one way is not found in the other: it would wait for ever, in silence."""
    async with SQLite(path) as plain:
        await plain.send([Outgoing(b"one")])
        await plain.ack([each.receipt for each in await plain.receive(10, 0)])
        async with SQLite(path, ordered=True) as ordered:
            assert await ordered.send([Outgoing(b"three", group="a")]) == [None]
            for call in (plain.send([Outgoing(b"two")]), plain.receive(10, 0)):
                with pytest.raises(ConfigurationError, match="ordered=False here, and with ordered=True elsewhere"):
                    await call
            assert [each.body for each in await ordered.receive(10, 0)] == [b"three"]
