"""What a fleet goes through: steady load, a burst, a deploy that replaces every node, a time of idling.

Nodes run dawdle's own code, and the queue is the test server's. Virtual are only time and the network: each request
takes 5 to 20 ms. A handler takes 0 to 100 ms, and no node has to share a processor.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import quantiles
from typing import Final, Self

import msgspec

from tests.faults.cluster import Cluster, SeedResult
from tests.faults.fault_injection import FaultRates
from tests.faults.run_record import Behaviour
from tests.fleet.counted import REQUESTS, Counted
from tests.fleet.virtual_time import LoopClock

ONE_WAY: Final = (0.0025, 0.01)
"""Seconds from a node to the queue, and as many back."""

LEASE_SECONDS: Final = 60
CONCURRENCY: Final = 100
"""Messages in flight on one node: dawdle's default."""

STEP_SECONDS: Final = 0.01
"""How exactly the end of a drain is measured."""

MAX_DRAIN_SECONDS: Final = 3600.0

SETTLE_SECONDS: Final = 60.0
"""Seconds after the start that are not counted as idle."""

MAX_SLOW_SECONDS: Final = 60.0
MAX_EVENTS: Final = 1_000_000

Progress = Callable[[float], None]
"""Is called with the share of a scenario that is done."""


def fast_handlers(number: int, handler: str) -> Behaviour:
    """Let a handler take 0 to 100 ms, and the same on any node."""
    return Behaviour(seconds=_share(number) * 0.1)


def some_slow_handlers(number: int, handler: str) -> Behaviour:
    """Let one handler of a hundred take up to a minute."""
    share = _share(number)
    return Behaviour(seconds=MAX_SLOW_SECONDS * (1 - share) * 100 if share > 0.99 else share * 0.1)


class Fleet:
    """A cluster without faults, and the load on it. Use it with `async with`."""

    def __init__(
        self, nodes: int, seed: int, progress: Progress, plan: Callable[[int, str], Behaviour] = fast_handlers
    ) -> None:
        self._chance = random.getstate()
        random.seed(f"a fleet of {nodes} with seed {seed}")  # dawdle's own: jitter
        self.nodes = nodes
        self.progress = progress
        self.result = SeedResult()
        self.clock = LoopClock(asyncio.get_running_loop())
        self.cluster = Cluster(
            seed,
            self.result,
            nodes=nodes,
            rates=FaultRates(latency=ONE_WAY),
            handlers=("handler",),
            plan=plan,
            lease=LEASE_SECONDS,
            concurrency=CONCURRENCY,
            clock=self.clock,
        )
        self.serving = list(range(nodes))
        """The nodes that are not being replaced: those that signal."""

        self._signaled = 0

    async def __aenter__(self) -> Self:
        await self.cluster.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.cluster.__aexit__(*error)
        random.setstate(self._chance)

    def signal(self, node: int, delay: float | None = None) -> None:
        """Signal one event in the background."""
        self._signaled += 1
        self.cluster.spawn(self.cluster.signal(self._signaled, node, delay=delay))

    async def signal_at(self, per_second: float, count: int) -> None:
        """Signal events one by one, each on a random node, at random times."""
        draw = self.cluster.random
        for number in range(count):
            await self.clock.advance(draw.expovariate(per_second))
            self.signal(draw.choice(self.serving or range(self.nodes)))
            if number % 100 == 0:
                self.progress(number / count)

    async def drain(self, of: int = 0, patience: float = MAX_DRAIN_SECONDS) -> float:
        """Wait until the queue is empty, and return how long that took."""
        began, record = self.clock.monotonic(), self.cluster.record
        while self.clock.monotonic() < began + patience and (
            len(record.signaled) < self._signaled or self.cluster.queue.message_count
        ):
            await self.clock.advance(STEP_SECONDS)
            if of:
                self.progress(len(record.finished) / of)
        took = self.clock.monotonic() - began
        await self.clock.advance(2 * ONE_WAY[1])  # the answers to the last deletes: a request counts when it is over
        return took

    def counted(self, scenario: str, since: float, drained_after: float | None = None) -> Counted:
        """Count what was asked since a time, and check what dawdle promises."""
        cluster = self.cluster
        if self._signaled:
            cluster.check_promises()
        counts, waits = self.result.counts, self._waits()
        percentiles = quantiles(waits, n=100) if len(waits) > 1 else None
        left = self._signaled - len(cluster.record.signaled) + cluster.queue.message_count
        self.result.must(not left, f"{left} signals or messages are left at the end")
        return Counted(
            scenario=scenario,
            nodes=self.nodes,
            events=self._signaled,
            seconds=self.clock.monotonic() - since,
            requests=dict(Counter(REQUESTS[call.operation] for call in cluster.faults.calls if call.at >= since)),
            drained_after=drained_after,
            wait_p50=percentiles and percentiles[49],
            wait_p99=percentiles and percentiles[98],
            wait_max=max(waits, default=None),
            extra_runs=counts["extra runs"],
            interrupted=cluster.interrupted.total(),
            lost=counts["lost"],
            broken=self.result.broken,  # the list itself: what the end of the fleet finds is added to it
        )

    def _waits(self) -> Sequence[float]:
        """Return how long each event was in the queue until its handler started."""
        record, stored = self.cluster.record, self.cluster.queue.first_stored
        return [started - stored[number] for (number, _), started in record.first_started.items()]


