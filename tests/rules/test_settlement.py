"""Every settlement keeps what is owed and nothing else, gives up only what may be, and makes no handler wait twice."""

import base64
import json
from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dawdle import JSON, Registry, Retry
from dawdle._handlers.app_handlers import AppHandlers
from dawdle._rules.admission import Run, admit
from dawdle._rules.codec import HEADROOM, seal
from dawdle._rules.copies import MAX_BACKOFF_SECONDS
from dawdle._rules.dead_lettering import UNDECODABLE, undecodable, unreadable
from dawdle._rules.envelope import ERROR_BYTES, clip, open_envelope, to_epoch, to_rfc3339, write
from dawdle._rules.outcome import AtLimit, Done, Failed, Interrupted, Postponed, Rejected
from dawdle._rules.settlement import MIN_KEPT_SECONDS, Ack, Forward, Release, Result, settle
from dawdle._rules.terms import Terms
from dawdle.events import event

NOW = 1_750_000_000.0
CODECS = {"application/json": JSON()}


class Placed(msgspec.Struct):
    text: str = ""


class Unwanted(msgspec.Struct):
    pass


class Optional(msgspec.Struct):
    pass


event("decision.unwanted")(Unwanted)
event("decision.optional", unclaimed="drop")(Optional)


def handlers_of(*names, kind=Placed):
    registry = Registry()
    for name in names:
        registry.on_event(kind, name=name, aliases=[f"{name}.before"])(lambda event: None)
    return AppHandlers(registry)


LOOKUP = handlers_of("a", "b", "c")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
retries = st.builds(
    Retry,
    max_attempts=st.integers(1, 6),
    initial=st.floats(0, 100),
    factor=st.floats(1, 3),
    max_delay=st.floats(0, 2000),
    jitter=st.floats(0, 1),
)
outcomes = st.one_of(
    st.just(Done()),
    st.builds(Failed, texts),
    st.builds(Rejected, texts),
    st.builds(Postponed, st.floats(0, 10**6)),
    st.builds(AtLimit, st.floats(1, 900), st.floats(0, 1e6)),
    st.just(Interrupted()),
)
names = st.text("abc.:-_ÄЖ", min_size=1, max_size=8)
results = st.lists(
    st.builds(Result, names, retries, outcomes), min_size=1, max_size=5, unique_by=lambda each: each.handler
)
terms = st.builds(
    Terms,
    max_hop=st.sampled_from([0.0, 1.0, 60.0, 900.0, float("inf")]) | st.floats(0, 1e6),
    has_dead_letters=st.booleans(),
    durable=st.booleans(),
    shared=st.booleans(),
    unclaimed=st.sampled_from([0.0, 1.0, 86400.0]) | st.floats(0, 1e6),
    max_body=st.just(1_048_576),
    queue=st.sampled_from([None, "123456789012/orders"]),
)
chances = st.floats(0, 1, exclude_max=True)
ages = st.floats(0, 1e6)
attributes = st.fixed_dictionaries(
    {"data": st.builds(lambda text: {"text": text}, texts)},
    optional={
        "time": ages.map(lambda age: to_rfc3339(NOW - age)),
        "tenant": texts,
        "number": st.integers(-5, 2**70),
        "dawdledelay": st.integers(0, 10**9).map(str),
        "dawdledue": ages.map(lambda age: to_rfc3339(NOW - age)),
        "dawdleattempt": st.integers(1, 8),
        "dawdleowed": st.sampled_from("ab"),
        "dawdlesince": ages.map(lambda age: to_rfc3339(NOW - age)),
        "dawdletrial": st.integers(0, 3),
        "dawdlecrowded": st.integers(0, 2**31 - 1),
        "dawdlecause": texts,
        "dawdleerror": texts,
        "dawdledead": ages.map(lambda age: to_rfc3339(NOW - age)),
        "dawdlequeue": texts,
        "dawdlelater": texts,
    },
)
OWN = {
    *("dawdledelay", "dawdledue", "dawdleattempt", "dawdleowed", "dawdlesince", "dawdletrial"),
    *("dawdlecrowded", "dawdleerror", "dawdledead", "dawdlequeue"),
}


def body_of(attributes, kind="Placed"):
    return write({"specversion": "1.0", "id": "e-1", "source": "/shop", "type": kind, **attributes})


