"""A registry may be changed in one thread while apps look into it in others: nothing raises, and nothing is half."""

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from dawdle import Registry
from dawdle._handlers.app_handlers import AppHandlers
from dawdle.errors import ConfigurationError
from dawdle.events import declared_as, event

SECONDS = 0.5


class A(msgspec.Struct):
    pass


@pytest.fixture(autouse=True)
def threads_take_turns_all_the_time():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def function():
    async def handle(event): ...

    return handle


def all_of(*works):
    """Run functions in a thread each until time is over, and raise what any of them raised."""
    end = time.monotonic() + SECONDS

    def again(work):
        times = 0
        while time.monotonic() < end:
            work()
            times += 1
        return times

    with ThreadPoolExecutor(len(works)) as pool:
        return [each.result() for each in [pool.submit(again, work) for work in works]]


def adding_and_removing(registry, prefix):
    number = 0

    def work():
        nonlocal number
        name = f"{prefix}{number % 5}"
        number += 1
        registry.on_event(A, name=name, aliases=[f"{name}.before"])(function())
        registry.remove(name)

    return work


@pytest.mark.slow
def test_apps_look_into_registries_that_are_changed_and_included_in_other_threads():
    top, shop, mail = Registry(), Registry(), Registry()
    top.include(shop)
    keep = function()
    shop.on_event(A, name="keep")(keep)
    lookups = [AppHandlers(top) for _ in range(2)]

    def looking(lookup):
        def work():
            names = {handler.name for handler in lookup.handlers}
            assert "keep" in names
            assert keep in [handler.function for handler in lookup.handlers_for(A)]
            assert lookup.handler_named("keep").function is keep
            assert lookup.resolve_type("A") is A
            assert lookup.learn(A) == "A"
            repr(top)

        return work

    def including():
        top.include(mail)
        top.clear()
        top.include(shop)

    def entering_and_leaving():
        app = AppHandlers(shop)
        app.register(function(), (A,), {"name": "own"})
        assert {"keep", "own"} <= {handler.name for handler in app.handlers}
        app.unregister(keep)
        assert keep not in [handler.function for handler in app.handlers]

    times = all_of(
        adding_and_removing(shop, "s"),
        adding_and_removing(mail, "m"),
        entering_and_leaving,
        entering_and_leaving,
        *map(looking, [AppHandlers(shop), AppHandlers(shop)]),
    )
    assert min(times) > 10
    all_of(including, adding_and_removing(shop, "s"), *(lambda lookup=lookup: lookup.handlers for lookup in lookups))


@pytest.mark.slow
@pytest.mark.parametrize("where", ["one registry", "two that are found together", "two apps' own"])
def test_of_many_threads_that_want_one_name_one_gets_it(where):
    for _ in range(100):
        top, shop = Registry(), Registry()
        top.include(shop)
        lookup = AppHandlers(top)
        takers = {
            "one registry": [top.on_event(A, name="audit")] * 4,
            "two that are found together": [top.on_event(A, name="audit"), shop.on_event(A, name="audit")] * 2,
            "two apps' own": [
                lambda handle: lookup.register(handle, (A,), {"name": "audit"}),
                top.on_event(A, name="audit"),
            ]
            * 2,
        }[where]
        start = threading.Barrier(len(takers))

        def take(taker, start=start):
            start.wait()
            try:
                taker(function())
            except ConfigurationError:
                return 0
            return 1

        with ThreadPoolExecutor(len(takers)) as pool:
            assert sum(pool.map(take, takers)) == 1
        assert len(lookup.handlers) == 1


@pytest.mark.slow
def test_of_many_threads_that_declare_one_name_one_gets_it():
    for turn in range(100):
        name, start = f"threads.declared.{turn}", threading.Barrier(4)
        event_types = [msgspec.defstruct(f"Threads{number}", []) for number in range(4)]

        def declare(event_type, name=name, start=start):
            start.wait()
            try:
                return event(name)(event_type)
            except ConfigurationError:
                return None

        with ThreadPoolExecutor(4) as pool:
            (winner,) = (event_type for event_type in pool.map(declare, event_types) if event_type is not None)
        assert declared_as(name) is winner


def test_observers_are_called_when_the_lock_is_free_and_once_for_each_change():
    registry, called = Registry(), []

    class Asking:
        def changed(self):
            other = threading.Thread(target=lambda: called.append(registry.on_event(A, name="other") and len(called)))
            other.start()
            other.join(60)
            assert not other.is_alive(), "it waits for a lock"

    asking = Asking()
    lookup = AppHandlers(registry)
    lookup.observe(asking)
    lookup.register(function(), (A,), {"name": "own"})
    assert len(called) == 1
