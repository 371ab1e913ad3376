"""Nodes that share a queue and do not have the same handlers, where the type of the event names who must handle it."""

from typing import Final

import dawdle
from tests.faults.ledger import moody
from tests.faults.row import Figures, Scale, row
from tests.faults.seeds import run_seeds
from tests.faults.trouble import Rates
from tests.faults.world import Happened, Tally, World

BOTH: Final = ("mail", "crm")
CREWS: Final = (
    (("mail",), ("crm",)),
    (("mail",), ("crm",), ("mail", "crm")),
    (("mail",), ("crm",), ()),
    (("crm",), ("mail",), ("crm",), ()),
)
"""Which handlers the nodes have. One without any still signals."""

SLOWEST: Final = 1800.0
"""Seconds after the last fault in which the last copy must have found its node, also where it is one of three."""


@dawdle.event("faults.shared", handlers=BOTH)
class Shared(Happened, frozen=True):
    """An event that both handlers must have."""


@row(
    33,
    "virtual",
    "a worker pair with different handlers, named by handlers=",
    must="0 lost for each, runs ≤ 1 + faults",
)
def worker_pair(scale: Scale) -> Figures:
    """In the storm calls fail, answers are lost, and a node is replaced; a third of the events is signaled direct."""

    async def story(seed: int, tally: Tally) -> None:
        crew = CREWS[seed % len(CREWS)]
        rates = Rates(lost=0.05, unavailable=0.05, entries=0.05, twice=0.05)
        plan = moody(seed, longest=10)
        async with World(
            seed, tally, nodes=len(crew), rosters=crew, kind=Shared, handlers=BOTH, rates=rates, plan=plan
        ) as world:
            world.signal_some(12, over=120)
            world.signal_some(6, over=120, direct=True)
            await world.clock.advance(60)
            if seed % 2:
                await world.replace(world.random.randrange(len(crew)))
            await world.clock.advance(90)
            world.calm()
            took = await world.drain()
            tally.reach("drained in, s", took)
            tally.must(took <= SLOWEST, f"it took {took:.0f} s until all was handled")
            world.judge()
            for name in BOTH:
                tally.counts[f"done {name}"] += sum(handler == name for _, handler in world.ledger.done)

    return run_seeds(scale, 1000, story)
