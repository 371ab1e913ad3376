"""What `schema check` tells to write is right: the upcaster runs, and the setting is one of that style of class."""

import re
import sys

import pytest

from dawdle.cli.schema._compare import compare
from tests.cli.schema.shops import taken
from tests.cli.schema.test_renames import HEAD, between

pytestmark = pytest.mark.once


def event(*fields, base="msgspec.Struct"):
    return f'@dawdle.event("written.m")\nclass M({base}):\n' + "".join(f"    {field}\n" for field in fields)


def bodies(fix):
    return re.findall(r"def upcast\(data\): (.*?; return data)", fix)


def upcast(found, data):
    """What the upcasters of some findings make of data, each after the one before."""
    for each in found:
        for body in bodies(each.fix):
            assert "…" not in body
            lines = "\n".join(f"    {line}" for line in body.split("; "))
            scope = {}
            exec(f"def upcast(data):\n{lines}", scope)
            data = scope["upcast"](data)
    return data


def test_a_field_of_another_type_is_not_where_a_new_one_comes_from():
    before = event("id: int", 'note: str = ""')
    (found,) = between(before, event("id: int", "total: int"), deploy=False)
    assert bodies(found.fix) == ['data["total"] = …; return data']


@pytest.mark.parametrize("default", ["", " = 0"])
def test_each_of_two_new_fields_was_another_one(default):
    before = event(f"total: int{default}", f"tax: int{default}")
    found = between(before, event(f"gross: int{default}", f"net: int{default}"), deploy=False)
    assert len(found) == 2
    assert upcast(found, {"total": 7, "tax": 1}) == {"gross": 7, "net": 1}


def test_of_three_fields_that_are_gone_the_one_of_the_same_type_is_taken():
    before = event("name: str", "total: int", "tax: float")
    found = between(before, event("cents: int", "rate: float", "label: str"), deploy=False)
    assert upcast(found, {"name": "a", "total": 7, "tax": 0.5}) == {"label": "a", "cents": 7, "rate": 0.5}


OMITS = "msgspec.Struct, omit_defaults=True"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (event("b: int = 0", base=OMITS), event("c: int", base=OMITS)),
        (event("b: int = 0", base=OMITS), event("c: int = 0", base=OMITS)),
        (event("b: int = 0", base=OMITS), event('b: int = msgspec.field(default=0, name="c")', base=OMITS)),
    ],
)
def test_what_may_be_left_out_of_data_is_not_taken_as_there(before, after):
    found = between(before, after, deploy=False)
    assert len(found) == 1
    assert bodies(found[0].fix) == ['data["c"] = …; return data']


def test_what_may_be_left_out_is_removed_only_where_it_is():
    before = event("a: int", "b: int = 0", base=OMITS)
    found = between(before, event("a: int", base=f"{OMITS}, forbid_unknown_fields=True"), deploy=False)
    assert upcast(found, {"a": 1}) == upcast(found, {"a": 1, "b": 2}) == {"a": 1}


PETS = "class Cat(msgspec.Struct, tag='{}'):\n    a: int\n\nclass Dog(msgspec.Struct, tag='dog'):\n    b: int\n\n"


@pytest.mark.parametrize("inside", ["Cat | Dog", "list[Cat | Dog]"])
def test_a_tag_that_changed_is_shown(inside):
    after = event(f"pet: {inside}")
    (found,) = between(PETS.format("cat") + after, PETS.format("feline") + after, deploy=False)
    assert "Cat(tag='cat') | Dog is Cat(tag='feline') | Dog now" in found.what


def test_a_field_of_tags_that_changed_is_shown():
    after, pets = event("pet: Cat | Dog"), PETS.format("cat")
    found = between(pets + after, pets.replace("tag=", "tag_field='kind', tag=") + after, deploy=False)
    assert "had the tag type = 'cat', and has kind = 'cat' now" in found[0].what


def test_what_forbids_unknown_fields_is_named_as_the_style_does():
    before = event("a: int", "b: int = 0", base="pydantic.BaseModel")
    after = event("a: int", base='pydantic.BaseModel, extra="forbid"')
    (found,) = between(before, after, deploy=False)
    assert 'extra="forbid"' in found.what
    assert 'take extra="forbid" from the class' in found.fix
    assert "forbid_unknown_fields" not in found.what + found.fix
    (found,) = between(after, before)
    assert 'take extra="forbid" from the class' in found.fix


def test_a_class_within_that_forbids_unknown_fields_is_named():
    line = "class Line({}):\n    sku: str\n{}\n"
    base = 'pydantic.BaseModel, extra="forbid"'
    before, after = line.format(base, "    n: int = 1\n"), line.format(base, "")
    whole = event("lines: list[Line]")
    (found,) = between(before + whole, after + whole, deploy=False)
    assert 'take extra="forbid" from Line' in found.fix
    (found,) = between(after + whole, before + whole)
    assert 'take extra="forbid" from Line' in found.fix
    (found,) = between(line.format(base, "") + whole, line.format(base, "    n: int\n") + whole, deploy=False)
    assert "give 'n' a default in Line" in found.fix


HANDLED = """
class Placed(msgspec.Struct):
    order_id: str

registry = dawdle.Registry()

@registry.on_event(name="keep")
async def keep(event: Placed | Sent) -> None: ...
"""


def test_a_type_that_no_handler_takes_any_more_is_not_told_as_gone():
    source = HEAD.replace("registry=dawdle.Registry()", "registry=registry")
    head, app = source.rsplit("\napp = ", 1)
    sent = "class Sent(msgspec.Struct):\n    order_id: str\n"
    old = taken(f"{head}\n{sent}{HANDLED}\napp = {app}")
    unhandled = HANDLED.replace("Placed | Sent", "Sent")
    new = taken(f"{head}\n{sent}{unhandled}\napp = {app}")
    assert set(old.events) - set(new.events) == {"Placed"}
    for in_code, what, fix in (
        (True, "no handler takes it", 'declare it: @dawdle.event("Placed")'),
        (False, "the type is gone", "keep the class"),
    ):
        found = compare(old, new, in_code=lambda name, there=in_code: there and name == "shop.Placed")
        (removed,) = [each for each in found if each.rule == "schema.event-removed"]
        assert what in removed.what
        assert fix in removed.fix


def test_the_command_looks_whether_the_class_is_in_the_code(cli):
    source = (
        "import msgspec\nimport dawdle\nfrom dawdle.backends.memory import Memory\n"
        "registry = dawdle.Registry()\n"
        "class WrittenPlaced(msgspec.Struct):\n    order_id: str\n"
        "@registry.on_event(name='keep')\nasync def keep(event: WrittenPlaced) -> None: ...\n"
        "app = dawdle.Dawdle(Memory(), registry=registry)\n"
    )
    cli.write("shop.py", source)
    assert cli("schema", "snapshot", "shop:app").code == 0
    sys.modules.pop("shop", None)
    cli.write("shop.py", source.replace("@registry.on_event(name='keep')\n", ""))
    ran = cli("schema", "check", "shop:app")
    assert ran.code == 1
    assert [row[3] for row in ran.rows if row[1] == "schema.event-removed"] == ["no handler takes it any more"]
