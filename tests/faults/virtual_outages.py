"""A queue that fails for minutes: silence, 5xx, throttling, access denied, missing, full. Rows 8, 11, 12, 14, 15, 27.

A node of ten slots has one receiver, so the calls of a node are those of one receiver.
"""

import asyncio
import logging
import math
from bisect import bisect_left
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from tests.faults.cluster import Cluster, Happened, SeedResult
from tests.faults.fault_injection import NO_FAULTS, Call, FaultRates
from tests.faults.row import Figures, Scale, row
from tests.faults.run_record import Behaviour, random_behaviour
from tests.faults.seeds import run_seeds

MINUTE: Final = 60.0

MAX_BACKOFF_SECONDS: Final = 30.0
MAX_BACKOFF_DENIED_SECONDS: Final = 60.0
"""Seconds of the longest back-off: when the queue cannot be reached, and when it is missing or access is denied."""

SLACK: Final = 1.0
"""Seconds for calls that are on their way."""


def receives(cluster: Cluster, since: float, until: float, node: int | None = None) -> list[float]:
    """Return when the receives were made, in order."""
    return sorted(
        call.at
        for call in cluster.faults.calls
        if call.operation == "receive" and since <= call.at < until and node in {None, call.node}
    )


def most_in_a_minute(cluster: Cluster, since: float, until: float) -> int:
    """Return the most receives that one node made in any minute."""
    most = 0
    for node in range(len(cluster.apps)):
        times = receives(cluster, since, until, node)
        most = max([most, *(bisect_left(times, at + MINUTE) - place for place, at in enumerate(times))])
    return most


def first_good(cluster: Cluster, since: float) -> float:
    """Return how long after `since` the last node made its first receive that was answered."""
    took = 0.0
    for node in range(len(cluster.apps)):
        good = [call.at for call in cluster.faults.calls if _is_good_receive(call, node) and call.at >= since]
        took = max(took, min(good, default=math.inf) - since)
    return took


def _is_good_receive(call: Call, node: int) -> bool:
    return (call.node, call.operation, call.result) == (node, "receive", "ok")


def health_is(cluster: Cluster, healthy: bool, when: str) -> None:
    """Check the health that each node reports."""
    for app in cluster.apps:
        ask = getattr(app, "health", None)
        if ask is None:
            cluster.result.must(False, "there is no app.health()")
            return
        health = ask()
        cluster.result.must(health.healthy == healthy, f"{when} it says healthy={health.healthy}, {health.reasons}")


@row(8, "virtual", "a server that accepts and says nothing", must="unhealthy ≤ 60 s, recovers alone")
def silence(scale: Scale) -> Figures:
    async def story(seed: int, result: SeedResult) -> None:
        # The client gives up; it never does, and the server comes back; neither, so that the node is replaced.
        mode = ("gives up", "is cut", "for ever")[seed % 3]
        patience = 10.0 if mode == "gives up" else math.inf
        async with Cluster(
            seed, result, nodes=1 + seed % 2, patience=patience, plan=random_behaviour(seed, longest=20)
        ) as cluster:
            cluster.signal_some(10, over=200)
            await cluster.clock.advance(90)
            health_is(cluster, True, "before the silence")
            cluster.faults.rates = FaultRates(silence=1.0)
            await cluster.clock.advance(60 + SLACK)
            health_is(cluster, False, "60 s into the silence")
            await cluster.clock.advance(300 * cluster.random.random())
            cluster.stop_faults()
            ended = cluster.clock.monotonic()
            if mode == "is cut":
                cluster.faults.reset_hung_calls()
            elif mode == "for ever":
                await cluster.replace_all_while_calls_hang()
            await cluster.clock.advance(2 * MINUTE)
            if mode != "for ever":
                # What was asked in the last moment of the silence is given up only after a poll's wait and patience.
                longest = MAX_BACKOFF_SECONDS + (30.0 if mode == "gives up" else 0.0) + SLACK
                result.note_max("first receive after, s", first_good(cluster, ended))
                result.must(first_good(cluster, ended) <= longest, f"no receive for {first_good(cluster, ended):.0f} s")
            health_is(cluster, True, "two minutes after the silence")
            await cluster.drain()
            cluster.check_promises()

    return run_seeds(scale, 1000, story)


