"""All rows in their order: run one after another, and printed with figures and result."""

import gc
import importlib
import os
import pkgutil
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from _pytest import outcomes

import tests.faults
from tests.faults.row import ROWS, Figures, Row, Scale
from tests.faults.workers import prepare


@dataclass(frozen=True)
class RowResult:
    """The result of one row."""

    row: Row
    figures: Figures
    seconds: float

    @property
    def good(self) -> bool:
        """Whether every promise held."""
        return not self.figures.broken


def all_rows() -> list[Row]:
    """Return every row there is, in the order of the table."""
    for module in pkgutil.iter_modules(tests.faults.__path__):
        if module.name.startswith(("real_", "virtual_")):
            importlib.import_module(f"tests.faults.{module.name}")
    return sorted(ROWS, key=lambda row: (row.number, row.kind == "real"))


def run_row(row: Row, scale: Scale) -> RowResult:
    """Run one row, and check that it leaves no descriptor, no thread and no child process."""
    if row.kind == "real":
        prepare()
    before = _resources()
    started = time.monotonic()
    try:
        figures = row.run(scale)
    except (Exception, outcomes.OutcomeException):  # a row that cannot be run has failed, and the others go on
        figures = Figures()
        figures.failed(traceback.format_exc())
    seconds = time.monotonic() - started
    for name, (had, has) in _left(before).items():
        figures.failed(f"{name} left behind: {has}, {had} before the row")
    return RowResult(row, figures, seconds)


def show(result: RowResult) -> None:
    """Print a row of the table."""
    row, figures = result.row, result.figures
    print(f"{row.number:>3} {row.kind:7} {row.title}  [{row.must}]")
    shown = ", ".join(f"{name} {value}" for name, value in figures.shown.items())
    print(f"    {'ok  ' if result.good else 'FAIL'} {result.seconds:6.1f} s  {shown}", flush=True)
    for line in figures.broken:
        print(f"         {line}", flush=True)


def run_rows(rows: Sequence[Row], scale: Scale) -> bool:
    """Run rows and print each; return whether all are good."""
    started = time.monotonic()
    results = []
    for row in rows:
        results.append(run_row(row, scale))
        show(results[-1])
    good = sum(result.good for result in results)
    print(f"\n{good} of {len(results)} rows hold, in {(time.monotonic() - started) / 60:.1f} min")
    return good == len(results)


def _resources() -> dict[str, int]:
    gc.collect()
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "children": len(_children()),
    }


def _children() -> list[str]:
    tasks = Path("/proc/self/task").iterdir()
    return [child for task in tasks for child in (task / "children").read_text().split()]


def _left(before: dict[str, int]) -> dict[str, tuple[int, int]]:
    """Return the resources that are open beyond `before`; waits up to 5 s for those that end by themselves."""
    end = time.monotonic() + 5
    while True:
        now = _resources()
        more = {name: (had, now[name]) for name, had in before.items() if now[name] > had}
        if not more or time.monotonic() > end:
            return more
        time.sleep(0.1)
