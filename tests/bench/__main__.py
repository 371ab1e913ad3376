"""Measure dawdle beside its peers, and write what was found to the docs.

python -m tests.bench                    everything, about ten minutes
python -m tests.bench --quick            the first table; exit status 1 if a ratio got worse by more than a quarter
python -m tests.bench signal memory      some rows, by their names; nothing is written
python -m tests.bench --update sqlite/*  some rows, and put them into the committed results
python -m tests.bench --list             the names
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from fnmatch import fnmatch

from rich.console import Console

from tests.bench import findings, plot, tables
from tests.bench.findings import Findings
from tests.bench.processes import ROOT
from tests.bench.quick import regressions
from tests.bench.rows import HEART, QUICK, REST
from tests.bench.rows_data import Row
from tests.bench.runs import Runner

DOCS = ROOT / "docs"
JSON = DOCS / "bench" / "results.json"
PAGE = DOCS / "bench" / "results.md"
PICTURE = DOCS / "images" / "bench.svg"

QUICK_SECONDS = 75
"""After which a quick run measures nothing again: it is to end within two minutes."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; return the exit status."""
    asked = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # ends what was started, as Ctrl-C does
    console = Console()
    rows = [row for row in (*HEART, *REST) if not asked.rows or any(fnmatch(row.name, name) for name in asked.rows)]
    if asked.list:
        for row in rows:
            print(f"{row.name:24} {row.title}")
        return 0
    runner = Runner(Console(stderr=True), QUICK_SECONDS / 60 if asked.quick else asked.minutes)
    if asked.quick:
        names = {row.name for row in rows}
        return quick(runner, console, [row for row in QUICK if row.name in names])
    found = measure(runner, rows, asked)
    for table in tables.tables(found):
        console.print(table.rich())
    method = found.method
    console.print(
        f"took {method['took_first_seconds']:g} s for the first table, {method['took_rest_seconds']:g} s for the rest"
    )
    if asked.update:
        found = findings.updated(findings.read(JSON), found)
    if asked.update or not asked.rows:
        findings.write(JSON, found)
        PAGE.write_text(tables.page(found), encoding="utf-8")
        PICTURE.write_text(plot.plot(found), encoding="utf-8")
        console.print(f"written: {', '.join(str(path.relative_to(ROOT)) for path in (JSON, PAGE, PICTURE))}")
    return say(runner, console)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("rows", nargs="*", help="names of rows, with * for any; all without any")
    made.add_argument("--list", action="store_true", help="print the names of the rows")
    made.add_argument("--update", action="store_true", help="put the rows that are measured into the docs")
    made.add_argument("--quick", action="store_true", help="compare the first table with the committed one")
    made.add_argument("--runs", type=int, default=1, help="runs of the first table, of which the worst counts")
    made.add_argument("--repeat", type=int, default=3, help="processes of each run, of which the best counts")
    made.add_argument("--minutes", type=float, default=14, help="after which nothing is repeated in a run")
    made.add_argument("--seconds", type=float, default=0.8, help="of each measurement, roughly")
    return made


def measure(runner: Runner, rows: list[Row], asked: argparse.Namespace) -> Findings:
    """Measure the first table `runs` times, and everything else once."""
    first, rest = [row for row in rows if row in HEART], [row for row in rows if row not in HEART]
    started, load = time.monotonic(), os.getloadavg()[0]
    runs = [
        runner.run(first, repeat=asked.repeat, seconds=asked.seconds, title=f"run {number + 1} of {asked.runs}")
        for number in range(asked.runs if first else 0)
    ]
    took_first = time.monotonic() - started
    repeat_rest = asked.repeat if asked.rows else min(2, asked.repeat)
    others = runner.run(rest, repeat=repeat_rest, seconds=asked.seconds / 2, title="the rest") if rest else {}
    method = {
        "runs": asked.runs,
        "repeat": asked.repeat,
        "seconds": asked.seconds,
        "repeat_rest": repeat_rest,
        "load": round(load, 1),
        "took_first_seconds": round(took_first),
        "took_rest_seconds": round(time.monotonic() - started - took_first),
    }
    return findings.findings([*findings.find(first, runs), *findings.find(rest, [others])], method)


def quick(runner: Runner, console: Console, rows: list[Row]) -> int:
    """Compare with the committed run. What looks worse is measured again: noise passes, a regression stays."""
    if not JSON.exists():
        console.print(f"[red]there is no committed run to compare with: {JSON}[/red]")
        return 1
    committed, started = findings.read(JSON), time.monotonic()
    run = runner.run(rows, repeat=2, seconds=0.3, title="quick")
    now = findings.find(rows, [run])
    while (worse := list(regressions(now, committed))) and time.monotonic() - started < QUICK_SECONDS:
        names = {each.row for each in worse}
        again = runner.run([row for row in rows if row.name in names], repeat=1, seconds=0.3, title="again")
        for key, results in again.items():
            run[key].extend(results)
        now = findings.find(rows, [run])
    console.print(tables.heart(now).rich())
    for each in worse:
        console.print(f"[red]worse: {each}[/red]")
    return 1 if worse or say(runner, console) else 0


def say(runner: Runner, console: Console) -> int:
    """Say what is missing and what failed; return the exit status."""
    if runner.missing:
        console.print(f"not installed, so not measured: {', '.join(sorted(runner.missing))}")
    for error in runner.errors:
        console.print(f"[red]failed: {error}[/red]", markup=True, highlight=False)
    return 1 if runner.errors else 0


if __name__ == "__main__":
    sys.exit(main())