async def steady(nodes: int, seed: int, progress: Progress, *, per_second: float, seconds: float) -> Counted:
    """Signal single events at a steady rate, whatever the number of nodes, each on one of them."""
    async with Fleet(nodes, seed, progress) as fleet:
        began = fleet.clock.monotonic()
        await fleet.signal_at(per_second, round(per_second * seconds))
        drained_after = await fleet.drain()
        return fleet.counted(f"steady {per_second:,g}/s", began, drained_after)


async def burst(nodes: int, seed: int, progress: Progress, *, events: int) -> Counted:
    """Signal many events at the same moment, an equal part on each node, each by a task of its own."""
    async with Fleet(nodes, seed, progress) as fleet:
        began = fleet.clock.monotonic()
        for number in range(events):
            fleet.signal(number % nodes)
        drained_after = await fleet.drain(events)
        return fleet.counted(f"burst of {events:,}", began, drained_after)


async def delayed(nodes: int, seed: int, progress: Progress, *, delay: float, events: int) -> Counted:
    """Signal events at the same moment, all with the same delay. SQS delays for 15 minutes, so it takes hops."""
    async with Fleet(nodes, seed, progress) as fleet:
        began = fleet.clock.monotonic()
        for number in range(events):
            fleet.signal(number % nodes, delay)
        await fleet.clock.advance(delay)
        await fleet.drain(events)
        return fleet.counted(f"{events:,} delayed {delay / 3600:g} h", began)


async def deploy(nodes: int, seed: int, progress: Progress, *, per_second: float, steps: int) -> Counted:
    """Replace every node, one part of the fleet after another, while events are signaled and handled.

    Old nodes stop within their grace before new ones start. One handler of a hundred takes longer than the grace, and
    is interrupted if its node stops.
    """
    async with Fleet(nodes, seed, lambda share: None, plan=some_slow_handlers) as fleet:
        began = fleet.clock.monotonic()
        load = asyncio.create_task(fleet.signal_at(per_second, MAX_EVENTS), name="the load")
        try:
            await fleet.clock.advance(MAX_SLOW_SECONDS)  # a fleet that has run for a while has slow handlers under way
            for step in range(steps):
                leaving = list(range(nodes))[step::steps]
                fleet.serving = sorted(set(fleet.serving).difference(leaving))
                await fleet.cluster.replace(*leaving)
                fleet.serving = sorted({*fleet.serving, *leaving})
                progress((step + 1) / steps)
        finally:
            load.cancel()
        drained_after = await fleet.drain()
        return fleet.counted("deploy", began, drained_after)


async def idle(nodes: int, seed: int, progress: Progress, *, hours: int) -> Counted:
    """Let time pass without any event, and count the requests of each hour."""
    async with Fleet(nodes, seed, progress) as fleet:
        await fleet.clock.advance(SETTLE_SECONDS)
        began = fleet.clock.monotonic()
        for hour in range(hours * 60):
            await fleet.clock.advance(60)
            progress(hour / hours / 60)
        counted = fleet.counted("idle", began)
        hour_of = Counter(int((call.at - began) // 3600) for call in fleet.cluster.faults.calls if call.at >= began)
        return msgspec.structs.replace(counted, by_hour=[hour_of[hour] for hour in range(hours)])


def _share(number: int) -> float:
    """Return a number from 0 to 1 that looks random."""
    return number * 2_654_435_761 % 4_294_967_296 / 4_294_967_296
