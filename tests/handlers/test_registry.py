"""A registry takes each handler once, under one name, and tells the registries that include it."""

from functools import partial

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dawdle import Registry, Retry
from dawdle.errors import ConfigurationError


class A(msgspec.Struct):
    pass


class B(msgspec.Struct):
    pass


class C(msgspec.Struct):
    pass


EVENT_TYPES = [A, B, C]


def function(name="handle", module="shop.events"):
    """Return a new function of this module and name."""

    async def handle(event):
        return object()

    handle.__qualname__, handle.__module__ = name, module
    return handle


def executed(register):
    """Register as a module does that is executed: each time anew."""
    names = {"__name__": "shop.events", "__file__": "shop/events.py", "register": register}
    exec(compile("register()", "shop/events.py", "exec"), names)


def names(registry):
    return [handler.name for handler in registry]


def types_of(registry):
    return {handler.name: set(handler.types) for handler in registry}


class Counting:
    """An observer of a registry."""

    def __init__(self):
        self.changes = 0

    def changed(self):
        self.changes += 1


@given(st.lists(st.lists(st.sampled_from(EVENT_TYPES), max_size=3), min_size=1, max_size=5))
def test_several_on_event_on_one_function_are_one_handler_of_all_their_types(declared):
    registry, handle = Registry(), function()
    for types in declared:
        registry.on_event(*types)(handle)
    (handler,) = registry
    everything = not all(declared)
    assert set(handler.types) == (set() if everything else {event_type for types in declared for event_type in types})
    assert all(handler.matches(event_type) for types in declared for event_type in types)
    assert len(set(handler.types)) == len(handler.types)


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(EVENT_TYPES), st.integers(1, 9)), min_size=1, max_size=8)
)
def test_a_function_that_is_defined_again_replaces_itself_with_its_types_and_options(steps):
    registry, expected = Registry(), {}
    for name, event_type, attempts in steps:
        again = function(name)
        executed(partial(registry.on_event(event_type, retry=Retry(max_attempts=attempts)), again))
        expected[f"shop.events.{name}"] = (again, (event_type,), attempts)
    found = {each.name: (each.function, each.types, each.options.retry.max_attempts) for each in registry}
    assert found == expected
    assert list(found) == list(expected), "and keeps its place"


def test_a_reloaded_function_under_two_on_event_gets_both_types_and_no_old_one():
    registry = Registry()
    executed(lambda: registry.on_event(C)(function()))
    again = function()
    executed(lambda: registry.on_event(A)(registry.on_event(B)(again)))
    assert types_of(registry) == {"shop.events.handle": {A, B}}


@pytest.mark.parametrize("other", [function("other"), function("handle", "shop.other"), lambda event: None])
def test_another_function_under_a_taken_name_is_refused_and_the_first_one_stays(other):
    registry, first = Registry(), function()
    registry.on_event(A, name="audit")(first)
    version = registry.version
    with pytest.raises(ConfigurationError, match=r"the handler name 'audit' is taken.*another name with name="):
        registry.on_event(B, name="audit")(other)
    assert types_of(registry) == {"audit": {A}}
    assert next(iter(registry)).function is first
    assert registry.version == version


def test_methods_of_two_objects_need_two_names():
    class Service:
        async def handle(self, event): ...

    registry, one, other = Registry(), Service(), Service()
    registry.on_event(A)(one.handle)
    registry.on_event(A)(one.handle)
    assert len(names(registry)) == 1, "the same object's method is the same handler"
    with pytest.raises(ConfigurationError, match="is taken"):
        registry.on_event(A)(other.handle)
    registry.on_event(A, name="other")(other.handle)
    assert len(names(registry)) == 2


def test_one_function_may_be_two_handlers_of_two_names():
    registry, handle = Registry(), function()
    registry.on_event(A, name="one")(handle)
    registry.on_event(B, name="two")(handle)
    assert types_of(registry) == {"one": {A}, "two": {B}}


def test_what_is_refused_leaves_no_trace():
    registry, counting = Registry(), Counting()
    registry.observe(counting)
    for wrong in ({"timeout": 0}, {"unheard": 1}, {"name": "a b"}):
        with pytest.raises(ConfigurationError):
            registry.on_event(A, **wrong)(function())
    assert names(registry) == []
    assert (registry.version, counting.changes) == (0, 0)


def test_an_included_registry_is_read_live():
    app, shop = Registry(), Registry()
    app.include(shop)
    assert names(app) == []
    shop.on_event(A)(function("later"))
    assert names(app) == ["shop.events.later"]
    shop.remove("shop.events.later")
    assert names(app) == []


