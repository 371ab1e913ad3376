"""A letter is read the same whether dawdle or SQS wrote it, and is redriven as a message that runs only its handler."""

import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dawdle import ConfigurationError, DeadLetter, MessagePack, Registry, Retry
from dawdle._handlers.app_handlers import AppHandlers
from dawdle._handlers.letter_filter import read_filter
from dawdle._handlers.letter_types import LetterTypes
from dawdle._rules.admission import Run
from dawdle._rules.dead_letter import ROUNDING_SECONDS, read_letter, seconds_dead
from dawdle._rules.dead_lettering import UNDECODABLE, undecodable, unreadable
from dawdle._rules.envelope import ERROR_BYTES, clip, open_envelope, rewrite, to_epoch, to_rfc3339, write
from dawdle._rules.outcome import Failed, Rejected
from dawdle._rules.redrive import Redriven, Refused, lineage_of, redriven, when_written
from dawdle._rules.settlement import Forward, Result
from dawdle._rules.signing import Signer
from dawdle.abc import Delivery
from tests.rules.test_settlement import (
    CODECS,
    LOOKUP,
    NOW,
    OWN,
    Placed,
    attributes,
    body_of,
    handlers_of,
    names,
    raws,
    results,
    terms_of,
    texts,
)
from tests.rules.test_settlement import admitted as admit_body
from tests.rules.test_settlement import settled as settle_body


def read(body, *, lookup=LOOKUP, stored_at=NOW, types=(), codecs=CODECS, keys=None):
    delivery = Delivery("receipt", "k-1", body, stored_at=stored_at)
    return read_letter(delivery, "default", LetterTypes(lookup, types), codecs, Signer(keys))


def letters_of(decision):
    return [copy for copy in decision.copies if copy.is_letter] if isinstance(decision, Forward) else []


# What dawdle wrote


@given(attributes, results)
def test_a_letter_of_any_verdict_is_read_back_with_handler_error_attempts_and_event(given_attributes, results):
    body = body_of(given_attributes)
    for copy in letters_of(settle_body(body, results)):
        letter = read(copy.body).letter
        before = open_envelope(body)
        assert (letter.event_id, letter.event_type, letter.queue) == ("e-1", "Placed", "default")
        assert (letter.handler, letter.error, letter.attempts) == (copy.handler, clip(copy.reason), before.attempt)
        assert letter.event == Placed(given_attributes["data"]["text"])
        assert letter.dead_at == datetime.fromtimestamp(NOW, UTC)
        assert letter.signaled_at == before.time
        assert letter.body == copy.body
        assert set(letter.headers) == {"tenant", "number"} & set(given_attributes)


@given(attributes, results)
def test_redriven_it_runs_at_once_for_just_the_handler_that_failed_at_attempt_one(given_attributes, results):
    for copy in letters_of(settle_body(body_of(given_attributes), results)):
        message = redriven(read(copy.body))
        assert isinstance(message, Redriven)
        assert not message.unsigned
        again = open_envelope(message.body)
        assert (again.attempt, again.owed, again.error, again.dead) == (1, copy.handler, None, None)
        lookup = handlers_of(copy.handler)
        decision = admit_body(message.body, lookup=lookup)
        assert isinstance(decision, Run)
        assert [handler.name for handler in decision.handlers] == [copy.handler]


@given(attributes, texts, st.sampled_from([None, "a", "gone"]))
def test_a_letter_that_owes_no_handler_is_redriven_for_all(given_attributes, reason, owed):
    given_attributes = {**given_attributes, "dawdleowed": owed} if owed else given_attributes
    given_attributes = {name: value for name, value in given_attributes.items() if owed or name != "dawdleowed"}
    body = body_of(given_attributes)
    (copy,) = unreadable(body, open_envelope(body), reason, NOW, terms_of()).copies
    assert read(copy.body).letter.handler == owed
    decision = admit_body(redriven(read(copy.body)).body)
    if owed == "gone":
        assert "no node has the handler 'gone'" in decision.copies[0].reason
    else:
        assert [handler.name for handler in decision.handlers] == (["a"] if owed else ["a", "b", "c"])


@given(attributes, results)
def test_unknown_attributes_survive_a_letter_and_a_redrive_to_the_byte(given_attributes, results):
    body = body_of(given_attributes)
    for copy in letters_of(settle_body(body, results)):
        after = raws(redriven(read(copy.body)).body)
        assert {name: raw for name, raw in after.items() if name not in OWN} == {
            name: raw for name, raw in raws(body).items() if name not in OWN
        }
        assert set(after) & OWN == {"dawdleowed"}


