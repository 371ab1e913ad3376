"""A delay never fires early by the queue's clock, never takes a hop that the queue refuses, and is hardly ever late."""

from datetime import UTC, datetime, timedelta, timezone
from math import ceil, floor, inf, nan

import msgspec
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from dawdle._handlers.app_handlers import AppHandlers
from dawdle._handlers.registry import Registry
from dawdle._rules.admission import Run, admit
from dawdle._rules.delay import MAX_SECONDS, delay_of, due_of, hop, max_hop_of, remaining, to_ms
from dawdle._rules.envelope import open_envelope, rewrite, to_epoch, to_rfc3339
from dawdle._rules.settlement import Forward, Release
from dawdle._rules.terms import Terms
from dawdle.errors import ConfigurationError

FINE = 2e-6
"""Seconds. What a float of epoch seconds cannot tell apart, and what the rules promise no finer than."""

START = 1_750_000_000.0

delays = st.floats(0, 40 * 86400) | st.integers(0, 30) | st.sampled_from([0.001, 900, 900.5, 901, 86400])
reaches = st.sampled_from([1, 60, 900, 7 * 86400.0, inf]) | st.floats(1, 10_000)
starts = st.floats(START, START + 86400) | st.integers(int(START), int(START) + 3)


class Reminder(msgspec.Struct):
    text: str = ""


def roster_of_one():
    registry = Registry()
    registry.on_event(Reminder, name="remind")(lambda event: None)
    return AppHandlers(registry)


LOOKUP = roster_of_one()


def terms_with(max_hop):
    return Terms(max_hop=max_hop, has_dead_letters=True, shared=True, unclaimed=60.0, max_body=1_048_576)


def first_copy(delay):
    """Return the body that a signal with this delay stores."""
    attributes = {"specversion": "1.0", "id": "e", "source": "s", "type": "Reminder", "data": {"text": "tea"}}
    if to_ms(delay):
        attributes["dawdledelay"] = str(to_ms(delay))
    return msgspec.json.encode(attributes)


class VirtualQueue:
    """A queue whose clock moves only while a message waits or is held. It keeps one message."""

    def __init__(self, now, max_hop, *, whole_dates, whole_delays, lag):
        self.now = now
        self.reach = max_hop
        self.whole_dates = whole_dates
        self.whole_delays = whole_delays
        self.lag = lag
        self.hops = 0

    def store(self, body, delay):
        assert 0 <= delay <= self.reach, "the queue refuses a longer delay"
        self.hops += 1
        self.body = body
        self.stored_at = self.now
        self.visible_at = self.now + (ceil(delay) if self.whole_delays else delay)

    def release(self, delay):
        self.visible_at = self.now + delay

    def receive(self):
        """Return when the message was received: what happened, and what the queue says."""
        self.now = max(self.now, self.visible_at) + self.lag
        return self.now, float(floor(self.now)) if self.whole_dates else self.now


def fired_after(queue, delay, held=0.0):
    """Carry one delayed message from hop to hop, and return how late it ran, in seconds."""
    queue.store(first_copy(delay), hop(delay, queue.reach))
    due = queue.stored_at + delay
    dues = set()
    for _ in range(100_000):
        now, told = queue.receive()
        decision = admit(
            queue.body,
            open_envelope(queue.body),
            LOOKUP,
            {"application/json": None},
            stored_at=queue.stored_at,
            now=told + held,
            terms=terms_with(queue.reach),
            random=lambda: 0.5,
        )
        queue.now = now + held
        match decision:
            case Run():
                return queue.now - due
            case Release():
                assert queue.reach == 0, "a queue that can delay never holds back what is not due"
                queue.release(decision.seconds)
            case Forward(copies=(copy,)):
                attributes = msgspec.json.decode(copy.body)
                assert copy.why == "delayed"
                assert "dawdledelay" not in attributes
                dues.add(attributes["dawdledue"])
                assert len(dues) == 1, "every copy is due at the same time"
                queue.store(copy.body, copy.delay)
    raise AssertionError("it never ran")


