"""A few of the cuts in __main__.py; `nox -s sqlite -- power_cut` makes many."""

import shutil
import sys

import pytest

from tests.power_cut.__main__ import Load, run

pytestmark = [
    pytest.mark.once,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux" or shutil.which("cc") is None, reason="needs Linux and a C compiler"),
]

SMALL = Load(processes=2, messages=100, kills=0)


def test_what_was_acknowledged_is_there_after_a_power_cut():
    figures = run(range(1, 2), cuts=15, load=SMALL)
    assert figures.broken == [], figures.shown


def test_the_cuts_find_what_durability_normal_may_lose():
    figures = run(range(1, 2), cuts=15, load=SMALL, durability="normal")
    assert figures.broken == [], figures.shown