@given(st.binary(max_size=200), texts, texts.filter(bool))
def test_what_was_no_event_is_redriven_as_the_bytes_that_came(body, reason, key):
    (copy,) = undecodable(body, key, reason, NOW, terms_of()).copies
    found = read(copy.body)
    assert redriven(found) == Redriven(body, unsigned=True)
    assert (found.letter.event_id, found.letter.event_type, found.letter.error) == (key, UNDECODABLE, clip(reason))
    assert (found.letter.event, found.letter.handler, found.letter.signaled_at) == (None, None, None)


@given(st.integers(1, 5000))
def test_half_a_message_is_not_redriven(length):
    body = b"\xff" * (800 + length)
    (copy,) = undecodable(body, "k", "no JSON", NOW, terms_of(max_body=800)).copies
    message = redriven(read(copy.body))
    assert isinstance(message, Refused)
    assert f"last {open_envelope(copy.body).cut} bytes" in message.reason


def test_an_event_that_only_has_the_name_of_what_is_none_is_an_event():
    body = body_of({"data_base64": "Z2FyYmFnZQ=="}, UNDECODABLE)
    message = redriven(read(body))
    assert (message.body, message.unsigned) == (body, False)


# What SQS moved


@given(attributes, texts)
def test_what_sqs_moved_says_so_and_keeps_the_error_of_an_attempt_before(given_attributes, error):
    given_attributes = {name: value for name, value in given_attributes.items() if name != "dawdledead"}
    without = {name: value for name, value in given_attributes.items() if name != "dawdleerror"}
    letter = read(body_of(without)).letter
    assert (letter.error, letter.dead_at) == ("redriven by SQS", None)
    letter = read(body_of({**without, "dawdleerror": error})).letter
    assert letter.error == f"redriven by SQS; before that: {clip(error)}"
    assert letter.attempts == given_attributes.get("dawdleattempt", 1)


@given(attributes)
def test_what_sqs_moved_goes_on_where_it_was_and_nothing_counts_against_it(given_attributes):
    given_attributes = {name: value for name, value in given_attributes.items() if name != "dawdledead"}
    body = body_of(given_attributes)
    stored_at = NOW - 5
    found = read(body, stored_at=stored_at)
    message = redriven(found)
    gone = {"dawdletrial", "dawdlesince", "dawdlecrowded", "dawdledelay", "dawdledue"}
    assert not message.unsigned
    assert {n: raw for n, raw in raws(message.body).items() if n not in gone} == {
        n: raw for n, raw in raws(body).items() if n not in gone
    }
    before, after = open_envelope(body), open_envelope(message.body)
    assert (after.trial, after.since, after.crowded, after.delay_ms) == (0, None, None, None)
    if before.due is not None:
        assert after.due == before.due
    elif before.delay_ms is not None:
        assert abs(to_epoch(after.due) - stored_at - int(before.delay_ms) / 1000) <= 0.0011, "it does not wait anew"
    else:
        assert after.due is None


def test_what_sqs_moved_and_has_nothing_to_lose_is_the_very_bytes():
    body = b' {"type":"Placed", "specversion":"1.0","id":"e","source":"s" , "data": {"text" : "x"}} '
    assert redriven(read(body)) == Redriven(body, unsigned=False)


@pytest.mark.parametrize("body", [b"", b"garbage", b"\xff\x00", b'{"hello": "world"}', b"[" * 100_000])
def test_what_sqs_moved_and_is_no_event_is_read_and_redriven_as_it_is(body):
    found = read(body)
    assert found.letter.error.startswith(
        ("redriven by SQS; not a CloudEvent 1.0", "redriven by SQS; the message is nested too deep")
    )
    assert (found.letter.event_id, found.letter.event_type) == ("k-1", UNDECODABLE)
    assert redriven(found) == Redriven(body, unsigned=True)


# What cannot be decoded


def dead_body(kind="Placed", **more):
    return body_of({"dawdledead": to_rfc3339(NOW), "dawdleerror": "x", "dawdleowed": "a", **more}, kind)


@pytest.mark.parametrize(
    "body",
    [
        dead_body("unknown.type", data={"text": "x"}),
        dead_body(data={"text": 7}),
        dead_body(datacontenttype="application/x-unheard-of", data_base64="AAAA"),
    ],
)
def test_an_event_that_this_node_cannot_decode_is_none_and_no_error(body):
    found = read(body)
    assert (found.letter.event, found.letter.error, found.letter.handler) == (None, "x", "a")
    assert not redriven(found).unsigned


