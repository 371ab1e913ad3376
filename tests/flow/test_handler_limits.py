"""Who waits for a handler's limit: in order, and a place that is given up just then goes to the next."""

import asyncio
from types import SimpleNamespace

import pytest

from dawdle._flow.handler_limits import HandlerLimits
from dawdle._flow.in_flight_message import InFlightMessage
from dawdle._flow.slots import Slots
from dawdle._handlers.handler import Handler, Options
from dawdle._rules.outcome import AtLimit, Interrupted
from dawdle.abc import Delivery

pytestmark = pytest.mark.anyio


@pytest.fixture
def limits(clock):
    return HandlerLimits(clock, 16)


@pytest.fixture
def message(clock):
    queue = SimpleNamespace(slots=Slots(16, clock))  # a limit asks a queue for nothing else
    return lambda delivery=None: InFlightMessage(queue, delivery, clock)


def handler(name="slow", concurrency=1):
    async def handle(event): ...

    return Handler(handle, name, (), Options(concurrency=concurrency), takes_context=False, is_async=True)


def entering(limit, message):
    return asyncio.create_task(limit.enter("slow", message, None))


async def test_a_handler_without_concurrency_has_no_limit(limits):
    assert limits.of(handler(concurrency=None)) is None
    assert limits.of(handler()) is limits.of(handler())


async def test_they_run_in_the_order_in_which_they_came(limits, message, clock):
    limit = limits.of(handler())
    first = await limit.enter("slow", message(), None)
    waiting = [entering(limit, message()) for _ in range(3)]
    await clock.advance(5)
    for task in waiting:
        assert not task.done()
        limit.leave(first)
        first = await task
        assert first == clock.monotonic()
        await clock.advance(5)
    assert limit.waiting == 0


async def test_a_place_that_is_given_up_in_the_step_in_which_it_is_granted_goes_to_the_next(limits, message, clock):
    limit = limits.of(handler())
    began = await limit.enter("slow", message(), None)
    messages = [message() for _ in range(3)]
    tasks = [entering(limit, each) for each in messages]
    await clock.advance(1)
    limit.leave(began)
    messages[0].interrupt()
    messages[1].interrupt()
    assert await tasks[0] == Interrupted()
    assert await tasks[1] == Interrupted()
    assert await tasks[2] == clock.monotonic()
    assert limit.waiting == 0


async def test_a_place_is_not_granted_to_one_that_was_cancelled_before(limits, message, clock):
    limit = limits.of(handler())
    began = await limit.enter("slow", message(), None)
    messages = [message(), message()]
    tasks = [entering(limit, each) for each in messages]
    await clock.advance(1)
    messages[0].interrupt()
    limit.leave(began)
    assert await tasks[0] == Interrupted()
    assert isinstance(await tasks[1], float)


async def test_a_cancellation_that_is_not_ours_gets_out_and_takes_no_place_along(limits, message, clock):
    limit = limits.of(handler())
    await limit.enter("slow", message(), None)
    task = entering(limit, message())
    await clock.advance(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert limit.waiting == 0


async def test_what_is_to_stop_neither_runs_nor_waits_nor_counts(limits, message, clock):
    limit = limits.of(handler())
    stopped = message()
    stopped.interrupt()
    assert await limit.enter("slow", stopped, None) == Interrupted()
    assert isinstance(await limit.enter("slow", message(), None), float)


async def test_a_stop_gives_back_messages_and_lets_direct_events_wait(limits, message, clock):
    limit = limits.of(handler())
    began = await limit.enter("slow", message(), None)
    received = entering(limit, message(Delivery("receipt", "key", b"{}")))
    direct = entering(limit, message())
    await clock.advance(1)
    limits.interrupt_waiting()
    assert await received == Interrupted()
    limit.leave(began)
    assert await direct == clock.monotonic()


async def test_all_handlers_together_let_no_more_wait_than_half_of_the_slots(limits, message, clock):
    tasks = []
    for name in "abcd":
        limit = limits.of(handler(name))
        tasks += [entering(limit, message()) for _ in range(10)]
    await clock.advance(0)
    came = [task.result() for task in tasks if task.done()]
    assert limits.waiting.total() == 8
    assert len([each for each in came if isinstance(each, AtLimit)]) == 40 - 4 - 8
    left = [task for task in tasks if not task.done()]
    assert len(left) == 8
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    assert limits.waiting.total() == 0
