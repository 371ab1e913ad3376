"""Ids are as short as they can be told apart by, ages have one unit, and no stranger's text steers a terminal."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dawdle import DeadLetter
from dawdle.cli._texts import age, counted, one_line, printable
from dawdle.cli.dead._rows import oldest_first, row_of, short_ids

NOW = datetime(2026, 11, 28, tzinfo=UTC)


def letter(**changes):
    known = {"event_id": "e-1", "event_type": "Placed", "handler": None, "error": "gone", "attempts": 1, "event": None}
    unknown = {"dead_at": None, "signaled_at": None, "headers": {}, "queue": "default", "body": b"{}"}
    return DeadLetter(**{**known, **unknown, **changes})


@given(st.lists(st.text("0123456789abcdef", min_size=1, max_size=12)))
def test_a_short_id_is_the_beginning_of_one_id_alone(ids):
    for full, short in short_ids(ids).items():
        assert full.startswith(short)
        assert len(short) >= min(8, len(full))
        others = [each for each in ids if each.startswith(short)]
        assert set(others) == {full} or short == full


def test_the_newest_letters_come_last_and_those_without_an_age_first():
    ages = [None, 5, 1, 3]
    letters = [letter(since=None if each is None else NOW - timedelta(hours=each)) for each in ages]
    assert [row.since for row in oldest_first(map(row_of, letters))] == [
        None,
        *(NOW - timedelta(hours=each) for each in (5, 3, 1)),
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (7199, "119m"),
        (7200, "2h"),
        (172_799, "47h"),
        (172_800, "2d"),
    ],
)
def test_an_age_has_one_unit(seconds, text):
    assert age(NOW - timedelta(seconds=seconds), NOW) == text


def test_texts_for_people():
    assert age(None, NOW) == "?"
    assert (counted(1, "letter"), counted(1200, "letter")) == ("1 letter", "1,200 letters")
    assert printable("a\x1b[2J\nb\u202e") == "a?[2J\nb?"
    assert one_line(" a\n\tb\x07 ") == "a b?"


def test_a_message_that_is_no_json_is_shown_in_base64():
    row = row_of(letter(body=b"\xff\x00"))
    assert (row.message, row.message_base64) == (None, b"\xff\x00")
