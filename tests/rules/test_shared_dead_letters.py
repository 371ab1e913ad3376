"""Several queues share a dead-letter queue: each letter says whose it is, and a call means its own queue's alone."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dawdle import ConfigurationError, Registry
from dawdle._handlers.app_handlers import AppHandlers
from dawdle._handlers.letter_filter import read_filter
from dawdle._rules.dead_letter import read_letter
from dawdle._rules.dead_lettering import undecodable, unreadable
from dawdle._rules.envelope import open_envelope, rewrite
from dawdle._rules.redrive import redriven
from dawdle._rules.settlement import Forward
from dawdle._rules.signing import Signer
from dawdle.abc import Delivery
from tests.rules.test_dead_letter import dead_body
from tests.rules.test_settlement import CODECS, LOOKUP, NOW, attributes, body_of, results, settled, terms_of

MINE, OTHERS = "123456789012/orders", "123456789012/mails"


def answer(body, *types, queue=MINE, origin=None, lookup=LOOKUP, keys=None, **options):
    choice = read_filter("redrive()", types, lookup, **options)
    delivery = Delivery("r", "k", body, stored_at=NOW, origin=origin)
    found = read_letter(delivery, "default", choice.types, CODECS, Signer(keys))
    return choice.answer(found, queue, NOW)


def shown(body, *, queue=MINE, origin=None, keys=None, foreign=False):
    choice = read_filter("dead_letters()", (), LOOKUP, foreign=foreign)
    delivery = Delivery("r", "k", body, stored_at=NOW, origin=origin)
    return choice.shows(read_letter(delivery, "default", choice.types, CODECS, Signer(keys)), queue)


@given(attributes, results, st.sampled_from([MINE, None]))
def test_every_letter_says_its_queue_and_nothing_else_does(given_attributes, results, queue):
    decision = settled(body_of(given_attributes), results, terms=terms_of(queue=queue))
    for copy in decision.copies if isinstance(decision, Forward) else ():
        assert open_envelope(copy.body).queue == (queue if copy.is_letter else None)


@given(attributes, st.binary(max_size=100))
def test_so_does_a_letter_for_which_no_handler_could_be_run(given_attributes, garbage):
    body, terms = body_of(given_attributes), terms_of(queue=MINE)
    for decision in (
        unreadable(body, open_envelope(body), "x", NOW, terms),
        undecodable(garbage, "k", "x", NOW, terms),
    ):
        (letter,) = decision.copies
        found = read_letter(
            Delivery("r", "k", letter.body), "default", read_filter("", (), LOOKUP).types, CODECS, Signer(None)
        )
        assert found.letter.origin == MINE
        assert b"dawdlequeue" not in redriven(found).body or b"dawdlequeue" in garbage


def test_a_letter_with_no_room_for_its_error_says_its_queue():
    body = body_of({"data": {"text": "x" * 3000}})
    terms = terms_of(queue=MINE, max_body=len(body) + 150)
    (copy,) = unreadable(body, open_envelope(body), "x" * 200, NOW, terms).copies
    assert len(open_envelope(copy.body).error) < 50
    assert answer(copy.body, queue=OTHERS) == "of another queue"


def test_a_letter_of_another_queue_is_left_unless_it_is_asked_for():
    body = dead_body(dawdlequeue=OTHERS)
    assert answer(dead_body(dawdlequeue=MINE)) == "taken"
    assert answer(body) == "of another queue"
    assert answer(body, "Placed", handler="a") == "of another queue", "whatever else is said of it"
    assert answer(body, foreign=True) == "taken"
    assert answer(body, "Else", foreign=True) == "not meant"
    assert answer(body, where=lambda letter: 1 / 0) == "of another queue", "the caller's function is not asked of it"
    assert answer(body, where=lambda letter: letter.origin == OTHERS, foreign=True) == "taken"
    assert (shown(body), shown(body, foreign=True), shown(dead_body(dawdlequeue=MINE))) == (False, True, True)


@pytest.mark.parametrize("body", [body_of({"data": {"text": "x"}}), b"garbage", body_of({}, "Unheard")])
def test_what_the_queue_moved_by_itself_is_of_the_queue_that_the_server_names(body):
    assert answer(body, origin=MINE) == "taken"
    assert answer(body, origin=OTHERS) == "of another queue"
    assert answer(body, origin=OTHERS, foreign=True) == "taken"
    assert (shown(body, origin=OTHERS), shown(body, origin=MINE)) == (False, True)


def test_the_server_knows_better_than_a_mark_that_came_along():
    assert answer(dead_body(dawdlequeue=MINE), origin=OTHERS) == "of another queue"
    assert answer(body_of({"dawdlequeue": OTHERS})) == "taken", "without the mark of a letter it says nothing"


def test_what_no_mark_is_on_is_taken_where_its_type_is_known_or_it_is_named():
    body, knows_none = body_of({"data": {"text": "x"}, "dawdleowed": "a"}), AppHandlers(Registry())
    assert answer(body) == "taken"
    assert answer(body, lookup=knows_none) == "of no known queue"
    assert answer(body, object, lookup=knows_none) == "of no known queue"
    assert answer(body, "Placed", lookup=knows_none) == "taken"
    assert answer(body, handler="a", lookup=knows_none) == "taken"
    assert answer(body, lookup=knows_none, foreign=True) == "taken"
    assert answer(body, lookup=knows_none, where=lambda letter: 1 / 0) == "of no known queue"
    assert answer(b"garbage") == "of no known queue"
    assert answer(b"garbage", "dawdle.undecodable") == "taken"
    assert shown(body)
    assert shown(b"garbage"), "looking does no harm"


def test_a_letter_that_an_earlier_dawdle_wrote_names_no_queue_and_counts_as_ones_own():
    for body in (dead_body(), dead_body("Unheard"), dead_body("dawdle.undecodable", data_base64="AAAA")):
        assert answer(body) == "taken"


def test_a_queue_without_an_identity_has_its_dead_letters_to_itself():
    for body in (dead_body(), dead_body(dawdlequeue=OTHERS), b"garbage", dead_body("Unheard")):
        assert answer(body, queue=None) == "taken"
        assert shown(body, queue=None)


KEYS, OTHER_KEYS = {"k": "k" * 32}, {"o": "o" * 32}


def test_a_letter_of_another_queue_with_keys_of_its_own_is_left_too():
    for signed in (Signer(OTHER_KEYS).sign(dead_body(dawdlequeue=OTHERS)), dead_body(dawdlequeue=OTHERS)):
        assert answer(signed, keys=KEYS) == "of another queue"
        assert answer(signed, "dawdle.undecodable", keys=KEYS) == "of another queue"
        assert not shown(signed, keys=KEYS)


def test_the_queue_that_an_unsigned_letter_names_does_not_own_it():
    forged = dead_body(dawdlequeue=MINE)
    assert answer(forged, keys=KEYS) == "of no known queue"
    assert answer(Signer(KEYS).sign(forged), keys=KEYS) == "taken"
    assert answer(b"[" * 100_000, keys=KEYS) == "of no known queue"


def test_foreign_is_yes_or_no():
    with pytest.raises(ConfigurationError, match=r"redrive\(\) takes foreign=, True or False, not 'mails'"):
        answer(dead_body(), foreign="mails")


def test_a_letter_shows_where_it_came_from_and_its_redrive_does_not():
    body = dead_body(dawdlequeue=OTHERS, data={"text": "x"})
    found = read_letter(Delivery("r", "k", body), "default", read_filter("", (), LOOKUP).types, CODECS, Signer(None))
    assert (found.letter.origin, found.letter.queue) == (OTHERS, "default")
    assert "dawdlequeue" not in msgspec.json.decode(redriven(found).body)
    assert rewrite(body, {"dawdlequeue": None}) != body
