"""What becomes of a message of an ordered queue: it keeps its place until every handler is done or given up."""

from math import inf

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dawdle import JSON, Registry, Retry
from dawdle._handlers.app_handlers import AppHandlers
from dawdle._rules.admission import Run, admit
from dawdle._rules.envelope import open_envelope, to_rfc3339, write
from dawdle._rules.in_place import (
    MAX_UNCLAIMED_WAIT_SECONDS,
    MIN_UNFINISHED_RECEIVES,
    NO_PAST,
    Past,
    delayed,
    in_place,
    never_run,
    past_after,
)
from dawdle._rules.outcome import AtLimit, Done, Failed, Interrupted, Postponed, Rejected
from dawdle._rules.settlement import Ack, Forward, Release, Result, settle
from dawdle._rules.terms import Terms
from dawdle.events import event

NOW = 1_750_000_000.0
CODECS = {"application/json": JSON()}


class Placed(msgspec.Struct):
    pass


class Named(msgspec.Struct):
    pass


event("in_place.named", handlers=("here", "elsewhere"), unclaimed="drop")(Named)

registry = Registry()
registry.on_event(Placed, name="a", retry=Retry(max_attempts=3))(lambda event: None)
registry.on_event(Placed, name="b", retry=Retry(max_attempts=40))(lambda event: None)
registry.on_event(Named, name="here")(lambda event: None)
LOOKUP = AppHandlers(registry)

terms = st.builds(
    Terms,
    max_hop=st.sampled_from([0.0, 900.0]),
    has_dead_letters=st.booleans(),
    durable=st.booleans(),
    shared=st.booleans(),
    ordered=st.just(True),
    unclaimed=st.just(86_400.0),
    max_body=st.just(1_048_576),
)
TERMS = Terms(max_hop=0.0, has_dead_letters=True, shared=True, ordered=True, unclaimed=86_400.0, max_body=1_048_576)

outcomes = st.one_of(
    st.just(Done()),
    st.builds(Failed, st.just("failed")),
    st.builds(Rejected, st.just("rejected")),
    st.builds(Postponed, st.floats(0, 10**6)),
    st.builds(AtLimit, st.floats(1, 900), st.floats(0, 100)),
    st.just(Interrupted()),
)
results = st.lists(
    st.builds(Result, st.sampled_from("abcdef"), st.builds(Retry, max_attempts=st.integers(1, 6)), outcomes),
    min_size=1,
    max_size=4,
    unique_by=lambda each: each.handler,
)
pasts = st.tuples(st.integers(0, 50), st.integers(0, 50)).map(lambda two: Past(max(two), min(two)))


def body_of(**attributes):
    known = {"specversion": "1.0", "id": "e-1", "source": "/shop", "type": "Placed", "data": {}, "kept": 7}
    return write({**known, **attributes})


def lookup_of(retry):
    registry = Registry()
    registry.on_event(Placed, name="a", retry=retry)(lambda event: None)
    return AppHandlers(registry)


def admitted(body, terms=TERMS, receives=1, past=NO_PAST, stored_at=NOW, random=0.5, lookup=LOOKUP):
    envelope = open_envelope(body)
    same = {"stored_at": stored_at, "now": NOW, "terms": terms, "random": lambda: random, "receives": receives}
    return in_place(body, envelope, admit(body, envelope, lookup, CODECS, **same), past=past, **same)


def settled(results, terms, attempt):
    body = body_of()
    return settle(body, open_envelope(body), results, now=NOW, terms=terms, random=lambda: 0.5, attempt=attempt)


def is_spent(result, attempt):
    return isinstance(result.outcome, Rejected) or (
        isinstance(result.outcome, Failed) and attempt >= result.retry.max_attempts
    )


