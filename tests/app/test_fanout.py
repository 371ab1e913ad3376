"""The heart: all handlers of an event run, and each one is settled on its own."""

import asyncio
import itertools
from collections import Counter

import msgspec
import pytest

from dawdle import Context, Reject, Retry, RetryLater
from dawdle.hooks import DeadLettered, Forwarded, HandlerFinished
from tests.app.events import Cancelled, Placed

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("failures", [1, 2, 4])
async def test_only_the_handler_that_failed_runs_again(running, registry, queue, clock, letters, failures):
    runs = Counter()

    @registry.on_event(Placed)
    async def first(event):
        runs["first"] += 1

    @registry.on_event(Placed)
    async def second(event, ctx: Context):
        runs["second"] += 1
        assert ctx.attempt == runs["second"]
        if ctx.attempt <= failures:
            raise ValueError("not yet")

    @registry.on_event(Placed)
    def third(event):
        runs["third"] += 1

    async with running() as app:
        await app.signal(Placed(1))
        await app.idle()
        for _ in range(failures):
            await clock.advance(900)
            await app.idle()
    assert runs == {"first": 1, "second": failures + 1, "third": 1}
    assert queue.messages() == letters() == []


async def test_with_its_attempts_spent_a_handler_is_dead_lettered_and_nothing_else_is(
    running, registry, queue, clock, letters
):
    runs = Counter()

    @registry.on_event(Placed, name="good")
    async def good(event):
        runs["good"] += 1

    @registry.on_event(Placed, name="bad", retry=Retry(max_attempts=3))
    async def bad(event):
        runs["bad"] += 1
        raise ValueError(f"no stock, {runs['bad']}")

    async with running() as app:
        event_id = await app.signal(Placed(7))
        for _ in range(5):
            await clock.advance(900)
            await app.idle()
    assert runs == {"good": 1, "bad": 3}
    assert queue.messages() == []
    (letter,) = letters()
    assert letter["id"] == event_id
    assert letter["type"] == "Placed"
    assert letter["data"] == {"number": 7}
    assert letter["dawdleowed"] == "bad"
    assert letter["dawdleattempt"] == 3
    assert letter["dawdleerror"] == "ValueError: no stock, 3"


async def test_two_that_fail_each_keep_their_own_backoff(running, registry, clock):
    ran = []

    @registry.on_event(Placed, name="quick", retry=Retry(initial=1, factor=2, jitter=0, max_attempts=4))
    async def quick(event):
        ran.append(("quick", clock.monotonic()))
        raise ValueError

    @registry.on_event(Placed, name="slow", retry=Retry(initial=10, factor=3, jitter=0, max_attempts=3))
    async def slow(event):
        ran.append(("slow", clock.monotonic()))
        raise ValueError

    async with running() as app:
        await app.signal(Placed())
        await clock.advance(60)
    assert [at for name, at in ran if name == "quick"] == pytest.approx([0, 1, 3, 7])
    assert [at for name, at in ran if name == "slow"] == pytest.approx([0, 10, 40])


async def test_jitter_only_shortens_a_wait_by_up_to_its_share(running, registry, clock):
    ran = []

    @registry.on_event(Placed, retry=Retry(initial=100, factor=1, jitter=0.5, max_attempts=20))
    async def fails(event):
        ran.append(clock.monotonic())
        raise ValueError

    async with running() as app:
        await app.signal(Placed())
        await clock.advance(3000)
    waits = [after - before for before, after in itertools.pairwise(ran)]
    assert len(waits) == 19
    assert all(50 <= wait <= 100 for wait in waits)
    assert max(waits) - min(waits) > 1


async def test_reject_dead_letters_at_once(running, registry, letters):
    @registry.on_event(Placed, name="rejects")
    async def rejects(event):
        raise Reject("the account is closed")

    async with running() as app:
        await app.signal(Placed())
        await app.idle()
    assert [(letter["dawdleowed"], letter["dawdleerror"]) for letter in letters()] == [
        ("rejects", "Reject: the account is closed")
    ]


async def test_retry_later_comes_back_then_and_costs_no_attempt(running, registry, clock):
    ran = []

    @registry.on_event(Placed)
    async def waits(event, ctx: Context):
        ran.append((clock.monotonic(), ctx.attempt))
        if len(ran) < 8:
            raise RetryLater(30)

    async with running() as app:
        await app.signal(Placed())
        await clock.advance(1000)
    assert ran == [(30 * number, 1) for number in range(8)]


async def test_without_a_dead_letter_queue_a_failure_is_kept_and_tried_for_ever(running, registry, clock, caplog):
    from dawdle.backends.memory import Memory

    runs = Counter()

    @registry.on_event(Placed, name="good")
    async def good(event):
        runs["good"] += 1

    @registry.on_event(Placed, name="bad", retry=Retry(max_attempts=2, max_delay=600))
    async def bad(event, ctx: Context):
        runs["bad"] += 1
        assert ctx.attempt <= 2
        raise ValueError

    queue = Memory(clock=clock, dead_letters=False)
    async with running(queue) as app:
        await app.signal(Placed())
        await clock.advance(6100)
        assert len(queue.messages()) == 1
    assert runs["good"] == 1
    assert runs["bad"] == 2 + 10
    assert "has no dead-letter queue: kept" in caplog.text


@pytest.mark.parametrize(
    "error",
    [asyncio.CancelledError(), SystemExit(3), ExceptionGroup("two", [ValueError(), TypeError()]), RecursionError()],
)
async def test_whatever_one_handler_raises_its_siblings_finish(running, registry, clock, letters, error):
    done = []

    @registry.on_event(Placed, name="raises", retry=Retry(max_attempts=1))
    async def raises(event):
        await asyncio.sleep(0)
        raise error

    @registry.on_event(Placed)
    async def sibling(event):
        await clock.sleep_until(5)
        done.append(event)

    async with running() as app:
        await app.signal(Placed(1))
        await clock.advance(5)
        await app.idle()
        assert done == [Placed(1)]
    assert [letter["dawdleowed"] for letter in letters()] == ["raises"]


