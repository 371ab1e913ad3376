"""A few of the cuts in __main__.py; `nox -s sqlite -- power_cut` makes many."""

import shutil
import sys

import pytest

from tests.power_cut.__main__ import run

pytestmark = [
    pytest.mark.once,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux" or shutil.which("cc") is None, reason="needs Linux and a C compiler"),
]


def test_what_was_acknowledged_is_there_after_a_power_cut():
    figures = run(range(1, 2), cuts=15, messages=100)
    assert figures.broken == [], figures.shown


def test_the_cuts_find_what_durability_normal_may_lose():
    figures = run(range(1, 2), cuts=15, messages=100, durability="normal")
    assert figures.broken == [], figures.shown
