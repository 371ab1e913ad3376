"""A letter that a console or a tool put back as it lay there is read as the event or the bytes that it was."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dawdle._handlers.letter_types import LetterTypes
from dawdle._rules.admission import Run
from dawdle._rules.dead_letter import read_letter
from dawdle._rules.dead_lettering import undecodable, unreadable
from dawdle._rules.envelope import open_envelope, write
from dawdle._rules.received_body import MAX_WRAPPERS, Incomplete, Opened, Unreadable, open_message
from dawdle._rules.redrive import redriven
from dawdle._rules.settlement import Forward
from dawdle._rules.signing import Signer
from dawdle.abc import Delivery
from tests.rules.test_settlement import CODECS, LOOKUP, NOW, attributes, body_of, results, settled, terms_of, texts
from tests.rules.test_settlement import admitted as admit_body

KEYS, OTHER_KEYS = {"k": "k" * 32}, {"o": "o" * 32}
LIVING = attributes.map(lambda given_: {name: each for name, each in given_.items() if name != "dawdledead"})


def opened(body, *, keys=None, max_body=1_048_576):
    return open_message(body, Signer(keys), max_body)


def wrap(body, reason="x", **terms):
    (copy,) = undecodable(body, "k", reason, NOW, terms_of(**terms)).copies
    return copy.body


def by_redrive(body):
    return redriven(read_letter(Delivery("r", "k", body), "default", LetterTypes(LOOKUP), CODECS, Signer(None)))


@given(LIVING)
def test_what_is_no_letter_is_opened_as_it_came(given_attributes):
    body = body_of(given_attributes)
    assert opened(body) == Opened(body, open_envelope(body))
    assert opened(Signer(KEYS).sign(body), keys=KEYS) == Opened(body, open_envelope(body))


@given(attributes, results)
def test_a_letter_that_was_moved_back_is_handled_as_if_it_had_been_redriven(given_attributes, results):
    decision = settled(body_of(given_attributes), results, terms=terms_of(queue="123456789012/orders"))
    for copy in decision.copies if isinstance(decision, Forward) else ():
        if not copy.is_letter:
            continue
        found = opened(copy.body)
        assert found.body == by_redrive(copy.body).body
        assert (found.envelope.attempt, found.envelope.owed, found.envelope.dead) == (1, copy.handler, None)
        assert opened(Signer(KEYS).sign(copy.body), keys=KEYS) == found


def test_a_letter_that_owes_no_handler_runs_all_that_want_it():
    body = body_of({"data": {"text": "x"}, "dawdleattempt": 4})
    (letter,) = unreadable(body, open_envelope(body), "x", NOW, terms_of()).copies
    decision = admit_body(opened(letter.body).body)
    assert isinstance(decision, Run)
    assert [handler.name for handler in decision.handlers] == ["a", "b", "c"]


@given(LIVING, texts)
def test_a_wrapper_is_what_it_holds_read_anew(given_attributes, reason):
    body = body_of(given_attributes)
    assert opened(wrap(body, reason)) == opened(body)


@given(st.binary(max_size=100), texts)
def test_what_can_still_not_be_read_is_given_up_as_the_bytes_that_came_and_does_not_grow(body, reason):
    found = opened(wrap(body, reason))
    assert isinstance(found, Unreadable)
    assert (found.body, found.reason) == (body, opened(body).reason)


def test_an_event_that_only_has_the_name_of_a_wrapper_is_an_event():
    body = body_of({"data_base64": "Z2FyYmFnZQ=="}, "dawdle.undecodable")
    assert opened(body) == Opened(body, open_envelope(body))


def test_half_a_message_goes_back_as_the_letter_that_it_is():
    whole = wrap(b"\xff" * 5000, "no JSON", max_body=2000)
    found = opened(whole)
    assert isinstance(found, Incomplete)
    assert found.reason.startswith("the last ")
    assert found.reason.endswith("are cut off: no JSON")
    (letter,) = unreadable(found.body, found.envelope, found.reason, NOW + 60, terms_of(max_body=2000)).copies
    before, after = (msgspec.json.decode(each) for each in (whole, letter.body))
    assert after.pop("dawdledead") > before.pop("dawdledead")
    assert after == before


# A wrapper vouches for nothing


def test_what_is_in_a_signed_wrapper_must_be_signed_itself():
    body, sign = body_of({"data": {"text": "x"}}), Signer(KEYS).sign
    forged = Signer(OTHER_KEYS).sign(body)
    for inner in (body, forged):
        found = opened(sign(wrap(inner)), keys=KEYS)
        assert isinstance(found, Unreadable)
        assert found.body == inner
        assert "sign" in found.reason
    assert opened(sign(wrap(sign(body))), keys=KEYS) == Opened(body, open_envelope(body))


def test_a_wrapper_that_is_not_signed_is_not_looked_into():
    sign = Signer(KEYS).sign
    for wrapper in (wrap(sign(body_of({}))), Signer(OTHER_KEYS).sign(wrap(sign(body_of({}))))):
        found = opened(wrapper, keys=KEYS)
        assert isinstance(found, Unreadable)
        assert found.body == wrapper


def test_a_letter_in_a_wrapper_must_be_signed_as_well_and_begins_anew():
    sign = Signer(KEYS).sign
    body = body_of({"data": {"text": "x"}, "dawdleattempt": 3})
    (letter,) = unreadable(body, open_envelope(body), "x", NOW, terms_of()).copies
    assert isinstance(opened(sign(wrap(letter.body)), keys=KEYS), Unreadable)
    assert opened(sign(wrap(sign(letter.body))), keys=KEYS).envelope.attempt == 1
    assert opened(wrap(letter.body)).envelope.attempt == 1


@pytest.mark.parametrize("depth", [1, 2, MAX_WRAPPERS, MAX_WRAPPERS + 1, 3 * MAX_WRAPPERS])
def test_a_wrapper_in_a_wrapper_is_opened_up_to_a_depth(depth):
    body = body_of({"data": {"text": "x"}})
    nested = body
    for _ in range(depth):
        nested = wrap(nested)
    found = opened(nested)
    if depth <= MAX_WRAPPERS:
        assert found == Opened(body, open_envelope(body))
        return
    assert isinstance(found, Unreadable)
    assert found.reason == "the message is wrapped in more than 4 dead letters, one in the other"
    assert len(found.body) < len(nested), "each redrive comes nearer to it"


def test_a_size_that_the_queue_does_not_take_is_read_in_no_wrapper():
    found = opened(
        write({"specversion": "1.0", "id": "e", "source": "s", "type": "t", "data": "x" * 500}), max_body=300
    )
    assert isinstance(found, Unreadable)
    assert "too large" in found.reason


def test_no_repr_shows_a_body():
    body = body_of({"data": {"text": "canary"}})
    half = opened(wrap(b"canary" * 500, "x", max_body=2000))
    assert "canary" not in f"{opened(body)!r}{opened(wrap(b'canary'))!r}{half!r}"
