"""An event type has one name on the wire, and a name means one type."""

import dataclasses
import subprocess
import sys

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dawdle
from dawdle.errors import ConfigurationError, NotAnEventError
from dawdle.events import declaration_of, declared_as, event, event_style, require_event_type, wire_name


class Struct(msgspec.Struct):
    a: int = 0


@dataclasses.dataclass
class Dataclass:
    a: int = 0


@attrs.define
class Attrs:
    a: int = 0


@attrs.define(slots=False)
class LooseAttrs:
    a: int = 0


class Model(pydantic.BaseModel):
    a: int = 0


class Plain:
    pass


def made(name, module=__name__):
    """Return a new event type of this name, as a module that is loaded once more makes it."""
    return msgspec.defstruct(name, [("a", int, 0)], module=module)


def wire_names(prefix):
    """Names that no other test declares: a process has one table of them."""
    return st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=200).map(
        lambda name: f"~{prefix}{name}"[:200]
    )


@pytest.mark.parametrize(
    ("event_type", "is_a"),
    [
        (Struct, "struct"),
        (Dataclass, "dataclass"),
        (Attrs, "attrs"),
        (LooseAttrs, "attrs"),
        (Model, "pydantic"),
        (Plain, None),
        (int, None),
        (dict, None),
        (object, None),
    ],
)
def test_structs_dataclasses_attrs_classes_and_models_are_events_and_nothing_else(event_type, is_a):
    assert event_style(event_type) == is_a
    if is_a is None:
        with pytest.raises(NotAnEventError, match=f"{event_type.__qualname__} is not an event type.*msgspec.Struct"):
            require_event_type(event_type)
    else:
        assert require_event_type(event_type) is event_type


@pytest.mark.parametrize("value", [Struct(), "Struct", None, 5, list[Struct]])
def test_what_is_no_class_is_no_event_type(value):
    with pytest.raises(NotAnEventError, match="is not an event type"):
        require_event_type(value)


def test_an_error_about_an_event_is_what_a_caller_would_catch():
    with pytest.raises(TypeError):
        event(Plain)
    with pytest.raises(ValueError):
        event(Plain)
    with pytest.raises(dawdle.DawdleError):
        event(Plain)


def test_without_a_declaration_the_name_is_the_qualname():
    class Local(msgspec.Struct):
        pass

    assert wire_name(Struct) == "Struct"
    assert wire_name(Local) == Local.__qualname__
    assert declaration_of(Struct) is None
    assert declared_as("Struct") is None


def test_a_bare_declaration_keeps_the_qualname_and_returns_the_class():
    event_type = made("BareDeclared")
    assert event(event_type) is event_type
    assert wire_name(event_type) == "BareDeclared"
    assert declared_as("BareDeclared") is event_type


@given(wire_names("one"), st.lists(wire_names("one"), max_size=3))
def test_a_type_is_found_under_its_name_and_every_alias(name, aliases):
    event_type = event(name, aliases=aliases)(made("Found"))
    assert wire_name(event_type) == name
    for each in (name, *aliases):
        assert declared_as(each) is event_type


@given(wire_names("two"))
def test_a_name_that_another_type_has_is_refused_as_name_and_as_alias(name):
    first, other, third = made("First"), made("Second"), made("Third")
    event(name, aliases=["first-alias"])(first)
    for declare in (
        event(name),
        event("x" + name[:199], aliases=[name]),
        event("first-alias"),
    ):
        with pytest.raises(ConfigurationError, match=r"two event types are named.*First .*and .*Second.*@dawdle.event"):
            declare(other)
        assert declared_as(name) is first
        assert wire_name(other) == "Second", "what was refused declares nothing"
    assert declared_as("x" + name[:199]) is None
    event(third)


def test_two_types_of_one_qualname_conflict_and_the_error_says_how_to_mend_it():
    first, other = made("Twin", "shop.a"), made("Twin", "shop.b")
    event(first)
    with pytest.raises(ConfigurationError, match=r"'Twin': shop.a.Twin and shop.b.Twin.*event\('shop.b.Twin'\)"):
        event(other)
    event("shop.b.Twin")(other)
    assert (wire_name(first), wire_name(other)) == ("Twin", "shop.b.Twin")


@given(wire_names("reload"), st.integers(1, 3))
def test_a_type_that_is_defined_again_by_a_reload_replaces_itself(name, times):
    for _ in range(times):
        event_type = event(name, aliases=["reloaded-alias"])(made("Reloaded"))
        assert declared_as(name) is event_type
        assert declared_as("reloaded-alias") is event_type


def test_a_subclass_inherits_no_name():
    class Base(msgspec.Struct):
        pass

    event("inherits.base")(Base)

    class Derived(Base):
        pass

    assert wire_name(Base) == "inherits.base"
    assert wire_name(Derived) == Derived.__qualname__
    assert declaration_of(Derived) is None


def test_an_unclaimed_event_is_dropped_only_if_its_type_says_so():
    assert declaration_of(event("unclaimed.kept")(made("Kept"))).unclaimed == "retry"
    assert declaration_of(event("unclaimed.dropped", unclaimed="drop")(made("Dropped"))).unclaimed == "drop"


@pytest.mark.parametrize("name", ["", "x" * 201, "new\nline", "bell\a", "\ud800", "\ufffe", "nul\0"])
def test_a_wire_name_that_cannot_travel_is_refused(name):
    for declare in (event(name), event("fine.name", aliases=["fine", name])):
        with pytest.raises(ConfigurationError, match="1 to 200 printable characters"):
            declare(made("Nameless"))
    assert declared_as("fine.name") is None


@pytest.mark.parametrize("name", [5, b"x", Struct(), ("a", "b")])
def test_a_wire_name_that_is_no_text_is_refused(name):
    with pytest.raises(ConfigurationError, match="takes a wire name"):
        event(name)


def test_aliases_that_are_one_text_are_refused():
    with pytest.raises(ConfigurationError, match=r"aliases=\('old.name',\)"):
        event("new.name", aliases="old.name")
    with pytest.raises(ConfigurationError, match="1 to 200 printable"):
        event("new.name", aliases=[5])(made("Aliased"))


@pytest.mark.parametrize("aliases", [5, None, object()], ids=type)
def test_aliases_that_are_no_sequence_are_refused(aliases):
    with pytest.raises(ConfigurationError, match="aliases is a sequence of names"):
        event("new.name", aliases=aliases)


def test_an_unknown_way_to_leave_it_unclaimed_is_refused():
    with pytest.raises(ConfigurationError, match="'retry' or 'drop', not 'ignore'"):
        event("x.y", unclaimed="ignore")(made("Ignored"))


@pytest.mark.parametrize("event_type", [Plain, int, object])
def test_a_class_that_cannot_travel_cannot_be_declared(event_type):
    with pytest.raises(NotAnEventError):
        event(event_type)
    with pytest.raises(NotAnEventError):
        event("some.name")(event_type)


@pytest.mark.slow
def test_asking_what_a_class_is_imports_neither_attrs_nor_pydantic():
    code = "import sys; from dawdle.events import event_style; event_style(int)"
    code += "; assert not {'attr', 'pydantic'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
