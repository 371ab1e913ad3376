"""`around=` is checked where it is written, and each handler of an app has those that lead to it, outermost first."""

import functools
from collections import deque
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager

import msgspec
import pytest

import dawdle
from dawdle import ConfigurationError, Registry
from dawdle._handlers.app_handlers import AppHandlers


class A(msgspec.Struct):
    pass


@asynccontextmanager
async def unit(ctx):
    yield


@asynccontextmanager
async def other(ctx, size=1):
    yield


class Unit(AbstractAsyncContextManager):
    def __init__(self, ctx):
        self.ctx = ctx

    async def __aexit__(self, *error): ...


class OfAFramework:
    async def __aenter__(self): ...
    async def __aexit__(self, *error): ...


class Container:
    def scope(self, ctx):
        return OfAFramework()

    def __call__(self, ctx):
        return OfAFramework()


@asynccontextmanager
async def configured(setting, ctx):
    yield


async def undecorated(ctx):
    yield


async def awaited(ctx): ...


def generator(ctx):
    yield


@contextmanager
def synchronous(ctx):
    yield


class NotEntered:
    def __init__(self, ctx): ...


class SyncUnit(NotEntered):
    def __enter__(self): ...
    def __exit__(self, *error): ...


@asynccontextmanager
async def of_nothing():
    yield


@asynccontextmanager
async def of_two(ctx, session):
    yield


@asynccontextmanager
async def of_a_keyword(ctx, *, session):
    yield


async def handle(event: A): ...


GOOD = {
    "a function": unit,
    "one with a default": other,
    "a class": Unit,
    "a bound method": Container().scope,
    "an object that is called": Container(),
    "a partial": functools.partial(configured, "setting"),
    "a lambda": lambda ctx: unit(ctx),  # noqa: PLW0108
    "one of any arguments": lambda *arguments, **options: unit(*arguments, **options),  # noqa: PLW0108
}
MISTAKES = {
    "text": ("unit", "around is a function that takes the dawdle.Context, as a rule an async generator function"),
    "None": (None, "or a list of such functions, not None"),
    "a set": ({unit}, "or a list of such functions, not {<function"),
    "a list in a list": ([[unit]], "or a list of such functions, not [<function"),
    "made already": (unit(None), "write around=unit_of_work, not around=unit_of_work(…)"),
    "made of a class": (OfAFramework(), "not one that is made already"),
    "not decorated": (undecorated, "around=undecorated: write @contextlib.asynccontextmanager above it"),
    "awaited": (awaited, "around=awaited is awaited, and must be entered: make it an async generator function"),
    "a generator": (generator, "around=generator is not async: make it an async generator function"),
    "synchronous": (synchronous, "around=synchronous is not async: make it an async generator function"),
    "no such class": (NotEntered, "around=NotEntered: the class has no __aenter__ and __aexit__: give it both"),
    "a synchronous class": (SyncUnit, "around=SyncUnit: the class has no __aenter__ and __aexit__"),
    "no parameter": (of_nothing, "around=of_nothing takes no positional parameter: give it one for the"),
    "two parameters": (of_two, "around=of_two needs session, which dawdle does not pass: give these"),
    "a keyword": (of_a_keyword, "around=of_a_keyword needs session, which dawdle does not pass"),
    "a class of no parameter": (OfAFramework, "around=OfAFramework takes no positional parameter"),
    "the second of a list": ([unit, of_nothing], "around=of_nothing takes no"),
}


@pytest.mark.parametrize("around", GOOD.values(), ids=GOOD)
def test_whatever_makes_an_async_context_manager_of_the_context_serves(around):
    registry = Registry(around=around)
    registry.on_event(A, around=(around, around))(handle)
    dawdle.Dawdle(registry=registry, around=[around])
    (handler,) = AppHandlers(registry).handlers
    assert handler.around == (around, around, around)


def by_registry(around):
    Registry(around=around)


def by_handler(around):
    Registry().on_event(A, around=around)(handle)


def by_app(around):
    dawdle.Dawdle(registry=Registry(), around=around)


def by_register(around):
    dawdle.Dawdle(registry=Registry()).register(handle, around=around)


@pytest.mark.parametrize("give", [by_registry, by_handler, by_app, by_register])
@pytest.mark.parametrize(("around", "told"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_where_it_is_written(give, around, told):
    with pytest.raises(ConfigurationError) as caught:
        give(around)
    assert told in str(caught.value)


def test_any_sequence_serves():
    (handler,) = AppHandlers(registry_of(deque([unit, other]))).handlers
    assert handler.around == (unit, other)


def registry_of(around):
    registry = Registry()
    registry.on_event(A, around=around)(handle)
    return registry


def test_two_decorators_on_one_function_must_not_differ_in_it():
    registry = registry_of([unit, other])
    registry.on_event(A)(handle)
    registry.on_event(A, around=(unit, other))(handle)
    (handler,) = AppHandlers(registry).handlers
    assert handler.around == (unit, other)
    with pytest.raises(ConfigurationError, match="has both around="):
        registry.on_event(A, around=[other, unit])(handle)


def test_a_registry_that_is_included_twice_counts_by_the_shorter_way():
    far, near, outer = Registry(around=unit), Registry(around=other), Registry()
    outer.include(far)
    far.include(near)
    near.on_event(A)(handle)
    (handler,) = AppHandlers(outer).handlers
    assert handler.around == (unit, other)
    outer.include(near)
    (handler,) = AppHandlers(outer).handlers
    assert handler.around == (other,)


def test_an_app_changes_nothing_in_the_registry_that_others_use():
    registry = registry_of(other)
    assert AppHandlers(registry, (unit,)).handlers[0].around == (unit, other)
    assert AppHandlers(registry).handlers[0].around == (other,)
    assert [handler.around for handler in registry] == [()]


def test_a_handler_without_any_is_the_one_that_was_registered():
    registry = Registry()
    registry.on_event(A)(handle)
    assert AppHandlers(registry).handlers == tuple(registry)
    assert AppHandlers(registry).handlers[0] is next(iter(registry))
