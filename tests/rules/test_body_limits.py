"""How large and how deep a body may be is known before it is parsed."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dawdle._rules.body_limits import MAX_DEPTH, require_depth, require_size
from dawdle.errors import EventError

texts = st.text(st.sampled_from('[]{}"\\ a\n'), max_size=20)


def depth_of(value):
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


def is_taken(body):
    try:
        require_depth(body)
    except EventError:
        return False
    return True


def nested(depth, kind, text, width):
    value = text
    for level in range(depth):
        value = [value, *[text] * (width if level == 0 else 0)] if kind == "[" else {text: value}
    return value


@given(st.integers(0, 2 * MAX_DEPTH), st.sampled_from("[{"), texts, st.integers(0, 300), st.booleans())
def test_exactly_what_is_deeper_than_the_limit_is_refused_whatever_its_texts_hold(depth, kind, text, width, ascii_only):
    value = [nested(depth, kind, text, width), [[]] * width]
    body = json.dumps(value, ensure_ascii=ascii_only).encode()
    assert is_taken(body) is (depth_of(value) <= MAX_DEPTH)


@given(
    st.recursive(texts | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=300)
)
def test_what_is_not_deep_is_taken_however_wide(value):
    assert is_taken(json.dumps([value, [[]] * 300]).encode())


@given(st.binary(max_size=2000) | st.text('[]{}"\\', max_size=2000).map(str.encode))
def test_whatever_the_bytes_are_only_an_event_error_is_raised(body):
    is_taken(body)


def scanned(body):
    """Walk byte by byte, as a parser does, and return how deep it gets."""
    depth = deepest = at = 0
    in_text = False
    while at < len(body):
        if body[at : at + 2] in {b"\\\\", b'\\"'}:
            at += 1
        elif body[at] == ord('"'):
            in_text = not in_text
        elif not in_text:
            depth += (body[at] in b"[{") - (body[at] in b"]}")
            deepest = max(deepest, depth)
        at += 1
    return deepest


@given(
    st.integers(MAX_DEPTH - 20, MAX_DEPTH + 1),
    st.text(st.sampled_from('[[{]}""\\\\ a'), max_size=60).map(str.encode),
    st.sampled_from([b"", b'["[]",' * 70 + b'"']),
)
def test_what_is_broken_or_cut_off_is_as_deep_as_a_parser_gets_in_it(depth, rest, before):
    body = before + b"[" * depth + rest
    assert is_taken(body) is (scanned(body) <= MAX_DEPTH)


MEBIBYTE = 1 << 20
WORST = {
    "texts that never end": b"[" * 201 + b'\\"' * (MEBIBYTE // 2),
    "escapes": b"[" * 201 + b"\\" * MEBIBYTE,
    "quotes": b"[" * 201 + b'"' * MEBIBYTE,
    "texts of brackets": b"[" * 201 + b'"[",' * (MEBIBYTE // 4),
    "an abyss": b"[" * MEBIBYTE,
    "many arrays": b"[]" * (MEBIBYTE // 2),
}


@pytest.mark.slow
@pytest.mark.parametrize("body", WORST.values(), ids=WORST)
def test_a_mebibyte_of_whatever_is_worst_does_not_hold_the_loop(body):
    before = time.process_time()
    is_taken(body)
    assert time.process_time() - before < 1  # a twentieth of that as a rule; without an end, 2,000


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 100_000 + b"]" * 100_000])
def test_an_abyss_is_refused_with_its_depth(body):
    with pytest.raises(EventError, match="100,000 objects and arrays, and 200 is the most"):
        require_depth(body)


def test_what_is_larger_than_the_limit_is_refused_with_the_numbers():
    require_size(b"x" * 1000, 1000)
    with pytest.raises(EventError, match="1,001 bytes, and 1,000 is the most"):
        require_size(b"x" * 1001, 1000)