@pytest.mark.slow
@given(
    st.integers(2, 6).flatmap(
        lambda size: st.tuples(
            st.just(size),
            st.lists(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)), max_size=12),
        )
    )
)
def test_registries_include_each_other_in_any_shape_but_a_circle(case):
    size, edges = case
    registries = [Registry() for _ in range(size)]
    for number, registry in enumerate(registries):
        registry.on_event(A)(function(f"h{number}"))
    below = {number: {number} for number in range(size)}
    includes = {number: set() for number in range(size)}

    def reachable(start):
        found, todo = set(), [start]
        while todo:
            each = todo.pop()
            if each not in found:
                found.add(each)
                todo.extend(includes[each])
        return found

    for parent, child in edges:
        if parent in reachable(child):
            with pytest.raises(ConfigurationError, match="cannot include itself"):
                registries[parent].include(registries[child])
        else:
            registries[parent].include(registries[child])
            includes[parent].add(child)
    for number, registry in enumerate(registries):
        below = reachable(number)
        found = names(registry)
        assert sorted(found) == sorted(f"shop.events.h{each}" for each in below), "each once, whatever the way to it"
        before = [each.version for each in registries]
        registry.on_event(A)(function(f"new{number}"))
        for other in range(size):
            assert (registries[other].version > before[other]) == (number in reachable(other))
        registry.remove(f"shop.events.new{number}")


def test_including_a_registry_that_has_a_taken_name_is_refused_and_includes_nothing():
    app, shop = Registry(), Registry()
    app.on_event(A, name="audit")(function("one"))
    shop.on_event(B, name="audit")(function("two"))
    shop.on_event(B, name="fine")(function("three"))
    with pytest.raises(ConfigurationError, match="'audit' is taken"):
        app.include(shop)
    assert names(app) == ["audit"]


def test_the_same_function_in_two_registries_is_no_conflict():
    app, shop, handle = Registry(), Registry(), function()
    app.on_event(A)(handle)
    shop.on_event(A)(handle)
    app.include(shop)


def test_including_twice_is_including_once():
    app, shop = Registry(), Registry()
    shop.on_event(A)(function())
    app.include(shop)
    app.include(shop)
    assert len(names(app)) == 1
    version = app.version
    shop.on_event(A)(function("other"))
    assert app.version == version + 1


def test_a_cleared_registry_has_nothing_and_hears_nothing_and_can_begin_again():
    app, shop, counting = Registry(), Registry(), Counting()
    app.include(shop)
    app.on_event(A)(function("own"))
    shop.on_event(A)(function("included"))
    app.observe(counting)
    app.clear()
    assert names(app) == []
    assert names(shop) == ["shop.events.included"], "what it included keeps its own"
    assert counting.changes == 1
    shop.on_event(A)(function("later"))
    assert counting.changes == 1
    app.include(shop)
    app.on_event(B, name="own")(function("another"))
    assert set(names(app)) == {"own", "shop.events.included", "shop.events.later"}


def test_an_observer_hears_of_every_change_and_is_not_kept_alive():
    app, shop, counting = Registry(), Registry(), Counting()
    app.include(shop)
    app.observe(counting)
    app.on_event(A)(function("one"))
    shop.on_event(A)(function("two"))
    shop.remove("shop.events.two")
    assert counting.changes == 3
    del counting
    app.on_event(A)(function("three"))
    assert list(app._observers) == []


def test_a_registry_shows_its_handlers():
    registry = Registry()
    assert repr(registry) == "<Registry of no handlers>"
    registry.on_event(A, name="one")(function("one"))
    registry.on_event(A, name="two")(function("two"))
    assert repr(registry) == "<Registry of one, two>"


def test_on_event_returns_the_function_as_it_was():
    registry, handle = Registry(), function()
    assert registry.on_event(A)(handle) is handle
    assert registry.on_event(name="x")(handle) is handle
    handle.__annotations__["event"] = A
    assert registry.on_event(handle) is handle


def test_handlers_are_in_the_order_in_which_their_registries_were_included():
    app, first, second = Registry(), Registry(), Registry()
    first.on_event(A, name="first")(function("one"))
    second.on_event(A, name="second")(function("two"))
    app.include(first)
    app.include(second)
    assert names(app) == ["first", "second"]


# Two on_event on one function


def test_two_on_event_on_one_bound_method_merge():
    class Service:
        async def handle(self, event): ...

    registry, service = Registry(), Service()
    registry.on_event(A)(service.handle)
    registry.on_event(B)(service.handle)
    assert [set(types) for types in types_of(registry).values()] == [{A, B}]


OPTIONS = {
    "aliases": (("once", "before"), ("other",)),
    "exclude": ((A, B), (C,)),
    "retry": (Retry(max_attempts=1), Retry(max_attempts=2)),
    "timeout": (5.0, 6.0),
    "concurrency": (1, 2),
    "queue": ("audio", "video"),
}


