"""An app sees its registry live, plus what it registered itself, less what it unregistered; a name means one type."""

import gc
from functools import partial

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dawdle._handlers.app_handlers import AppHandlers
from dawdle._handlers.registry import Registry
from dawdle.errors import ConfigurationError, NotAnEventError
from dawdle.events import event
from tests.handlers.test_registry import executed


class A(msgspec.Struct):
    pass


class B(msgspec.Struct):
    pass


class SubA(A):
    pass


EVENT_TYPES = [A, B, SubA]


def function(name):
    async def handle(event):
        pass

    handle.__qualname__, handle.__module__ = name, "shop.events"
    return handle


def made(name, module="shop.events", base=msgspec.Struct):
    return msgspec.defstruct(name, [("a", int, 0)], bases=(base,), module=module)


def names(handlers):
    return {handler.name for handler in handlers}


@pytest.fixture
def registry():
    return Registry()


@pytest.fixture
def lookup(registry):
    return AppHandlers(registry)


FUNCTIONS = {name: function(name) for name in "abcd"}


class Registering(RuleBasedStateMachine):
    """Two apps with one registry, against a model of three dicts from name to types."""

    def __init__(self):
        super().__init__()
        self.registry = Registry()
        self.included = Registry()
        self.registry.include(self.included)
        self.apps = [AppHandlers(self.registry), AppHandlers(self.registry)]
        self.shared = {}
        self.own = [{}, {}]
        self.hidden = [set(), set()]

    @rule(name=st.sampled_from("ab"), event_type=st.sampled_from(EVENT_TYPES))
    def declare(self, name, event_type):
        self.registry.on_event(event_type)(FUNCTIONS[name])
        self.shared.setdefault(name, set()).add(event_type)

    @rule(name=st.just("c"), event_type=st.sampled_from(EVENT_TYPES))
    def declare_in_the_included_one(self, name, event_type):
        self.included.on_event(event_type)(FUNCTIONS[name])
        self.shared.setdefault(name, set()).add(event_type)

    @rule(app=st.integers(0, 1), name=st.sampled_from("abcd"), event_type=st.sampled_from(EVENT_TYPES))
    def register(self, app, name, event_type):
        self.apps[app].register(FUNCTIONS[name], (event_type,), {})
        self.own[app].setdefault(name, set()).add(event_type)

    @rule(app=st.integers(0, 1), name=st.sampled_from("abcd"))
    def unregister(self, app, name):
        if name in self.expected(app):
            self.apps[app].unregister(FUNCTIONS[name])
            self.own[app].pop(name, None)
            if name in self.shared:
                self.hidden[app].add(name)
        else:
            with pytest.raises(ConfigurationError, match="is not a handler of this app"):
                self.apps[app].unregister(FUNCTIONS[name])

    @rule()
    def clear(self):
        self.registry.clear()
        self.registry.include(self.included)
        self.shared.pop("a", None)
        self.shared.pop("b", None)

    def expected(self, app):
        found = {name: set(types) for name, types in self.shared.items() if name not in self.hidden[app]}
        for name, types in self.own[app].items():
            found.setdefault(name, set()).update(types)
        return found

    @invariant()
    def each_app_has_its_own_handlers(self):
        for number, app in enumerate(self.apps):
            expected = {f"shop.events.{name}": types for name, types in self.expected(number).items()}
            assert {handler.name: set(handler.types) for handler in app.handlers} == expected
            for event_type in EVENT_TYPES:
                wanting = {name for name, types in expected.items() if issubclass(event_type, tuple(types))}
                assert names(app.handlers_for(event_type)) == wanting
            for name in "abcd":
                assert (app.handler_named(f"shop.events.{name}") is not None) == (f"shop.events.{name}" in expected)


TestRegistering = Registering.TestCase
TestRegistering.pytestmark = [pytest.mark.slow]
TestRegistering.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)


def test_a_bound_method_and_its_object_can_be_registered_and_unregistered(lookup):
    class Service:
        async def handle(self, event: A): ...

        async def __call__(self, event: A): ...

    service = Service()
    lookup.register(service.handle, (), {})
    lookup.register(service, (), {"name": "service"})
    assert len(lookup.handlers_for(A)) == 2
    lookup.unregister(service.handle)
    assert names(lookup.handlers_for(A)) == {"service"}
    with pytest.raises(ConfigurationError):
        lookup.unregister(Service().handle)
    lookup.unregister(service)
    assert lookup.handlers == ()


