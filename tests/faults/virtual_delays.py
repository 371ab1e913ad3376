"""Delays longer than the queue's own, by clocks that are wrong: rows 25 and 26, on a test clock."""

from datetime import UTC, datetime, timedelta
from typing import Final

from dawdle.testing import ManualClock
from tests.faults.cluster import Cluster, SeedResult
from tests.faults.fault_injection import FaultRates
from tests.faults.row import Figures, Scale, row
from tests.faults.run_record import random_behaviour
from tests.faults.seeds import run_seeds

DAY: Final = 86_400.0
HOPS: Final = DAY / 900
LATE: Final = 2.0
"""Seconds that a delayed event may be late without a fault: two roundings to whole seconds."""

A_LEASE: Final = 31.0
"""Seconds that one fault may add: a lease, and the rounding."""

STEADY: Final = FaultRates(lost=0.0015, slowly=0.0, unavailable=0.001, entries=0.0012, twice=0.0012)
"""Rates by which a fault happens to one or more of 100 hops. A lost response is a reset at once: a call that hangs
would also delay events that no fault happened to."""


def judge_times(cluster: Cluster, delays: dict[int, float]) -> None:
    """Compare when each event ran first with when it was due, both by the queue's clock."""
    result, charged = cluster.result, cluster.faults.faults_of_event
    for (number, handler), started in cluster.record.first_started.items():
        late = started - cluster.queue.first_stored[number] - delays[number]
        faults = charged[number]
        result.must(late > -1e-3, f"event {number}, {handler} ran {-late:.3f} s early")
        result.must(late <= LATE + faults * A_LEASE, f"event {number}, {handler}: {late:.2f} s late, {faults} faults")
        result.counts["early"] += late <= -1e-3
        result.note_max("late with a fault, s" if faults else "late, s", late)


@row(25, "virtual", "1,000 delays of 24 h, 1 % faults per hop", must="0 lost, 0 early, ≤ 2 s late + a lease per fault")
def days(scale: Scale) -> Figures:
    async def story(seed: int, result: SeedResult) -> None:
        async with Cluster(seed, result, nodes=2, rates=STEADY, handlers=("a",)) as cluster:
            numbers = cluster.signal_some(50, over=3600, delay=DAY)
            await cluster.clock.advance(3600 + DAY + 120)
            cluster.stop_faults()
            await cluster.drain()
            cluster.check_promises()
            judge_times(cluster, dict.fromkeys(numbers, DAY))
            result.counts["hops"] += round(len(numbers) * HOPS)

    figures = run_seeds(scale, 20, story)
    faults, hops = (int(figures.shown[name].replace(",", "")) for name in ("faults", "hops"))
    figures.must("faults per hop", faults / hops, faults >= 0.01 * hops, "0.01 or more")
    return figures


class Stepping:
    """A node's clock whose time of day is set anew now and then; it sleeps by the true one."""

    def __init__(self, clock: ManualClock) -> None:
        self.offset = 0.0
        self.monotonic = clock.monotonic
        self.sleep_until = clock.sleep_until
        self._clock = clock

    def now(self) -> float:
        return self._clock.now() + self.offset


@row(26, "virtual", "node clock ± 10 min and stepping", must="0 lost, 0 early, ≤ 2 s late")
def wrong_clocks(scale: Scale) -> Figures:
    async def story(seed: int, result: SeedResult) -> None:
        clock = ManualClock()
        stepping = Stepping(clock)
        clocks = (stepping, clock.skewed(600), clock.skewed(-600))
        async with Cluster(seed, result, nodes=3, clock=clock, clocks=clocks, plan=random_behaviour(seed)) as cluster:
            delays: dict[int, float] = {}
            for _ in range(12):
                number, node = cluster.new_number(), cluster.random.randrange(3)
                delays[number] = round(cluster.random.choice((1, 20, 900, 2400)) * cluster.random.random(), 3)
                cluster.spawn(cluster.signal(number, node, **_when(cluster, clocks[node].now(), delays[number])))
                await _step(cluster, stepping, 20 * cluster.random.random())
            for _ in range(10):
                await _step(cluster, stepping, 250)
            await cluster.drain()
            cluster.check_promises(allowed=lambda run: 0)
            judge_times(cluster, delays)

    return run_seeds(scale, 600, story, needs="steps")


def _when(cluster: Cluster, now: float, delay: float) -> dict[str, object]:
    """Return one of the two ways to ask for a delay: by its length, or by a time of the node's own clock."""
    if cluster.random.random() < 0.5:
        return {"delay": delay}
    return {"at": datetime.fromtimestamp(now, UTC) + timedelta(seconds=delay)}


async def _step(cluster: Cluster, clock: Stepping, seconds: float) -> None:
    """Let time pass, and set the clock anew in between."""
    await cluster.clock.advance(seconds / 2)
    clock.offset = 1200 * cluster.random.random() - 600
    cluster.result.counts["steps"] += 1
    await cluster.clock.advance(seconds / 2)
