"""Of many failures alike the first is told, the rest is counted, and every one of them is told or counted."""

import asyncio
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dawdle._rules.failure_counts import (
    AGAIN_SECONDS,
    COUNT_SECONDS,
    MAX_GROUPS,
    FailureCounts,
    FailureGroup,
    group_of,
    ordinal,
)

RETRIED = FailureGroup("shop.mail", "ConnectionError", "mail.py:7", is_last=False)
LAST = FailureGroup("shop.mail", "ConnectionError", "mail.py:7", is_last=True)
sorts = st.builds(FailureGroup, st.sampled_from("ab"), st.sampled_from("xy"), st.just("a.py:1"), st.booleans())


def test_the_first_has_its_traceback_and_what_follows_within_a_minute_is_counted():
    failures = FailureCounts()
    noted = [failures.note(RETRIED, now, now) for now in (0, 0, 0.5, 1.5, 59)]
    assert [each.how for each in noted] == ["with traceback", "counted", "counted", "counted", "counted"]
    assert [each.times for each in noted] == [1, 2, 3, 4, 5]
    assert list(failures.expired(59.9)) == []
    (counted,) = failures.expired(60)
    assert counted == (RETRIED, 4, 60, 59, 5, 0), "the latest of four, of five since 0"
    assert list(failures.expired(121)) == []


@pytest.mark.parametrize(("group", "how"), [(RETRIED, "in one line"), (LAST, "with traceback")])
def test_after_a_quiet_minute_one_is_logged_again_and_a_last_attempt_with_its_traceback(group, how):
    failures = FailureCounts()
    assert failures.note(group, 5, None) == ("with traceback", 1, 5)
    assert failures.note(group, 5 + COUNT_SECONDS, None) == (how, 2, 5)


def test_the_count_goes_on_over_the_lines():
    failures = FailureCounts()
    lines = []
    for now in range(0, 300, 10):
        lines += [each.times for each in failures.expired(now)]
        noted = failures.note(RETRIED, now, None)
        if noted.how != "counted":
            lines.append(noted.times)
    assert lines == [1, 6, 12, 18, 24, 30][: len(lines)]
    assert noted == ("counted", 30, 0)


def test_after_an_hour_it_begins_anew_though_it_never_stopped():
    failures = FailureCounts()
    noted, now = [], 0.0
    while now <= AGAIN_SECONDS:
        list(failures.expired(now))
        noted.append(failures.note(RETRIED, now, None))
        now += 90
    assert [each.how for each in noted] == ["with traceback", *["in one line"] * (len(noted) - 2), "with traceback"]
    assert noted[-1][1:] == (1, AGAIN_SECONDS)


def test_an_attempt_that_is_tried_again_and_one_that_is_the_last_are_counted_apart():
    failures = FailureCounts()
    assert failures.note(RETRIED, 0, None).how == failures.note(LAST, 0, None).how == "with traceback"


@given(st.lists(st.tuples(sorts, st.floats(0, 200)), max_size=200))
def test_every_failure_is_logged_or_counted_once(noted):
    failures, now, how, counted = FailureCounts(), 0.0, 0, 0
    for group, passed in noted:
        now += passed
        counted += sum(each.more for each in failures.expired(now))
        how += failures.note(group, now, None).how != "counted"
    counted += sum(each.more for each in failures.expired(now, all_of_them=True))
    assert how + counted == len(noted)
    assert list(failures.expired(now, all_of_them=True)) == []


@given(st.lists(st.floats(0, 30), min_size=2, max_size=300))
def test_a_group_is_logged_twice_a_minute_at_most(gaps):
    failures, now, lines = FailureCounts(), 0.0, []
    for gap in gaps:
        now += gap
        lines += [now for _ in failures.expired(now)]
        if failures.note(RETRIED, now, None).how != "counted":
            lines.append(now)
    for first, third in zip(lines, lines[2:], strict=False):
        assert third - first >= COUNT_SECONDS


def test_no_more_groups_are_remembered_than_the_bound_and_their_counts_are_logged():
    failures = FailureCounts()
    for number in range(MAX_GROUPS + 50):
        assert not failures.is_crowded
        for _ in range(2):
            failures.note(FailureGroup(f"handler-{number}", "E", "", is_last=False), 0, None)
    assert [each.group.handler for each in failures.expired(0)] == [f"handler-{number}" for number in range(50)]
    assert list(failures.expired(0)) == []
    for number in range(MAX_GROUPS):
        failures.note(FailureGroup(f"later-{number}", "E", "", is_last=False), 1, None)
    assert failures.is_crowded


def raised(function, *arguments):
    try:
        function(*arguments)
    except BaseException as error:
        return error
    return None


def fails(error):
    if isinstance(error, ValueError):
        raise error
    raise error


def test_alike_are_errors_of_one_type_that_one_line_raised():
    one, other = raised(fails, ValueError("a")), raised(fails, ValueError("b"))
    elsewhere = raised(int, "x")
    assert group_of("mail", one, is_last=False) == group_of("mail", other, is_last=False)
    assert group_of("mail", one, is_last=False) != group_of("mail", elsewhere, is_last=False)
    assert group_of("mail", one, is_last=False) != group_of("bill", one, is_last=False)
    assert group_of("mail", raised(fails, KeyError()), is_last=False).error == "KeyError"
    file, line = traceback.extract_tb(one.__traceback__)[-1][:2]
    assert group_of("mail", one, is_last=False).raised_at == f"{file}:{line}"


def test_an_error_that_was_not_raised_has_no_line():
    assert group_of("mail", TimeoutError(), is_last=False).raised_at == ""


def test_a_group_of_errors_is_told_by_what_is_in_it():
    async def several(*errors):
        async with asyncio.TaskGroup() as group:
            for error in errors:
                group.create_task(failing(error))

    async def failing(error):
        raise error

    def of(*errors):
        return group_of("mail", raised(asyncio.run, several(*errors)), is_last=False)

    assert of(KeyError(), OSError()) == of(OSError(), KeyError())
    assert of(KeyError(), OSError()).error == "ExceptionGroup of KeyError, OSError"
    assert of(KeyError()) != of(OSError())
    assert of(*(KeyError() for _ in range(100))) == of(KeyError())


def test_a_number_is_said_as_english_says_it():
    said = ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "37th", "101st", "111th", "122nd", "1,003rd"]
    assert [ordinal(int(each[:-2].replace(",", ""))) for each in said] == said
