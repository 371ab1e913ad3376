"""Facts on calls to a queue: what fails, since when, and what shows that it is over."""

import pytest

from dawdle._flow.call_state import CallState
from dawdle.abc import Fault
from dawdle.errors import BackendError

pytestmark = pytest.mark.anyio

DENIED = BackendError("AccessDenied", kind="denied")


@pytest.fixture
def calls(clock):
    return CallState(clock)


def failing(calls):
    return [(each.queue, each.call, each.kind, each.failures, each.error) for each in calls.failing()]


async def test_failures_in_a_row_are_counted_for_each_queue_and_kind_of_call(calls, clock):
    calls.failed("a", "send", DENIED)
    await clock.advance(5)
    calls.answered("a", "send", [Fault("throttled", "slow down"), Fault("throttled", "slow down")])
    calls.failed("a", "delete", OSError("no route"))
    calls.failed("a (dead letters)", "send", DENIED)
    await clock.advance(2)
    assert failing(calls) == [
        ("a", "send", "throttled", 2, "slow down"),
        ("a", "delete", "unavailable", 1, "OSError: no route"),
        ("a (dead letters)", "send", "denied", 1, "AccessDenied"),
    ]
    assert [(each.first, each.latest) for each in calls.failing()] == [(7, 2), (2, 2), (2, 2)]


async def test_one_entry_that_is_taken_shows_that_the_calls_work(calls):
    calls.failed("a", "send", DENIED)
    calls.answered("a", "send", [Fault("denied", "a key"), None])
    assert failing(calls) == []


@pytest.mark.parametrize("kind", ["refused", "lost"])
async def test_what_concerns_an_entry_alone_says_nothing_of_the_calls(calls, kind):
    calls.answered("a", "release", [Fault(kind, "this one")])
    assert failing(calls) == []
    calls.failed("a", "release", DENIED)
    calls.answered("a", "release", [Fault(kind, "this one")])
    assert len(failing(calls)) == 1


async def test_what_recovers_speaks_for_other_calls_that_failed_by_the_same(calls):
    for queue, call in (("a", "send"), ("a", "release"), ("a (dead letters)", "send")):
        calls.failed(queue, call, DENIED)
    calls.failed("a", "renew", BackendError("no answer in time"))
    calls.answered("a", "delete", [None])
    assert len(failing(calls)) == 4
    calls.answered("a", "send", [None])
    assert [call for _, call, *_ in failing(calls)] == ["renew"]
    calls.recovered("unavailable")
    assert failing(calls) == []
