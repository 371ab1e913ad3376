"""Each type of a field is changed into each other: what is said to fit is read, and means the same."""

import datetime as dt
import itertools
from decimal import Decimal
from functools import cache
from uuid import UUID

import pytest

from dawdle import JSON, EventError, MessagePack
from dawdle.cli.schema._classes import Classes
from dawdle.cli.schema._fits import gaps_between
from tests.cli.schema.meaning import means_the_same
from tests.cli.schema.types_made import (
    HINTS,
    Colour,
    FieldSpec,
    MoreColours,
    Size,
    Spec,
    dict_of,
    either,
    list_of,
    maybe,
    pair_of,
    tuple_of,
)

pytestmark = pytest.mark.once

CODECS = [JSON(), MessagePack()]

NOW = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)

INT, STR, FLOAT = HINTS["int"], HINTS["str"], HINTS["float"]

SAMPLES = {
    "int": [0, -7, 2**53, 4],
    "positive": [0, 7],
    "more than 3": [4, 9],
    "float": [0.0, 1.5, -2e300],
    "str": ["", "a", "red", "longer than 4", "5", "2030-01-01"],
    "short": ["", "a", "long"],
    "bool": [True, False],
    "decimal": [Decimal("1.10"), Decimal(-3)],
    "uuid": [UUID(int=7)],
    "datetime": [NOW],
    "date": [NOW.date()],
    "timedelta": [dt.timedelta(0), dt.timedelta(days=2, seconds=5)],
    "bytes": [b"", b"abc", b"ab>?"],
    "colour": list(Colour),
    "more colours": list(MoreColours),
    "size": list(Size),
    "a or b": ["a", "b"],
    "a": ["a"],
    "any": [None, 1, "a", [1], {"a": 1}],
}

KINDS = {
    **{name: (hint, SAMPLES[name]) for name, hint in HINTS.items()},
    "int | None": (maybe(INT), [None, 1]),
    "str | None": (maybe(STR), [None, "a"]),
    "date | None": (maybe(HINTS["date"]), [None, NOW.date()]),
    "int | str": (either(INT, STR), [1, "a"]),
    "int | float": (either(INT, FLOAT), [1, 1.5, 2.0]),
    "int | bool": (either(INT, HINTS["bool"]), [1, True]),
    "uuid | int": (either(HINTS["uuid"], INT), [UUID(int=7), 3]),
    "list[int]": (list_of(INT), [[], [1]]),
    "list[str]": (list_of(STR), [[], ["a"]]),
    "list[short]": (list_of(HINTS["short"]), [[], ["long"]]),
    "list[positive]": (list_of(HINTS["positive"]), [[], [3]]),
    "list[decimal]": (list_of(HINTS["decimal"]), [[], [Decimal("-12.10")]]),
    "list[int] | None": (maybe(list_of(INT)), [None, [], [1]]),
    "tuple[int, ...]": (tuple_of(INT), [(), (1,)]),
    "tuple[int, str]": (pair_of(INT, STR), [(1, "a")]),
    "tuple[int, float]": (pair_of(INT, FLOAT), [(1, 1.5)]),
    "dict[str, int]": (dict_of(STR, INT), [{}, {"a": 1}]),
    "dict[str, float]": (dict_of(STR, FLOAT), [{}, {"a": 1.5}]),
    "dict[int, int]": (dict_of(INT, INT), [{}, {1: 1}]),
    "dict[a or b, int]": (dict_of(HINTS["a or b"], INT), [{}, {"a": 1}]),
}

ONLY_MODELS = {
    "date | str": (either(HINTS["date"], STR), [NOW.date(), "a", "2030-01-01"]),
    "uuid | str": (either(HINTS["uuid"], STR), [UUID(int=7), "a"]),
    "colour | str": (either(HINTS["colour"], STR), [Colour.RED, "a"]),
    "decimal | int": (either(HINTS["decimal"], INT), [Decimal("1.10"), 3]),
    "str | date": (either(STR, HINTS["date"]), ["a", "2030-01-01"]),
    "str | uuid": (either(STR, HINTS["uuid"]), ["a"]),
    "str | colour": (either(STR, HINTS["colour"]), ["red", "a"]),
    "decimal | str": (either(HINTS["decimal"], STR), [Decimal("1.10"), "a"]),
    "int | decimal": (either(INT, HINTS["decimal"]), [Decimal("1.10"), 3]),
    "float | int": (either(FLOAT, INT), [1.5, 2, 3.0]),
    "date | datetime": (either(HINTS["date"], HINTS["datetime"]), [NOW.date(), NOW]),
    "a | date": (either(HINTS["a"], HINTS["date"]), ["a", NOW.date()]),
}


@cache
def made(style, name):
    """A class with one field of a type, and its kind."""
    hint = {**KINDS, **ONLY_MODELS}[name][0]
    cls, classes = Spec(style, (FieldSpec("value", hint),)).make(), Classes()
    return cls, classes.kind_of(cls), classes.kinds


def names_of(style):
    return [*KINDS, *ONLY_MODELS] if style == "pydantic" else list(KINDS)


@cache
def written(style, name):
    """The data of all samples of a type, with their values and codecs; those that cannot be signaled are left out."""
    cls, found = made(style, name)[0], []
    for codec, value in itertools.product(CODECS, {**KINDS, **ONLY_MODELS}[name][1]):
        event = cls(value=value)
        try:
            data = codec.encode(event)
            if codec.decode(data, cls) == event:
                found.append((codec, value, data))
        except EventError:
            pass
    return found


def lost(name, style, other, other_style):
    """The values that are not read, or are read as something else."""
    cls = made(other_style, other)[0]
    for codec, value, data in written(style, name):
        try:
            got = codec.decode(data, cls).value
        except EventError:
            yield value
        else:
            if not means_the_same(value, got) and other != "any":
                yield value


@pytest.mark.slow
@pytest.mark.parametrize(
    ("style", "other_style"),
    [("struct", "struct"), ("pydantic", "pydantic"), ("struct", "pydantic"), ("pydantic", "struct")],
)
def test_what_fits_is_read_and_means_the_same(style, other_style):
    fits, wrong = 0, []
    for name, other in itertools.product(names_of(style), names_of(other_style)):
        (_, mine, kinds), (_, yours, others) = made(style, name), made(other_style, other)
        if not gaps_between(
            mine, yours, kinds, others
        ):  # what has gaps may be read all the same, by pydantic above all
            fits += 1
            wrong += [(name, other, value) for value in lost(name, style, other, other_style)]
    assert wrong == []
    assert fits > len(KINDS) + 40  # each fits itself, but for keys of dicts, and many fit others


def test_each_sample_of_each_type_can_be_signaled():
    for style, name in itertools.product(["struct", "pydantic"], KINDS):
        assert len(written(style, name)) >= len(KINDS[name][1]), (style, name)