@row(11, "virtual", "half of all answers 5xx for 5 min", must="≤ 5 requests/s per receiver, first receive ≤ 30 s after")
def server_errors(scale: Scale) -> Figures:
    async def story(seed: int, result: SeedResult) -> None:
        # Each answer by itself, or all of them half of the time: what is half for the first is all for the second.
        every = (None, 1.0, 5.0, 30.0, 150.0)[seed % 5]
        async with Cluster(seed, result, nodes=1 + seed % 2, plan=random_behaviour(seed, longest=5)) as cluster:
            cluster.signal_some(60, over=300)
            await cluster.clock.advance(1)
            began = cluster.clock.monotonic()
            while cluster.clock.monotonic() < began + 300:
                cluster.faults.rates = FaultRates(unavailable=0.5 if every is None else 1.0)
                await cluster.clock.advance(every or 300)
                cluster.stop_faults()
                await cluster.clock.advance(every or 0)
            ended = cluster.clock.monotonic() - (every or 0)
            await cluster.drain()
            rate = most_in_a_minute(cluster, began, began + 300) / MINUTE
            result.note_max("requests/s", rate)
            result.must(rate <= 5, f"{rate:.1f} receives a second")
            result.note_max("first receive after, s", first_good(cluster, ended))
            result.must(
                first_good(cluster, ended) <= MAX_BACKOFF_SECONDS + SLACK, "no receive within the longest back-off"
            )
            cluster.check_promises()

    return run_seeds(scale, 400, story)


@row(12, "virtual", "90 % throttled for 2 min", must="full rate ≤ 30 s after")
def throttled(scale: Scale) -> Figures:
    async def story(seed: int, result: SeedResult) -> None:
        # Calls of two seconds, so that one receiver alone is far from the full rate, and has to be joined by others.
        rates = FaultRates(slow=(1.0, 1.0))
        async with Cluster(seed, result, handlers=("a",), plan=_takes(1.0), concurrency=40) as cluster:
            await _signal_all(cluster, 1200)
            cluster.faults.rates = rates
            full = await _rate(cluster, after=10, over=15)
            cluster.faults.rates = FaultRates(slow=(1.0, 1.0), throttled=0.9)
            await cluster.clock.advance(120)
            cluster.faults.rates = rates
            ended = cluster.clock.monotonic()
            await cluster.clock.advance(60)
            again = next((at for at in range(46) if _ended(cluster, ended + at, 15) / 15 >= 0.9 * full), math.inf)
            result.note_max("full rate after, s", again)
            result.must(
                again <= 30, f"full rate ({full:.1f}/s) {again} s after; then {_ended(cluster, ended + 30, 15)}"
            )
            await cluster.drain()
            cluster.check_promises()

    return run_seeds(scale, 120, story)


async def _signal_all(cluster: Cluster, count: int) -> None:
    numbers = [cluster.new_number() for _ in range(count)]
    cluster.record.signaled.update(numbers)
    signaling = asyncio.create_task(cluster.apps[0].signal_many([Happened(number) for number in numbers]))
    while not signaling.done():
        await cluster.clock.advance(0.1)
    await signaling


async def _rate(cluster: Cluster, after: float, over: float) -> float:
    await cluster.clock.advance(after)
    began = cluster.clock.monotonic()
    await cluster.clock.advance(over)
    return _ended(cluster, began, over) / over


def _ended(cluster: Cluster, since: float, over: float) -> int:
    ended = cluster.record.finished_at
    return bisect_left(ended, since + over) - bisect_left(ended, since)


def _takes(seconds: float):
    deed = Behaviour(seconds=seconds)
    return lambda number, handler: deed


