"""An event expires by the queue's clock alone: never early, and at the first receive after its time on any node."""

import re
from datetime import UTC, datetime, timedelta
from math import floor, inf, nan

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dawdle._handlers.app_handlers import AppHandlers
from dawdle._handlers.registry import Registry
from dawdle._rules.admission import Run, admit
from dawdle._rules.delay import hop, to_ms
from dawdle._rules.envelope import open_envelope, rewrite, to_epoch, to_rfc3339
from dawdle._rules.expiry import aged, expiry_attributes, seconds_late, stamped
from dawdle._rules.outcome import AtLimit, Done, Failed, Interrupted, Postponed
from dawdle._rules.redrive import restarted
from dawdle._rules.retry import Retry
from dawdle._rules.settlement import Ack, Forward, Release, Result, copy_for, settle
from dawdle._rules.terms import Terms
from dawdle.errors import ConfigurationError
from dawdle.events import MAX_EXPIRES_SECONDS, declaration_of, event

START = 1_750_000_000.0
FINE = 2e-6
"""Seconds that a float of epoch seconds cannot tell apart."""
ROUNDED = 0.003
"""Seconds by which three roundings up to a millisecond make an expiry later."""


class Reminder(msgspec.Struct):
    text: str = ""


def lookup_of(*names):
    registry = Registry()
    for name in names:
        registry.on_event(Reminder, name=name)(lambda event: None)
    return AppHandlers(registry)


LOOKUP = lookup_of("remind", "count")
KNOWS_NOTHING = lookup_of()

lifetimes = st.floats(0.001, 40 * 86400) | st.sampled_from([0.001, 1, 60, 900, 86400])
delays = st.floats(0, 10 * 86400) | st.sampled_from([0, 1, 900.5, 86400])
outcomes = st.one_of(
    st.builds(Failed, st.just("down")),
    st.builds(Postponed, st.floats(0, 10**5)),
    st.builds(AtLimit, st.floats(1, 900), st.floats(0, 100)),
    st.just(Interrupted()),
)


def terms_with(max_hop=900.0, **changes):
    return Terms(
        **{
            "max_hop": max_hop,
            "has_dead_letters": True,
            "shared": True,
            "unclaimed": 10**9,
            "max_body": 1_048_576,
            **changes,
        }
    )


def body_of(**attributes):
    return msgspec.json.encode(
        {"specversion": "1.0", "id": "e", "source": "/s", "type": "Reminder", "data": {}, **attributes}
    )


def first_copy(expires, delay=0.0, expired="drop", signaled_at=START):
    waits = {"dawdledelay": str(to_ms(delay))} if to_ms(delay) else {}
    return body_of(time=to_rfc3339(signaled_at), **waits, **expiry_attributes(expires, delay, expired))


def opened(body, stored_at):
    """Open a received body as the intake does."""
    envelope = open_envelope(body)
    return (body, envelope) if envelope.lifetime_ms is None else stamped(body, envelope, stored_at)


def admitted(body, stored_at, now, *, lookup=LOOKUP, terms=None):
    body, envelope = opened(body, stored_at)
    return admit(
        body,
        envelope,
        lookup,
        {"application/json": None},
        stored_at=stored_at,
        now=now,
        terms=terms or terms_with(),
        random=lambda: 0.5,
    )