def terms_of(**changes):
    return Terms(
        **{
            "max_hop": 900.0,
            "has_dead_letters": True,
            "shared": True,
            "unclaimed": 86400.0,
            "max_body": 1_048_576,
            **changes,
        }
    )


def settled(body, results, *, now=NOW, terms=None, random=0.0, held=True):
    return settle(
        body,
        open_envelope(body),
        results,
        attempt=open_envelope(body).attempt,
        now=now,
        terms=terms or terms_of(),
        random=lambda: random,
        held=held,
    )


def admitted(body, *, stored_at=NOW, now=NOW, terms=None, lookup=LOOKUP, random=0.0):
    return admit(
        body,
        open_envelope(body),
        lookup,
        CODECS,
        stored_at=stored_at,
        now=now,
        terms=terms or terms_of(),
        random=lambda: random,
    )


def raws(body):
    return {name: bytes(raw) for name, raw in msgspec.json.decode(body, type=dict[str, msgspec.Raw]).items()}


def foreign_part(body):
    return {name: raw for name, raw in raws(body).items() if name not in OWN}


def assert_waits(copy, wanted, now, max_hop, held=True):
    """A copy waits what it should: at once as far as the queue reaches, and the rest by when it is due.

    Of an event that was in no queue (`held` is False) it says for how long instead, counted from its storing.
    """
    assert 0 <= copy.delay <= max_hop
    envelope = open_envelope(copy.body)
    if wanted <= max_hop:
        assert copy.delay == wanted
        assert envelope.due is envelope.delay_ms is None
        return
    assert copy.delay == max_hop
    if held:
        assert envelope.delay_ms is None
        assert now + wanted - 1e-6 <= to_epoch(envelope.due) <= now + wanted + 0.0011
    else:
        assert envelope.due is None
        assert wanted - 1e-6 <= int(envelope.delay_ms) / 1000 <= wanted + 0.0011


# Settle


@pytest.mark.slow
@given(attributes, results, terms, chances, st.booleans())
def test_settling_is_total_and_acks_exactly_when_nothing_is_owed(given_attributes, results, terms, random, held):
    decision = settled(body_of(given_attributes), results, terms=terms, random=random, held=held)
    unfinished = [result for result in results if not isinstance(result.outcome, Done)]
    match decision:
        case Ack():
            assert not unfinished
        case Release(seconds=0.0):
            assert held
            assert all(isinstance(result.outcome, Interrupted) for result in results)
        case Forward(copies=copies, release_after=release_after):
            assert unfinished
            assert [copy.handler for copy in copies] == [result.handler for result in unfinished]
            assert 0 <= release_after <= MAX_BACKOFF_SECONDS
        case _:
            raise AssertionError(decision)


@pytest.mark.slow
@given(attributes, results, terms, chances)
def test_what_is_kept_owes_exactly_the_unfinished_each_one_its_own(given_attributes, results, terms, random):
    body = body_of(given_attributes)
    decision = settled(body, results, terms=terms, random=random, held=False)
    unfinished = [result.handler for result in results if not isinstance(result.outcome, Done)]
    copies = decision.copies if isinstance(decision, Forward) else ()
    assert [open_envelope(copy.body).owed for copy in copies] == unfinished
    for copy in copies:
        assert foreign_part(copy.body) == foreign_part(body), "and all that is not dawdle's survives"


@pytest.mark.slow
@given(attributes, results, terms, chances)
def test_attempts_grow_by_one_for_a_failure_only_and_never_beyond_the_last(given_attributes, results, terms, random):
    body = body_of(given_attributes)
    attempt = open_envelope(body).attempt
    decision = settled(body, results, terms=terms, random=random, held=False)
    by_name = {result.handler: result for result in results}
    for copy in decision.copies if isinstance(decision, Forward) else ():
        result, now_at = by_name[copy.handler], open_envelope(copy.body).attempt
        last = attempt >= result.retry.max_attempts
        match result.outcome:
            case Failed() if not last:
                assert (copy.why, now_at) == ("retry", attempt + 1)
                assert now_at <= result.retry.max_attempts
            case Failed() | Rejected():
                assert (copy.why, now_at) == ("dead" if terms.has_dead_letters else "kept", attempt)
            case Postponed():
                assert (copy.why, now_at) == ("later", attempt)
            case AtLimit():
                assert (copy.why, now_at) == ("crowded", attempt)
            case Interrupted():
                assert (copy.why, now_at) == ("interrupted", attempt)


