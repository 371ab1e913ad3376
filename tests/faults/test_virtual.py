"""The fast half of the virtual rows; and a seed that failed can be seen again."""

import importlib
import random

import pytest

from tests.faults.cluster import Cluster
from tests.faults.fault_injection import FaultRates
from tests.faults.row import ROWS, Scale
from tests.faults.run_record import random_behaviour
from tests.faults.seeds import run_seeds
from tests.faults.table import run_row

for name in ("answers", "outages", "delays", "direct", "versions", "limits"):
    importlib.import_module(f"tests.faults.virtual_{name}")

VIRTUAL = sorted((row for row in ROWS if row.kind == "virtual"), key=lambda row: row.number)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.01, pytest.param(0.03, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("row", VIRTUAL, ids=lambda row: f"{row.number}: {row.title}")
def test_a_part_of_the_row_holds(row, share):
    figures = run_row(row, Scale(share=share)).figures
    assert not figures.broken


def calls_of(seed):
    calls = []

    async def story(seed, result):
        rates = FaultRates(lost=0.1, unavailable=0.1, entries=0.1, twice=0.1, comes_back=0.1)
        async with Cluster(
            seed, result, nodes=3, rates=rates, plan=random_behaviour(seed, longest=40), limited="b"
        ) as cluster:
            cluster.signal_some(12, over=60)
            await cluster.clock.advance(60)
            cluster.stop_faults()
            await cluster.drain()
            calls.extend(cluster.faults.calls)

    figures = run_seeds(Scale(seed=seed), 1, story)
    assert not figures.broken
    return calls


def test_a_seed_runs_again_as_it_ran_and_leaves_chance_as_it_was():
    state = random.getstate()
    first, second, other = calls_of(7), calls_of(7), calls_of(8)
    assert first == second
    assert first[:50] != other[:50]
    assert random.getstate() == state


def test_what_a_story_leaves_running_is_told():
    import asyncio

    async def story(seed, result):
        asyncio.get_running_loop().create_task(asyncio.sleep(3600), name="forgotten")

    (told,) = run_seeds(Scale(seed=3), 1, story).broken
    assert told.startswith("seed 3: 1 tasks are left, such as ['forgotten']")


def test_a_row_that_had_no_fault_has_shown_nothing():
    async def story(seed, result):
        result.counts["faults"] += 0

    assert run_seeds(Scale(), 2, story).broken == ["nothing is shown by it: faults 0"]