@pytest.mark.slow
@given(
    delay=delays,
    max_hop=reaches,
    start=starts,
    whole_dates=st.booleans(),
    whole_delays=st.booleans(),
    lag=st.floats(0, 9),
)
@example(delay=86400, max_hop=900, start=START + 0.999, whole_dates=True, whole_delays=True, lag=0.0)
def test_a_delay_of_any_length_never_fires_early_however_long_each_hop_takes(
    delay, max_hop, start, whole_dates, whole_delays, lag
):
    assume(delay / max_hop < 5000)
    queue = VirtualQueue(start, max_hop, whole_dates=whole_dates, whole_delays=whole_delays, lag=lag)
    assert fired_after(queue, delay) >= -FINE


@pytest.mark.slow
@given(delay=delays, max_hop=reaches, start=starts, whole_dates=st.booleans(), whole_delays=st.booleans())
@example(delay=86400, max_hop=900, start=START + 0.999, whole_dates=True, whole_delays=True)
@example(delay=0.0011, max_hop=900, start=START + 0.999, whole_dates=True, whole_delays=True)
def test_a_delay_fires_at_most_two_seconds_late_on_a_queue_that_tells_and_counts_whole_seconds(
    delay, max_hop, start, whole_dates, whole_delays
):
    assume(delay / max_hop < 5000)
    queue = VirtualQueue(start, max_hop, whole_dates=whole_dates, whole_delays=whole_delays, lag=0.0)
    late = fired_after(queue, delay)
    assert late <= 2.0 + 0.002
    if not whole_dates and not whole_delays:
        assert late <= 0.002
    if whole_delays or not whole_dates:
        assert queue.hops <= ceil(delay / max_hop) + 3


@given(delay=delays, max_hop=reaches, held=st.floats(0, 30))
def test_the_time_that_a_node_holds_a_message_counts_towards_its_delay(delay, max_hop, held):
    assume(delay / max_hop < 1000)
    queue = VirtualQueue(START, max_hop, whole_dates=False, whole_delays=False, lag=0.0)
    late = fired_after(queue, delay, held)
    assert -FINE <= late <= held + 0.002


@given(delay=delays, start=starts)
def test_a_queue_that_cannot_delay_gives_the_message_back_until_it_is_due(delay, start):
    queue = VirtualQueue(start, 0, whole_dates=False, whole_delays=False, lag=0.0)
    assert -FINE <= fired_after(queue, delay) <= 0.002
    assert queue.hops == 1


@given(st.floats(0, MAX_SECONDS))
def test_milliseconds_are_rounded_up_and_by_less_than_one(duration):
    ms = to_ms(duration)
    assert duration * 1000 - 0.001 - duration * 1e-9 <= ms < duration * 1000 + 1 + duration * 1e-9


@given(st.integers(0, 10**12))  # 31 years: beyond, a float of seconds is too coarse, and one may be added
def test_whole_milliseconds_stay_what_they_are(ms):
    assert to_ms(ms / 1000) == ms


@pytest.mark.parametrize("delay", [1e12, 1e15, 1e306, inf])
def test_a_delay_of_more_digits_than_an_envelope_reads_is_written_as_the_longest_that_one_reads(delay):
    assert to_ms(delay) == 999_999_999_999_999


@given(st.integers(0, 10**14), st.integers(1, 999))
def test_a_part_of_a_millisecond_counts_as_one(ms, part):
    assume(ms < 10**11)
    assert to_ms((ms + part / 1000) / 1000) == ms + 1


@given(st.floats(START, START + 10**9), st.floats(0, 10**7), st.floats(0, 10**7))
def test_a_due_time_that_was_written_down_wins_over_a_delay_that_was_not(stored_at, delay, due):
    assert due_of(due, to_ms(delay), stored_at) == due
    assert due_of(None, to_ms(delay), stored_at) >= stored_at + delay - FINE
    assert due_of(None, None, stored_at) is None


@given(st.floats(0, 4 * 10**9), st.floats(-(10**9), 10**9))
def test_what_remains_is_never_negative_and_ends_when_it_is_due(due, left):
    assert remaining(due, due - left) >= 0
    assert remaining(due, due) == 0
    assert remaining(due, due + abs(left)) == 0
    assert remaining(due, due - left) == pytest.approx(max(0.0, left), abs=FINE)
    assert remaining(None, due) == 0