@pytest.mark.slow
@given(attributes, results, terms, chances, st.booleans())
def test_each_unfinished_handler_waits_its_own_time_and_no_longer_than_the_queue_reaches(
    given_attributes, results, terms, random, held
):
    body = body_of(given_attributes)
    envelope = open_envelope(body)
    decision = settled(body, results, terms=terms, random=random, held=held)
    by_name = {result.handler: result for result in results}
    for copy in decision.copies if isinstance(decision, Forward) else ():
        result = by_name[copy.handler]
        match copy.why:
            case "retry":
                wanted = result.retry.backoff(envelope.attempt, random)
            case "later":
                wanted = result.outcome.seconds
            case "crowded":
                wanted = result.outcome.seconds
            case "kept":
                wanted = max(result.retry.max_delay, result.retry.initial, MIN_KEPT_SECONDS)
            case "dead" | "interrupted":
                wanted = 0.0
        if wanted is not None:
            assert_waits(copy, wanted, NOW, terms.max_hop, held)


@pytest.mark.slow
@given(attributes, results, terms, chances, st.booleans())
def test_a_copy_keeps_nothing_of_how_long_or_how_often_its_original_waited(
    given_attributes, results, terms, random, held
):
    decision = settled(body_of(given_attributes), results, terms=terms, random=random, held=held)
    for copy in decision.copies if isinstance(decision, Forward) else ():
        kept = raws(copy.body)
        waits = "dawdledue" if held else "dawdledelay"
        assert not {"dawdledelay", "dawdledue", "dawdletrial", "dawdlesince"} - {waits} & set(kept)
        assert waits not in kept or copy.delay == terms.max_hop
        assert ("dawdlecrowded" in kept) == (copy.why == "crowded")


@pytest.mark.slow
@given(attributes, results, terms, chances)
def test_without_a_dead_letter_queue_there_are_no_letters_and_nothing_is_dropped(
    given_attributes, results, terms, random
):
    decision = settled(
        body_of(given_attributes), results, terms=msgspec.structs.replace(terms, has_dead_letters=False), random=random
    )
    owed = Counter(result.handler for result in results if not isinstance(result.outcome, Done))
    if isinstance(decision, Forward):
        assert not any(copy.is_letter for copy in decision.copies)
        assert Counter(copy.handler for copy in decision.copies) == owed
    else:
        assert isinstance(decision, Release) or not owed


@given(st.integers(1, 9), names, texts, texts, st.booleans())
def test_a_dead_letter_says_handler_error_and_attempts(attempts, name, error, tenant, is_rejected):
    body = body_of({"data": {"text": "x"}, "tenant": tenant, "dawdleattempt": attempts})
    outcome = Rejected(error) if is_rejected else Failed(error)
    decision = settled(body, [Result(name, Retry(max_attempts=attempts), outcome)])
    (letter,) = decision.copies
    assert letter.is_letter
    assert (letter.handler, letter.reason, letter.delay) == (name, clip(error), 0.0)
    envelope = open_envelope(letter.body)
    assert (envelope.owed, envelope.attempt, envelope.error) == (name, attempts, clip(error))
    assert to_epoch(envelope.dead) == NOW
    assert foreign_part(letter.body) == foreign_part(body)


@given(attributes, results, terms)
def test_only_a_letter_says_that_it_is_dead_also_when_its_original_once_was_one(given_attributes, results, terms):
    decision = settled(body_of(given_attributes), results, terms=terms)
    for copy in decision.copies if isinstance(decision, Forward) else ():
        assert (open_envelope(copy.body).dead is not None) == copy.is_letter


@given(st.text("aä漢\ud800", min_size=3, max_size=30).map(lambda text: text * 700), st.booleans())
def test_an_error_travels_cut_to_a_kibibyte(error, is_last):
    decision = settled(body_of({}), [Result("a", Retry(max_attempts=1 if is_last else 2), Failed(error))])
    (copy,) = decision.copies
    assert ERROR_BYTES - 4 < len(open_envelope(copy.body).error.encode()) <= ERROR_BYTES


def test_two_that_fail_with_different_backoffs_each_keep_their_own_and_the_third_is_done():
    quick, slow = Retry(initial=1, jitter=0), Retry(initial=3600, max_delay=7200, jitter=0)
    decision = settled(
        body_of({}),
        [Result("quick", quick, Failed("x")), Result("slow", slow, Failed("y")), Result("done", slow, Done())],
    )
    first, second = decision.copies
    assert (first.handler, first.delay, open_envelope(first.body).due) == ("quick", 1, None)
    assert (second.handler, second.delay) == ("slow", 900)
    assert open_envelope(second.body).due == datetime.fromtimestamp(NOW + 3600, UTC)
    assert decision.release_after == 1, "if they cannot be stored, the original comes back after the shortest"