def test_an_attribute_that_no_float_can_hold_hides_no_letter():
    body = dead_body(tenant="t-1")[:-1] + b',"odd":1e999}'
    assert (read(body).letter.headers, read(body).letter.handler) == ({"tenant": "t-1", "odd": "1e999"}, "a")
    assert b'"odd":1e999' in redriven(read(body)).body


def test_two_types_under_one_name_hide_no_letter():
    registry = Registry()
    for _ in range(2):
        kind = msgspec.defstruct("Twice", [("text", str)], module=f"m{_}")
        registry.on_event(kind, name=f"h{_}")(lambda event: None)
    assert read(dead_body("Twice", data={"text": "x"}), lookup=AppHandlers(registry)).letter.event is None


def test_a_type_that_the_caller_names_is_decoded_without_a_handler():
    knows_none = AppHandlers(Registry())
    body = dead_body(data={"text": "x"})
    assert read(body, lookup=knows_none).letter.event is None
    assert read(body, lookup=knows_none, types=(Placed,)).letter.event == Placed("x")


def test_another_codec_is_read():
    codec = MessagePack()
    body = dead_body(datacontenttype=codec.content_type, data_base64=codec.encode(Placed("x")))
    assert read(body, codecs={**CODECS, codec.content_type: codec}).letter.event == Placed("x")


def test_a_letter_shows_neither_event_nor_body():
    letter = read(dead_body(data={"text": "canary"}, tenant="canary")).letter
    assert letter.event == Placed("canary")
    assert repr(letter) == "<DeadLetter Placed e-1 for a, attempt 1, dead since 2025-06-15 15:06:40+0000: x>"
    found = read(letter.body)
    assert "canary" not in f"{letter}{letter!r}{letter.__rich_repr__()}{found}{redriven(found)}"
    with pytest.raises(AttributeError):
        letter.error = "y"


# Who wrote it

KEYS = {"new": "n" * 32, "old": "o" * 32}


@given(attributes, st.sampled_from(["new", "old"]))
def test_a_signed_letter_says_and_becomes_what_it_does_without_its_signature(given_attributes, key_id):
    body = body_of(given_attributes)
    plain, signed = read(body), read(Signer({key_id: KEYS[key_id]}).sign(body), keys=KEYS)
    assert msgspec.structs.replace(signed.letter, body=b"") == msgspec.structs.replace(plain.letter, body=b"")
    assert redriven(signed) == redriven(plain), "the sender signs it anew"
    assert lineage_of(signed) == lineage_of(plain)


@pytest.mark.parametrize("keys", [{"new": "x" * 32}, {"other": "n" * 32}])
def test_what_is_not_signed_with_a_known_key_is_no_event_and_goes_back_as_it_is(keys):
    for body in (dead_body(data={"text": "x"}), Signer(keys).sign(dead_body(data={"text": "x"}))):
        found = read(body, keys=KEYS)
        assert (found.letter.event, found.letter.handler, found.letter.event_type) == (None, None, UNDECODABLE)
        assert "sign" in found.letter.error
        assert redriven(found) == Redriven(body, unsigned=True)


# When it came


@given(st.integers(-(10**9), 10**9).map(lambda ms: ms / 1000), st.booleans())
def test_a_letter_of_an_earlier_time_was_there_and_one_of_a_second_later_was_not(after, marked):
    body = dead_body() if marked else body_of({})
    said = when_written(read(body, stored_at=NOW + after), NOW)
    if after >= 1:
        assert said == "after"
    elif after < 0 and marked:
        assert said == "before"
    else:
        assert said == "unsure"


def test_where_the_queue_has_no_clock_nothing_is_sure():
    assert when_written(read(dead_body(), stored_at=None), NOW) == "unsure"


def test_what_fails_once_more_has_the_lineage_of_what_was_redriven():
    first = read(dead_body())
    again = settle_body(redriven(first).body, [Result("a", Retry(max_attempts=1), Failed("again"))])
    (copy,) = again.copies
    assert lineage_of(read(copy.body)) == lineage_of(first) == ("/shop", "e-1", "a")
    (garbage,) = undecodable(b"garbage", "k-1", "x", NOW, terms_of()).copies
    (once_more,) = undecodable(b"garbage", "k-2", "x", NOW, terms_of()).copies
    assert lineage_of(read(garbage.body)) == lineage_of(read(once_more.body)) == lineage_of(read(b"garbage"))
    (other,) = undecodable(b"else", "k-1", "x", NOW, terms_of()).copies
    assert lineage_of(read(other.body)) != lineage_of(read(garbage.body))


