"""Whatever is a duration may be given in seconds or as a timedelta, and what is neither is refused by its name."""

from datetime import timedelta

import pytest

from dawdle import Dawdle, Registry, Retry, RetryLater
from dawdle.backends.memory import Memory
from dawdle.backends.sqs import SQS
from dawdle.errors import ConfigurationError
from dawdle.testing import ManualClock
from tests.app.events import Placed

URL = "https://sqs.eu-central-1.amazonaws.com/123456789012/orders"


def timeout_of_handler(value):
    registry = Registry()
    registry.on_event(Placed, timeout=value)(handler)
    (made,) = registry
    return made.options.timeout


async def handler(event: Placed) -> None: ...


GIVEN = {
    "grace is": lambda value: Dawdle(Memory(), grace=value)._settings.grace,
    "unclaimed is": lambda value: Dawdle(Memory(), unclaimed=value)._settings.unclaimed,
    "timeout is": lambda value: Dawdle(Memory(), timeout=value)._settings.timeout,
    "timeout is ": timeout_of_handler,
    "Retry(initial=…) takes": lambda value: Retry(initial=value).initial,
    "Retry(max_delay=…) takes": lambda value: Retry(max_delay=value).max_delay,
    "RetryLater takes": lambda value: RetryLater(value).seconds,
    "Memory takes a lease of": lambda value: Memory(lease=value).limits.lease,
    "Memory takes a max_delay of": lambda value: Memory(max_delay=value).limits.max_delay,
    "wait is": lambda value: SQS(URL, wait=value).limits.max_wait,
    "lease is": lambda value: SQS(URL, lease=value).limits.lease,
}


@pytest.mark.parametrize("what", GIVEN)
def test_a_duration_is_seconds_or_a_timedelta(what):
    assert GIVEN[what](7) == GIVEN[what](7.0) == GIVEN[what](timedelta(seconds=7)) == 7


@pytest.mark.parametrize("what", GIVEN)
@pytest.mark.parametrize("value", ["7", True, [7], b"7", -1, timedelta(seconds=-1), float("nan"), 10**400, 7j])
def test_what_is_no_duration_is_refused_with_its_name_and_both_ways_to_give_one(what, value):
    with pytest.raises(ConfigurationError) as caught:
        GIVEN[what](value)
    assert str(caught.value).startswith(what)
    assert "seconds, or a timedelta, not " in str(caught.value)


@pytest.mark.anyio
async def test_an_hour_passes_on_a_held_clock_as_a_timedelta():
    clock = ManualClock()
    await clock.advance(timedelta(hours=1))
    assert clock.monotonic() == 3600
    assert clock.skewed(timedelta(minutes=-1)).now() == clock.now() - 60
    with pytest.raises(ConfigurationError, match=r"advance\(\) takes 0 or more seconds"):
        await clock.advance(-1)