@given(results, terms, st.integers(1, 8))
def test_no_copy_is_made_but_letters_and_these_when_no_handler_is_tried_again(results, terms, attempt):
    decision = settled(results, terms, attempt)
    unfinished = [result for result in results if not isinstance(result.outcome, Done)]
    spent = [result.handler for result in unfinished if is_spent(result, attempt)]
    if not unfinished:
        assert isinstance(decision, Ack)
    elif terms.has_dead_letters and len(spent) == len(unfinished):
        assert isinstance(decision, Forward)
        assert [(copy.why, copy.handler) for copy in decision.copies] == [("dead", handler) for handler in spent]
    else:
        assert isinstance(decision, Release)
        assert decision.why is not None


@given(results, terms, st.integers(1, 8))
def test_a_message_waits_for_the_longest_of_its_handlers(results, terms, attempt):
    decision = settled(results, terms, attempt)
    if isinstance(decision, Release):
        for result in results:
            if isinstance(result.outcome, (Postponed, AtLimit)):
                assert decision.seconds >= result.outcome.seconds
            if isinstance(result.outcome, Failed) and attempt < result.retry.max_attempts:
                assert decision.seconds >= result.retry.backoff(attempt, 0.5)


@given(results, terms, st.integers(1, 8))
def test_a_failure_says_why_it_waits_before_all_else(results, terms, attempt):
    decision = settled(results, terms, attempt)
    if isinstance(decision, Release):
        failed = any(
            isinstance(result.outcome, (Failed, Rejected)) and not is_spent(result, attempt) for result in results
        )
        assert (decision.why in {"retry", "kept"}) >= failed


def test_a_wait_counts_from_when_the_handler_ended():
    retry = Retry(initial=100, jitter=0)
    decision = settled([Result("a", retry, Failed("x"), NOW - 30), Result("b", retry, Done(), None)], TERMS, 1)
    assert decision == Release(70.0, "retry", "x")


@given(st.integers(1, 60), pasts, st.integers(1, 5))
def test_attempts_are_the_receives_without_those_that_are_known_to_be_none(receives, past, written):
    decision = admitted(body_of(dawdleattempt=written), receives=receives, past=past)
    attempt = max(1, written - 1 + receives - past.blameless)
    known = past.explained > past.blameless
    assert decision.attempt == (attempt if known else min(attempt, max(written, 2)))
    assert decision.isolated == (receives - past.explained >= 5)


@given(st.integers(1, 2000), st.integers(1, 40))
def test_the_first_failure_that_a_process_sees_is_final_only_if_one_attempt_is_all(receives, attempts):
    lookup = lookup_of(Retry(max_attempts=attempts))
    decision = admitted(body_of(), receives=receives, lookup=lookup)
    again = admitted(body_of(), receives=receives + 1, past=Past(1, 0), lookup=lookup)
    assert (decision.attempt < attempts) == (attempts > 1)
    assert again.attempt == receives + 1


@given(st.integers(1, 250), st.floats(0, 10**7))
def test_no_number_of_receives_that_waits_can_explain_is_a_reason_to_give_up(receives, age):
    run = admitted(body_of(), receives=receives, stored_at=NOW - age)
    assert isinstance(run, Run)
    assert run.isolated == (receives >= 5)


@given(st.integers(1, 10_000))
def test_an_event_that_is_stored_for_less_than_unclaimed_runs_however_often_it_was_received(receives):
    assert isinstance(admitted(body_of(), receives=receives, stored_at=NOW - 86_000), Run)


@pytest.mark.parametrize(("owed", "most"), [("a", MIN_UNFINISHED_RECEIVES), ("b", 43), (None, 43)])
def test_what_has_no_known_outcome_for_longer_than_unclaimed_is_given_up(owed, most):
    body = body_of(**({} if owed is None else {"dawdleowed": owed}))
    terms, stored_at = msgspec.structs.replace(TERMS, unclaimed=60.0), NOW - 100
    assert isinstance(admitted(body, terms, receives=most, stored_at=stored_at), Run)
    decision = admitted(body, terms, receives=most + 1, stored_at=stored_at)
    assert isinstance(decision, Forward)
    assert [(copy.why, copy.handler) for copy in decision.copies] == [("dead", owed)]
    assert "no outcome is known" in decision.copies[0].reason
    assert isinstance(admitted(body, terms, receives=most + 1, past=Past(1, 0), stored_at=stored_at), Run)
    assert isinstance(admitted(body, terms, receives=most + 1, stored_at=NOW - 59), Run)


