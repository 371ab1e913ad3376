"""What an error means for the handler that raised it: failed, rejected or later; reading it never raises."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dawdle import Reject, RetryLater
from dawdle._rules.outcome import Failed, Postponed, Rejected, error_text, outcome_of

LEAVES = st.sampled_from([ValueError("no"), Reject("closed"), RetryLater(3), RetryLater(7), SystemExit(1)])
ERRORS = st.recursive(
    LEAVES, lambda inner: st.lists(inner, min_size=1, max_size=3).map(lambda each: BaseExceptionGroup("group", each))
)


def leaves_of(error):
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in leaves_of(each)]
    return [error]


@given(ERRORS)
def test_any_reject_is_final_only_later_is_later_and_else_it_has_failed(error):
    outcome, leaves = outcome_of(error), leaves_of(error)
    if any(isinstance(leaf, Reject) for leaf in leaves):
        assert isinstance(outcome, Rejected)
    elif all(isinstance(leaf, RetryLater) for leaf in leaves):
        assert outcome == Postponed(max(leaf.seconds for leaf in leaves))
    else:
        assert isinstance(outcome, Failed)


def test_the_reason_names_the_leaves_and_not_the_group():
    group = ExceptionGroup("unhandled errors in a TaskGroup", [ConnectionError("away"), KeyError("x")])
    assert outcome_of(group) == Failed("ConnectionError: away; KeyError: 'x'")


def test_a_reason_names_no_more_than_a_few_leaves():
    many = ExceptionGroup("all", [ValueError(str(number)) for number in range(100)])
    assert outcome_of(many) == Failed(
        "ValueError: 0; ValueError: 1; ValueError: 2; ValueError: 3; ValueError: 4; and 95 more"
    )


def test_a_group_that_is_deep_and_wide_is_read_in_no_time():
    error: Exception = ValueError("bottom")
    for _ in range(10_000):
        error = ExceptionGroup("one", [error])
    wide = ExceptionGroup("wide", [error, *(RetryLater(1) for _ in range(100_000))])
    assert isinstance(outcome_of(wide), Failed)


@pytest.mark.parametrize("raised", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit], ids=repr)
def test_an_error_whose_text_cannot_be_shown_says_so(raised):
    class Unspeakable(Exception):
        def __str__(self):
            raise raised

    expected = f"(its message cannot be shown: {raised.__name__})"
    assert error_text(Unspeakable()).endswith(f"Unspeakable: {expected}")


@pytest.mark.parametrize("seconds", ["soon", -1, float("nan"), float("inf"), True, None, 10**400, b"x"], ids=str)
def test_a_later_without_a_number_of_seconds_has_failed_and_says_so(seconds):
    class Odd(RetryLater):
        def __init__(self):
            self.seconds = seconds

    outcome = outcome_of(Odd())
    assert isinstance(outcome, Failed)
    assert "its seconds are" in outcome.error


class Invalid(ValueError):
    pass


@pytest.mark.parametrize(
    ("error", "is_final"),
    [
        (ValueError(), True),
        (Invalid(), True),
        (KeyError(), True),
        (LookupError(), False),
        (ExceptionGroup("a handler's own group", [LookupError(), Invalid()]), True),
        (ExceptionGroup("", [LookupError(), ExceptionGroup("", [OSError(), KeyError()])]), True),
        (ExceptionGroup("", [LookupError()]), False),
        (ExceptionGroup("", [RetryLater(3), Invalid()]), True),
        (BaseExceptionGroup("", [SystemExit(), Invalid()]), True),
        (SystemExit(), False),
    ],
)
def test_an_error_is_final_by_its_type_or_by_one_in_its_group(error, is_final):
    assert isinstance(outcome_of(error, (ValueError, KeyError)), Rejected if is_final else Failed)
    assert isinstance(outcome_of(error), Failed)


def test_a_group_may_be_final_itself():
    assert isinstance(outcome_of(ExceptionGroup("", [OSError()]), (ExceptionGroup,)), Rejected)
