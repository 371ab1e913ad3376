"""A field under a new name whose values would be lost is found at any depth, and what to write is code that runs."""

import pytest

from dawdle.cli.schema._compare import compare
from tests.cli.schema.shops import rules, taken

pytestmark = pytest.mark.once

HEAD = """
import msgspec
import pydantic

import dawdle
from dawdle.backends.memory import Memory

app = dawdle.Dawdle(Memory(), registry=dawdle.Registry())
"""


def between(before, after, *, deploy=True):
    return compare(taken(HEAD + before), taken(HEAD + after), deploy=deploy)


EVENT = """
@dawdle.event("renames.m")
class M(msgspec.Struct):
    inner: {}
"""

ONE = """
class L({}):
    sku: str
    n: int = 1
"""

STYLES = ["msgspec.Struct", "pydantic.BaseModel", "msgspec.Struct, omit_defaults=True", "msgspec.Struct, tag='l'"]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("inner", ["L", "list[L]", "L | None", "dict[str, list[L]]", "tuple[L, int]"])
def test_a_rename_within_is_found_where_the_new_name_has_a_default(style, inner):
    before = ONE.format(style) + EVENT.format(inner)
    found = between(before, before.replace("n: int = 1", "quantity: int = 1"))
    assert rules(found) == [("warning", "field-maybe-renamed", "event renames.m")]
    assert "'quantity' is read as 1" in found[0].why


def test_a_rename_in_a_member_of_a_union_without_tags_is_a_warning():
    before = ONE.format("pydantic.BaseModel") + (
        "class K(pydantic.BaseModel):\n    other: str\n"
        '@dawdle.event("renames.m")\nclass M(pydantic.BaseModel):\n    inner: L | K\n'
    )
    found = between(before, before.replace("n: int = 1", "quantity: int = 1"))
    assert rules(found) == [("warning", "field-maybe-renamed", "event renames.m")]


def test_old_workers_may_lose_what_is_renamed_too():
    before = '@dawdle.event("renames.m")\nclass M(msgspec.Struct):\n    total: int = 0\n'
    found = between(before, before.replace("total: int = 0", "amount: int"))
    assert rules(found) == [
        ("error", "field-added", "event renames.m"),
        ("warning", "deploy.field-maybe-renamed", "event renames.m"),
    ]
    assert found[1].why.startswith("While old workers run")
    assert "'total' as 0" in found[1].why
    assert len(between(before, before.replace("total: int = 0", "amount: int"), deploy=False)) == 1


def test_a_rename_with_a_default_is_told_once_and_without_old_workers_too():
    before = '@dawdle.event("renames.m")\nclass M(msgspec.Struct):\n    total: int = 0\n'
    for deploy in (True, False):
        found = between(before, before.replace("total", "amount"), deploy=deploy)
        assert rules(found) == [("warning", "field-maybe-renamed", "event renames.m")]
        assert "dawdle schema snapshot" in found[0].fix


def test_a_rename_within_an_argument_of_a_function_is_found():
    head = HEAD.replace("app = dawdle.Dawdle(Memory(), registry=dawdle.Registry())", "registry = dawdle.Registry()")
    function = (
        "@registry.function(name='renames.f')\nasync def f(line: L) -> None: ...\n"
        "app = dawdle.Dawdle(Memory(), registry=registry)\n"
    )
    before = head + ONE.format("msgspec.Struct") + function
    found = compare(taken(before), taken(before.replace("n: int = 1", "quantity: int = 1")))
    assert rules(found) == [("warning", "field-maybe-renamed", "function renames.f")]
    assert 'keep the name in data in L: quantity: … = msgspec.field(name="n")' in found[0].fix
    assert "upcast" not in found[0].fix
