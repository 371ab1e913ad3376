"""What a handler raises to steer its retry is checked where it is written."""

from datetime import timedelta
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dawdle.errors import ConfigurationError, RetryLater, shown


@given(st.integers(0, 10**300) | st.floats(0, allow_infinity=False))
def test_retry_later_takes_any_seconds_that_are_not_negative(seconds):
    assert RetryLater(seconds).seconds == float(seconds)


@pytest.mark.parametrize(
    "seconds", [-1, nan, inf, 10**400, 10**5000, "x", "5", b"5", None, True, [1], timedelta(1)], ids=type
)
def test_retry_later_refuses_what_is_no_number_of_seconds(seconds):
    with pytest.raises(ConfigurationError, match="RetryLater takes 0 or more seconds, not ") as caught:
        RetryLater(seconds)
    assert len(str(caught.value)) < 300


def test_a_wrong_value_is_shown_short_and_also_if_it_cannot_be_shown():
    class Broken:
        __qualname__ = "Broken"

        def __repr__(self):
            raise RuntimeError

    assert shown(Broken()) == "a Broken that cannot be shown"
    assert shown("x" * 1000) == "'" + "x" * 199 + "…"
    assert shown(5) == "5"
