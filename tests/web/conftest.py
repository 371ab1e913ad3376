"""The web apps of these tests run in the real frameworks; servers are real processes where that matters."""

import pytest

from dawdle import Registry


@pytest.fixture
def registry():
    return Registry()
