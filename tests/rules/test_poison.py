"""Which messages run in isolation, how often, and that the receive count alone dead-letters none."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from dawdle import JSON, Registry
from dawdle._handlers.app_handlers import AppHandlers
from dawdle._rules.admission import Run, admit
from dawdle._rules.envelope import open_envelope, to_rfc3339, write
from dawdle._rules.poison import MAX_PUT_OFF_SECONDS, MAX_TRIALS, RETRY_SOON_SECONDS, put_off
from dawdle._rules.settlement import Forward
from dawdle._rules.terms import Terms

NOW = 1_750_000_000.0


class Placed(msgspec.Struct):
    pass


registry = Registry()
registry.on_event(Placed, name="a")(lambda event: None)
registry.on_event(Placed, name="b")(lambda event: None)
LOOKUP = AppHandlers(registry)
TERMS = Terms(max_hop=900.0, has_dead_letters=True, shared=True, unclaimed=86400.0, max_body=1_048_576)

trials = st.integers(0, MAX_TRIALS)
receives = st.integers(1, 1000)


def body_of(**attributes):
    return write(
        {"specversion": "1.0", "id": "e-1", "source": "/shop", "type": "Placed", "data": {}, "kept": 7, **attributes}
    )


def admitted(body, receives, terms=TERMS):
    envelope = open_envelope(body)
    codecs = {"application/json": JSON()}
    return admit(
        body, envelope, LOOKUP, codecs, stored_at=NOW, now=NOW, terms=terms, random=lambda: 0.5, receives=receives
    )


@given(receives)
def test_what_was_received_four_times_runs_as_ever_and_later_a_trial_is_written_first(receives):
    decision = admitted(body_of(), receives)
    if receives < 5:
        assert isinstance(decision, Run)
        assert not decision.isolated
        return
    assert isinstance(decision, Forward)
    (copy,) = decision.copies
    assert (copy.why, copy.delay) == ("trial", 0.0)
    assert open_envelope(copy.body).trial == 1


@given(st.integers(1, MAX_TRIALS))
def test_a_trial_runs_in_isolation_when_it_is_received_for_the_first_time(trial):
    decision = admitted(body_of(dawdletrial=trial), 1)
    assert isinstance(decision, Run)
    assert decision.isolated


@given(st.sampled_from([None, "a"]), st.integers(1, 5))
def test_from_the_first_suspicion_on_three_deaths_condemn_and_no_fewer(owed, attempt):
    owing = {} if owed is None else {"dawdleowed": owed}
    body, runs, receives = body_of(dawdleattempt=attempt, **owing), 0, 5
    while True:
        decision = admitted(body, receives)
        if isinstance(decision, Run):
            assert decision.isolated
            runs, receives = runs + 1, receives + 1  # the process ends, and the message comes again
            continue
        (copy,) = decision.copies
        if copy.is_letter:
            break
        assert copy.why == "trial"
        body, receives = copy.body, 1
    assert runs == MAX_TRIALS
    letter = msgspec.json.decode(copy.body)
    assert (letter.get("dawdleowed"), letter["dawdleattempt"], letter["kept"]) == (owed, attempt, 7)
    assert "ended while they ran it in isolation" in letter["dawdleerror"]


@given(trials, receives)
def test_a_queue_that_ends_with_its_process_tries_nothing(trial, receives):
    terms = msgspec.structs.replace(TERMS, durable=False)
    decision = admitted(body_of(dawdletrial=trial), receives, terms)
    assert isinstance(decision, Run)
    assert not decision.isolated


@given(st.integers(1, MAX_TRIALS), st.booleans(), st.booleans(), st.floats(0, 1, exclude_max=True))
def test_a_trial_without_isolation_is_the_same_trial_later(trial, stopping, soon, random):
    body = body_of(dawdletrial=trial, dawdleowed="a", dawdleattempt=3)
    forward = put_off(body, open_envelope(body), NOW, TERMS, stopping=stopping, soon=soon, random=random)
    (copy,) = forward.copies
    assert msgspec.json.decode(copy.body) == msgspec.json.decode(body)
    assert (
        copy.delay == 0.0
        if stopping
        else 0.5 <= copy.delay <= (1.5 * RETRY_SOON_SECONDS if soon else MAX_PUT_OFF_SECONDS)
    )


@given(st.integers(-(10**10), 10**9), st.floats(0, 1, exclude_max=True))
def test_a_trial_is_put_off_for_its_age_and_for_the_longest_where_that_is_to_come(age, random):
    body = body_of(dawdletrial=1, time=to_rfc3339(NOW - age))
    (copy,) = put_off(body, open_envelope(body), NOW, TERMS, stopping=False, soon=False, random=random).copies
    longest = MAX_PUT_OFF_SECONDS if age < 0 else min(max(1.0, age), MAX_PUT_OFF_SECONDS)
    assert longest / 2 - 0.01 <= copy.delay <= longest


@given(st.integers(MAX_TRIALS + 1, 2**31 - 1), receives)
def test_a_number_of_trials_that_no_node_writes_counts_as_none(trial, receives):
    decision = admitted(body_of(dawdletrial=trial), receives)
    if receives < 5:
        assert decision == admitted(body_of(), receives)
    else:
        assert [open_envelope(copy.body).trial for copy in decision.copies] == [1]


def test_without_a_dead_letter_queue_it_is_kept_at_the_longest_backoff():
    terms = msgspec.structs.replace(TERMS, has_dead_letters=False)
    (copy,) = admitted(body_of(dawdletrial=MAX_TRIALS), 2, terms).copies
    assert (copy.why, copy.delay) == ("kept", 900.0)
    assert open_envelope(copy.body).trial == 0
