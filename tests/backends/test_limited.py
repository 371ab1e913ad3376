"""With each ability switched off, a queue passes the contract, and an app loses nothing and asks no more of it."""

import asyncio
from contextlib import asynccontextmanager

import msgspec
import pytest
from tests.backends.limited import LIMITED, Limited

from dawdle import Context, Dawdle, Registry, Reject, Retry
from dawdle._flow.processor import Processor
from dawdle.abc import Outgoing
from dawdle.errors import ConfigurationError
from dawdle.testing.contract import BackendContract

pytestmark = pytest.mark.anyio


@pytest.fixture(params=LIMITED, ids=lambda name: name.replace(" ", "_"))
def limited(request, clock):
    return Limited(clock=clock, **LIMITED[request.param])


class TestLimited(BackendContract):
    slack = 0.0

    @pytest.fixture(autouse=True)
    def made(self, limited, clock):
        self.backend, self.clock = limited, clock

    @asynccontextmanager
    async def opened(self):
        async with self.backend:
            yield self.backend

    async def parked(self):
        await self.passes(0)

    async def passes(self, seconds):
        await self.clock.advance(seconds)


class Placed(msgspec.Struct, frozen=True):
    number: int = 0


@pytest.fixture
def registry():
    return Registry()


@pytest.fixture
def app(limited, registry, clock):
    return Dawdle(limited, registry=registry, clock=clock, grace=5, retry=Retry(max_attempts=3, initial=20, jitter=0))


@pytest.fixture(autouse=True)
def nothing_is_overstepped(request):
    if "limited" not in request.fixturenames:
        yield
        return
    limited = request.getfixturevalue("limited")
    yield
    beyond = [each for queue in limited.all_queues for each in queue.overstepped]
    if request.cls is TestLimited:  # that refuses, and the suite tries it
        beyond = [each for each in beyond if not each.startswith("a delay")]
    assert beyond == []


@asynccontextmanager
async def entered(app, clock):
    """Enter an app, and let time pass while it is left."""
    await app.__aenter__()
    try:
        yield
    finally:
        leaving = asyncio.create_task(app.__aexit__(None, None, None))
        await clock.advance(30)
        await leaving


def left_in(limited):
    """Return what is stored but for the dead letters."""
    return [body for queue in limited.all_queues if queue is not limited.dead_letters for body in queue.messages()]


async def test_a_handler_that_fails_is_tried_again_in_time_and_its_sibling_is_not(app, registry, limited, clock):
    began, attempts, siblings = clock.monotonic(), [], []

    @registry.on_event(Placed, name="flaky")
    async def flaky(event: Placed, ctx: Context) -> None:
        attempts.append((ctx.attempt, clock.monotonic() - began))
        if ctx.attempt < 3:
            raise ConnectionError

    @registry.on_event(Placed, name="sibling")
    async def sibling(event: Placed) -> None:
        siblings.append(event.number)

    async with entered(app, clock):
        await app.signal(Placed(1))
        await clock.advance(200)
    assert [attempt for attempt, _ in attempts] == [1, 2, 3]
    for (_, at), due in zip(attempts, (0, 20, 60), strict=True):
        assert due <= at <= due + 3
    assert siblings == [1]
    assert left_in(limited) == []


async def test_a_delayed_event_is_handled_when_it_is_due(app, registry, limited, clock):
    began, seen = clock.monotonic(), []

    @registry.on_event(Placed, name="handler")
    async def handler(event: Placed) -> None:
        seen.append(clock.monotonic() - began)

    async with entered(app, clock):
        await app.signal(Placed(1), delay=100)
        await clock.advance(300)
    assert [100 <= at <= 103 for at in seen] == [True]
    assert left_in(limited) == []