def test_jitter_is_rolled_for_each_on_its_own():
    rolled = iter([0.0, 0.5, 0.0, 0.0])
    retry = Retry(initial=10, jitter=1)
    body = body_of({})
    decision = settle(
        body,
        open_envelope(body),
        [Result("a", retry, Failed("x")), Result("b", retry, Failed("x"))],
        attempt=1,
        now=NOW,
        terms=terms_of(),
        random=lambda: next(rolled),
    )
    assert [copy.delay for copy in decision.copies] == [10, 5]


def test_what_a_stop_interrupted_comes_back_at_once_and_only_what_is_unfinished():
    retry = Retry()
    assert settled(body_of({}), [Result("a", retry, Interrupted())]) == Release(0.0)
    past = settled(body_of({}), [Result("a", retry, Interrupted())], held=False)
    assert [(copy.why, copy.delay) for copy in past.copies] == [("interrupted", 0.0)]
    mixed = settled(body_of({}), [Result("a", retry, Interrupted()), Result("b", retry, Done())])
    assert [(copy.handler, copy.why, copy.delay) for copy in mixed.copies] == [("a", "interrupted", 0.0)]


@given(st.floats(1, 900), st.floats(0, 2000))
def test_a_crowded_handler_gets_its_event_again_when_the_outcome_says_and_its_copy_how_it_was_counted(delay, step):
    (copy,) = settled(body_of({}), [Result("a", Retry(), AtLimit(delay, step))]).copies
    assert (copy.handler, copy.why, copy.delay) == ("a", "crowded", delay)
    assert open_envelope(copy.body).counted == pytest.approx(step, abs=1e-6)


def test_a_step_longer_than_the_attribute_can_say_is_cut():
    (copy,) = settled(body_of({}), [Result("a", Retry(), AtLimit(1.0, 1e9))]).copies
    assert open_envelope(copy.body).crowded == 2**31 - 1


@pytest.mark.parametrize("outcome", [Failed("x"), Postponed(3.0), Rejected("x")], ids=lambda each: type(each).__name__)
def test_what_ran_is_new_to_the_line_when_it_comes_again(outcome):
    (copy,) = settled(body_of({"dawdlecrowded": 200_000}), [Result("a", Retry(), outcome)]).copies
    assert "dawdlecrowded" not in raws(copy.body)


# Admit


@given(attributes, terms, st.floats(-100, 1e6))
def test_admitting_is_total_and_runs_what_is_due_and_wanted(given_attributes, terms, since_stored):
    body = body_of(given_attributes)
    envelope = open_envelope(body)
    decision = admitted(body, stored_at=NOW - since_stored, terms=terms)
    is_due = (
        envelope.due is not None or envelope.delay_ms is None or int(envelope.delay_ms) / 1000 <= since_stored + 1e-6
    )
    if not is_due:
        left = int(envelope.delay_ms) / 1000 - since_stored
        if terms.max_hop <= 0:
            assert decision == Release(pytest.approx(left, abs=1e-5))
        else:
            (copy,) = decision.copies
            assert copy.why == "delayed"
            assert copy.delay == pytest.approx(min(left, terms.max_hop), abs=1e-5)
            assert copy.delay <= terms.max_hop
            assert foreign_part(copy.body) == foreign_part(body)
            assert open_envelope(copy.body).attempt == envelope.attempt
    else:
        expected = (envelope.owed,) if envelope.owed is not None else ("a", "b", "c")
        assert isinstance(decision, Run)
        assert decision.event_type is Placed
        assert tuple(handler.name for handler in decision.handlers) == expected


def test_who_is_owed_is_found_under_the_name_it_had_before():
    decision = admitted(body_of({"dawdleowed": "b.before"}))
    assert [handler.name for handler in decision.handlers] == ["b"]


twin_one = msgspec.defstruct("VerdictTwin", [], module="shop.a")
twin_two = msgspec.defstruct("VerdictTwin", [], module="shop.b")
TWINS = handlers_of("twins", kind=twin_one)
TWINS.register(lambda event: None, (twin_two,), {"name": "other"})

