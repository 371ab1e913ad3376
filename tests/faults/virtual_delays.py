"""Delays longer than the queue's own, by clocks that are wrong: rows 25 and 26, on a test clock."""

from datetime import UTC, datetime, timedelta
from typing import Final

from dawdle.testing import ManualClock
from tests.faults.ledger import moody
from tests.faults.row import Figures, Scale, row
from tests.faults.seeds import run_seeds
from tests.faults.trouble import Rates
from tests.faults.world import Tally, World

DAY: Final = 86_400.0
HOPS: Final = DAY / 900
LATE: Final = 2.0
"""Seconds that a delayed event may be late without a fault: two roundings to whole seconds."""

A_LEASE: Final = 31.0
"""Seconds that one fault may add: a lease, and the rounding."""

STEADY: Final = Rates(lost=0.0015, slowly=0.0, unavailable=0.001, entries=0.0012, twice=0.0012)
"""What makes of 100 hops one or more that a fault happens to. An answer that is lost is cut at once: one that is waited
for keeps up the calls of events that no fault happened to."""


def judge_times(world: World, delays: dict[int, float]) -> None:
    """Hold when each event ran first against when it was due, both by the queue's clock."""
    tally, charged = world.tally, world.trouble.charged
    for (number, handler), started in world.ledger.started.items():
        late = started - world.queue.first_stored[number] - delays[number]
        faults = charged[number]
        tally.must(late > -1e-3, f"event {number}, {handler} ran {-late:.3f} s early")
        tally.must(late <= LATE + faults * A_LEASE, f"event {number}, {handler}: {late:.2f} s late, {faults} faults")
        tally.counts["early"] += late <= -1e-3
        tally.reach("late with a fault, s" if faults else "late, s", late)


@row(25, "virtual", "1,000 delays of 24 h, 1 % faults per hop", must="0 lost, 0 early, ≤ 2 s late + a lease per fault")
def days(scale: Scale) -> Figures:
    async def story(seed: int, tally: Tally) -> None:
        async with World(seed, tally, nodes=2, rates=STEADY, handlers=("a",)) as world:
            numbers = world.signal_some(50, over=3600, delay=DAY)
            await world.clock.advance(3600 + DAY + 120)
            world.calm()
            await world.drain()
            world.judge()
            judge_times(world, dict.fromkeys(numbers, DAY))
            tally.counts["hops"] += round(len(numbers) * HOPS)

    figures = run_seeds(scale, 20, story)
    faults, hops = (int(figures.shown[name].replace(",", "")) for name in ("faults", "hops"))
    figures.must("faults per hop", faults / hops, faults >= 0.01 * hops, "0.01 or more")
    return figures


class Stepping:
    """A node's clock that is set anew now and then; it waits with the true one."""

    def __init__(self, clock: ManualClock) -> None:
        self.offset = 0.0
        self.monotonic = clock.monotonic
        self.sleep_until = clock.sleep_until
        self._clock = clock

    def now(self) -> float:
        return self._clock.now() + self.offset


@row(26, "virtual", "node clock ± 10 min and stepping", must="0 lost, 0 early, ≤ 2 s late")
def wrong_clocks(scale: Scale) -> Figures:
    async def story(seed: int, tally: Tally) -> None:
        clock = ManualClock()
        stepping = Stepping(clock)
        clocks = (stepping, clock.skewed(600), clock.skewed(-600))
        async with World(seed, tally, nodes=3, clock=clock, clocks=clocks, plan=moody(seed)) as world:
            delays: dict[int, float] = {}
            for _ in range(12):
                number, node = world.number(), world.random.randrange(3)
                delays[number] = round(world.random.choice((1, 20, 900, 2400)) * world.random.random(), 3)
                world.spawn(world.signal(number, node, **_when(world, clocks[node].now(), delays[number])))
                await _step(world, stepping, 20 * world.random.random())
            for _ in range(10):
                await _step(world, stepping, 250)
            await world.drain()
            world.judge(allowed=lambda run: 0)
            judge_times(world, delays)

    return run_seeds(scale, 600, story, needs="steps")


def _when(world: World, now: float, delay: float) -> dict[str, object]:
    """Return one of the two ways to ask for a delay: how long, or until when by the node's own clock."""
    if world.random.random() < 0.5:
        return {"delay": delay}
    return {"at": datetime.fromtimestamp(now, UTC) + timedelta(seconds=delay)}


async def _step(world: World, clock: Stepping, seconds: float) -> None:
    """Let time pass, and set the clock anew in between."""
    await world.clock.advance(seconds / 2)
    clock.offset = 1200 * world.random.random() - 600
    world.tally.counts["steps"] += 1
    await world.clock.advance(seconds / 2)