async def test_what_is_given_up_is_a_letter_or_is_kept(app, registry, limited, clock):
    @registry.on_event(Placed, name="handler")
    async def handler(event: Placed) -> None:
        if event.number:
            raise Reject("never")
        raise ConnectionError

    async with entered(app, clock):
        await app.signal(Placed(0))
        await app.signal(Placed(1))
        await limited.send([Outgoing(b"no event at all")])
        await clock.advance(100)
        if limited.dead_letters is None:
            assert len(left_in(limited)) == 3
        else:
            assert left_in(limited) == []
            letters = [msgspec.json.decode(body) for body in limited.dead_letters.messages()]
            errors = sorted(letter["dawdleerror"].partition(":")[0] for letter in letters)
            assert errors == ["ConnectionError", "Reject", "not a CloudEvent 1.0 in JSON"]


async def test_a_stop_in_the_middle_loses_nothing(app, registry, limited, clock):
    started, done = [], []

    @registry.on_event(Placed, name="slow")
    async def slow(event: Placed) -> None:
        started.append(event.number)
        await clock.sleep_until(clock.monotonic() + 8)
        done.append(event.number)

    @registry.on_event(Placed, name="quick")
    async def quick(event: Placed) -> None:
        done.append(-event.number)

    async with entered(app, clock):
        await app.signal_many([Placed(number) for number in range(1, 8)])
        await app.signal(Placed(8), delay=30)
        await clock.advance(2)
    assert started
    async with entered(app, clock):
        await clock.advance(150)
    assert set(done) == {number for each in range(1, 9) for number in (each, -each)}
    assert left_in(limited) == []


async def test_copies_that_cannot_be_stored_for_a_while_are_not_lost(app, registry, limited, clock):
    attempts = []

    @registry.on_event(Placed, name="flaky")
    async def flaky(event: Placed, ctx: Context) -> None:
        attempts.append(ctx.attempt)
        if ctx.attempt < 2:
            raise ConnectionError

    async with entered(app, clock):
        await app.signal(Placed(1))
        set_away(limited, away=True)
        await clock.advance(25)
        set_away(limited, away=False)
        await clock.advance(300)
    assert sorted(set(attempts)) == [1, 2]
    assert len(attempts) <= 4
    assert left_in(limited) == []


@pytest.mark.parametrize("second", [None, {"max_delay": 0}])
async def test_an_app_does_not_start_where_no_message_could_wait(clock, second):
    queue = Limited(clock=clock, max_delay=0, can_release_later=False, second=second)
    with pytest.raises(ConfigurationError, match="neither delay a message nor release one for later"):
        async with Dawdle(queue, registry=Registry(), clock=clock):
            pass


async def test_a_mistake_of_ours_delays_a_message_and_neither_loses_it_nor_runs_hot(
    app, registry, limited, clock, monkeypatch
):
    decided, run_all, done = [], Processor._run_all, []

    def mistaken(self, work):
        decided.append(clock.monotonic())
        if len(decided) == 1:
            raise AssertionError("a mistake")
        return run_all(self, work)

    monkeypatch.setattr(Processor, "_run_all", mistaken)

    @registry.on_event(Placed, name="handler")
    async def handler(event: Placed) -> None:
        done.append(clock.monotonic() - decided[0])

    async with entered(app, clock):
        await app.signal(Placed(1))
        await clock.advance(100)
    assert [30 <= at <= 33 for at in done] == [True]
    assert len(decided) <= 4
    assert left_in(limited) == []


async def test_a_poll_that_cannot_be_cancelled_ends_in_time_for_a_stop(registry, clock):
    queue = Limited(clock=clock, receive_cancellable=False)
    registry.on_event(Placed, name="handler")(print)
    app = Dawdle(queue, registry=registry, clock=clock, grace=60)
    await app.__aenter__()
    await clock.advance(1)
    leaving = asyncio.create_task(app.__aexit__(None, None, None))
    await clock.advance(20)
    assert leaving.done()
    await leaving


def set_away(limited, *, away):
    for queue in limited.all_queues:
        queue.away = away