missing = st.sampled_from(
    [
        (body_of({"data": {}}, "unknown.type"), LOOKUP),
        (body_of({"data": {}}, "decision.unwanted"), LOOKUP),
        (body_of({"dawdleowed": "elsewhere"}), LOOKUP),
        (body_of({"datacontenttype": "text/xml", "data": "<a/>"}), LOOKUP),
        (body_of({"dawdleowed": "a", "dawdleattempt": 3}, "unknown.type"), LOOKUP),
        (body_of({}, "VerdictTwin"), TWINS),
        (body_of({"dawdledelay": "5000"}, "unknown.type"), LOOKUP),
    ]
)


@given(missing, terms, ages, chances)
def test_what_another_node_may_handle_is_never_given_up_before_its_time(case, terms, age, random):
    body, lookup = case
    terms = msgspec.structs.replace(terms, shared=True)
    since = to_rfc3339(NOW - age)
    body = write({**msgspec.json.decode(body, type=dict[str, msgspec.Raw]), "dawdlesince": since})
    decision = admitted(body, stored_at=NOW - 10, terms=terms, lookup=lookup, random=random)
    known_for = max(0.0, NOW - to_epoch(open_envelope(body).since))
    if known_for >= terms.unclaimed:
        if isinstance(decision, Forward):
            (copy,) = decision.copies
            assert copy.why == ("dead" if terms.has_dead_letters else "kept")
        else:
            assert decision == Release(MAX_BACKOFF_SECONDS)
            assert not terms.has_dead_letters
            assert terms.max_hop <= 0
        return
    (copy,) = decision.copies
    assert copy.why == "unclaimed"
    longest = min(max(1.0, known_for), MAX_BACKOFF_SECONDS)
    assert_waits(copy, longest * (1 - random / 2), NOW, terms.max_hop)
    before, after = open_envelope(body), open_envelope(copy.body)
    assert (after.owed, after.attempt, after.since) == (before.owed, before.attempt, before.since)
    assert after.crowded == before.crowded, "the line that counted it still does"
    assert foreign_part(copy.body) == foreign_part(body)
    assert decision.release_after <= MAX_BACKOFF_SECONDS


@pytest.mark.slow
@settings(max_examples=30)
@given(missing, st.sampled_from([0.0, 5.0, 900.0, float("inf")]), st.floats(0, 2e4) | st.just(86400.0))
def test_an_unclaimed_event_is_offered_less_and_less_often_and_given_up_in_the_end(case, max_hop, unclaimed):
    body, lookup = case
    now, offers, hops = NOW + 10, [], 0
    while True:
        decision = admitted(
            body, stored_at=NOW, now=now, terms=terms_of(max_hop=max_hop, unclaimed=unclaimed), lookup=lookup
        )
        if isinstance(decision, Release):
            now += decision.seconds
            continue
        (copy,) = decision.copies
        if copy.is_letter:
            break
        hops += 1
        assert hops < 50_000
        if copy.why == "unclaimed":
            offers.append(now)
        body, now = copy.body, now + copy.delay
    assert now - (NOW + 10) >= unclaimed - 0.002, "not before its time"
    assert now - (NOW + 10) <= unclaimed + MAX_BACKOFF_SECONDS + 1, "and not long after"
    gaps = [later - earlier for earlier, later in pairwise(offers)]
    assert all(1 <= gap <= MAX_BACKOFF_SECONDS + 0.01 for gap in gaps)
    assert all(earlier <= later + 0.01 for earlier, later in pairwise(gaps))
    letter = open_envelope(copy.body)
    assert letter.owed == open_envelope(case[0]).owed
    assert letter.attempt == open_envelope(case[0]).attempt
    assert f"for {unclaimed:g} s" in letter.error


def test_the_reason_says_what_no_node_has():
    for body, says in (
        (body_of({}, "unknown.type"), "no node knows an event type 'unknown.type'"),
        (body_of({}, "decision.unwanted"), "no node has a handler for 'decision.unwanted'"),
        (body_of({"dawdleowed": "elsewhere"}), "no node has the handler 'elsewhere'"),
        (body_of({"datacontenttype": "text/xml"}), "no node has a codec for 'text/xml'"),
    ):
        assert admitted(body).copies[0].reason == says
        alone = admitted(body, terms=terms_of(shared=False))
        assert alone == Ack(f"{says}, and a queue in memory has no other consumer"), "a queue of one node asks no other"
    assert "two event types" in admitted(body_of({}, "VerdictTwin"), lookup=TWINS).copies[0].reason