@given(
    expires=lifetimes,
    delay=delays,
    max_hop=st.sampled_from([0.0, 900.0, inf]),
    whole_dates=st.booleans(),
    lag=st.floats(0, 30),
    node_is_wrong_by=st.floats(-(10**6), 10**6),
    steps=st.lists(st.tuples(st.sampled_from([LOOKUP, KNOWS_NOTHING]), outcomes), max_size=12),
)
def test_whatever_happens_to_it_an_event_runs_until_its_time_and_not_later(
    expires, delay, max_hop, whole_dates, lag, node_is_wrong_by, steps
):
    terms, now = terms_with(max_hop), START
    body, visible_at = first_copy(expires, delay, signaled_at=START + node_is_wrong_by), START + hop(delay, max_hop)
    stored_at, ends, went_back = START, START + delay + expires, 0
    steps = iter(steps)
    for _ in range(2000):
        now = max(now, visible_at) + lag
        told = floor(now) if whole_dates else now
        lookup, outcome = (LOOKUP, None) if went_back else next(steps, (LOOKUP, None))
        settlement = admitted(body, stored_at, told, lookup=lookup, terms=terms)
        if isinstance(settlement, Ack):
            assert told > ends - FINE, "it expired early"
            return
        assert told <= ends + ROUNDED, "it was not expired"
        if isinstance(settlement, Run):
            assert told >= START + delay - FINE
            if outcome is None:
                return
            results = [Result("remind", Retry(), outcome), Result("count", Retry(), Done())]
            here, envelope = opened(body, stored_at)
            settlement = settle(
                here, envelope, results, now=told, terms=terms, random=lambda: 0.5, attempt=settlement.attempt
            )
        match settlement:
            case Forward(copies=(copy, *_)):
                body, stored_at, visible_at = copy.body, now, now + (copy.delay if max_hop else 0.0)
                assert "dawdlelifetime" not in msgspec.json.decode(body)
                went_back = copy.why == "delayed"
            case Release():
                visible_at = now + settlement.seconds
                went_back = True
    raise AssertionError("it neither ran nor expired")


@given(expires=lifetimes, delay=delays, late=st.floats(-100, 100), lookup=st.sampled_from([LOOKUP, KNOWS_NOTHING]))
def test_expired_dead_makes_a_letter_at_the_very_time_at_which_drop_drops(expires, delay, late, lookup):
    now = START + delay + expires + late
    dropped = admitted(first_copy(expires, delay), START, now, lookup=lookup)
    dead = admitted(first_copy(expires, delay, "dead"), START, now, lookup=lookup)
    if isinstance(dropped, Ack):
        (letter,) = dead.copies
        assert letter.why == "dead"
        assert re.fullmatch(r"it expired .* s before it was received; its handlers do not run any more", letter.reason)
        assert msgspec.json.decode(letter.body)["dawdleexpired"] == "dead"
    else:
        assert type(dead) is type(dropped)
        assert not isinstance(dead, Forward) or dead.copies[0].why == dropped.copies[0].why


def test_without_a_dead_letter_queue_what_should_be_a_letter_is_kept():
    settlement = admitted(first_copy(5, 0, "dead"), START, START + 6, terms=terms_with(has_dead_letters=False))
    assert [copy.why for copy in settlement.copies] == ["kept"]


@given(expires=lifetimes, gap=st.floats(0, 1000), again=st.floats(0, 10**6))
def test_a_second_reading_of_a_first_copy_says_the_same_and_a_later_copy_is_not_stamped_again(expires, gap, again):
    body, envelope = opened(first_copy(expires), START)
    assert opened(first_copy(expires), START) == (body, envelope)
    assert opened(rewrite(body, {}), START + again)[1] == open_envelope(body) == envelope
    assert START + expires - FINE <= to_epoch(envelope.expires) <= START + expires + ROUNDED


@given(
    held=st.floats(0, 5000),
    expires=lifetimes,
    node_is_wrong_by=st.floats(-(10**6), 10**6),
    outcome=outcomes,
    missing=st.booleans(),
)
def test_the_run_of_a_direct_event_counts_towards_its_lifetime(held, expires, node_is_wrong_by, outcome, missing):
    signaled_at = START + node_is_wrong_by
    body = first_copy(expires, signaled_at=signaled_at)
    settlement = settle(
        body,
        open_envelope(body),
        [Result("remind", Retry(), outcome)],
        now=signaled_at + held,
        terms=terms_with(),
        random=lambda: 0.5,
        attempt=1,
        held=False,
        missing=("crm",) if missing else (),
    )
    assert len(settlement.copies) == 1 + missing
    for copy in settlement.copies:
        _, envelope = opened(copy.body, START + held)  # when the queue stores it, by its own clock
        ends = to_epoch(envelope.expires)
        assert START + max(expires, held) - FINE <= ends <= START + max(expires, held) + ROUNDED + 0.001


