"""A tool moves dead letters back into their queue as they are, as the console of SQS does: they run as if redriven."""

import msgspec
import pytest

from dawdle import Context, Retry
from dawdle.abc import Outgoing
from dawdle.backends.memory import Memory
from tests.app.events import Placed

pytestmark = pytest.mark.anyio

KEYS = {"2026-11": "k" * 32}


@pytest.fixture
def runs():
    return []


@pytest.fixture(autouse=True)
def handlers(registry, runs):
    @registry.on_event(Placed, name="receipt")
    async def receipt(event, ctx: Context):
        runs.append(("receipt", event.number, ctx.attempt))

    @registry.on_event(Placed, name="shipping", retry=Retry(max_attempts=2, initial=1, jitter=0))
    async def shipping(event, ctx: Context):
        runs.append(("shipping", event.number, ctx.attempt))
        raise ConnectionError("no carrier")


async def put_back(queue):
    """Move every letter into the queue, byte for byte."""
    dead = queue.dead_letters
    moved = await dead.receive(100, 0)
    assert await queue.send([Outgoing(letter.body) for letter in moved]) == [None] * len(moved)
    await dead.ack([letter.receipt for letter in moved])
    return len(moved)


def held_in(dead):
    """The bodies that the wrappers in a dead-letter queue hold, as base64."""
    return {msgspec.json.decode(letter)["data_base64"] for letter in dead.messages()}


@pytest.mark.parametrize("options", [{}, {"signing_keys": KEYS}])
async def test_it_runs_the_handler_that_gave_up_and_from_attempt_one(running, queue, clock, runs, options):
    async with running(**options) as app:
        await app.signal(Placed(7))
        await clock.advance(10)
        runs.clear()
        assert await put_back(queue) == 1
        await clock.advance(10)
        assert runs == [("shipping", 7, 1), ("shipping", 7, 2)]
        (letter,) = [letter async for letter in app.dead_letters()]
        assert (letter.handler, letter.attempts, letter.error) == ("shipping", 2, "ConnectionError: no carrier")


async def test_a_body_that_nobody_could_read_is_read_once_the_reader_is_mended(make_app, clock, runs):
    queue = Memory(clock=clock)
    event = {"specversion": "1.0", "id": "e-1", "source": "/x", "type": "Placed", "data": {"number": 7}}
    async with make_app(queue, signing_keys=KEYS) as app:
        await queue.send([Outgoing(msgspec.json.encode(event))])
        await app.idle()
    async with make_app(queue) as app:
        assert await put_back(queue) == 1
        await app.idle()
        await clock.advance(10)
        assert runs == [("receipt", 7, 1), ("shipping", 7, 1), ("shipping", 7, 2)]
        assert queue.messages() == [], "it is neither offered around nor kept"


async def test_garbage_that_is_put_back_again_and_again_stays_the_letter_that_it_was(running, queue, clock, runs):
    async with running() as app:
        await queue.send([Outgoing(b"garbage"), Outgoing(b"\xff" * 100)])
        await app.idle()
        first = held_in(queue.dead_letters)
        for _ in range(5):
            assert await put_back(queue) == 2
            await app.idle()
        assert held_in(queue.dead_letters) == first


async def test_a_stranger_gets_nothing_run_by_wrapping_it(running, queue, clock, runs, make_app):
    event = {"specversion": "1.0", "id": "e-1", "source": "/x", "type": "Placed", "data": {"number": 7}}
    body = msgspec.json.encode(event)
    async with running(signing_keys=KEYS) as app:
        await queue.send([Outgoing(body)])
        await app.idle()
        (wrapper,) = queue.dead_letters.messages()
        assert b'"dawdlesignature"' in wrapper, "the app signs the wrapper that it writes, and not what is in it"
        for _ in range(3):
            assert await put_back(queue) == 1
            await app.idle()
        assert runs == []
        assert [letter.event async for letter in app.dead_letters()] == [None]


async def test_half_a_message_comes_back_as_the_same_letter(running, clock, runs):
    queue = Memory(clock=clock, max_body=2000)
    async with running(queue) as app:
        await queue.send([Outgoing(b"\xff" * 2000)])
        await app.idle()
        (before,) = [letter async for letter in app.dead_letters()]
        await put_back(queue)
        await app.idle()
        (after,) = [letter async for letter in app.dead_letters()]
        assert (after.error, after.event_id) == (before.error, before.event_id)
        assert await app.redrive() == 0, "it is still known that it is half a message"


async def test_without_a_dead_letter_queue_what_is_put_back_is_kept(running, clock, runs):
    queue = Memory(clock=clock, max_body=2000)
    async with running(queue) as app:
        await queue.send([Outgoing(b"\xff" * 2000), Outgoing(b"garbage")])
        await app.idle()
        letters = queue.dead_letters.messages()
    bare = Memory(clock=clock, dead_letters=False)
    async with running(bare) as app:
        await bare.send([Outgoing(letter) for letter in letters])
        await app.idle()
        assert len(bare.messages()) == 2
        assert b"garbage" in bare.messages()