async def test_a_lone_handler_that_raises_cancelled_error_has_failed_and_the_app_lives(running, registry, clock):
    runs = []

    @registry.on_event(Placed)
    async def raises(event):
        runs.append(event)
        if len(runs) == 1:
            raise asyncio.CancelledError

    async with running() as app:
        await app.signal(Placed())
        await clock.advance(10)
        await app.idle()
        await app.signal(Placed())
        await app.idle()
    assert len(runs) == 3


async def test_a_handler_over_its_timeout_is_cancelled_and_has_failed(running, registry, clock, moments):
    cancelled = []

    @registry.on_event(Placed, timeout=30, retry=Retry(max_attempts=1))
    async def slow(event):
        try:
            await clock.sleep_until(1000)
        except asyncio.CancelledError:
            cancelled.append(clock.monotonic())
            raise

    async with running() as app:
        await app.signal(Placed())
        await clock.advance(31)
        await app.idle()
    assert cancelled == [30]
    (letter,) = [moment for moment in moments if isinstance(moment, DeadLettered)]
    assert letter.reason == "TimeoutError: it ran longer than its timeout of 30 s"


async def test_a_timeout_error_of_the_handlers_own_is_told_as_it_is(running, registry, moments):
    @registry.on_event(Placed, timeout=30, retry=Retry(max_attempts=1))
    async def raises(event):
        raise TimeoutError("the bank did not answer")

    async with running() as app:
        await app.signal(Placed())
        await app.idle()
    (letter,) = [moment for moment in moments if isinstance(moment, DeadLettered)]
    assert letter.reason == "TimeoutError: the bank did not answer"


async def test_an_event_goes_to_the_handlers_of_its_type_its_bases_and_of_every_event(running, registry):
    ran = []

    class Base(msgspec.Struct):
        pass

    class Child(Base):
        pass

    @registry.on_event(Base)
    async def base(event):
        ran.append("base")

    @registry.on_event(Child, Placed)
    async def child(event):
        ran.append("child")

    @registry.on_event()
    async def every(event):
        ran.append("every")

    @registry.on_event(exclude=(Child,))
    async def most(event):
        ran.append("most")

    async with running() as app:
        for event, names in [
            (Child(), ["base", "child", "every"]),
            (Base(), ["base", "every", "most"]),
            (Placed(), ["child", "every", "most"]),
            (Cancelled(), ["every", "most"]),
        ]:
            ran.clear()
            await app.signal(event)
            await app.idle()
            assert sorted(ran) == names


async def test_hooks_see_each_failure_and_each_copy(running, registry, clock, moments):
    @registry.on_event(Placed, name="flaky", retry=Retry(initial=1, jitter=0))
    async def flaky(event, ctx: Context):
        if ctx.attempt == 1:
            raise ValueError("once")

    async with running() as app:
        event_id = await app.signal(Placed())
        await clock.advance(2)
    finished = [moment for moment in moments if isinstance(moment, HandlerFinished)]
    assert [(each.event_id, each.outcome, each.error, each.attempt) for each in finished] == [
        (event_id, "failed", "ValueError: once", 1),
        (event_id, "done", None, 2),
    ]
    assert [(each.handler, each.why, each.delay) for each in moments if isinstance(each, Forwarded)] == [
        ("flaky", "retry", 1.0)
    ]


@pytest.mark.parametrize(
    "error",
    [RuntimeError("the metrics are down"), SystemExit(3), asyncio.CancelledError()],
    ids=repr,
)
async def test_a_hook_that_raises_is_logged_and_changes_nothing(running, registry, caplog, clock, error):
    seen = []

    def broken(moment):
        raise error

    @registry.on_event(Placed)
    async def handler(event):
        seen.append(event)

    async with running(hooks=[broken, lambda moment: None]) as app:
        await app.signal(Placed())
        await clock.advance(300)
        assert app.health().in_hand == 0
    assert seen == [Placed()]
    assert "raised an error on" in caplog.text


async def test_several_events_are_handled_at_once_up_to_the_apps_concurrency(running, registry, clock):
    running_now, most = 0, 0

    @registry.on_event(Placed)
    async def handler(event):
        nonlocal running_now, most
        running_now += 1
        most = max(most, running_now)
        await clock.sleep_until(clock.monotonic() + 1)
        running_now -= 1

    async with running(concurrency=7) as app:
        await app.signal_many([Placed(number) for number in range(50)])
        await clock.advance(20)
        await app.idle()
    assert most == 7


async def test_a_handlers_own_concurrency_holds_and_gives_its_slot_to_others(running, registry, clock):
    narrow_now, most, done, others = 0, 0, [], []

    @registry.on_event(Placed, concurrency=2)
    async def narrow(event):
        nonlocal narrow_now, most
        narrow_now += 1
        most = max(most, narrow_now)
        await clock.sleep_until(clock.monotonic() + 10)
        narrow_now -= 1
        done.append(event.number)

    @registry.on_event(Cancelled)
    async def other(event):
        others.append(event)

    async with running(concurrency=8) as app:
        await app.signal_many([Placed(number) for number in range(20)])
        await clock.advance(2.5)
        await app.signal(Cancelled())
        await clock.advance(1.5)
        assert others == [Cancelled()], "the narrow handler's queue must not hold the slots of all"
        await clock.advance(3000)
        await app.idle()
    assert most == 2
    assert sorted(done) == list(range(20))
