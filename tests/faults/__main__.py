"""Run the fault suite: `python -m tests.faults`, or some of it: `python -m tests.faults 1 9 --seed 7`.

With DAWDLE_SQS_CLIENT=aiobotocore in the environment, by botocore's own client.
"""

import argparse
import sys

from tests.faults.row import Scale
from tests.faults.table import all_rows, run_rows


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("rows", nargs="*", type=int, help="numbers of rows; all without any")
    parser.add_argument("--kind", choices=["virtual", "real"], help="only rows of this kind")
    parser.add_argument("--share", type=float, default=1.0, help="run a part of each row, from 0 to 1")
    parser.add_argument("--seed", type=int, help="run only this seed of the virtual rows")
    parser.add_argument("--on-ministack", action="store_true", help="on ministack, the rows that can")
    parser.add_argument("--on-sqlite", action="store_true", help="on SQLite files, the rows that can")
    asked = parser.parse_args()
    rows = [
        row
        for row in all_rows()
        if (not asked.rows or row.number in asked.rows)
        and (asked.kind in {None, row.kind})
        and (row.on_ministack or not asked.on_ministack)
        and (row.on_sqlite or not asked.on_sqlite)
    ]
    scale = Scale(share=asked.share, seed=asked.seed, on_ministack=asked.on_ministack, on_sqlite=asked.on_sqlite)
    return 0 if run_rows(rows, scale) else 1


if __name__ == "__main__":
    sys.exit(main())
