"""A retry does not wait for its siblings: its copy is stored a second after the failure, and waits from the failure."""

import asyncio

import msgspec
import pytest

from dawdle import Reject, Retry
from dawdle.backends.memory import Memory
from dawdle.errors import BackendError
from dawdle.testing import Probe
from tests.app.events import Placed

pytestmark = pytest.mark.anyio


def of_handlers(registry, clock, story, *, bad, slow=100, error=ValueError):
    """Register one that fails at `bad` seconds and one that takes `slow` seconds."""

    @registry.on_event(Placed, name="bad", retry=Retry(max_attempts=2, initial=5, jitter=0))
    async def bad_one(event, ctx):
        await clock.sleep_until(clock.monotonic() + bad)
        story.append(("bad", ctx.attempt, clock.monotonic()))
        if ctx.attempt == 1:
            raise error

    @registry.on_event(Placed, name="slow")
    async def slow_one(event):
        story.append(("slow", "started", clock.monotonic()))
        await clock.sleep_until(clock.monotonic() + slow)
        story.append(("slow", "done", clock.monotonic()))


@pytest.mark.parametrize("direct", [False, True])
async def test_a_retry_runs_while_a_sibling_still_does_and_waits_from_its_failure(running, registry, clock, direct):
    story = []
    of_handlers(registry, clock, story, bad=2)
    async with running() as app:
        await app.signal(Placed(), direct=direct)
        await clock.advance(300)
    assert story == [
        ("slow", "started", 0.0),
        ("bad", 1, 2.0),
        ("bad", 2, 9.0),  # it failed at 2, its back-off is 5, and a run takes 2
        ("slow", "done", 100.0),
    ]


async def test_siblings_that_end_within_a_second_share_one_batch(running, registry, clock):
    batches = []

    class Counted(Memory):
        async def send(self, batch):
            batches.append((len(batch), clock.monotonic()))
            return await super().send(batch)

    for name, seconds in (("a", 1), ("b", 1.5), ("c", 1.9)):

        @registry.on_event(Placed, name=name, retry=Retry(max_attempts=2, initial=5, jitter=0))
        async def bad(event, ctx, seconds=seconds):
            await clock.sleep_until(clock.monotonic() + seconds)
            if ctx.attempt == 1:
                raise ValueError

    queue = Counted(clock=clock)
    async with running(queue) as app:
        await app.signal(Placed())
        await clock.advance(60)
    assert batches == [(1, 0.0), (3, 1.9)]


async def test_the_copies_of_one_batch_each_wait_from_their_own_failure(running, registry, clock):
    seen = []
    for name, seconds in (("a", 1), ("b", 1.75)):

        @registry.on_event(Placed, name=name, retry=Retry(max_attempts=2, initial=5, jitter=0))
        async def bad(event, ctx, name=name, seconds=seconds):
            if ctx.attempt == 2:
                seen.append((name, clock.monotonic()))
                return
            await clock.sleep_until(clock.monotonic() + seconds)
            raise ValueError

    async with running() as app:
        await app.signal(Placed())
        await clock.advance(60)
    assert seen == [("a", 6.0), ("b", 6.75)]


async def test_a_letter_is_written_while_a_sibling_still_runs(running, registry, clock, letters):
    story = []
    of_handlers(registry, clock, story, bad=0, error=Reject("closed"))
    async with running() as app:
        await app.signal(Placed())
        await clock.advance(2)
        assert [letter["dawdleowed"] for letter in letters()] == ["bad"]
        assert app.health().dead_letters == 1
        await clock.advance(200)
    assert len(letters()) == 1
    assert [each for each in story if each[0] == "bad"] == [("bad", 1, 0.0)]


async def test_a_copy_that_could_not_be_stored_early_is_stored_with_its_siblings(running, registry, clock):
    class Away(Memory):
        away = False

        async def send(self, batch):
            if self.away:
                raise BackendError("away")
            return await super().send(batch)

    story = []
    of_handlers(registry, clock, story, bad=0, slow=10)
    queue = Away(clock=clock)
    async with running(queue) as app:
        await app.signal(Placed())
        queue.away = True
        await clock.advance(5)
        queue.away = False
        await clock.advance(60)
    assert [each[:2] for each in story] == [("slow", "started"), ("bad", 1), ("slow", "done"), ("bad", 2)] or [
        each[:2] for each in story
    ] == [("bad", 1), ("slow", "started"), ("slow", "done"), ("bad", 2)]
    assert story[-1][2] == pytest.approx(10, abs=0.01)


async def test_a_stop_forwards_only_what_was_not_stored_early(make_app, registry, queue, clock):
    story = []
    of_handlers(registry, clock, story, bad=0)
    async with make_app(grace=0) as app:
        await app.signal(Placed())
        await clock.advance(3)
    owed = sorted(msgspec.json.decode(body)["dawdleowed"] for body in queue.messages())
    assert owed == ["bad", "slow"]


@pytest.mark.slow
async def test_a_stop_does_not_wait_for_an_early_copy_that_gets_no_answer(make_app, registry, clock):
    class Silent(Memory):
        silent = False

        async def send(self, batch):
            if self.silent:
                self.silent = False
                await asyncio.sleep(3600)
            return await super().send(batch)

    story = []
    of_handlers(registry, clock, story, bad=0)
    queue = Silent(clock=clock)
    app = make_app(queue, grace=0)
    await app.__aenter__()
    await app.signal(Placed())
    queue.silent = True
    await clock.advance(5)
    began = asyncio.get_running_loop().time()
    await app.__aexit__(None, None, None)
    assert asyncio.get_running_loop().time() - began < 12
    assert sorted(msgspec.json.decode(body)["dawdleowed"] for body in queue.messages()) == ["bad", "slow"]


async def test_nothing_is_stored_early_for_a_message_that_is_lost(running, registry, clock):
    story = []
    of_handlers(registry, clock, story, bad=0.5)

    class Losing(Memory):
        sent = 0

        async def send(self, batch):
            self.sent += len(batch)
            return await super().send(batch)

    queue = Losing(clock=clock)
    async with running(queue) as app:
        await app.signal(Placed())
        await clock.advance(0.75)
        Probe(app).lose_leases()
        await clock.advance(3)
        assert queue.sent == 1