@pytest.mark.slow
@given(terms, attributes)
def test_an_event_that_says_drop_is_acked_without_a_handler_and_run_with_one(terms, given_attributes):
    assume("dawdleowed" not in given_attributes)
    body = body_of({**given_attributes, "dawdledelay": None}, "decision.optional")
    assert isinstance(admitted(body, terms=terms), Ack)
    wanted = admitted(body, terms=terms, lookup=handlers_of("x", kind=Optional))
    assert isinstance(wanted, Run)


# From copy to copy


@given(
    st.integers(0, 10**8),
    st.sampled_from([1.0, 60.0, 900.0, float("inf")]),
    st.lists(retries, min_size=1, max_size=4),
    chances,
)
def test_a_delayed_event_that_fails_waits_its_backoff_and_not_its_delay_again(delay_ms, max_hop, several, random):
    retry = max(several, key=lambda each: each.max_attempts)
    assume(delay_ms / 1000 / max_hop < 500)
    terms = terms_of(max_hop=max_hop)
    body, stored_at = body_of({"dawdledelay": str(delay_ms)}), NOW
    now = stored_at + min(delay_ms / 1000, max_hop)
    ran = []
    for _ in range(20_000):
        decision = admitted(body, stored_at=stored_at, now=now, terms=terms)
        if isinstance(decision, Run):
            ran.append(now)
            decision = settled(body, [Result("a", retry, Failed("x"))], now=now, terms=terms, random=random)
        (copy,) = decision.copies
        if copy.is_letter:
            break
        body, stored_at = copy.body, now
        now += copy.delay
    assert len(ran) == retry.max_attempts
    assert open_envelope(copy.body).attempt == retry.max_attempts
    assert ran[0] == pytest.approx(NOW + delay_ms / 1000, abs=0.002)
    for number, (earlier, later) in enumerate(pairwise(ran), start=1):
        wanted = retry.backoff(number, random)
        assert -1e-5 <= later - earlier - wanted <= 0.002


@given(st.integers(1, 6), st.lists(outcomes, min_size=3, max_size=60))
def test_a_handler_fails_no_more_often_than_its_attempts_whatever_else_happens(max_attempts, happens):
    body, failures = body_of({}), 0
    for outcome in happens:
        failures += isinstance(outcome, Failed)
        decision = settled(body, [Result("a", Retry(max_attempts=max_attempts), outcome)], held=False)
        if isinstance(decision, Ack):
            return
        (copy,) = decision.copies
        body = copy.body
        assert open_envelope(body).attempt <= max_attempts
        if copy.is_letter:
            assert isinstance(outcome, Rejected) or failures == max_attempts
            return
    assert failures < max_attempts


# What cannot be read


@given(st.binary(max_size=200), texts, texts.filter(bool))
def test_a_body_that_is_no_event_is_kept_whole_in_a_letter_with_the_reason(body, reason, key):
    decision = undecodable(body, key, reason, NOW, terms_of())
    (letter,) = decision.copies
    assert letter.is_letter
    attributes = json.loads(letter.body)
    assert (attributes["type"], attributes["id"], attributes["dawdleerror"]) == (UNDECODABLE, key, clip(reason))
    assert base64.b64decode(attributes["data_base64"]) == body
    assert open_envelope(letter.body).data_base64 == body
    assert (to_epoch(open_envelope(letter.body).dead), "dawdlecut" in attributes) == (NOW, False)


@given(st.binary(max_size=200), st.sampled_from([0.0, 60.0, 5000.0, float("inf")]))
def test_a_body_that_is_no_event_is_never_dropped_without_a_dead_letter_queue(body, max_hop):
    decision = undecodable(body, "k", "no JSON", NOW, terms_of(max_hop=max_hop, has_dead_letters=False))
    if max_hop == 0:
        assert decision == Release(MAX_BACKOFF_SECONDS)
    else:
        (copy,) = decision.copies
        assert (copy.body, copy.why, copy.delay) == (body, "kept", min(max_hop, MAX_BACKOFF_SECONDS))


