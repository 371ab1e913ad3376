"""Of many failures alike the first is told, the rest is counted, and every one of them is told or counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dawdle._rules.failure_counts import COUNT_SECONDS, FORGET_SECONDS, MAX_GROUPS, FailureCounts, FailureGroup

RETRIED = FailureGroup("shop.mail", "ConnectionError", is_last=False)
LAST = FailureGroup("shop.mail", "ConnectionError", is_last=True)
sorts = st.builds(FailureGroup, st.sampled_from("ab"), st.sampled_from("xy"), st.booleans())


def test_the_first_has_its_traceback_and_what_follows_within_a_minute_is_counted():
    failures = FailureCounts()
    how = [failures.note(RETRIED, now) for now in (0, 0, 0.5, 1.5, 59)]
    assert how == ["with traceback", "kept", "counted", "kept", "kept"]
    failures.keep(RETRIED, "the latest")
    assert list(failures.expired(59.9)) == []
    assert list(failures.expired(60)) == [(RETRIED, 4, 60, "the latest")]
    assert list(failures.expired(121)) == []


@pytest.mark.parametrize(("group", "how"), [(RETRIED, "in one line"), (LAST, "with traceback")])
def test_after_a_quiet_minute_one_is_logged_again_and_a_last_attempt_with_its_traceback(group, how):
    failures = FailureCounts()
    assert failures.note(group, 0) == "with traceback"
    assert failures.note(group, COUNT_SECONDS) == how


def test_after_an_hour_it_is_new():
    failures = FailureCounts()
    failures.note(RETRIED, 0)
    assert failures.note(RETRIED, FORGET_SECONDS) == "with traceback"


def test_an_attempt_that_is_tried_again_and_one_that_is_the_last_are_counted_apart():
    failures = FailureCounts()
    assert failures.note(RETRIED, 0) == failures.note(LAST, 0) == "with traceback"


@given(st.lists(st.tuples(sorts, st.floats(0, 200)), max_size=200))
def test_every_failure_is_logged_or_counted_once(noted):
    failures, now, how, counted = FailureCounts(), 0.0, 0, 0
    for group, passed in noted:
        now += passed
        counted += sum(each.times for each in failures.expired(now))
        how += failures.note(group, now) in {"with traceback", "in one line"}
    counted += sum(each.times for each in failures.expired(now, all_of_them=True))
    assert how + counted == len(noted)
    assert list(failures.expired(now, all_of_them=True)) == []


@given(st.lists(st.floats(0, 30), min_size=2, max_size=300))
def test_a_group_is_logged_twice_a_minute_at_most(gaps):
    failures, now, lines = FailureCounts(), 0.0, []
    for gap in gaps:
        now += gap
        lines += [now for _ in failures.expired(now)]
        if failures.note(RETRIED, now) in {"with traceback", "in one line"}:
            lines.append(now)
    for first, third in zip(lines, lines[2:], strict=False):
        assert third - first >= COUNT_SECONDS


def test_no_more_groups_are_remembered_than_the_bound_and_their_counts_are_logged():
    failures = FailureCounts()
    for number in range(MAX_GROUPS + 50):
        for _ in range(2):
            failures.note(FailureGroup(f"handler-{number}", "E", is_last=False), 0)
    assert [each.group.handler for each in failures.expired(0)] == [f"handler-{number}" for number in range(50)]
    assert list(failures.expired(0)) == []
