"""Run the benchmark: `python -m tests.bench`, or some of it: `python -m tests.bench signal receive`."""

import argparse
import sys
from collections import defaultdict

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.bench.contestants import MODULES
from tests.bench.processes import measure
from tests.bench.rows import HEART, Row
from tests.bench.work import Result


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("rows", nargs="*", help="names of rows; all without any")
    parser.add_argument("--repeat", type=int, default=3, help="measurements of each, of which the best counts")
    parser.add_argument("--seconds", type=float, default=1.0, help="of one measurement, roughly")
    asked = parser.parse_args()
    rows = [row for row in HEART if not asked.rows or row.name in asked.rows]
    found = run(rows, asked.repeat, asked.seconds)
    for row in rows:
        print(row.title)
        for contestant in row.contestants:
            results = found[row.name, contestant]
            if results:
                best = min(result.cpu_us for result in results)
                asks = sum(results[0].requests.values()) / results[0].events
                print(f"  {contestant:12} {best:8.1f} us an event  {asks:5.2f} requests an event")
    return 0


def run(rows: list[Row], repeat: int, seconds: float) -> dict[tuple[str, str], list[Result]]:
    found: dict[tuple[str, str], list[Result]] = defaultdict(list)
    jobs = [
        (row.name, msgspec.structs.replace(job, work=msgspec.structs.replace(job.work, seconds=seconds)))
        for _ in range(repeat)
        for row in rows
        for job in row.jobs()
        if (job.contestant, "memory" if job.where == "memory" else "sqs") in MODULES
    ]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=len(jobs))
        for name, job in jobs:
            progress.update(task, description=f"{name}: {job.contestant}")
            found[name, job.contestant].append(measure(job))
            progress.advance(task)
    return found


if __name__ == "__main__":
    sys.exit(main())
