"""A small one of the journey in growth.py; the large one is run alone."""

import pytest
from tests.journeys.growth import journey

pytestmark = [pytest.mark.once, pytest.mark.slow]


def test_a_sqlite_file_does_not_grow_with_what_goes_through_it():
    figures = journey(10_000, reader=0)
    assert figures.broken == [], figures.shown
