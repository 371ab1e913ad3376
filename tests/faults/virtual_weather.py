"""A queue that is away for minutes: silent, failing, throttling, closed to us, gone, full. Rows 8, 11, 12, 14, 15, 27.

A node of ten slots has one receiver, so what one receiver asks for is what its node asks for.
"""

import asyncio
import logging
import math
from bisect import bisect_left
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from tests.faults.ledger import Deed, moody
from tests.faults.row import Figures, Scale, row
from tests.faults.seeds import run_seeds
from tests.faults.trouble import CALM, Call, Rates
from tests.faults.world import Happened, Tally, World

MINUTE: Final = 60.0

LONGEST_PAUSE: Final = 30.0
LONGEST_PAUSE_SHUT_OUT: Final = 60.0
"""Seconds of the longest back-off: when the queue cannot be reached, and when it is missing or lets nobody in."""

SLACK: Final = 1.0
"""Seconds for calls that are on their way."""


def receives(world: World, since: float, until: float, node: int | None = None) -> list[float]:
    """Return when the receives were made, in order."""
    return sorted(
        call.at
        for call in world.trouble.calls
        if call.operation == "receive" and since <= call.at < until and node in {None, call.node}
    )


def most_in_a_minute(world: World, since: float, until: float) -> int:
    """Return the most receives that one node made in any minute."""
    most = 0
    for node in range(len(world.apps)):
        times = receives(world, since, until, node)
        most = max([most, *(bisect_left(times, at + MINUTE) - place for place, at in enumerate(times))])
    return most


def first_good(world: World, since: float) -> float:
    """Return how long after `since` the last node made its first receive that was answered."""
    took = 0.0
    for node in range(len(world.apps)):
        good = [call.at for call in world.trouble.calls if _is_good_receive(call, node) and call.at >= since]
        took = max(took, min(good, default=math.inf) - since)
    return took


def _is_good_receive(call: Call, node: int) -> bool:
    return (call.node, call.operation, call.came_of_it) == (node, "receive", "ok")


def health_is(world: World, healthy: bool, when: str) -> None:
    """See what each node says of itself."""
    for app in world.apps:
        ask = getattr(app, "health", None)
        if ask is None:
            world.tally.must(False, "there is no app.health()")
            return
        health = ask()
        world.tally.must(health.healthy == healthy, f"{when} it says healthy={health.healthy}, {health.reasons}")


@row(8, "virtual", "a server that accepts and says nothing", must="unhealthy ≤ 60 s, recovers alone")
def silence(scale: Scale) -> Figures:
    async def story(seed: int, tally: Tally) -> None:
        # The client gives up; it never does, and the server comes back; neither, so that the node is replaced.
        mode = ("gives up", "is cut", "for ever")[seed % 3]
        patience = 10.0 if mode == "gives up" else math.inf
        async with World(seed, tally, nodes=1 + seed % 2, patience=patience, plan=moody(seed, longest=20)) as world:
            world.signal_some(10, over=200)
            await world.clock.advance(90)
            health_is(world, True, "before the silence")
            world.trouble.rates = Rates(silence=1.0)
            await world.clock.advance(60 + SLACK)
            health_is(world, False, "60 s into the silence")
            await world.clock.advance(300 * world.random.random())
            world.calm()
            ended = world.clock.monotonic()
            if mode == "is cut":
                world.trouble.speak()
            elif mode == "for ever":
                await world.kill_calls()
            await world.clock.advance(2 * MINUTE)
            if mode != "for ever":
                # What was asked in the last moment of the silence is given up only after a poll's wait and patience.
                longest = LONGEST_PAUSE + (30.0 if mode == "gives up" else 0.0) + SLACK
                tally.reach("first receive after, s", first_good(world, ended))
                tally.must(first_good(world, ended) <= longest, f"no receive for {first_good(world, ended):.0f} s")
            health_is(world, True, "two minutes after the silence")
            await world.drain()
            world.judge()

    return run_seeds(scale, 1000, story)


@row(11, "virtual", "half of all answers 5xx for 5 min", must="≤ 5 requests/s per receiver, first receive ≤ 30 s after")
def server_errors(scale: Scale) -> Figures:
    async def story(seed: int, tally: Tally) -> None:
        # Each answer by itself, or all of them half of the time: what is half for the first is all for the second.
        every = (None, 1.0, 5.0, 30.0, 150.0)[seed % 5]
        async with World(seed, tally, nodes=1 + seed % 2, plan=moody(seed, longest=5)) as world:
            world.signal_some(60, over=300)
            await world.clock.advance(1)
            began = world.clock.monotonic()
            while world.clock.monotonic() < began + 300:
                world.trouble.rates = Rates(unavailable=0.5 if every is None else 1.0)
                await world.clock.advance(every or 300)
                world.calm()
                await world.clock.advance(every or 0)
            ended = world.clock.monotonic() - (every or 0)
            await world.drain()
            rate = most_in_a_minute(world, began, began + 300) / MINUTE
            tally.reach("requests/s", rate)
            tally.must(rate <= 5, f"{rate:.1f} receives a second")
            tally.reach("first receive after, s", first_good(world, ended))
            tally.must(first_good(world, ended) <= LONGEST_PAUSE + SLACK, "no receive within the longest back-off")
            world.judge()

    return run_seeds(scale, 400, story)