@given(attributes, texts)
def test_data_that_is_not_of_its_type_is_given_up_for_whom_it_was_owed(given_attributes, reason):
    body = body_of(given_attributes)
    envelope = open_envelope(body)
    (letter,) = unreadable(body, envelope, reason, NOW, terms_of()).copies
    after = open_envelope(letter.body)
    assert to_epoch(after.dead) == NOW
    assert letter.is_letter
    assert (letter.handler, letter.reason) == (envelope.owed, clip(reason))
    assert (after.owed, after.attempt, after.error) == (envelope.owed, envelope.attempt, clip(reason))
    assert foreign_part(letter.body) == foreign_part(body)
    assert (after.delay_ms, after.due) == (None, None), "redriven, it does not wait again"


# What a copy adds


def largest(max_body):
    """Return the body of the largest event that a signal lets through."""
    options = {
        "codec": JSON(),
        "wire_name": "Placed",
        "event_id": "e-1",
        "source": "/shop",
        "now": NOW,
        "headers": {},
        "delay_ms": 0,
        "cause": None,
    }
    empty = len(seal(Placed(), max_body=max_body, **options))
    return seal(Placed("x" * (max_body - HEADROOM - empty)), max_body=max_body, **options)


MAX_BODY = 16_384
LARGEST = largest(MAX_BODY)
outcomes_that_say_why = st.sampled_from([Failed, Rejected])


@given(st.sampled_from("aЖ漢"), st.text('a漢\n"\\', min_size=1, max_size=9), outcomes_that_say_why)
def test_every_copy_of_the_largest_event_fits_into_its_queue(letter, text, outcome):
    name, error = letter * 200, text * 1100
    assert len(LARGEST) == MAX_BODY - HEADROOM
    for terms in (terms_of(max_hop=1.0), terms_of(has_dead_letters=False, max_hop=1.0)):
        for attempt in (Retry(max_attempts=1), Retry(max_attempts=2**31 - 1)):
            decision = settled(LARGEST, [Result(name, attempt, outcome(error))], terms=terms)
            assert all(len(copy.body) <= MAX_BODY for copy in decision.copies)


@pytest.mark.parametrize("odd", [*map(chr, range(32)), *'"\\\x7f\x85\u2028\ufffe\uffff\ud800'], ids=ascii)
def test_every_copy_fits_whatever_its_error_is_made_of(odd):
    decision = settled(LARGEST, [Result("\U0001d538" * 200, Retry(), Failed(odd * 2000))], terms=terms_of(max_hop=1.0))
    assert all(len(copy.body) <= MAX_BODY for copy in decision.copies)


@given(st.integers(0, 3 * MAX_BODY), st.sampled_from(["no JSON", "x" * 5000, "\n" * 5000]), st.text(min_size=1))
def test_the_letter_of_a_body_that_is_no_event_fits_and_says_how_much_of_it_is_cut(length, reason, key):
    body = b"\xff" * length
    (letter,) = undecodable(body, key, reason, NOW, terms_of(max_body=MAX_BODY)).copies
    assert len(letter.body) <= MAX_BODY
    attributes = json.loads(letter.body)
    kept = base64.b64decode(attributes["data_base64"])
    assert body.startswith(kept)
    if len(kept) == length:
        assert attributes["dawdleerror"] == clip(reason)
    else:
        said = f"the last {length - len(kept)} of its {length} bytes are cut off: {reason}"
        assert letter.reason == attributes["dawdleerror"] == clip(said)
        assert attributes["dawdlecut"] == length - len(kept)
        assert len(letter.body) > MAX_BODY - 250, "and no more is cut than must be"


@pytest.mark.parametrize("max_hop", [1.0, 60.0, 900.0, float("inf")])
@pytest.mark.parametrize(
    "delayed", [{"dawdledelay": "600000"}, {"dawdledue": to_rfc3339(NOW + 600)}], ids=["delay", "due"]
)
def test_a_kept_event_waits_the_longest_backoff_and_not_its_delay_again(max_hop, delayed):
    terms = terms_of(has_dead_letters=False, max_hop=max_hop)
    body = body_of({**delayed, "dawdletrial": 2, "dawdleowed": "a", "dawdleattempt": 3})
    now = tried = NOW + 600
    assert isinstance(admitted(body, now=now), Run)
    decision = unreadable(body, open_envelope(body), "not a Placed", now, terms)
    while not isinstance(decision, Run):
        (copy,) = decision.copies
        stored_at, now = now, now + copy.delay
        decision = admitted(copy.body, stored_at=stored_at, now=now, terms=terms)
    assert tried + MAX_BACKOFF_SECONDS <= now <= tried + MAX_BACKOFF_SECONDS + 0.002
    kept = open_envelope(copy.body)
    assert (kept.delay_ms, kept.trial, kept.owed, kept.attempt) == (None, 0, "a", 3)