@given(st.floats(0, 10**8), st.floats(60, 14 * 86400), st.floats(0, 10**9))
def test_a_hop_stays_within_what_the_queue_takes_and_half_of_its_retention(max_delay, retention, wanted):
    step = hop(wanted, max_hop_of(max_delay, retention))
    assert step <= max_delay
    assert step <= retention / 2
    assert step == wanted or wanted > step


@given(st.floats(0, MAX_SECONDS))
def test_a_delay_means_the_same_in_seconds_as_a_timedelta_and_as_a_point_in_time(duration):
    assert delay_of(duration, None, START) == duration
    span = timedelta(seconds=duration)
    assert delay_of(span, None, START) == span.total_seconds()
    assume(duration < 7000 * 365 * 86400)
    at = datetime.fromtimestamp(START, UTC) + span
    assert delay_of(None, at, START) == pytest.approx(duration, abs=FINE)


@given(st.datetimes(), st.integers(-23 * 60, 23 * 60))
def test_any_aware_datetime_is_a_delay_of_zero_or_more(at, minutes):
    at = at.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    delay = delay_of(None, at, START)
    assert delay >= 0
    assert len(str(to_ms(delay))) <= 15, "more digits than the envelope reads"


def test_a_point_in_the_past_is_now_and_no_delay_at_all_is_none():
    assert delay_of(None, datetime(2001, 1, 1, tzinfo=UTC), START) == 0
    assert delay_of(None, None, START) == 0


@pytest.mark.parametrize(
    "delay", [-1, -0.001, nan, inf, -inf, MAX_SECONDS * 1.01, timedelta(seconds=-1), timedelta.max]
)
def test_a_delay_that_is_negative_endless_or_not_a_number_is_refused(delay):
    with pytest.raises(ConfigurationError, match="delay is 0 to 31,557,600,000 seconds"):
        delay_of(delay, None, START)


@pytest.mark.parametrize("delay", ["5", True, b"5", [5], 5j])
def test_a_delay_that_is_no_number_is_refused(delay):
    with pytest.raises(ConfigurationError, match="seconds, or a timedelta, not"):
        delay_of(delay, None, START)


@pytest.mark.parametrize("delay", [10**400, 10**5000, -(10**400)], ids=["400 digits", "5000 digits", "negative"])
def test_a_delay_beyond_what_a_float_can_hold_is_refused(delay):
    with pytest.raises(ConfigurationError, match="delay is 0 to 31,557,600,000 seconds"):
        delay_of(delay, None, START)


def test_a_datetime_without_a_time_zone_is_refused_with_how_to_get_one():
    with pytest.raises(ConfigurationError, match=r"no time zone.*tzinfo=UTC"):
        delay_of(None, datetime(2030, 1, 1), START)  # noqa: DTZ001 - the mistake itself


@pytest.mark.parametrize("at", [5, "2030-01-01T00:00:00Z", timedelta(1)])
def test_a_point_in_time_that_is_no_datetime_is_refused(at):
    with pytest.raises(ConfigurationError, match="aware datetime"):
        delay_of(None, at, START)


def test_a_delay_and_a_point_in_time_at_once_are_refused():
    with pytest.raises(ConfigurationError, match="not both"):
        delay_of(1, datetime(2030, 1, 1, tzinfo=UTC), START)


@given(st.floats(0, 250_000_000_000))
def test_a_moment_read_back_is_never_early_and_less_than_two_milliseconds_late(epoch):
    body = rewrite(first_copy(0), {"dawdledue": to_rfc3339(epoch)})
    back = to_epoch(open_envelope(body).due)
    grain = epoch * 1e-15
    assert epoch - FINE - grain <= back <= epoch + 0.0011 + grain


@given(st.floats(0, 4_000_000_000))
def test_a_moment_that_is_written_again_does_not_move(epoch):
    once = rewrite(first_copy(0), {"dawdledue": to_rfc3339(epoch)})
    assert to_rfc3339(to_epoch(open_envelope(once).due)) == to_rfc3339(epoch)
