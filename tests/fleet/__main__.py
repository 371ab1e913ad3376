"""Drive fleets through their days in virtual time: `python -m tests.fleet`, or some: `--quick`, `--sizes 1 10`."""

import argparse
import sys
import time
from pathlib import Path

from rich.console import Console

from tests.fleet.cost_page import rewrite_page
from tests.fleet.plan import QUICK_SIZES, SIZES, parts
from tests.fleet.report import FIGURES, notes, table, write
from tests.fleet.run import run_parts


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fleet", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1 and 10 nodes with little load, in half a minute")
    parser.add_argument("--sizes", nargs="+", type=int, help="numbers of nodes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help=f"where figures go; default: {FIGURES} for a whole run, else nowhere")
    asked = parser.parse_args()
    sizes = tuple(asked.sizes or (QUICK_SIZES if asked.quick else SIZES))
    started = time.monotonic()
    results = run_parts(parts(sizes, quick=asked.quick), asked.seed)
    console = Console(width=None if sys.stdout.isatty() else 170)
    console.print(table(results))
    for line in notes(results):
        console.print(line, highlight=False)
    whole = not asked.quick and asked.sizes is None
    if asked.json is not None:
        write(asked.json, asked.seed, results)
    elif whole:
        write(FIGURES, asked.seed, results)
        rewrite_page()
    console.print(f"in {time.monotonic() - started:.0f} s", highlight=False)
    return 1 if any(counted.lost or counted.broken for counted in results) else 0


if __name__ == "__main__":
    sys.exit(main())
