"""A whole app on a SQLite file: delays and retries by a clock that the test moves, dead letters, restarts, order."""

import asyncio
import sqlite3

import msgspec
import pytest

import dawdle
from dawdle.backends.sqlite import SQLite
from dawdle.testing import ManualClock

pytestmark = pytest.mark.anyio


class Placed(msgspec.Struct, frozen=True):
    number: int


def app_on(path, registry, clock=None, **options):
    extra = {} if clock is None else {"clock": clock}
    return dawdle.Dawdle(SQLite(path, **options, **extra), registry=registry, **extra)


async def test_an_hour_passes_in_a_moment_with_its_delays_and_retries(path):
    clock, registry, seen = ManualClock(), dawdle.Registry(), []

    @registry.on_event(retry=dawdle.Retry(max_attempts=3, initial=600, jitter=0))
    async def handle(event: Placed, ctx: dawdle.Context) -> None:
        seen.append((event.number, ctx.attempt, clock.monotonic()))
        if event.number == 2:
            raise ValueError("always")

    async with app_on(path, registry, clock) as app:
        await app.signal(Placed(1), delay=1800)
        await app.signal(Placed(2))
        await clock.advance(3600)
        assert [(number, attempt) for number, attempt, _ in seen] == [(2, 1), (2, 2), (1, 1), (2, 3)]
        assert seen[2][2] >= 1800
        letters = [letter async for letter in app.dead_letters()]
        assert [letter.attempts for letter in letters] == [3]
    async with SQLite(path, clock=clock) as queue:
        assert (await queue.dead_letters.count()).waiting == 1
        assert (await queue.count()).waiting == 0


async def test_a_scan_of_no_dead_letters_does_not_wait(path):
    async with app_on(path, dawdle.Registry()) as app:
        async with asyncio.timeout(5):
            assert [letter async for letter in app.dead_letters()] == []
            assert await app.redrive() == 0


async def test_an_event_for_a_queue_that_was_opened_otherwise_since_is_surely_not_stored(path):
    async with app_on(path, dawdle.Registry()) as app:
        async with SQLite(path, ordered=True):
            pass
        with pytest.raises(dawdle.SignalError, match="could not store .* ordered=True elsewhere since") as caught:
            await app.signal(Placed(1))
        assert (len(caught.value.not_stored), len(caught.value.uncertain)) == (1, 0)


async def test_what_one_app_leaves_the_next_one_does(path):
    registry, seen = dawdle.Registry(), []

    @registry.on_event
    async def handle(event: Placed) -> None:
        seen.append(event.number)

    async with dawdle.Dawdle(SQLite(path), registry=registry, start_listener=False) as app:
        await app.signal_many(Placed(number) for number in range(250))
    async with app_on(path, registry) as app:
        await app.idle()
    assert sorted(seen) == list(range(250))


async def test_an_event_is_stored_if_and_only_if_the_transaction_commits(path):
    registry, seen = dawdle.Registry(), []

    @registry.on_event
    async def handle(event: Placed) -> None:
        seen.append(event.number)

    async with app_on(path, registry) as app:
        shop = sqlite3.connect(path)
        await app.signal(Placed(1), transaction=shop)
        shop.rollback()
        await app.signal(Placed(2), transaction=shop)
        await app.signal(Placed(3), id="order-3", transaction=shop)
        await app.signal(Placed(3), id="order-3", transaction=shop)
        shop.commit()
        shop.close()
        async with asyncio.timeout(10):
            while len(seen) < 2:
                await asyncio.sleep(0.01)
        await app.idle()
    assert sorted(seen) == [2, 3]


async def test_an_id_that_is_signaled_again_is_handled_once(path):
    registry, seen = dawdle.Registry(), []

    @registry.on_event
    async def handle(event: Placed) -> None:
        seen.append(event.number)

    async with app_on(path, registry) as app:
        for _ in range(3):
            assert await app.signal(Placed(1), id="webhook-1") == "webhook-1"
        await app.idle()
    assert seen == [1]


async def test_an_ordered_app_runs_each_group_in_order_and_holds_one_that_fails(path):
    clock, registry, seen = ManualClock(), dawdle.Registry(), []

    @registry.on_event(retry=dawdle.Retry(max_attempts=4, initial=30, jitter=0))
    async def handle(event: Placed, ctx: dawdle.Context) -> None:
        seen.append((event.number, ctx.attempt))
        if event.number == 11 and ctx.attempt < 3:
            raise ValueError("not yet")

    async with app_on(path, registry, clock, ordered=True) as app:
        for number in range(3):
            await app.signal(Placed(10 + number), group="a")
            await app.signal(Placed(20 + number), group="b")
        await clock.advance(10)
        assert [number for number, _ in seen if number >= 20] == [20, 21, 22]
        assert [number for number, _ in seen if number < 20] == [10, 11]
        await clock.advance(600)
    # The third was received with the others and given back unrun, which is no attempt that it made.
    assert [each for each in seen if each[0] < 20][:4] == [(10, 1), (11, 1), (11, 2), (11, 3)]
    assert [number for number, _ in seen if number < 20][-1] == 12