def test_what_was_unregistered_can_be_registered_again(registry, lookup):
    handle = function("handle")
    registry.on_event(A)(handle)
    lookup.unregister(handle)
    assert lookup.handlers_for(A) == ()
    lookup.register(handle, (B,), {})
    assert names(lookup.handlers_for(B)) == {"shop.events.handle"}
    assert lookup.handlers_for(A) == ()


def test_unregistering_takes_every_name_of_a_function(registry, lookup):
    handle = function("handle")
    registry.on_event(A, name="one")(handle)
    lookup.register(handle, (A,), {"name": "two"})
    lookup.unregister(handle)
    assert lookup.handlers == ()


def test_a_name_that_the_registry_has_is_taken_for_the_app_too(registry, lookup):
    registry.on_event(A, name="audit")(function("one"))
    with pytest.raises(ConfigurationError, match="'audit' is taken"):
        lookup.register(function("two"), (A,), {"name": "audit"})
    assert [handler.function.__qualname__ for handler in lookup.handlers] == ["one"]
    lookup.unregister(next(iter(registry)).function)
    lookup.register(function("two"), (A,), {"name": "audit"})
    assert [handler.function.__qualname__ for handler in lookup.handlers] == ["two"]


def test_a_handler_is_found_by_the_names_it_once_had(registry, lookup):
    moved = function("moved")
    executed(lambda: registry.on_event(A, aliases=["old.place", "older.place"])(moved))
    assert lookup.handler_named("old.place").function is moved
    assert lookup.handler_named("older.place").function is moved
    assert lookup.handler_named("unheard.of") is None
    executed(lambda: registry.on_event(A, aliases=["older.place"])(function("moved")))
    assert lookup.handler_named("old.place") is None


def test_handlers_are_in_the_order_of_registration(registry, lookup):
    for name in ("one", "two", "three"):
        registry.on_event(A, name=name)(function(name))
    lookup.register(function("four"), (A,), {"name": "four"})
    assert [handler.name for handler in lookup.handlers] == ["one", "two", "three", "four"]
    assert [handler.name for handler in lookup.handlers_for(A)] == ["one", "two", "three", "four"]


# Which type a name means


def test_a_type_is_known_once_it_is_declared_handled_or_signaled_and_not_before(registry, lookup):
    declared, handled, signaled = made("LookupDeclared"), made("LookupHandled"), made("LookupSignaled")
    for name in ("lookup.declared", "LookupHandled", "LookupSignaled"):
        assert lookup.resolve_type(name) is None
    event("lookup.declared", aliases=["lookup.once"])(declared)
    registry.on_event(handled)(function("handle"))
    assert lookup.learn(signaled) == "LookupSignaled"
    assert lookup.resolve_type("lookup.declared") is declared
    assert lookup.resolve_type("lookup.once") is declared
    assert lookup.resolve_type("LookupHandled") is handled
    assert lookup.resolve_type("LookupSignaled") is signaled
    assert lookup.resolve_type("LookupDeclared") is None, "a declared type has the declared name only"
    assert lookup.learn(declared) == "lookup.declared"


def test_a_subclass_of_a_handled_base_is_known_when_it_is_imported(registry, lookup):
    class Base:
        pass

    registry.on_event(Base)(function("handle"))
    assert lookup.resolve_type("LookupImportedLater") is None
    middle = made("LookupMiddle", base=type("Marked", (Base, msgspec.Struct), {}))
    later = made("LookupImportedLater", base=middle)
    assert lookup.resolve_type("LookupImportedLater") is later
    assert lookup.resolve_type("LookupMiddle") is middle
    assert lookup.resolve_type("Base") is None, "what cannot travel has no name"


def test_a_handler_of_every_event_makes_no_type_known(registry, lookup):
    kept = made("LookupUnknown")
    registry.on_event()(function("audit"))
    assert lookup.resolve_type("LookupUnknown") is None
    assert names(lookup.handlers_for(kept)) == {"shop.events.audit"}


