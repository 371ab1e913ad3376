"""A body is taken if one of the keys signed exactly these bytes, and in no other case."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dawdle import JSON
from dawdle._rules.codec import HEADROOM, seal
from dawdle._rules.envelope import open_envelope
from dawdle._rules.signing import MAX_SIGNATURE_BYTES, Signer
from dawdle.errors import ConfigurationError, EventError

NEW, OLD, OTHER = "n" * 32, "o" * 32, "x" * 32
BOTH = {"2026-11": NEW, "2026-05": OLD}


class Placed(msgspec.Struct):
    text: str = ""


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
headers = st.dictionaries(st.text("abc", min_size=1, max_size=5), texts, max_size=3)


@st.composite
def bodies(draw):
    return seal(
        Placed(draw(texts)),
        codec=JSON(),
        wire_name="Placed",
        event_id="e-1",
        source="/shop",
        now=1_750_000_000.0,
        headers=draw(headers),
        delay_ms=draw(st.integers(0, 10)),
        cause=None,
        max_body=1_048_576,
    )


def is_taken(signer, body):
    try:
        signer.unsigned(body)
    except EventError:
        return False
    return True


@given(bodies())
def test_what_is_signed_is_taken_and_is_to_the_byte_what_it_was(body):
    signed = Signer(BOTH).sign(body)
    assert Signer(BOTH).unsigned(signed) == body
    assert len(signed) - len(body) <= MAX_SIGNATURE_BYTES < HEADROOM


@given(bodies())
def test_it_stays_a_cloudevent_for_others_with_one_attribute_more(body):
    signed = Signer(BOTH).sign(body)
    assert open_envelope(signed) == open_envelope(body)
    attributes = json.loads(signed)
    assert attributes.pop("dawdlesignature").startswith("2026-11:")
    assert attributes == json.loads(body)


@given(bodies(), st.data())
def test_no_byte_can_be_changed_put_in_or_taken_out(body, data):
    signer = Signer(BOTH)
    signed = signer.sign(body)
    at = data.draw(st.integers(0, len(signed) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != signed[at]))
    for forged in (
        signed[:at] + bytes([byte]) + signed[at + 1 :],
        signed[:at] + bytes([byte]) + signed[at:],
        signed[:at] + signed[at + 1 :],
        signed[:at],
        signed + bytes([byte]),
    ):
        assert forged == signed or not is_taken(signer, forged)


@given(bodies(), bodies())
def test_a_signature_belongs_to_one_body(body, other):
    signer = Signer(BOTH)
    tail = signer.sign(body)[len(body) - 1 :]
    assert is_taken(signer, other[:-1] + tail) is (body == other)


@given(bodies())
def test_keys_can_be_rotated_without_a_moment_in_which_something_is_refused(body):
    before, adding, turned, after = (
        Signer({"old": OLD}),
        Signer({"old": OLD, "new": NEW}),
        Signer({"new": NEW, "old": OLD}),
        Signer({"new": NEW}),
    )
    for writer, readers in (
        (before, (before, adding, turned)),
        (adding, (before, adding, turned)),
        (turned, (adding, turned, after)),
        (after, (adding, turned, after)),
    ):
        assert all(is_taken(reader, writer.sign(body)) for reader in readers)
    assert not is_taken(after, before.sign(body))


@given(bodies(), st.sampled_from([NEW, OLD, OTHER]), st.sampled_from(["2026-11", "2026-05", "else"]))
def test_only_the_right_key_under_its_own_id_counts(body, key, key_id):
    signed = Signer({key_id: key}).sign(body)
    assert is_taken(Signer(BOTH), signed) is (BOTH.get(key_id) == key)


@given(bodies(), st.sampled_from(["2026-11", "2026-05"]))
def test_the_id_of_another_key_with_the_same_bytes_does_not_fit(body, key_id):
    same = Signer({"2026-11": NEW, "2026-05": NEW})
    signed = same.sign(body)
    assert is_taken(same, signed.replace(b'"2026-11:', b'"%b:' % key_id.encode())) is (key_id == "2026-11")


def test_what_is_not_signed_or_signed_inside_the_data_is_refused():
    signer = Signer(BOTH)
    for body in (b"", b"{}", b"garbage", b'{"data":1}', signer.sign(b'{"data":1}')[:-1] + b"}}"):
        assert not is_taken(signer, body)
    inner = signer.sign(b'{"data":1}')
    assert not is_taken(signer, b'{"data":%b}' % inner)
    assert not is_taken(signer, inner[:-1] + inner[len(b'{"data":1') :])


@given(st.binary(max_size=300))
def test_whatever_the_bytes_are_only_an_event_error_is_raised(body):
    assert not is_taken(Signer(BOTH), body)


def test_without_keys_nothing_is_signed_and_everything_taken():
    signer = Signer(None)
    assert (signer.sign(b"{}"), signer.unsigned(b"{}"), signer.size) == (b"{}", b"{}", 0)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({}, "signing_keys maps the id of each key to the key"),
        (NEW, "signing_keys maps the id of each key to the key"),
        ({"a b": NEW}, "the id of signing key 1 is not 1 to 32"),
        ({"a": NEW, 3: NEW}, "the id of signing key 2 is not 1 to 32"),
        ({"a": "short"}, "signing key 1 has 5 bytes, and at least 32 are needed: make one with secrets.token_hex"),
        ({"a": NEW, "b": 7}, "signing key 2 is bytes or text, not int"),
    ],
)
def test_keys_that_cannot_work_are_refused(keys, says):
    with pytest.raises(ConfigurationError, match=says):
        Signer(keys)


@pytest.mark.parametrize("keys", [{NEW * 2: "2026-11"}, {NEW: "2026-11"}, {"a": [NEW]}, {"a": bytearray(NEW.encode())}])
def test_what_may_be_a_key_is_not_shown_even_in_the_place_of_its_id(keys):
    with pytest.raises(ConfigurationError) as caught:
        Signer(keys)
    assert "nnn" not in str(caught.value)


def test_a_key_may_hold_what_utf8_cannot():
    odd = Signer({"odd": "\udc80" * 32})
    assert odd.unsigned(odd.sign(b'{"data":1}')) == b'{"data":1}'


@given(bodies())
def test_a_second_signature_is_over_the_first_and_comes_off_alone(body):
    signer = Signer(BOTH)
    once = signer.sign(body)
    twice = signer.sign(once)
    assert signer.unsigned(twice) == once
    tail = once[len(body) - 1 :]
    assert not is_taken(signer, once[:-1] + tail)


@given(bodies(), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"))
def test_a_signature_has_one_spelling(body, last):
    signed = Signer(BOTH).sign(body)
    spelt = signed[:-3] + last.encode() + signed[-2:]
    assert is_taken(Signer(BOTH), spelt) is (spelt == signed)
