"""Runs the parts of a simulation, several at once, and shows how far they are."""

import logging
import multiprocessing
import os
import sys
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing.sharedctypes import SynchronizedArray
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tests.fleet.counted import Counted
from tests.fleet.plan import Part

_shares: "list[SynchronizedArray[float]]" = []
"""In a process of the pool: how much of each part is done, shared with the process that shows it."""


def run_parts(parts: Sequence[Part], seed: int) -> list[Counted]:
    """Run parts, one for each processor at a time, and return what each counted, in their order."""
    # Started anew and not forked: a seed gives the same figures wherever and after whatever it runs.
    context = multiprocessing.get_context("spawn")
    shares: Any = context.Array("d", len(parts))
    by_weight = sorted(range(len(parts)), key=lambda number: -parts[number].weight)
    with (
        ProcessPoolExecutor(
            min(os.cpu_count() or 1, len(parts)), mp_context=context, initializer=_begin, initargs=(shares,)
        ) as pool,
        _Bars(parts, shares) as bars,
    ):
        futures = {number: pool.submit(_run, parts[number], seed, number) for number in by_weight}
        open_ones: set[Future[Counted]] = set(futures.values())
        while open_ones:
            open_ones = wait(open_ones, timeout=0.2, return_when=FIRST_COMPLETED).not_done
            bars.show({number: future for number, future in futures.items() if future.running()}, len(open_ones))
        return [futures[number].result() for number in range(len(parts))]


def _begin(shares: "SynchronizedArray[float]") -> None:
    _shares.append(shares)
    logging.getLogger("dawdle").setLevel(logging.CRITICAL + 1)  # a deploy has its warnings, and the table has them too


def _run(part: Part, seed: int, number: int) -> Counted:
    def progress(share: float) -> None:
        _shares[0][number] = share

    return part.run(seed, progress)


class _Bars:
    """One bar for all parts and one for each that runs, where a terminal shows them."""

    def __init__(self, parts: Sequence[Part], shares: "SynchronizedArray[float]") -> None:
        self._parts = parts
        self._shares = shares
        self._total = sum(part.weight for part in parts)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            console=Console(file=sys.stderr),
            disable=not sys.stderr.isatty(),
            transient=True,
        )
        self._all = self._progress.add_task("all", total=self._total)
        self._bars: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def show(self, running: dict[int, Future[Counted]], open_count: int) -> None:
        """Show what runs now."""
        for number in [number for number in self._bars if number not in running]:
            self._progress.remove_task(self._bars.pop(number))
            self._shares[number] = 1.0
        for number in running:
            part = self._parts[number]
            if number not in self._bars:
                self._bars[number] = self._progress.add_task(f"{part.nodes:,} nodes: {part.name}", total=1.0)
            self._progress.update(self._bars[number], completed=self._shares[number])
        done = sum(part.weight * self._shares[number] for number, part in enumerate(self._parts))
        self._progress.update(self._all, completed=done if open_count else self._total)
