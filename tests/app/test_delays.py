"""Delays of any length, by the queue's clock, whatever the node's says."""

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest

from dawdle import Retry
from dawdle.abc import Outgoing
from dawdle.backends.memory import Memory
from dawdle.hooks import Forwarded
from tests.app.events import Placed

pytestmark = pytest.mark.anyio

DAY = 86400.0


@pytest.mark.parametrize("skew", [0, 600, -600])
@pytest.mark.parametrize("delay", [0.5, 3, 900, 901, 40 * 60, DAY, pytest.param(30 * DAY, marks=pytest.mark.slow)])
async def test_a_delayed_event_runs_once_not_early_and_at_most_two_seconds_late(make_app, registry, clock, skew, delay):
    ran = []

    @registry.on_event(Placed)
    async def handler(event):
        ran.append(clock.monotonic())

    async with make_app(Memory(clock=clock, max_delay=900), clock=clock.skewed(skew)) as app:
        await clock.advance(12.345)
        start = clock.monotonic()
        await app.signal(Placed(), delay=delay)
        await clock.advance(delay + 900)
    assert len(ran) == 1
    assert 0 <= round(ran[0] - (start + delay), 6) <= 2  # epoch seconds in a float are no finer


async def test_a_day_takes_as_many_hops_as_the_queue_needs(running, registry, clock, moments):
    @registry.on_event(Placed)
    async def handler(event): ...

    async with running() as app:
        await app.signal(Placed(), delay=timedelta(days=1))
        await clock.advance(DAY)
        await app.idle()
    assert len([moment for moment in moments if isinstance(moment, Forwarded)]) == DAY / 900 - 1


async def test_a_node_whose_clock_steps_in_mid_delay_changes_nothing(running, registry, clock):
    ran = []

    class Stepping:
        step = 0.0
        monotonic, sleep_until = clock.monotonic, clock.sleep_until

        def now(self):
            return clock.now() + self.step

    node = Stepping()

    @registry.on_event(Placed)
    async def handler(event):
        ran.append(clock.monotonic())

    async with running(clock=node) as app:
        await app.signal(Placed(), delay=7200)
        for step in (3600.0, -3600.0, 10**6, 0.0):
            node.step = step
            await clock.advance(1500)
        assert ran == []
        await clock.advance(1202)
    assert len(ran) == 1
    assert 7200 <= ran[0] <= 7202


async def test_at_is_a_delay_by_the_signaling_nodes_clock(running, registry, clock):
    ran = []

    @registry.on_event(Placed)
    async def handler(event):
        ran.append((event.number, clock.monotonic()))

    async with running() as app:
        now = datetime.fromtimestamp(clock.now(), UTC)
        await app.signal(Placed(1), at=now + timedelta(hours=1))
        await app.signal(Placed(2), at=(now + timedelta(minutes=1)).astimezone(timezone(timedelta(hours=9))))
        await app.signal(Placed(3), at=now - timedelta(days=1))
        await clock.advance(4000)
    assert [number for number, _ in ran] == [3, 2, 1]
    assert [at for _, at in ran] == pytest.approx([0, 60, 3600], abs=0.01)


async def test_a_retry_beyond_the_queues_limit_hops_too(running, registry, clock):
    from dawdle import Retry

    ran = []

    @registry.on_event(Placed, retry=Retry(initial=5000, max_delay=5000, jitter=0, max_attempts=2))
    async def handler(event):
        ran.append(clock.monotonic())
        if len(ran) == 1:
            raise ValueError

    async with running() as app:
        await app.signal(Placed(), delay=100)
        await clock.advance(10_000)
    assert len(ran) == 2
    assert 5100 <= ran[1] <= 5102


class Timeless(Memory):
    """A queue without a clock of its own."""

    async def receive(self, limit, wait):
        return [
            msgspec.structs.replace(delivery, stored_at=None, received_at=None)
            for delivery in await super().receive(limit, wait)
        ]


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59-12:00"])
async def test_where_the_queue_has_no_clock_a_delay_counts_from_no_time_that_is_to_come(running, registry, clock, time):
    seen = []

    @registry.on_event(Placed)
    async def handler(event):
        seen.append(clock.monotonic())

    body = {"specversion": "1.0", "id": "f-1", "source": "/elsewhere", "type": "Placed", "time": time}
    queue = Timeless(clock=clock)
    async with running(queue):
        await queue.send([Outgoing(msgspec.json.encode({**body, "dawdledelay": "60000"}))])
        await clock.advance(59)
        assert seen == []
        await clock.advance(2)
    assert seen == [60]


class Jumping:
    """A clock whose time of day is set anew now and then, as by NTP or by hand."""

    def __init__(self, clock):
        self.offset = 0.0
        self.monotonic, self.sleep_until = clock.monotonic, clock.sleep_until
        self._clock = clock

    def now(self):
        return self._clock.now() + self.offset


@pytest.mark.parametrize("max_delay", [900, float("inf")])
@pytest.mark.parametrize("delay", [60, 3600])
@pytest.mark.parametrize("offsets", [[-DAY], [DAY], [DAY, -DAY, 0], [0.5, -0.5], [-10 * DAY, 10 * DAY]])
async def test_a_time_of_day_that_jumps_makes_no_delay_or_retry_early_or_late(
    make_app, registry, clock, max_delay, delay, offsets
):
    ran, jumping = [], Jumping(clock)

    @registry.on_event(Placed, retry=Retry(max_attempts=2, initial=2000, max_delay=2000, jitter=0))
    async def handler(event, ctx):
        ran.append(clock.monotonic())
        if ctx.attempt == 1:
            raise ValueError

    async with make_app(Memory(clock=jumping, max_delay=max_delay), clock=jumping) as app:
        start = clock.monotonic()
        await app.signal(Placed(), delay=delay)
        for step in range(30):
            jumping.offset = offsets[step % len(offsets)]
            await clock.advance(250)
    assert [round(each - start, 2) for each in ran] == [delay, delay + 2000]
