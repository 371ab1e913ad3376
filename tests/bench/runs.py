"""Runs rows: contestants take turns, so that what else goes on in the machine meets all of them."""

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from importlib.util import find_spec

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tests.bench.contestants import contestant
from tests.bench.processes import MeasurementError, measure
from tests.bench.rows_data import Row
from tests.bench.work import Job, Result

LONG_SECONDS = 10
"""What takes longer is not repeated in a run: noise matters less there, and the whole is to end within 15 minutes."""

Found = dict[tuple[str, str], list[Result]]
"""By row and contestant, in the order of the repeats."""


class Runner:
    """Runs rows, shows how far it is, and keeps what went wrong. After so many minutes it repeats nothing in a run."""

    def __init__(self, console: Console, minutes: float = 15) -> None:
        self._console = console
        self._end = time.monotonic() + minutes * 60
        self.missing: set[str] = set()
        self.errors: list[str] = []

    def run(self, rows: Iterable[Row], *, repeat: int, seconds: float, title: str) -> Found:
        """Measure each row `repeat` times, all rows before any of them again."""
        jobs = [(row.name, job) for row in rows for job in row.jobs(seconds) if self._is_here(job)] * repeat
        found: Found = defaultdict(list)
        long: set[tuple[str, str]] = set()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._console, transient=True) as progress:
            task = progress.add_task(title, total=len(jobs))
            for name, job in jobs:
                progress.update(task, description=f"{title}: {name}, {job.contestant}")
                started = time.monotonic()
                is_enough = (name, job.contestant) in long or (found[name, job.contestant] and started > self._end)
                if not is_enough:
                    found[name, job.contestant] += self._measured(name, job)
                if time.monotonic() - started > LONG_SECONDS:
                    long.add((name, job.contestant))
                progress.advance(task)
        return found

    def _measured(self, name: str, job: Job) -> list[Result]:
        try:
            return [measure(job)]
        except MeasurementError as error:
            self.errors.append(f"{name}: {error}")
            self._console.print(f"[red]{name}, {job.contestant} failed[/red]")
            return []

    def _is_here(self, job: Job) -> bool:
        if job.measure == "import":
            is_here = find_spec(job.contestant) is not None
        else:
            try:
                is_here = bool(contestant(job.contestant, job.where))
            except ImportError:
                is_here = False
        if not is_here:
            self.missing.add(job.contestant)
        return is_here


def best(row: Row, results: Sequence[Result]) -> Result | None:
    """Return the result that counts; None without any."""
    return row.best(results) if results else None
