"""What `on_dead_letter` takes: an async function of one letter, with types or without, under a name of its own."""

from typing import Any

import msgspec
import pytest

from dawdle import ConfigurationError, Context, DeadLetter, Registry


class Placed(msgspec.Struct, frozen=True):
    number: int = 0


class Cancelled(msgspec.Struct, frozen=True):
    number: int = 0


@pytest.fixture
def registry():
    return Registry()


def types_of(registry):
    (handler,) = registry.letter_handlers()
    return handler.types


async def plain(letter): ...
async def every(letter: DeadLetter) -> None: ...
async def anything(letter: Any) -> None: ...
async def of_an_object(letter: object) -> None: ...
async def of_the_default(letter: DeadLetter[object | None]) -> None: ...
async def quoted(letter: "DeadLetter[Placed]") -> None: ...
async def of_two(letter: DeadLetter[Placed | Cancelled]) -> None: ...
async def of_any_event(letter: DeadLetter[object]) -> None: ...
async def with_a_default(letter: DeadLetter, pager: str = "ops") -> None: ...
async def with_context(letter: DeadLetter[Placed], ctx: Context) -> None: ...
async def with_anything(*arguments: object) -> None: ...


@pytest.mark.parametrize(
    ("function", "types"),
    [
        (plain, ()),
        (every, ()),
        (anything, ()),
        (of_an_object, ()),
        (of_the_default, ()),
        (with_a_default, ()),
        (with_anything, ()),
        (with_context, (Placed,)),
        (quoted, (Placed,)),
        (of_two, (Placed, Cancelled)),
        (of_any_event, (object,)),
    ],
)
def test_the_types_come_from_the_annotation(registry, function, types):
    assert registry.on_dead_letter(function) is function
    assert types_of(registry) == types


def test_types_that_are_named_are_taken_instead(registry):
    registry.on_dead_letter(Cancelled, Placed)(every)
    assert types_of(registry) == (Cancelled, Placed)


def test_a_local_class_may_be_named_in_quotes(registry):
    class Local(msgspec.Struct):
        pass

    @registry.on_dead_letter
    async def page(letter: "DeadLetter[Local]") -> None: ...

    assert types_of(registry) == (Local,)


def test_a_function_under_it_twice_takes_the_types_of_both(registry):
    registry.on_dead_letter(Placed)(registry.on_dead_letter(Cancelled)(plain))
    assert types_of(registry) == (Cancelled, Placed)


def test_a_method_of_an_object_is_taken(registry):
    page = Page()
    registry.on_dead_letter(page.method)
    (handler,) = registry.letter_handlers()
    assert handler.function == page.method
    assert not handler.takes_context


def test_it_is_no_handler_of_events(registry):
    registry.on_dead_letter(every)
    assert list(registry) == []
    registry.on_event(Placed, name="every")(plain)
    assert [handler.name for handler in registry] == ["every"]


def sync(letter: DeadLetter) -> None: ...


async def generator(letter: DeadLetter):
    yield letter


async def none() -> None: ...
async def three(letter: DeadLetter, ctx: Context, pager: str) -> None: ...
async def with_another(letter: DeadLetter, pager: str) -> None: ...
async def only_named(letter: DeadLetter, *, pager: str) -> None: ...
async def of_an_event(letter: Placed) -> None: ...
async def of_one_or_none(letter: DeadLetter[Placed | None]) -> None: ...
async def unknown(letter: "Nowhere") -> None: ...  # noqa: F821
async def of_text(letter: DeadLetter[str]) -> None: ...


class Page:
    async def method(self, letter: DeadLetter) -> None: ...


@pytest.mark.parametrize(
    ("function", "match"),
    [
        (sync, "handler sync is no async def function: make it one"),
        (generator, "generator is no async def function"),
        (none, "none is called with the dawdle.DeadLetter .* and cannot be: too many positional"),
        (three, "three is called with .* the dawdle.Context, and cannot be: missing a required argument: 'pager'"),
        (with_another, "its second parameter pager gets the dawdle.Context, and is annotated str"),
        (only_named, "only_named is called with .*: missing a required .*argument: 'pager'"),
        (
            Page.method,
            r"is a method of a class, without an object .*: register the method .*, on_dead_letter\(object.method\)",
        ),
        (of_an_event, "of_an_event gets a dawdle.DeadLetter, and its parameter is annotated .*Placed.*SomeEvent"),
        (of_one_or_none, "a letter whose event cannot be decoded names no type"),
        (unknown, "unknown gets a dawdle.DeadLetter, and its parameter is annotated 'Nowhere'"),
        (of_text, "of_text asks for .*str.*, which is not an event type"),
    ],
)
def test_what_cannot_be_called_with_a_letter_is_refused(registry, function, match):
    with pytest.raises(ConfigurationError, match=match):
        registry.on_dead_letter(function)


def test_wrong_options_are_refused_where_they_are_written(registry):
    with pytest.raises(ConfigurationError, match="has no option retry; its options are name, timeout"):
        registry.on_dead_letter(retry=3)(every)
    with pytest.raises(ConfigurationError, match="timeout is more than 0"):
        registry.on_dead_letter(timeout=0)(every)
    with pytest.raises(ConfigurationError, match="which is not an event type"):
        registry.on_dead_letter(7)
    with pytest.raises(ConfigurationError, match="takes an async function, not 7"):
        registry.on_dead_letter()(7)


def test_above_an_event_class_it_is_refused_when_one_is_made(registry):
    @registry.on_dead_letter
    class Wrong(msgspec.Struct):
        number: int = 0

    with pytest.raises(ConfigurationError, match="was called without one function: write it above functions"):
        Wrong(number=1)


def test_two_functions_of_one_name_are_refused_also_over_registries(registry):
    def make():
        async def page(letter: DeadLetter) -> None: ...

        return page

    registry.on_dead_letter(make())
    with pytest.raises(ConfigurationError, match="is taken"):
        registry.on_dead_letter(make())
    other = Registry()
    other.on_dead_letter(make())
    with pytest.raises(ConfigurationError, match="is taken"):
        registry.include(other)
    outer, inner = Registry(), Registry()
    outer.include(inner)
    outer.on_dead_letter(name="a")(make())
    with pytest.raises(ConfigurationError, match="is taken"):
        inner.on_dead_letter(name="a")(make())


def test_an_event_is_no_letter_also_where_its_type_is_named(registry):
    with pytest.raises(ConfigurationError, match="of_an_event gets a dawdle.DeadLetter"):
        registry.on_dead_letter(Placed)(of_an_event)
    registry.on_dead_letter(Placed)(of_one_or_none)
    registry.on_dead_letter(Placed)(unknown)
    assert [handler.types for handler in registry.letter_handlers()] == [(Placed,), (Placed,)]
