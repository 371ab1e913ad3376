"""One handler's odd error concerns that handler alone: it fails, is retried and dead-lettered as any other."""

import asyncio

import msgspec
import pytest

from dawdle import Context, Reject, Retry, RetryLater
from tests.app.events import Placed

pytestmark = pytest.mark.anyio


class Forgetful(RetryLater):
    def __init__(self, why):
        self.why = why


class ForgetfulReject(Reject):
    def __init__(self, why):
        self.why = why


class Saying(RetryLater):
    def __init__(self, seconds):
        self.seconds = seconds


class Property(RetryLater):
    def __init__(self):
        pass

    @property
    def seconds(self):
        raise SystemExit


def unspeakable(kind):
    class Unspeakable(Exception):
        def __str__(self):
            raise kind

    return Unspeakable()


class Closed(BaseExceptionGroup):
    @property
    def exceptions(self):
        raise ValueError


ODD = {
    "a RetryLater that forgot super().__init__": lambda: Forgetful("the bank is closed"),
    "a RetryLater with text": lambda: Saying("soon"),
    "a RetryLater below 0": lambda: Saying(-1),
    "a RetryLater of NaN": lambda: Saying(float("nan")),
    "a RetryLater for ever": lambda: Saying(float("inf")),
    "a RetryLater of too many digits": lambda: Saying(10**5000),
    "a RetryLater whose seconds exit": Property,
    "a str that raises": lambda: unspeakable(ValueError),
    "a str that exits": lambda: unspeakable(SystemExit),
    "a str that cancels": lambda: unspeakable(asyncio.CancelledError),
    "a str that ends a generator": lambda: unspeakable(GeneratorExit),
    "GeneratorExit": GeneratorExit,
    "StopIteration": StopIteration,
    "StopAsyncIteration": StopAsyncIteration,
    "SystemExit": lambda: SystemExit(3),
    "CancelledError": asyncio.CancelledError,
    "a group of exits": lambda: BaseExceptionGroup("two", [SystemExit(), GeneratorExit()]),
    "a group that hides what it holds": lambda: Closed("one", [ValueError()]),
    "a deep group": lambda: deep(200),
}


def deep(levels):
    error = ConnectionError("at the bottom")
    for _ in range(levels):
        error = ExceptionGroup("one", [error])
    return error


@pytest.mark.parametrize("way", ["queued", "direct"])
@pytest.mark.parametrize("where", ["task", "thread"])
@pytest.mark.parametrize("make", ODD.values(), ids=ODD.keys())
async def test_an_odd_error_fails_its_own_handler_and_no_other(running, registry, clock, letters, make, where, way):
    runs = []

    @registry.on_event(Placed, name="good")
    async def good(event):
        runs.append("good")
        await clock.sleep_until(clock.monotonic() + 0.1)
        runs.append("good done")

    if where == "task":

        @registry.on_event(Placed, name="odd", retry=Retry(max_attempts=2, initial=1, jitter=0))
        async def odd(event):
            runs.append("odd")
            raise make()
    else:

        @registry.on_event(Placed, name="odd", retry=Retry(max_attempts=2, initial=1, jitter=0))
        def odd(event):
            runs.append("odd")
            raise make()

    async with running() as app:
        await app.signal(Placed(), direct=way == "direct")
        for _ in range(200):
            await clock.advance(0.1)
            if letters():
                break
            await asyncio.sleep(0.001 if where == "thread" else 0)
        health = app.health()
    assert sorted(runs) == ["good", "good done", "odd", "odd"]
    (letter,) = letters()
    assert (letter["dawdleowed"], letter["dawdleattempt"]) == ("odd", 2)
    assert health.healthy, health.reasons


async def test_a_reject_that_forgot_its_init_is_a_reject(running, registry, clock, letters):
    @registry.on_event(Placed, name="odd")
    async def odd(event):
        raise ForgetfulReject("closed")

    async with running() as app:
        await app.signal(Placed())
        await clock.advance(1)
    assert letters()[0]["dawdleattempt"] == 1


async def raising(error):
    await asyncio.sleep(0)
    raise error


async def test_what_a_handlers_own_group_raises_steers_its_retry(running, registry, clock, letters):
    runs = []

    @registry.on_event(Placed, name="h", retry=Retry(max_attempts=2, initial=10, jitter=0))
    async def handler(event, ctx):
        runs.append((clock.monotonic(), ctx.attempt))
        errors = {
            0: [RetryLater(30), RetryLater(60)],
            1: [RetryLater(30), ConnectionError("away")],
            2: [RetryLater(30), Reject("closed"), ConnectionError("away")],
        }[len(runs) - 1]
        async with asyncio.TaskGroup() as group:
            for error in errors:
                group.create_task(raising(error))

    async with running() as app:
        await app.signal(Placed())
        await clock.advance(200)
    assert runs == [(0.0, 1), (60.0, 1), (70.0, 2)]
    told = letters()[0]["dawdleerror"]
    assert "Reject: closed" in told
    assert "ConnectionError: away" in told


async def test_an_error_that_is_final_is_dead_lettered_at_its_first_attempt(running, registry, clock, letters):
    runs = []

    @registry.on_event(Placed, name="h", retry=Retry(max_attempts=5, initial=1, never=(ValueError,)))
    async def handler(event):
        runs.append(event.number)
        if event.number == 1:
            raise ValueError("no such customer")
        async with asyncio.TaskGroup() as group:
            group.create_task(raising(ValueError("no such order")))

    async with running() as app:
        await app.signal_many([Placed(1), Placed(2)])
        await clock.advance(100)
    assert sorted(runs) == [1, 2]
    assert sorted(letter["dawdleerror"] for letter in letters()) == [
        "ValueError: no such customer",
        "ValueError: no such order",
    ]


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("handlers", [1, 2])
async def test_a_handler_that_cancels_its_own_task_has_failed_and_nothing_else_has(
    running, registry, queue, clock, direct, handlers
):
    runs = []

    @registry.on_event(Placed, name="own", retry=Retry(initial=10, jitter=0))
    async def own(event, ctx: Context):
        runs.append(("own", ctx.attempt))
        if ctx.attempt == 1:
            asyncio.current_task().cancel()
            await asyncio.sleep(0)

    if handlers == 2:

        @registry.on_event(Placed, name="good")
        async def good(event):
            runs.append("good")

    async with running() as app:
        await app.signal(Placed(), direct=direct)
        await clock.advance(9)
        (copy,) = map(msgspec.json.decode, queue.messages())
        assert (copy["dawdleowed"], copy["dawdleerror"]) == ("own", "CancelledError")
        await clock.advance(100)
    assert runs == [("own", 1), *["good"] * (handlers - 1), ("own", 2)]


async def test_what_a_handler_raises_after_it_cancelled_its_own_task_is_settled_once(running, registry, queue, clock):
    @registry.on_event(Placed, name="own")
    async def handler(event):
        asyncio.current_task().cancel()
        raise RetryLater(1000)

    async with running() as app:
        await app.signal(Placed())
        await clock.advance(100)
        (copy,) = map(msgspec.json.decode, queue.messages())
        assert copy["dawdleowed"] == "own"