@row(14, "virtual", "access denied for 5 min", must="≤ 6 requests/min each, unhealthy at once, back ≤ 60 s after")
def denied(scale: Scale) -> Figures:
    async def story(seed: int, result: SeedResult) -> None:
        async with Cluster(seed, result, nodes=1 + seed % 3, plan=random_behaviour(seed, longest=20)) as cluster:
            cluster.signal_some(12, over=400)
            await _deny_access(cluster, FaultRates(denied=1.0), 300)
            await cluster.drain()
            cluster.check_promises()

    return run_seeds(scale, 1000, story)


@row(15, "virtual", "queue gone and back", must="≤ 6 requests/min each, unhealthy at once, back ≤ 60 s after")
def missing(scale: Scale) -> Figures:
    async def story(seed: int, result: SeedResult) -> None:
        async with Cluster(seed, result, nodes=1 + seed % 3, plan=random_behaviour(seed, longest=20)) as cluster:
            cluster.signal_some(12, over=400)
            await _deny_access(
                cluster, FaultRates(missing=1.0), 60 + 540 * cluster.random.random(), empties=seed % 2 == 1
            )
            cluster.signal_some(5, over=20)
            await cluster.drain()
            cluster.check_promises()

    return run_seeds(scale, 800, story)


async def _deny_access(cluster: Cluster, rates: FaultRates, seconds: float, *, empties: bool = False) -> None:
    """Let every call fail for `seconds`; check how often the nodes call, and when they receive again.

    `empties`: the queue was deleted with its messages, so only events that are signaled from then on must run.
    """
    result = cluster.result
    await cluster.clock.advance(60)
    health_is(cluster, True, "before")
    cluster.faults.rates = rates
    began = cluster.clock.monotonic()
    if empties:
        cluster.queue.purge()
        cluster.record.signaled.clear()
    await cluster.clock.advance(30)  # the polls that were open come back, and the next ones fail
    health_is(cluster, False, "30 s in")
    await cluster.clock.advance(seconds - 30)
    cluster.stop_faults()
    ended = cluster.clock.monotonic()
    await cluster.clock.advance(2 * MINUTE)
    # The poll before the first refusal was none of it.
    refused = min((call.at for call in cluster.faults.calls if call.result in {"denied", "missing"}), default=began)
    most = most_in_a_minute(cluster, refused, ended)
    result.note_max("requests/min", most)
    result.must(most <= 6, f"{most} receives a minute")
    result.note_max("first receive after, s", first_good(cluster, ended))
    result.must(
        first_good(cluster, ended) <= MAX_BACKOFF_DENIED_SECONDS + SLACK,
        f"first receive {first_good(cluster, ended):.0f} s after",
    )
    health_is(cluster, True, "two minutes after")


@row(27, "virtual", "in-flight limit reached", must="a warning, drains")
def in_flight(scale: Scale) -> Figures:
    async def story(seed: int, result: SeedResult) -> None:
        # SQS tells those that do not wait; to those that do it says nothing, and gives nothing.
        short = seed % 2 == 0
        async with Cluster(
            seed,
            result,
            nodes=1 + seed % 3,
            in_flight=4,
            wait=0 if short else 20,
            rates=FaultRates(slow=(0.2, 0.2)) if short else NO_FAULTS,
            plan=random_behaviour(seed, longest=40),
            concurrency=20,
        ) as cluster:
            with warnings_heard() as heard:
                cluster.signal_some(24, over=10)
                took = await cluster.drain(900)
            told = [text for text in heard if "flight" in text]
            refused = sum(call.result == "throttled" for call in cluster.faults.calls)
            result.counts["refused"] += refused
            result.counts["warnings"] += len(told)
            result.must(bool(told) or not refused, f"{refused} receives were refused, and no warning")
            result.note_max("drained after, s", took)
            cluster.check_promises(allowed=lambda run: 0)

    return run_seeds(scale, 700, story, needs="refused")


@contextmanager
def warnings_heard() -> Generator[list[str]]:
    """Yield the warnings that dawdle logs."""
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