# What is chosen


class Base:
    pass


class Sub(Base, msgspec.Struct):
    text: str = ""


class Unheard(msgspec.Struct):
    text: str = ""


def chosen(body, *types, lookup=LOOKUP, stored_at=NOW, now=NOW, **options):
    options = {"handler": None, "older_than": None, "where": None, **options}
    choice = read_filter("redrive()", types, lookup, **options)
    found = read_letter(Delivery("r", "k", body, stored_at=stored_at), "default", choice.types, CODECS, Signer(None))
    return choice.answer(found, None, now) == "taken"


def test_a_letter_is_chosen_by_its_type_a_base_of_it_or_its_name():
    body = dead_body()
    assert chosen(body)
    assert chosen(body, Placed)
    assert chosen(body, Unheard, Placed)
    assert chosen(body, object)
    assert chosen(body, "Placed")
    assert chosen(body, "else", Placed)
    assert not chosen(body, Unheard)
    assert not chosen(body, "else")
    assert not chosen(body, Base)
    assert chosen(dead_body("Sub"), Base)
    assert chosen(dead_body("Sub", data={"text": 7}), Base), "also when its data does not fit"
    assert chosen(dead_body("unknown.type"), object)
    assert chosen(dead_body("unknown.type"), "unknown.type")
    assert not chosen(dead_body("unknown.type"), Base, Placed)
    assert chosen(b"garbage", UNDECODABLE)
    assert chosen(b"garbage")
    assert not chosen(b"garbage", Placed)


def test_a_letter_is_chosen_by_its_handler_under_the_name_it_has_or_had():
    assert chosen(dead_body(), handler="a")
    assert not chosen(dead_body(), handler="b")
    assert chosen(dead_body(dawdleowed="a.before"), handler="a")
    assert not chosen(dead_body(dawdleowed="a.before"), handler="b")
    assert chosen(dead_body(dawdleowed="unknown.here"), handler="unknown.here")
    assert not chosen(b"garbage", handler="a")


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_letter_is_chosen_by_its_age(age, older_than):
    assume(abs(age - older_than) > 0.002)
    body = rewrite(dead_body(), {"dawdledead": to_rfc3339(NOW - age)})
    assert chosen(body, older_than=older_than) == (age > older_than)
    assert chosen(body, older_than=timedelta(seconds=older_than)) == (age > older_than)
    assert chosen(body_of({}), stored_at=NOW - age, older_than=older_than) == (age > older_than), "as SQS stored it"


def test_a_letter_of_no_known_age_is_chosen_by_no_age():
    assert not chosen(body_of({}), stored_at=None, older_than=0)
    assert chosen(body_of({}), stored_at=None)
    assert chosen(dead_body(dawdledead=to_rfc3339(NOW + 5)), older_than=0), (
        "a clock that is behind makes no letter younger"
    )


def test_a_letter_is_chosen_by_what_the_caller_says_of_it_and_all_must_agree():
    body = dead_body(data={"text": "x"})
    assert chosen(body, where=lambda letter: letter.event.text == "x")
    assert not chosen(body, where=lambda letter: letter.event.text == "y")
    assert not chosen(body, Unheard, where=lambda letter: True)
    assert not chosen(body, where=lambda letter: True, handler="b")
    seen = []
    assert not chosen(body, "else", where=seen.append)
    assert seen == [], "it is asked last"
    with pytest.raises(ZeroDivisionError):
        chosen(body, where=lambda letter: 1 / 0)


async def not_awaited(letter): ...


