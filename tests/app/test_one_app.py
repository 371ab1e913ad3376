"""One backend object serves one app at a time: a second opening is refused, and the first goes on undisturbed."""

import asyncio
import subprocess
import sys

import pytest

from dawdle import ConfigurationError
from dawdle.backends.memory import Memory
from tests.app.events import Placed

pytestmark = pytest.mark.anyio


class Plain:
    """A user's own backend, which inherits nothing and can be neither hashed nor referred to weakly."""

    __hash__ = None
    __slots__ = ("dead_letters", "delayed", "inner", "opened")

    def __init__(self, *, dead_letters=None, delayed=None, **options):
        self.inner = Memory(dead_letters=False, **options)
        self.dead_letters = dead_letters
        self.delayed = delayed
        self.opened = 0

    def __eq__(self, other):
        return True

    async def __aenter__(self):
        self.opened += 1
        return self

    async def __aexit__(self, *_): ...

    @property
    def limits(self):
        return self.inner.limits

    async def prepare_receive(self): ...

    async def send(self, batch):
        return await self.inner.send(batch)

    async def receive(self, limit, wait):
        return await self.inner.receive(limit, wait)

    async def ack(self, receipts):
        return await self.inner.ack(receipts)

    async def renew(self, receipts):
        return await self.inner.renew(receipts)

    async def release(self, batch):
        return await self.inner.release(batch)

    def renewer(self):
        return self.inner.renewer()


MADE = {"memory": Memory, "a backend of one's own": Plain}


@pytest.fixture(params=MADE)
def backend(request, clock):
    return MADE[request.param](clock=clock)


async def test_two_apps_at_once_are_refused_and_the_first_goes_on(make_app, registry, backend):
    seen = []

    @registry.on_event
    async def handler(event: Placed):
        seen.append(event.number)

    async with make_app(backend) as app:
        other = make_app(backend)
        with pytest.raises(ConfigurationError, match="open in an app already; one object serves one app at a time"):
            await other.__aenter__()
        assert not other.health().healthy
        await app.signal(Placed(7))
        await app.idle()
        assert seen == [7]
        assert getattr(backend, "opened", 1) == 1, "it is refused before it is opened"
    async with other:
        await other.signal(Placed(8))
        await other.idle()
    assert seen == [7, 8]


async def test_an_object_may_serve_one_app_after_the_other(make_app, backend):
    for _ in range(3):
        async with make_app(backend) as app:
            await app.idle()
    async with app:
        await app.idle()


async def test_a_queue_behind_one_that_is_open_is_refused(make_app, clock):
    queue = Memory(clock=clock)
    async with make_app(queue):
        with pytest.raises(ConfigurationError, match="one app at a time"):
            await make_app(queue.dead_letters).__aenter__()
    async with make_app(queue.dead_letters):
        with pytest.raises(ConfigurationError, match="one app at a time"):
            await make_app(queue).__aenter__()
    async with make_app(queue):
        pass


@pytest.mark.parametrize("place", ["dead_letters", "delayed"])
async def test_two_queues_with_one_object_behind_them_are_not_open_at_once(make_app, clock, place):
    behind = Plain(clock=clock)
    one, other = (Plain(clock=clock, **{place: behind}) for _ in range(2))
    async with make_app(one):
        with pytest.raises(ConfigurationError, match="one app at a time"):
            await make_app(other).__aenter__()
    async with make_app(other):
        pass


async def test_what_could_not_be_opened_is_free_again(make_app, clock):
    class Away(Memory):
        away = True

        async def __aenter__(self):
            if self.away:
                raise ConnectionError("away")
            return await super().__aenter__()

    queue = Away(clock=clock)
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await make_app(queue).__aenter__()
    queue.away = False
    async with make_app(queue):
        pass


async def test_entering_that_is_cancelled_leaves_the_object_free(make_app, clock):
    class Slow(Memory):
        opens = asyncio.Event()

        async def __aenter__(self):
            await self.opens.wait()
            return await super().__aenter__()

    queue = Slow(clock=clock)
    entering = asyncio.create_task(make_app(queue).__aenter__())
    await clock.advance(0)
    entering.cancel()
    await asyncio.wait([entering])
    queue.opens.set()
    async with make_app(queue):
        pass


LOST = """
import asyncio, sys
import dawdle
from dawdle.backends.memory import Memory

queue = Memory()
left = dawdle.Dawdle(queue, registry=dawdle.Registry())
loop = asyncio.new_event_loop()
loop.run_until_complete(left.__aenter__())
loop.close()

async def main():
    async with dawdle.Dawdle(queue, registry=dawdle.Registry()) as app:
        await app.idle()
        print("opened")

asyncio.run(main())
"""


@pytest.mark.slow
async def test_what_an_event_loop_took_with_it_is_free_for_the_next():
    command = [sys.executable, "-c", LOST]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "opened\n"), done.stderr


async def test_memory_is_not_opened_twice_without_an_app_either(make_app, clock):
    queue = Memory(clock=clock)
    async with queue:
        with pytest.raises(ConfigurationError, match="is already open"):
            await queue.__aenter__()
        with pytest.raises(ConfigurationError, match="is already open"):
            await make_app(queue).__aenter__()
        with pytest.raises(ConfigurationError, match="is already open"):
            await queue.dead_letters.__aenter__()
    async with queue:
        pass
