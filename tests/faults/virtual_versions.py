"""Nodes that share a queue and have different handlers, where the event's type names its handlers (`handlers=`)."""

from typing import Final

import dawdle
from tests.faults.cluster import Cluster, Happened, SeedResult
from tests.faults.fault_injection import FaultRates
from tests.faults.row import Figures, Scale, row
from tests.faults.run_record import random_behaviour
from tests.faults.seeds import run_seeds

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
    """Calls fail, responses are lost, and a node is replaced; a third of the events is signaled directly."""

    async def story(seed: int, result: SeedResult) -> None:
        crew = CREWS[seed % len(CREWS)]
        rates = FaultRates(lost=0.05, unavailable=0.05, entries=0.05, twice=0.05)
        plan = random_behaviour(seed, longest=10)
        async with Cluster(
            seed,
            result,
            nodes=len(crew),
            handlers_by_node=crew,
            event_type=Shared,
            handlers=BOTH,
            rates=rates,
            plan=plan,
        ) as cluster:
            cluster.signal_some(12, over=120)
            cluster.signal_some(6, over=120, direct=True)
            await cluster.clock.advance(60)
            if seed % 2:
                await cluster.replace(cluster.random.randrange(len(crew)))
            await cluster.clock.advance(90)
            cluster.stop_faults()
            took = await cluster.drain()
            result.note_max("drained in, s", took)
            result.must(took <= SLOWEST, f"it took {took:.0f} s until all was handled")
            cluster.check_promises()
            for name in BOTH:
                result.counts[f"done {name}"] += sum(handler == name for _, handler in cluster.record.finished)

    return run_seeds(scale, 1000, story)
