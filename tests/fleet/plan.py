"""What one run of the simulation consists of: scenarios and sizes, each of which a process of its own can run."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from tests.fleet.counted import Counted
from tests.fleet.scenarios import Progress, burst, delayed, deploy, idle, steady
from tests.fleet.virtual_time import run_virtual

SIZES: Final = (1, 10, 100, 1000)
QUICK_SIZES: Final = (1, 10)

MAX_RATE_OF_NODE: Final = 1000.0
"""Events a second that one node can handle: 100 at a time, for 50 ms and two requests each."""

NODES_OF_DELAYS: Final = 10

Scenario = Callable[[int, int, Progress], Coroutine[Any, Any, Counted]]


@dataclass(frozen=True)
class Part:
    """One scenario on one size of fleet."""

    name: str
    nodes: int
    scenario: Scenario
    weight: float
    """About how long it takes, in seconds of a processor."""

    def run(self, seed: int, progress: Progress = lambda share: None) -> Counted:
        """Run it in virtual time."""
        return run_virtual(self.scenario(self.nodes, seed, progress))


def parts(sizes: tuple[int, ...], *, quick: bool) -> list[Part]:
    """Return all parts, in the order of the table."""
    return [part for nodes in sizes for part in _parts_of(nodes, quick=quick)]


def _parts_of(nodes: int, *, quick: bool) -> list[Part]:
    found = []
    for per_second, seconds in ((1, 60 if quick else 300), (100, 10 if quick else 60), (10_000, 0.2 if quick else 1)):
        if per_second <= nodes * MAX_RATE_OF_NODE:
            scenario = partial(steady, per_second=per_second, seconds=seconds)
            weight = per_second * seconds * 4e-4 + nodes * seconds * 1e-5
            found.append(Part(f"steady {per_second:,}/s", nodes, scenario, weight))
    events = 5_000 if quick else 100_000
    found.append(Part(f"burst of {events:,}", nodes, partial(burst, events=events), events * 5e-4))
    if nodes == NODES_OF_DELAYS:
        delays = ((1, 0.25), (1, 1.0)) if quick else ((1, 0.25), (1, 1.0), (1, 24.0), (1_000, 1.0))
        for count, hours in delays:
            scenario = partial(delayed, delay=hours * 3600, events=count)
            found.append(Part(f"{count:,} delayed {hours:g} h", nodes, scenario, hours * 0.1 * nodes))
    steps = min(nodes, 5)
    per_second = 5 if quick else 20
    scenario = partial(deploy, per_second=per_second, steps=steps)
    found.append(Part("deploy", nodes, scenario, per_second * steps * 0.02 + nodes * 0.015))
    # A day takes long with many nodes. There an hour stands for it: in the smaller fleets each hour is like the next.
    hours = 1 if quick or nodes > 10 else 24
    found.append(Part("idle", nodes, partial(idle, hours=hours), nodes * hours * 0.03))
    return found