@given(st.integers(-(10**6), 10**10), st.floats(0, 1, exclude_max=True))
def test_an_event_that_says_it_is_unclaimed_since_a_time_to_come_is_so_since_now(ahead, random):
    terms, now, offers = terms_of(unclaimed=60.0), NOW, 0
    body = body_of({"dawdlesince": to_rfc3339(NOW + ahead)}, "unknown.type")
    while True:
        (copy,) = admitted(body, stored_at=now, now=now, terms=terms, random=random).copies
        if copy.is_letter:
            break
        assert to_epoch(open_envelope(copy.body).since) <= now + 0.001
        body, now, offers = copy.body, now + copy.delay, offers + 1
    assert offers <= 15
    assert now <= NOW + 120


@pytest.mark.parametrize("has_dead_letters", [True, False])
def test_an_event_unclaimed_since_before_the_first_year_is_given_up_at_once(has_dead_letters):
    body = body_of({"dawdlesince": "0001-01-01T00:00:00+14:00"}, "unknown.type")
    (copy,) = admitted(body, terms=terms_of(has_dead_letters=has_dead_letters)).copies
    assert copy.why == ("dead" if has_dead_letters else "kept")


def test_a_kept_event_that_is_unclaimed_is_not_offered_around_again():
    terms = terms_of(has_dead_letters=False, unclaimed=60.0)
    body = body_of({"dawdlesince": to_rfc3339(NOW - 60)}, "unknown.type")
    for now in (NOW, NOW + 900, NOW + 1800):
        (copy,) = admitted(body, stored_at=now, now=now, terms=terms).copies
        assert (copy.why, copy.delay) == ("kept", MAX_BACKOFF_SECONDS)
        body = copy.body


@pytest.mark.parametrize("max_hop", [0.0, 1.0, 900.0])
def test_a_kept_copy_of_a_handler_that_retries_at_once_does_not_spin(max_hop):
    retry, terms = Retry(max_attempts=1, initial=0, max_delay=0), terms_of(has_dead_letters=False, max_hop=max_hop)
    (copy,) = settled(body_of({}), [Result("a", retry, Failed("x"))], terms=terms).copies
    assert_waits(copy, MIN_KEPT_SECONDS, NOW, max_hop)


@given(st.integers(13, 2**31 - 1), st.floats(0, 1, exclude_max=True))
def test_an_attempt_that_a_stranger_wrote_is_the_last_one(attempt, random):
    body = body_of({"dawdleattempt": attempt})
    (letter,) = settled(body, [Result("a", Retry(max_attempts=12), Failed("x"))], random=random).copies
    assert letter.is_letter
    (later,) = settled(body, [Result("a", Retry(max_attempts=12), Postponed(7))], random=random).copies
    assert (later.delay, open_envelope(later.body).attempt) == (7, attempt)


def test_the_largest_numbers_of_seconds_make_copies_as_well():
    retry = Retry(initial=1.7e308, max_delay=1.7e308)
    for outcome in (Failed("x"), Postponed(1.7e308)):
        (copy,) = settled(body_of({}), [Result("a", retry, outcome)]).copies
        assert open_envelope(copy.body).due == datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


@given(results, st.integers(0, 400), st.booleans())
def test_an_event_that_leaves_no_room_for_a_copy_is_given_up_whole_and_never_retried_for_ever(results, room, held):
    body = body_of({"data": {"text": "x" * 1000}, "tenant": "t"})
    terms = Terms(max_hop=900.0, has_dead_letters=True, shared=True, unclaimed=60.0, max_body=len(body) + room)
    decision = settle(
        body,
        open_envelope(body),
        results,
        attempt=open_envelope(body).attempt,
        now=NOW,
        terms=terms,
        random=lambda: 0.5,
        held=held,
    )
    if not isinstance(decision, Forward):
        return
    for copy in decision.copies:
        if len(copy.body) > terms.max_body:
            assert copy.why in {"interrupted", "crowded"}  # the message itself comes back
        elif copy.body == body:
            assert copy.is_letter  # nothing fits beside it
            assert room < 200
        else:
            envelope = open_envelope(copy.body)
            assert envelope.owed == copy.handler
            assert not copy.is_letter or clip(copy.reason).startswith(envelope.error)
            assert json.loads(copy.body)["data"] == json.loads(body)["data"]
