"""What `schema check` passes, the new code reads: for types made at random and changes of them, in all four styles."""

import os
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dawdle import JSON, EventError, MessagePack
from dawdle.cli.schema._classes import Classes
from dawdle.cli.schema._fits import gaps_between
from tests.cli.schema.meaning import means_the_same
from tests.cli.schema.types_made import HINTS, pairs

pytestmark = pytest.mark.once

CODECS = [JSON(), MessagePack()]
EXAMPLES = int(os.environ.get("DAWDLE_EXAMPLES", "60"))
"""Pairs of types; `nox -s schema` tries more."""

QUIET = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=EXAMPLES)


def described(spec):
    cls, classes = spec.make(), Classes()
    return cls, classes.kind_of(cls), classes.kinds


def gaps_of(writer, reader):
    return gaps_between(writer[1], reader[1], writer[2], reader[2])


def written(codec, event):
    """The data of an event, None if `signal` refuses it."""
    try:
        data = codec.encode(event)
        back = codec.decode(data, type(event))
    except EventError:
        return None
    return data if back == event else None


def read(codec, data, cls):
    """The event, or the error that says why it cannot be read."""
    try:
        return codec.decode(data, cls)
    except EventError as error:
        return error


def require_same_values(sent, got, spec, other):
    for field in spec.fields:
        same = next((each for each in other.fields if each.name == field.name), None)
        if same is not None and "any" not in {name for name, hint in HINTS.items() if hint is same.hint}:
            assert means_the_same(getattr(sent, field.name), getattr(got, field.name))


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["queue", "deploy"])
def test_what_passes_is_read_by_the_other_side(direction):
    tally = Counter()

    @QUIET
    @given(st.data())
    def holds(data):
        before, after = data.draw(pairs())
        spec, other = (before, after) if direction == "queue" else (after, before)
        writer, reader = described(spec), described(other)
        gaps = gaps_of(writer, reader)
        tally["found" if gaps else "passed"] += 1
        event = data.draw(spec.values(writer[0]))
        for codec in CODECS:
            body = written(codec, event)
            got = None if body is None else read(codec, body, reader[0])
            if gaps:
                tally["unread"] += isinstance(got, EventError)
            elif body is not None:
                tally["read"] += 1
                assert isinstance(got, reader[0]), got
                require_same_values(event, got, spec, other)

    holds()
    # Neither all nor nothing passes, and what is found is unread for many values.
    assert tally["passed"] > EXAMPLES / 5
    assert tally["found"] > EXAMPLES / 10
    assert tally["read"] > EXAMPLES / 5
    assert tally["unread"] > EXAMPLES / 10
