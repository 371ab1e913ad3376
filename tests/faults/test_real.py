"""A fast half of the real rows, each in a few seconds; `nox -s faults` runs all of them, and whole."""

import pytest

from tests.faults.row import Scale
from tests.faults.table import all_rows, run_row

pytestmark = pytest.mark.once

SHARES = {2: 0.02, 4: 0.04, 7: 0.1, 9: 0.2, 16: 0.2, 23: 0.2, 32: 0.2, 35: 0.05, 36: 0.1}
TIMED = {32}
"""Rows that measure seconds. Beside other tests a run may be late for want of a core: then a second one decides."""

ON_SQLITE = {3: 0.01}
ROWS = {row.number: row for row in all_rows() if row.kind == "real"}


@pytest.mark.slow
@pytest.mark.parametrize("number", SHARES, ids=lambda number: f"row {number}")
def test_a_part_of_a_row_holds(number):
    verdict = run_row(ROWS[number], Scale(share=SHARES[number]))
    if verdict.figures.broken and number in TIMED:
        verdict = run_row(ROWS[number], Scale(share=SHARES[number]))
    assert verdict.figures.broken == [], verdict.figures.shown


@pytest.mark.slow
@pytest.mark.parametrize("number", ON_SQLITE, ids=lambda number: f"row {number}")
def test_a_part_of_a_row_holds_on_sqlite(number):
    verdict = run_row(ROWS[number], Scale(share=ON_SQLITE[number], on_sqlite=True))
    assert verdict.figures.broken == [], verdict.figures.shown