def test_a_poison_message_is_given_up_after_a_day():
    receives = next(
        each for each in range(1, 400) if not isinstance(admitted(body_of(), receives=each, stored_at=NOW - 10**7), Run)
    )
    assert 250 < receives < 300


def test_a_queue_that_ends_with_its_process_suspects_nothing():
    run = admitted(body_of(), terms=msgspec.structs.replace(TERMS, durable=False), receives=1000)
    assert (run.attempt, run.isolated) == (2, False)


@given(st.integers(1, 20), st.integers(0, 3), st.sampled_from(["retry", "later", "kept", "interrupted", None]))
def test_a_past_explains_each_receive_once(receives, again, why):
    past = past_after(NO_PAST, receives, receives + again, why)
    assert past == Past(again + 1, again + (why not in {"retry", "kept"}))
    assert never_run(receives) == Past(receives, receives)


@given(st.integers(1, 400), st.floats(0, 0.999))
def test_an_event_that_this_node_lacks_waits_in_its_place_longer_each_time(receives, random):
    decision = admitted(body_of(type="Unknown"), receives=receives, stored_at=NOW - 10**7, random=random)
    if not isinstance(decision, Release):
        assert receives > 250
        return
    assert decision.why == "unclaimed"
    base = min(2 ** (receives - 1), MAX_UNCLAIMED_WAIT_SECONDS)
    assert base <= decision.seconds <= base * 1.5


def test_an_event_that_no_node_wants_is_given_up_after_a_day_and_not_before():
    stored_at, waited, receives = NOW - 10**7, 0.0, 1
    while isinstance(decision := admitted(body_of(type="Unknown"), receives=receives, stored_at=stored_at), Release):
        waited += decision.seconds
        receives += 1
    assert 86_400 <= waited <= 86_400 * 1.5
    assert [copy.why for copy in decision.copies] == ["dead"]


@given(st.integers(1, 10_000))
def test_an_event_that_is_stored_for_less_than_a_day_is_not_given_up(receives):
    decision = admitted(body_of(type="Unknown"), receives=receives, stored_at=NOW - 86_000)
    assert isinstance(decision, Release)


def test_a_node_that_lacks_a_handler_which_the_type_names_gives_the_event_back():
    body = body_of(type="in_place.named")
    assert admitted(body).why == "missing"
    assert admitted(body, receives=7).why == "unclaimed"
    assert "lacks 'elsewhere'" in admitted(body).reason
    alone = msgspec.structs.replace(TERMS, shared=False)
    assert isinstance(admitted(body, terms=alone), Run)


def test_what_is_due_in_the_delay_queue_moves_on_without_its_wait():
    for attributes in ({"dawdledelay": "5000"}, {"dawdledue": to_rfc3339(NOW)}):
        body = body_of(**attributes)
        moved = delayed(body, open_envelope(body), stored_at=NOW - 5, now=NOW, terms=TERMS)
        assert isinstance(moved, Forward)
        (copy,) = moved.copies
        assert (copy.why, copy.delay) == ("due", 0.0)
        envelope = open_envelope(copy.body)
        assert envelope.due is envelope.delay_ms is None
        assert b'"kept":7' in copy.body


@given(st.sampled_from([900.0, inf]), st.integers(1, 10**6))
def test_what_is_not_due_there_waits_on_as_a_copy(max_hop, seconds):
    body = body_of(dawdledelay=str(1000 * seconds))
    terms = msgspec.structs.replace(TERMS, max_hop=max_hop)
    moved = delayed(body, open_envelope(body), stored_at=NOW, now=NOW, terms=terms)
    (copy,) = moved.copies
    assert (copy.why, copy.delay) == ("delayed", min(seconds, max_hop))
