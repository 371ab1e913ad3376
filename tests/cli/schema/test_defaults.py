"""A default is shown as the same text in each process, whatever order its sets have there."""

import dataclasses
import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import attrs
import msgspec
import pydantic
import pytest

import dawdle
from dawdle.cli.schema._defaults import shown_default

pytestmark = pytest.mark.once

LETTERS = frozenset("abc")

SHOP = """
import dataclasses
import msgspec
import dawdle
from dawdle.backends.memory import Memory

LETTERS = frozenset("abcdefgh")


class Rules(msgspec.Struct, frozen=True):
    letters: frozenset[str] = LETTERS


@dawdle.event("defaults.all")
@dataclasses.dataclass
class All:
    letters: frozenset[str] = LETTERS
    pair: tuple[frozenset[str], int] = (LETTERS, 1)
    rules: Rules = Rules()


app = dawdle.Dawdle(Memory(), registry=dawdle.Registry())
"""


class Struct(msgspec.Struct, frozen=True):
    letters: frozenset[str] = LETTERS


@dataclasses.dataclass(frozen=True)
class Data:
    letters: frozenset[str] = LETTERS
    hidden: str = dataclasses.field(default="x", repr=False)


@attrs.frozen
class Attrs:
    letters: frozenset[str] = LETTERS


class Model(pydantic.BaseModel):
    letters: frozenset[str] = LETTERS


Pair = namedtuple("Pair", ["letters", "count"])  # noqa: PYI024 - one without annotations is a tuple as well

ABC = "frozenset({'a', 'b', 'c'})"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (set("cab"), "{'a', 'b', 'c'}"),
        (LETTERS, ABC),
        (set(), "set()"),
        (frozenset(), "frozenset()"),
        ((LETTERS,), f"({ABC},)"),
        ((LETTERS, 1), f"({ABC}, 1)"),
        ([LETTERS, "{"], f"[{ABC}, '{{']"),
        ({"a": LETTERS, "b": {}}, f"{{'a': {ABC}, 'b': {{}}}}"),
        (frozenset({LETTERS, frozenset("xy")}), f"frozenset({{{ABC}, frozenset({{'x', 'y'}})}})"),
        (Struct(), f"Struct(letters={ABC})"),
        (Data(), f"Data(letters={ABC})"),
        (Attrs(), f"Attrs(letters={ABC})"),
        (Model(), f"Model(letters={ABC})"),
        (Pair(LETTERS, 1), f"Pair(letters={ABC}, count=1)"),
        ("{text}", "'{text}'"),
        (1.5, "1.5"),
        (None, "None"),
        (object(), "…"),
        ({"a": object()}, "…"),
        ("x" * 100, "'" + "x" * 78 + "…"),
    ],
)
def test_a_default_is_shown_as_python_does_with_sets_in_order(value, text):
    assert shown_default(value) == text


def test_the_file_is_the_same_for_each_hash_seed(tmp_path):
    (tmp_path / "shop.py").write_text(SHOP)
    paths = os.pathsep.join([str(Path(dawdle.__file__).parents[1]), str(tmp_path)])
    command = [sys.executable, "-m", "dawdle", "schema", "snapshot", "shop:app", "--file", "-"]
    written = {
        subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": seed},
            cwd=tmp_path,
            check=True,
            capture_output=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(written) == 1
    assert "Rules(letters=frozenset({'a', 'b', " in written.pop().decode()