def test_two_types_under_one_name_are_an_error_where_they_are_signaled_and_where_they_arrive(registry, lookup):
    one, other = made("LookupTwin", "shop.a"), made("LookupTwin", "shop.b")
    lookup.learn(one)
    with pytest.raises(ConfigurationError, match=r"'LookupTwin': shop.a.LookupTwin and shop.b.LookupTwin"):
        lookup.learn(other)
    assert lookup.resolve_type("LookupTwin") is one
    registry.on_event(one, other)(function("handle"))
    fresh = AppHandlers(registry)
    with pytest.raises(ConfigurationError, match="two event types are named 'LookupTwin'"):
        fresh.resolve_type("LookupTwin")


def test_a_name_that_is_declared_for_another_type_is_taken(lookup):
    event("LookupTaken")(made("LookupDeclaredUnder"))
    with pytest.raises(ConfigurationError, match="two event types are named 'LookupTaken'"):
        lookup.learn(made("LookupTaken"))


def test_a_type_that_is_defined_again_is_the_same_type_and_the_new_one_counts(registry, lookup):
    old = made("LookupReloaded")
    executed(partial(registry.on_event(old), function("handle")))
    lookup.learn(old)
    assert lookup.resolve_type("LookupReloaded") is old
    new = made("LookupReloaded")
    executed(partial(registry.on_event(new), function("handle")))
    assert lookup.learn(new) == "LookupReloaded"
    assert lookup.resolve_type("LookupReloaded") is new
    del old
    gc.collect()


@pytest.mark.parametrize("event_type", [int, str, object, type("Plain", (), {}), dict])
def test_what_is_no_event_cannot_be_signaled(event_type, lookup):
    with pytest.raises(NotAnEventError, match="is not an event type"):
        lookup.learn(event_type)


def test_an_observer_hears_of_changes_of_the_registry_and_of_the_app(registry, lookup):
    class Counting:
        changes = 0

        def changed(self):
            self.changes += 1

    counting = Counting()
    lookup.observe(counting)
    registry.on_event(A)(function("one"))
    lookup.register(function("two"), (A,), {})
    assert counting.changes == 2
    lookup.unregister(next(iter(registry)).function)
    assert len(lookup.handlers) == 1


def test_two_handlers_that_once_had_the_same_name_are_refused(registry, lookup):
    registry.on_event(A, aliases=["old.place"])(function("one"))
    with pytest.raises(ConfigurationError, match=r"old\.place"):
        registry.on_event(A, aliases=["old.place"])(function("two"))


@pytest.mark.parametrize("options", [{"name": "audit"}, {"aliases": ["audit"]}])
def test_a_name_that_an_app_has_given_is_taken_in_its_registry_and_in_what_that_includes(registry, lookup, options):
    shop = Registry()
    registry.include(shop)
    lookup.register(function("one"), (A,), {"aliases": ["audit"]})
    late = Registry()
    late.on_event(A, **options)(function("three"))
    with pytest.raises(ConfigurationError, match="audit"):
        registry.on_event(A, **options)(function("two"))
    with pytest.raises(ConfigurationError, match="audit"):
        shop.on_event(A, **options)(function("two"))
    with pytest.raises(ConfigurationError, match="audit"):
        shop.include(late)
    assert len(lookup.handlers) == 1


def test_an_app_that_is_gone_keeps_no_name(registry):
    lookup = AppHandlers(registry)
    lookup.register(function("one"), (A,), {"name": "audit"})
    del lookup
    gc.collect()
    registry.on_event(A, name="audit")(function("two"))


def test_a_handler_that_an_app_has_put_in_place_of_one_it_took_away_stays_when_that_one_is_defined_again(
    registry, lookup
):
    shared, own = function("one"), function("two")
    executed(lambda: registry.on_event(A, name="audit")(shared))
    lookup.unregister(shared)
    lookup.register(own, (A,), {"name": "audit"})
    executed(lambda: registry.on_event(A, name="audit")(function("one")))
    assert [handler.function for handler in lookup.handlers] == [own]


def test_a_function_that_an_app_registers_again_has_the_options_of_both(registry, lookup):
    registry.on_event(A, timeout=5)(handle := function("one"))
    lookup.register(handle, (B,), {"concurrency": 2})
    (handler,) = lookup.handlers
    assert (set(handler.types), handler.options.timeout, handler.options.concurrency) == ({A, B}, 5, 2)
    with pytest.raises(ConfigurationError, match="timeout=5.0 and timeout=6.0"):
        lookup.register(handle, (B,), {"timeout": 6})
    assert lookup.handlers == (handler,)
