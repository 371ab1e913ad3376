"""A back-off grows, has an end, and is spread by no more than its jitter."""

from datetime import timedelta
from math import inf, nan
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dawdle._rules.retry import Retry
from dawdle.errors import ConfigurationError, RetryLater

durations = st.floats(0, 1e9)
retries = st.builds(
    Retry,
    max_attempts=st.integers(1, 10**6),
    initial=durations,
    factor=st.floats(1, 1e6),
    max_delay=durations,
    jitter=st.floats(0, 1),
)
attempts = st.integers(1, 40) | st.integers(1, 2**31 - 1)
rolls = st.floats(0, 1, exclude_max=True)


@given(retries, attempts, rolls)
def test_a_backoff_is_never_negative_never_above_its_limit_and_jitter_only_shortens_it(retry, attempt, roll):
    full = retry.backoff(attempt, 0.0)
    wait = retry.backoff(attempt, roll)
    assert 0 <= wait <= full <= retry.max_delay
    assert wait >= full * (1 - retry.jitter) * 0.999999


@given(retries, st.integers(1, 10**6), st.integers(1, 10**6))
def test_a_later_attempt_never_waits_less(retry, one, other):
    first, second = sorted((one, other))
    assert retry.backoff(first, 0.0) <= retry.backoff(second, 0.0)


@given(st.floats(0.001, 1000), st.floats(1, 10), st.integers(1, 20), st.floats(0, 1e9), rolls, st.floats(0, 1))
def test_a_backoff_is_the_first_wait_grown_by_the_factor_once_for_each_attempt_before(
    initial, factor, attempt, max_delay, roll, jitter
):
    retry = Retry(initial=initial, factor=factor, max_delay=max_delay, jitter=jitter)
    grown = initial
    for _ in range(attempt - 1):
        grown *= factor
    assert retry.backoff(attempt, roll) == pytest.approx(min(grown, max_delay) * (1 - jitter * roll))


def test_the_default_waits_5_10_20_40_seconds_and_never_over_an_hour():
    retry = Retry()
    assert [retry.backoff(attempt, 0.0) for attempt in (1, 2, 3, 4)] == [5, 10, 20, 40]
    assert retry.backoff(5, 1.0) == 40
    assert retry.backoff(2**31 - 1, 0.0) == 3600


def test_the_waits_of_the_default_are_together_as_long_as_the_docs_say():
    retry = Retry()

    def together(roll):
        return sum(retry.backoff(attempt, roll) for attempt in range(1, retry.max_attempts))

    assert together(0.0) == 8715  # 2 h 25 min
    assert together(0.5) == 6536.25  # 1 h 49 min
    assert together(1.0) == 4357.5  # 1 h 12 min
    little = Retry(jitter=0.1)
    assert sum(little.backoff(attempt, 1.0) for attempt in range(1, 12)) == pytest.approx(7843.5)  # 2 h 10 min


def test_waits_may_be_given_as_timedeltas():
    retry = Retry(initial=timedelta(minutes=1), max_delay=timedelta(hours=2))
    assert retry == Retry(initial=60, max_delay=7200)
    assert (type(retry.initial), type(retry.max_delay)) == (float, float)


def test_errors_that_are_final_are_given_as_a_type_or_types_and_rules_with_the_same_ones_are_equal():
    assert Retry(never=ValueError) == Retry(never=[ValueError, ValueError]) == Retry(never=(ValueError,))
    assert Retry(never=(ValueError,)) != Retry(never=(KeyError,))
    assert Retry().never == ()


@pytest.mark.parametrize(
    ("never", "says"),
    [
        (5, "takes exception types, such as (ValueError,), not 5"),
        ("ValueError", "not 'ValueError'"),
        (None, "not None"),
        ([ValueError()], "not ValueError()"),
        ((int,), "not <class 'int'>"),
        ((KeyboardInterrupt,), "not <class 'KeyboardInterrupt'>"),
        ((RetryLater,), "RetryLater is none: it asks for a later try"),
    ],
)
def test_what_is_no_type_of_failure_cannot_be_final(never, says):
    with pytest.raises(ConfigurationError) as caught:
        Retry(never=never)
    assert str(caught.value).startswith("Retry(never=…) takes ")
    assert says in str(caught.value)


def test_a_retry_that_starts_at_once_stays_at_once():
    assert Retry(initial=0).backoff(2000, 0.0) == 0


@pytest.mark.slow
@given(st.data())
def test_a_number_outside_its_range_is_refused_with_its_name_and_value(data):
    name, value = data.draw(
        st.one_of(
            st.tuples(st.just("max_attempts"), st.integers(max_value=0) | st.floats()),
            st.tuples(st.sampled_from(["initial", "max_delay"]), st.floats(max_value=-1e-9)),
            st.tuples(st.just("factor"), st.floats(max_value=0.999999)),
            st.tuples(st.just("jitter"), st.floats(max_value=-1e-9) | st.floats(min_value=1.000001)),
            st.tuples(
                st.sampled_from(["max_attempts", "initial", "factor", "max_delay", "jitter"]),
                st.sampled_from([nan, inf, -inf, "3", None, True, [1], 1j]),
            ),
        )
    )
    with pytest.raises(ConfigurationError) as caught:
        Retry(**{name: value})
    assert f"Retry({name}=…)" in str(caught.value)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("name", ["max_attempts", "initial", "factor", "max_delay", "jitter"])
@pytest.mark.parametrize("number", [10**400, 10**5000, -(10**400)], ids=["400 digits", "5000 digits", "negative"])
def test_a_number_that_no_float_can_hold_is_refused(name, number):
    with pytest.raises(ConfigurationError, match=rf"Retry\({name}=…\)") as caught:
        Retry(**{name: number})
    assert len(str(caught.value)) < 400


def test_more_attempts_than_can_be_counted_in_a_message_are_refused():
    assert Retry(max_attempts=2**31 - 1).max_attempts == 2**31 - 1
    with pytest.raises(ConfigurationError, match="from 1 to 2,147,483,647"):
        Retry(max_attempts=2**31)


@pytest.mark.parametrize("factor", [1, 2, 3, 10**300])
def test_whole_numbers_grow_as_fast_as_others_and_no_attempt_takes_long(factor):
    started = process_time()
    wait = Retry(initial=1, factor=factor, max_delay=900).backoff(2**31 - 1, 0.0)
    assert wait == (1 if factor == 1 else 900)
    assert process_time() - started < 0.1
