"""All rows in their order, run one after another, and printed as they come: figure and verdict."""

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
class Verdict:
    """What one row came to."""

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


def judge(row: Row, scale: Scale) -> Verdict:
    """Run one row, and see to it that nothing of it is left: no descriptor, no thread, no child."""
    if row.kind == "real":
        prepare()
    before = _held()
    started = time.monotonic()
    try:
        figures = row.run(scale)
    except (Exception, outcomes.OutcomeException):  # a row that cannot be run has failed, and the others go on
        figures = Figures()
        figures.failed(traceback.format_exc())
    seconds = time.monotonic() - started
    for name, (had, has) in _left(before).items():
        figures.failed(f"{name} left behind: {has}, and {had} before")
    return Verdict(row, figures, seconds)


def show(verdict: Verdict) -> None:
    """Print a row of the table."""
    row, figures = verdict.row, verdict.figures
    print(f"{row.number:>3} {row.kind:7} {row.title}  [{row.must}]")
    shown = ", ".join(f"{name} {value}" for name, value in figures.shown.items())
    print(f"    {'ok  ' if verdict.good else 'FAIL'} {verdict.seconds:6.1f} s  {shown}", flush=True)
    for line in figures.broken:
        print(f"         {line}", flush=True)


def judge_all(rows: Sequence[Row], scale: Scale) -> bool:
    """Run rows and print each; return whether all are good."""
    started = time.monotonic()
    verdicts = []
    for row in rows:
        verdicts.append(judge(row, scale))
        show(verdicts[-1])
    good = sum(verdict.good for verdict in verdicts)
    print(f"\n{good} of {len(verdicts)} rows hold, in {(time.monotonic() - started) / 60:.1f} min")
    return good == len(verdicts)


def _held() -> dict[str, int]:
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
    """Return what is held beyond `before`, after a moment for what ends by itself."""
    end = time.monotonic() + 5
    while True:
        now = _held()
        more = {name: (had, now[name]) for name, had in before.items() if now[name] > had}
        if not more or time.monotonic() > end:
            return more
        time.sleep(0.1)