@pytest.mark.parametrize(
    ("types", "options", "told"),
    [
        ((7,), {}, "redrive() asks for 7"),
        ((str,), {}, "is not an event type"),
        (("",), {}, "redrive() asks for ''"),
        ((Placed("x"),), {}, "is not an event type"),
        ((), {"handler": 7}, "redrive() takes handler=, the name that a letter shows"),
        ((), {"handler": ""}, "handler="),
        ((), {"handler": not_awaited}, "handler="),
        ((), {"older_than": -1}, "redrive() takes older_than=, 0 or more seconds, or a timedelta, not -1"),
        ((), {"older_than": True}, "older_than="),
        ((), {"older_than": float("nan")}, "older_than="),
        ((), {"older_than": float("inf")}, "older_than="),
        ((), {"older_than": "1h"}, "older_than="),
        ((), {"older_than": timedelta(-1)}, "older_than="),
        ((), {"where": "x"}, "redrive() takes where=, a plain function of a letter"),
        ((), {"where": not_awaited}, "where="),
    ],
)
def test_a_filter_that_makes_no_sense_is_an_error_that_says_why(types, options, told):
    with pytest.raises(ConfigurationError) as error:
        chosen(dead_body(), *types, **options)
    assert told in str(error.value)


@given(names, texts)
def test_a_letter_is_the_same_value_wherever_it_is_read(name, text):
    (copy,) = settle_body(body_of({}), [Result(name, Retry(max_attempts=1), Rejected(text))]).copies
    one, other = read(copy.body).letter, read(copy.body).letter
    assert isinstance(one, DeadLetter)
    assert one == other


strangers_text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
forged = st.sampled_from(["x\n2026-01-01 CRITICAL root: hacked \x1b[31m\u2028\u202e", "\u202e" * 5000, "x" * 100_000])


@given(st.dictionaries(st.sampled_from(["id", "type", "dawdleowed", "dawdleerror"]), strangers_text | forged))
def test_what_a_letter_shows_of_a_stranger_is_printable_and_cut(attributes):
    for dead in ({}, {"dawdledead": to_rfc3339(NOW)}):
        body = write({"specversion": "1.0", "id": "e-1", "source": "/shop", "type": "Placed", **dead, **attributes})
        found = read(body)
        for told in (repr(found), repr(found.letter)):
            assert told.isprintable()
            assert len(told) < 10_000
        assert all(each.isprintable() or each in "\t\n\r" or ord(each) > 0x9F for each in found.letter.error)
        assert not set("\u2028\u2029\u202e\x1b") & set(found.letter.error)
        assert len(found.letter.error.encode()) <= ERROR_BYTES + 60


@given(st.floats(0, 10**9), st.floats(0, 10**9))
def test_a_letter_that_says_it_is_given_up_after_it_was_stored_was_so_when_it_was_stored(ahead, later):
    body = rewrite(dead_body(), {"dawdledead": to_rfc3339(NOW + ahead)})
    found = read(body, stored_at=NOW)
    assert NOW <= to_epoch(found.letter.dead_at) <= NOW + ROUNDING_SECONDS + 0.001
    assert later - ROUNDING_SECONDS - 0.001 <= seconds_dead(found, NOW + later) <= later + 0.001


@given(st.integers(0, 1500), texts, st.booleans())
def test_a_letter_with_little_room_says_as_much_of_its_error_as_fits_and_is_redriven(room, error, final):
    body = write({"specversion": "1.0", "id": "e-1", "source": "/shop", "type": "Placed", "data": {"text": "x" * 3000}})
    terms = msgspec.structs.replace(terms_of(), max_body=len(body) + room)
    (copy,) = settle_body(
        body, [Result("a", Retry(max_attempts=3), (Rejected if final else Failed)(error))], terms=terms
    ).copies
    assert len(copy.body) <= terms.max_body
    if not copy.is_letter:
        return
    found = read(copy.body)
    assert found.letter.event == Placed("x" * 3000)
    if copy.body == body:
        assert room < 150, "there is no room for the marks of a letter"
        return
    assert (found.letter.handler, found.letter.attempts) == ("a", 1)
    assert clip(copy.reason).startswith(found.letter.error)
    assert len(found.letter.error.encode()) >= min(len(clip(copy.reason).encode()), (room - 150) // 2 - 3)
    assert json.loads(redriven(found).body) == {**json.loads(body), "dawdleowed": "a"}


def test_where_is_asked_of_events_alone_if_the_call_names_classes_alone():
    body, odd = dead_body(data={"text": "x"}), dead_body(data={"text": 7})
    for where in (lambda letter: letter.event.text == "x", lambda letter: True):
        assert chosen(body, Placed, where=where)
        assert chosen(body, Unheard, Placed, where=where)
        assert not chosen(odd, Placed, where=where), "it has no event that could be asked for its text"
    assert chosen(odd, Placed)
    for types in ((), ("Placed",), (Placed, "else"), (object,)):
        assert chosen(odd, *types, where=lambda letter: letter.event is None)
