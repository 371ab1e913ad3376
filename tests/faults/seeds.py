"""Runs one story with thousands of seeds in one event loop, and shows the seeds that broke a promise."""

import asyncio
import gc
import logging
import random
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final

from tests.faults.cluster import SeedResult
from tests.faults.row import Figures, Scale

MAX_SEEDS_SHOWN: Final = 3
"""Failed seeds that are printed."""

MAX_PROMISES_SHOWN: Final = 4
"""Broken promises that are printed of each."""

MAX_SEED_SECONDS: Final = 60.0
"""Seconds of real time after which a seed counts as hanging."""

Story = Callable[[int, SeedResult], Awaitable[None]]


def run_seeds(
    scale: Scale, whole: int, story: Story, *, needs: str | None = "faults", longest: float = MAX_SEED_SECONDS
) -> Figures:
    """Run a story with every seed of a row and return its figures.

    Each seed also seeds dawdle's own random numbers, so a run can be repeated. `needs` names a count that must not be
    0: without it the row has shown nothing. `longest`: seconds of real time for one seed.
    """
    figures = Figures()
    counts: Counter[str] = Counter()
    most: dict[str, float] = {}
    failed: list[int] = []
    unhandled: list[str] = []
    state = random.getstate()
    log = logging.getLogger("dawdle")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)  # faults are injected: their warnings would fill the output
    try:
        with asyncio.Runner() as runner:
            runner.get_loop().set_exception_handler(lambda loop, context: unhandled.append(str(context)))
            for seed in scale.seeds(whole):
                result = runner.run(_run(seed, story, longest))
                counts.update(result.counts)
                for name, value in result.maxima.items():
                    most[name] = max(value, most.get(name, value))
                if result.broken:
                    failed.append(seed)
                    if len(failed) <= MAX_SEEDS_SHOWN:
                        figures.failed(f"seed {seed}: {_some(result.broken)}")
            gc.collect()
    finally:
        log.setLevel(level)
        random.setstate(state)
    if len(failed) > MAX_SEEDS_SHOWN:
        figures.failed(
            f"and {len(failed) - MAX_SEEDS_SHOWN} more seeds, such as {failed[MAX_SEEDS_SHOWN : MAX_SEEDS_SHOWN + 5]}"
        )
    if unhandled:
        figures.failed(f"{len(unhandled)} errors reached the event loop's exception handler, such as {unhandled[0]}")
    if needs is not None and scale.seed is None and not counts[needs]:
        figures.failed(f"nothing is shown by it: {needs} 0")
    _show(figures, len(scale.seeds(whole)), counts, most)
    return figures


def _some(broken: list[str]) -> str:
    more = f"; and {len(broken) - MAX_PROMISES_SHOWN} more" if len(broken) > MAX_PROMISES_SHOWN else ""
    return "; ".join(broken[:MAX_PROMISES_SHOWN]) + more


def _show(figures: Figures, seeds: int, counts: Counter[str], most: dict[str, float]) -> None:
    figures.note("seeds", seeds)
    for name, count in counts.items():
        figures.note(name, count)
    for name, value in most.items():
        figures.note(name, float(value))


async def _run(seed: int, story: Story, longest: float) -> SeedResult:
    """Run one seed. A task that it leaves running is a broken promise, and is cancelled."""
    random.seed(seed)
    result = SeedResult()
    before = asyncio.all_tasks()
    try:
        async with asyncio.timeout(longest):
            await story(seed, result)
    except Exception as error:
        where = "".join(traceback.format_exception(error)[-2:]).strip()
        result.broken.append(f"the story ended with {type(error).__name__}: {where}")
    left: set[asyncio.Task[Any]] = {task for task in asyncio.all_tasks() - before if not task.done()}
    if left:
        names = sorted({task.get_name() for task in left})
        result.broken.append(f"{len(left)} tasks are left, such as {names[:3]}")
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=1)
    return result