@row(12, "virtual", "90 % throttled for 2 min", must="full rate ≤ 30 s after")
def throttled(scale: Scale) -> Figures:
    async def story(seed: int, tally: Tally) -> None:
        # Calls of two seconds, so that one receiver alone is far from the full rate, and has to be joined by others.
        rates = Rates(slow=(1.0, 1.0))
        async with World(seed, tally, handlers=("a",), plan=_takes(1.0), concurrency=40) as world:
            await _signal_all(world, 1200)
            world.trouble.rates = rates
            full = await _rate(world, after=10, over=15)
            world.trouble.rates = Rates(slow=(1.0, 1.0), throttled=0.9)
            await world.clock.advance(120)
            world.trouble.rates = rates
            ended = world.clock.monotonic()
            await world.clock.advance(60)
            again = next((at for at in range(46) if _ended(world, ended + at, 15) / 15 >= 0.9 * full), math.inf)
            tally.reach("full rate after, s", again)
            tally.must(again <= 30, f"full rate ({full:.1f}/s) {again} s after; then {_ended(world, ended + 30, 15)}")
            await world.drain()
            world.judge()

    return run_seeds(scale, 120, story)


async def _signal_all(world: World, count: int) -> None:
    numbers = [world.number() for _ in range(count)]
    world.ledger.signaled.update(numbers)
    signaling = asyncio.create_task(world.apps[0].signal_many([Happened(number) for number in numbers]))
    while not signaling.done():
        await world.clock.advance(0.1)
    await signaling


async def _rate(world: World, after: float, over: float) -> float:
    await world.clock.advance(after)
    began = world.clock.monotonic()
    await world.clock.advance(over)
    return _ended(world, began, over) / over


def _ended(world: World, since: float, over: float) -> int:
    ended = world.ledger.ended
    return bisect_left(ended, since + over) - bisect_left(ended, since)


def _takes(seconds: float):
    deed = Deed(seconds=seconds)
    return lambda number, handler: deed


@row(14, "virtual", "access denied for 5 min", must="≤ 6 requests/min each, unhealthy at once, back ≤ 60 s after")
def denied(scale: Scale) -> Figures:
    async def story(seed: int, tally: Tally) -> None:
        async with World(seed, tally, nodes=1 + seed % 3, plan=moody(seed, longest=20)) as world:
            world.signal_some(12, over=400)
            await _shut_out(world, Rates(denied=1.0), 300)
            await world.drain()
            world.judge()

    return run_seeds(scale, 1000, story)


@row(15, "virtual", "queue gone and back", must="≤ 6 requests/min each, unhealthy at once, back ≤ 60 s after")
def missing(scale: Scale) -> Figures:
    async def story(seed: int, tally: Tally) -> None:
        async with World(seed, tally, nodes=1 + seed % 3, plan=moody(seed, longest=20)) as world:
            world.signal_some(12, over=400)
            await _shut_out(world, Rates(missing=1.0), 60 + 540 * world.random.random(), empties=seed % 2 == 1)
            world.signal_some(5, over=20)
            await world.drain()
            world.judge()

    return run_seeds(scale, 800, story)


async def _shut_out(world: World, rates: Rates, seconds: float, *, empties: bool = False) -> None:
    """Let every call fail for so long, and see how often the nodes ask, and when they are back.

    `empties`: the queue's messages are gone with it, by who deleted it; what is signaled from then on is not.
    """
    tally = world.tally
    await world.clock.advance(60)
    health_is(world, True, "before")
    world.trouble.rates = rates
    began = world.clock.monotonic()
    if empties:
        world.queue.purge()
        world.ledger.signaled.clear()
    await world.clock.advance(30)  # the polls that were open come back, and the next ones fail
    health_is(world, False, "30 s in")
    await world.clock.advance(seconds - 30)
    world.calm()
    ended = world.clock.monotonic()
    await world.clock.advance(2 * MINUTE)
    # The poll before the first refusal was none of it.
    refused = min((call.at for call in world.trouble.calls if call.came_of_it in {"denied", "missing"}), default=began)
    most = most_in_a_minute(world, refused, ended)
    tally.reach("requests/min", most)
    tally.must(most <= 6, f"{most} receives a minute")
    tally.reach("first receive after, s", first_good(world, ended))
    tally.must(
        first_good(world, ended) <= LONGEST_PAUSE_SHUT_OUT + SLACK,
        f"first receive {first_good(world, ended):.0f} s after",
    )
    health_is(world, True, "two minutes after")


@row(27, "virtual", "in-flight limit reached", must="a warning, drains")
def in_flight(scale: Scale) -> Figures:
    async def story(seed: int, tally: Tally) -> None:
        # SQS tells those that do not wait; to those that do it says nothing, and gives nothing.
        short = seed % 2 == 0
        async with World(
            seed,
            tally,
            nodes=1 + seed % 3,
            in_flight=4,
            wait=0 if short else 20,
            rates=Rates(slow=(0.2, 0.2)) if short else CALM,
            plan=moody(seed, longest=40),
            concurrency=20,
        ) as world:
            with warnings_heard() as heard:
                world.signal_some(24, over=10)
                took = await world.drain(900)
            told = [text for text in heard if "flight" in text]
            refused = sum(call.came_of_it == "throttled" for call in world.trouble.calls)
            tally.counts["refused"] += refused
            tally.counts["warnings"] += len(told)
            tally.must(bool(told) or not refused, f"{refused} receives were refused, and no warning")
            tally.reach("drained after, s", took)
            world.judge(allowed=lambda run: 0)

    return run_seeds(scale, 700, story, needs="refused")


@contextmanager
def warnings_heard() -> Generator[list[str]]:
    """Yield what dawdle warns of."""
    heard: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record.getMessage())

    log, ear = logging.getLogger("dawdle"), Ear(logging.WARNING)
    level, propagate = log.level, log.propagate
    log.addHandler(ear)
    log.setLevel(logging.WARNING)
    log.propagate = False
    try:
        yield heard
    finally:
        log.setLevel(level)
        log.propagate = propagate
        log.removeHandler(ear)