@given(st.dictionaries(st.sampled_from([*OPTIONS]), st.booleans()))
def test_options_of_two_on_event_on_one_function_add_up(is_first):
    registry, handle = Registry(), function()
    first = {name: OPTIONS[name][0] for name, here in is_first.items() if here}
    second = {name: OPTIONS[name][0] for name, here in is_first.items() if not here}
    registry.on_event(A, **first)(registry.on_event(B, **second)(handle))
    (handler,) = registry
    assert set(handler.types) == {A, B}
    expected = {**first, **second}
    empty = {"aliases": (), "exclude": ()}
    assert {name: getattr(handler.options, name) for name in OPTIONS} == {
        name: expected.get(name, empty.get(name)) for name in OPTIONS
    }


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_that_two_on_event_give_differently_is_refused_and_the_first_one_stays(option):
    registry, handle = Registry(), function()
    one, other = OPTIONS[option]
    registry.on_event(A, **{option: one})(handle)
    with pytest.raises(ConfigurationError, match=f"has both {option}=.* and {option}="):
        registry.on_event(B, **{option: other})(handle)
    assert types_of(registry) == {"shop.events.handle": {A}}
    registry.on_event(B, **{option: one})(handle)
    assert types_of(registry) == {"shop.events.handle": {A, B}}


def test_the_order_of_names_and_types_says_nothing():
    registry, handle = Registry(), function()
    registry.on_event(A, aliases=["x", "y"], exclude=[B, C])(handle)
    registry.on_event(A, aliases=["y", "x"], exclude=[C, B])(handle)


def test_the_same_function_with_other_options_in_an_included_registry_is_refused():
    app, shop, handle = Registry(), Registry(), function()
    app.on_event(A, timeout=5)(handle)
    shop.on_event(A, timeout=6)(handle)
    with pytest.raises(ConfigurationError, match="timeout=6.0 and timeout=5.0"):
        shop.include(app)
    assert len(names(shop)) == 1


# One name, one handler, wherever it is registered


def family():
    """Return registries that are found together: two beside each other in one that is included in another."""
    top, app, shop, mail = (Registry() for _ in range(4))
    top.include(app)
    app.include(shop)
    app.include(mail)
    return top, app, shop, mail


@pytest.mark.parametrize("first", range(4))
@pytest.mark.parametrize("second", range(4))
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"name": "audit"}, {"name": "audit"}),
        ({"name": "audit"}, {"aliases": ["audit"]}),
        ({"aliases": ["audit"]}, {"name": "audit"}),
        ({"aliases": ["x", "audit"]}, {"aliases": ["audit", "y"]}),
    ],
    ids=["names", "name and alias", "alias and name", "aliases"],
)
def test_a_name_or_alias_is_taken_in_every_registry_that_is_found_together(first, second, one, other):
    registries = family()
    registries[first].on_event(A, **one)(function("one"))
    before = [registry.version for registry in registries]
    with pytest.raises(ConfigurationError, match="audit"):
        registries[second].on_event(B, **other)(function("two"))
    assert len(names(registries[0])) == 1
    assert [registry.version for registry in registries] == before


@pytest.mark.parametrize("options", [{"name": "audit"}, {"aliases": ["audit"]}])
def test_a_registry_with_a_taken_name_or_alias_cannot_be_included_beside_another(options):
    top, app, shop, _ = family()
    shop.on_event(A, name="audit")(function("one"))
    late = Registry()
    late.on_event(A, **options)(function("two"))
    for registry in (top, app):
        with pytest.raises(ConfigurationError, match="audit"):
            registry.include(late)
    assert len(names(top)) == 1


def test_names_of_registries_that_are_not_found_together_are_free():
    one, other = Registry(), Registry()
    one.on_event(A, name="audit")(function("one"))
    other.on_event(A, aliases=["audit"])(function("two"))


def test_a_name_is_free_again_when_its_handler_is_gone_and_so_are_its_aliases():
    top, app, shop, _ = family()
    shop.on_event(A, name="audit", aliases=["before"])(function("one"))
    shop.remove("audit")
    app.on_event(A, name="before", aliases=["audit"])(function("two"))
    app.clear()
    app.on_event(A, name="x", aliases=["audit", "before"])(function("three"))
    assert names(top) == ["x"]


def test_a_function_that_is_defined_again_with_fewer_aliases_gives_them_up():
    registry = Registry()
    executed(lambda: registry.on_event(A, aliases=["once", "before"])(function("one")))
    executed(lambda: registry.on_event(A, aliases=["once"])(function("one")))
    registry.on_event(A, name="before")(function("two"))
    with pytest.raises(ConfigurationError, match="once"):
        registry.on_event(A, name="once")(function("three"))


def test_only_a_registry_can_be_included():
    with pytest.raises(ConfigurationError, match=r"include\(\) takes a dawdle.Registry, not 'mail'"):
        Registry().include("mail")


def test_an_event_class_under_on_event_fails_where_an_event_is_made():
    @Registry().on_event
    class Placed(msgspec.Struct):
        number: int

    with pytest.raises(ConfigurationError, match=r"on_event\(.*Placed\).*Above an event class write @dawdle.event"):
        Placed(number=1)
