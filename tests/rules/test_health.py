"""When calls that fail make an app unhealthy, and what it says then."""

import msgspec
import pytest

from dawdle._rules.health import FORGET_SECONDS, OVERDUE_SECONDS, FailingCalls, Health, health_of

FAILING = FailingCalls(
    queue="default", call="send", kind="unavailable", failures=2, first=OVERDUE_SECONDS, latest=0.0, error="no route"
)


def settled(**facts):
    calls = msgspec.structs.replace(FAILING, **facts)
    return health_of(Health(healthy=True, failing=(calls,)), None)


@pytest.mark.parametrize("kind", ["denied", "missing"])
def test_a_failure_that_an_operator_must_mend_is_unhealthy_at_once(kind):
    health = settled(kind=kind, failures=1, first=0.5, latest=0.5, error="AccessDenied: not yours")
    assert not health.healthy
    assert health.reasons == ("default: a send failed 0.5 s ago: AccessDenied: not yours",)


@pytest.mark.parametrize("kind", ["unavailable", "throttled", "refused"])
def test_what_may_pass_is_unhealthy_when_it_has_failed_for_a_minute(kind):
    assert settled(kind=kind, first=OVERDUE_SECONDS - 1).healthy
    assert not settled(kind=kind, first=OVERDUE_SECONDS).healthy


def test_one_failure_that_may_pass_does_not_count_for_ever():
    assert settled(failures=1, first=200.0, latest=200.0).healthy


def test_what_no_call_has_confirmed_for_five_minutes_is_not_held_against_the_app():
    for kind in ("denied", "unavailable"):
        assert not settled(kind=kind, first=FORGET_SECONDS + 100, latest=FORGET_SECONDS - 1).healthy
        assert settled(kind=kind, first=FORGET_SECONDS + 100, latest=FORGET_SECONDS).healthy


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("send", "orders (dead letters): 3 sends in a row failed, the first 75 s ago: no route"),
        ("delete", "orders (dead letters): 3 deletes in a row failed, the first 75 s ago: no route"),
        ("release", "orders (dead letters): 3 releases in a row failed, the first 75 s ago: no route"),
        ("renew", "orders (dead letters): 3 lease renewals in a row failed, the first 75 s ago: no route"),
    ],
)
def test_the_reason_names_queue_call_count_time_and_error(call, said):
    assert settled(queue="orders (dead letters)", call=call, failures=3, first=75.0).reasons == (said,)


def test_an_app_that_does_not_listen_is_judged_by_its_calls_too():
    assert not health_of(Health(healthy=True, listening=False, failing=(FAILING,)), None).healthy