def test_the_early_copy_of_a_direct_event_counts_like_a_late_one():
    body = first_copy(60)
    early = copy_for(
        aged(body, open_envelope(body), START + 50),
        Result("remind", Retry(), Failed("down"), ended=START + 49),
        START + 50,
        terms_with(),
        lambda: 0.5,
        attempt=1,
        held=False,
    )
    assert msgspec.json.decode(early.body)["dawdlelifetime"] == "10000"


def test_an_expiry_that_another_program_wrote_is_a_time_by_the_queues_clock():
    body = body_of(dawdleexpires=to_rfc3339(START + 5))
    assert isinstance(admitted(body, START, START + 5), Run)
    assert admitted(body, START, START + 6) == Ack(late=1.0)
    both = body_of(dawdleexpires=to_rfc3339(START + 5), dawdlelifetime="60000")
    assert admitted(both, START, START + 6) == Ack(late=1.0)
    assert admitted(body_of(dawdleexpires="2020-01-01T00:00:00"), START, START).late > 0, "without an offset it is UTC"


def test_what_only_waits_for_its_next_hop_ends_as_soon_as_it_has_expired():
    """A retry may wait longer than the event lives."""
    body = body_of(dawdleexpires=to_rfc3339(START + 5), dawdledue=to_rfc3339(START + 3600), dawdleowed="remind")
    assert admitted(body, START, START + 900) == Ack(late=895.0)


def test_a_letter_that_is_redriven_does_not_expire_again():
    body = first_copy(5, 0, "dead")
    (letter,) = admitted(body, START, START + 60).copies
    assert isinstance(admitted(restarted(letter.body), START + 100, START + 10**6), Run)


@pytest.mark.parametrize(
    "expires", [0, -1, 0.0, nan, inf, "5", True, timedelta(0), timedelta(-1), MAX_EXPIRES_SECONDS * 1.01]
)
def test_a_lifetime_that_is_no_time_is_refused(expires):
    text = re.escape("expires is more than 0 and at most 31,557,600,000 seconds, or a timedelta, not ")
    with pytest.raises(ConfigurationError, match=text):
        expiry_attributes(expires, 0, "drop")
    with pytest.raises(ConfigurationError, match=text):
        event("expiry.wrong", expires=expires)
    assert declaration_of(Reminder) is None


def test_a_type_says_how_long_its_events_live_and_what_becomes_of_them():
    class Offer(msgspec.Struct):
        pass

    event("rules.offer", expires=timedelta(minutes=1), expired="dead")(Offer)
    assert (declaration_of(Offer).expires, declaration_of(Offer).expired) == (60.0, "dead")
    for wrong in ("ack", None, True):
        with pytest.raises(ConfigurationError, match="expired is 'drop' or 'dead', not"):
            event("rules.offer", expired=wrong)(Offer)


@given(st.floats(0.001, MAX_EXPIRES_SECONDS), st.floats(0, MAX_EXPIRES_SECONDS))
def test_the_longest_lifetime_after_the_longest_delay_can_be_written_and_read(expires, delay):
    body, envelope = opened(first_copy(expires, delay), START)
    assert open_envelope(body) == envelope
    ends = START + delay + expires
    assert seconds_late(envelope, ends - 1) is None
    assert seconds_late(envelope, ends + 1) == pytest.approx(1, abs=0.01)


def test_a_lifetime_is_rounded_up_to_a_millisecond_and_never_to_none():
    assert expiry_attributes(1e-9, 0, "drop") == {"dawdlelifetime": "1"}
    assert expiry_attributes(1.5, 2, "dead") == {"dawdlelifetime": "3500", "dawdleexpired": "dead"}


def test_the_readers_clock_of_a_foreign_time_does_no_harm():
    far = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert seconds_late(open_envelope(body_of(dawdleexpires=far.isoformat())), START) is None
    assert to_epoch(opened(body_of(dawdlelifetime="9" * 15), START)[1].expires) <= far.timestamp()
