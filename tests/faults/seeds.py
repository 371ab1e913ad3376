"""Runs one story with thousands of seeds, one after another in one event loop, and shows those that broke a promise."""

import asyncio
import gc
import logging
import random
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final

from tests.faults.row import Figures, Scale
from tests.faults.world import Tally

SHOWN: Final = 3
"""Seeds that are printed of those that failed."""

MOST_SAID: Final = 4
"""Promises that are told of each."""

LONGEST: Final = 60.0
"""Seconds that one seed may take by the machine's clock; one that takes longer hangs."""

Story = Callable[[int, Tally], Awaitable[None]]


def run_seeds(
    scale: Scale, whole: int, story: Story, *, needs: str | None = "faults", longest: float = LONGEST
) -> Figures:
    """Run a story with every seed of a row and return what it came to.

    Each seed also seeds the chance that dawdle itself takes, so it runs again as it ran. `needs` is a count that is
    not 0 when the row has shown anything; None: there is none. `longest`: seconds of the machine's for one seed.
    """
    figures = Figures()
    counts: Counter[str] = Counter()
    most: dict[str, float] = {}
    failed: list[int] = []
    unheard: list[str] = []
    state = random.getstate()
    log = logging.getLogger("dawdle")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)  # what goes wrong here would be told a million times
    try:
        with asyncio.Runner() as runner:
            runner.get_loop().set_exception_handler(lambda loop, context: unheard.append(str(context)))
            for seed in scale.seeds(whole):
                tally = runner.run(_run(seed, story, longest))
                counts.update(tally.counts)
                for name, value in tally.most.items():
                    most[name] = max(value, most.get(name, value))
                if tally.broken:
                    failed.append(seed)
                    if len(failed) <= SHOWN:
                        figures.failed(f"seed {seed}: {_some(tally.broken)}")
            gc.collect()
    finally:
        log.setLevel(level)
        random.setstate(state)
    if len(failed) > SHOWN:
        figures.failed(f"and {len(failed) - SHOWN} more seeds, such as {failed[SHOWN : SHOWN + 5]}")
    if unheard:
        figures.failed(f"{len(unheard)} errors that nobody heard of: {unheard[0]}")
    if needs is not None and scale.seed is None and not counts[needs]:
        figures.failed(f"nothing is shown by it: {needs} 0")
    _show(figures, len(scale.seeds(whole)), counts, most)
    return figures


def _some(broken: list[str]) -> str:
    more = f"; and {len(broken) - MOST_SAID} more" if len(broken) > MOST_SAID else ""
    return "; ".join(broken[:MOST_SAID]) + more


def _show(figures: Figures, seeds: int, counts: Counter[str], most: dict[str, float]) -> None:
    figures.note("seeds", seeds)
    for name, count in counts.items():
        figures.note(name, count)
    for name, value in most.items():
        figures.note(name, float(value))


async def _run(seed: int, story: Story, longest: float) -> Tally:
    """Run one seed. Whatever it leaves running is a promise broken, and is ended."""
    random.seed(seed)
    tally = Tally()
    before = asyncio.all_tasks()
    try:
        async with asyncio.timeout(longest):
            await story(seed, tally)
    except Exception as error:
        where = "".join(traceback.format_exception(error)[-2:]).strip()
        tally.broken.append(f"the story ended with {type(error).__name__}: {where}")
    left: set[asyncio.Task[Any]] = {task for task in asyncio.all_tasks() - before if not task.done()}
    if left:
        names = sorted({task.get_name() for task in left})
        tally.broken.append(f"{len(left)} tasks are left, such as {names[:3]}")
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=1)
    return tally
