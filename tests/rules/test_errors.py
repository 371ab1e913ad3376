"""What a handler raises to steer its retry is checked where it is written."""

import copy
import pickle
from datetime import timedelta
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dawdle import errors
from dawdle.errors import (
    ArgumentError,
    BackendError,
    ConfigurationError,
    DawdleError,
    EventError,
    EventTooLargeError,
    NoAppError,
    NotAnEventError,
    Reject,
    RetryLater,
    SignalError,
    shown,
)


@given(st.integers(0, 10**300) | st.floats(0, allow_infinity=False))
def test_retry_later_takes_any_seconds_that_are_not_negative(seconds):
    assert RetryLater(seconds).seconds == float(seconds)


def test_retry_later_takes_a_timedelta():
    assert RetryLater(timedelta(minutes=1)).seconds == 60


@pytest.mark.parametrize(
    "seconds", [-1, nan, inf, 10**400, 10**5000, "x", "5", b"5", None, True, [1], timedelta(-1)], ids=type
)
def test_retry_later_refuses_what_is_no_number_of_seconds(seconds):
    with pytest.raises(ConfigurationError, match="RetryLater takes 0 or more seconds, or a timedelta, not ") as caught:
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


@pytest.mark.parametrize("kind", ["lost", "refused", "throttled", "denied", "missing"])
def test_an_answer_that_is_a_no_leaves_nothing_uncertain_unless_an_earlier_try_does(kind):
    assert not BackendError("no", kind=kind).uncertain
    assert BackendError("no", kind=kind, uncertain=True).uncertain


def test_what_is_unavailable_may_have_been_carried_out_unless_nothing_was_sent():
    assert BackendError("the connection broke").uncertain
    assert not BackendError("no connection", uncertain=False).uncertain


def test_each_id_of_a_signal_error_is_stored_or_not_or_uncertain():
    failed = {"b": BackendError("", kind="denied"), "c": BackendError(""), "e": ValueError("a backend's own")}
    error = SignalError("", ids="abcde", failed=failed)
    assert error.ids == ("a", "b", "c", "d", "e")
    assert error.stored == ("a", "d")
    assert error.not_stored == ("b",)
    assert error.uncertain == ("c", "e")
    assert error.failed == failed


class RetryOfATenant(RetryLater):
    """As a user may write one: it takes other arguments than its base."""

    def __init__(self, tenant, *, seconds):
        super().__init__(seconds)
        self.tenant = tenant


OF_EACH_TYPE = [
    DawdleError("no"),
    ConfigurationError("no"),
    NoAppError("no"),
    EventError("no"),
    NotAnEventError("no"),
    ArgumentError("no"),
    EventTooLargeError("no", size=3, limit=2),
    SignalError("no", ids=["a", "b"], failed={"b": BackendError("why", kind="denied")}),
    BackendError("no", kind="throttled", uncertain=True),
    Reject("no"),
    RetryLater(30),
    RetryOfATenant("acme", seconds=5),
]


def facts(error):
    """An error's type, text and attributes, those of the errors in it too."""
    if not isinstance(error, BaseException):
        return {key: facts(each) for key, each in error.items()} if isinstance(error, dict) else error
    return type(error), error.args, str(error), facts(error.__dict__)


def test_every_error_has_an_example_here():
    of_module = {getattr(errors, name) for name in errors.__all__} - {errors.FaultKind}
    assert {type(error) for error in OF_EACH_TYPE} == of_module | {RetryOfATenant}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("error", OF_EACH_TYPE, ids=lambda error: type(error).__name__)
def test_every_error_survives_a_pickle(error, protocol):
    error.add_note("seen in Berlin")
    assert facts(pickle.loads(pickle.dumps(error, protocol))) == facts(error)


@pytest.mark.parametrize("error", OF_EACH_TYPE, ids=lambda error: type(error).__name__)
def test_every_error_can_be_copied(error):
    assert facts(copy.copy(error)) == facts(error)
    assert facts(copy.deepcopy(error)) == facts(error)
