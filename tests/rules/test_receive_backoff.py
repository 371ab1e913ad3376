"""How long a receive waits after one that failed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dawdle._rules.receive_backoff import MAX_PAUSE_SECONDS, needs_operator, pause_after

rolls = st.floats(0, 1, exclude_max=True)
passing = st.sampled_from(["unavailable", "throttled", "denied", "missing", "lost"])


@given(passing, st.integers(1, 10**9), rolls)
def test_a_pause_is_bounded_and_grows_with_the_failures(kind, failures, random):
    pause = pause_after(kind, failures, random)
    assert 0 < pause <= MAX_PAUSE_SECONDS
    assert pause <= pause_after(kind, failures + 1, random)


@given(st.integers(1, 100))
def test_what_is_refused_is_never_asked_again(failures):
    assert pause_after("refused", failures, 0.5) is None


@pytest.mark.parametrize(
    ("kind", "most", "least"),
    [
        ("unavailable", [0.1, 0.2, 0.4, 0.8], [0, 0, 0, 0]),
        ("throttled", [1, 2, 4, 8, 16, 20, 20], [0.5, 1, 2, 4, 8, 10, 10]),
        ("denied", [10, 20, 40, 60, 60], [7.5, 15, 30, 45, 45]),
        ("missing", [10, 20, 40, 60, 60], [7.5, 15, 30, 45, 45]),
    ],
)
def test_each_kind_has_its_own_pauses(kind, most, least):
    numbers = range(1, len(most) + 1)
    assert [pause_after(kind, number, 0) for number in numbers] == pytest.approx(most)
    assert [pause_after(kind, number, 1) for number in numbers] == pytest.approx(least)


@given(rolls, rolls)
def test_a_minute_of_denials_holds_at_most_six_receives(one, other):
    at, receives = 0.0, 0
    while at < 60:
        receives += 1
        at += pause_after("denied", receives, one if receives % 2 else other)
    assert receives <= 6


def test_denied_and_missing_wait_for_an_operator():
    assert needs_operator("denied")
    assert needs_operator("missing")
    assert not needs_operator("throttled")
    assert not needs_operator(None)
