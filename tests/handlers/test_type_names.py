"""A name on the wire means one type in one app: two are found when the app is entered, and where one is signaled."""

import importlib
import subprocess
import sys
import textwrap

import msgspec
import pytest

from dawdle import Dawdle, Registry
from dawdle._handlers.app_handlers import AppHandlers
from dawdle.backends.memory import Memory
from dawdle.errors import ConfigurationError
from dawdle.events import event


def made(name, module, base=msgspec.Struct):
    return msgspec.defstruct(name, [("a", int, 0)], bases=(base,), module=module)


def registry_of(*event_types):
    registry = Registry()
    for number, event_type in enumerate(event_types):
        registry.on_event(event_type, name=f"h{number}")(lambda event: None)
    return registry


async def enter(registry):
    async with Dawdle(Memory(), registry=registry):
        pass


def factory():
    class Created(msgspec.Struct):
        pass

    return Created


@pytest.mark.anyio
async def test_two_handled_types_of_one_name_are_an_error_where_the_app_is_entered():
    one, other = made("TypesCreated", "a"), made("TypesCreated", "b")
    with pytest.raises(ConfigurationError, match=r"'TypesCreated': a.TypesCreated and b.TypesCreated\. Give one"):
        await enter(registry_of(one, other))
    event("b.TypesCreated")(other)
    await enter(registry_of(one, other))


@pytest.mark.anyio
async def test_a_declared_name_or_alias_is_no_other_handled_types():
    handled, declared = made("TypesAlias", "a"), made("TypesOther", "b")
    event("types.other", aliases=["TypesAlias"])(declared)
    with pytest.raises(ConfigurationError, match="'TypesAlias': b.TypesOther and a.TypesAlias"):
        await enter(registry_of(handled))


@pytest.mark.anyio
async def test_two_subclasses_of_a_handled_base_are_an_error_where_the_app_is_entered():
    base = made("TypesBase", "a")
    subclasses = [made("TypesSub", module, base) for module in ("a", "b")]
    with pytest.raises(ConfigurationError, match="two event types are named 'TypesSub'"):
        await enter(registry_of(base))
    event("b.TypesSub")(subclasses[1])
    await enter(registry_of(base))


@pytest.mark.anyio
async def test_what_other_programs_derive_from_a_librarys_base_is_not_asked():
    subclasses = [made("TypesFar", module) for module in ("a", "b")]
    await enter(registry_of(msgspec.Struct))
    assert len(subclasses) == 2


@pytest.mark.anyio
async def test_the_handler_of_one_type_never_gets_another_of_its_name():
    called = []
    registry, one, other = Registry(), made("TypesOne", "a"), made("TypesOne", "b")

    @registry.on_event(one)
    async def handle(event):
        called.append(event)

    async with Dawdle(Memory(), registry=registry) as app:
        for direct in (False, True):
            with pytest.raises(ConfigurationError, match="two event types are named 'TypesOne'"):
                await app.signal(other(), direct=direct)
        await app.signal(one())
        await app.idle()
    assert called == [one()]


# One class, defined twice


@pytest.mark.anyio
async def test_the_classes_that_a_function_makes_are_types_of_one_name():
    one, other = factory(), factory()
    with pytest.raises(
        ConfigurationError,
        match=r"factory\.<locals>\.Created \(.*test_type_names\.py.*\)\. It is one class, defined twice.*h0 and h1",
    ):
        await enter(registry_of(one, other))
    for known in (registry_of(one), Registry()):
        lookup = AppHandlers(known)
        lookup.learn(one)
        with pytest.raises(ConfigurationError, match="defined twice"):
            lookup.learn(other)


@pytest.mark.anyio
async def test_what_a_function_declares_each_time_it_runs_may_be_handled_one_at_a_time():
    def declare():
        return event("types.again")(factory())

    for _ in range(2):
        event_type = declare()
        await enter(registry_of(event_type))
        assert AppHandlers(registry_of(event_type)).learn(event_type) == "types.again"
    old, new = declare(), declare()
    for stale in (registry_of(old), registry_of(old, new)):
        with pytest.raises(ConfigurationError, match="defined twice"):
            await enter(stale)


def test_a_type_whose_module_is_reloaded_is_signaled_once_its_handlers_take_the_new_one(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "types_reloaded.py").write_text("import msgspec\nclass Created(msgspec.Struct): ...\n")
    module = importlib.import_module("types_reloaded")
    old, registry = module.Created, Registry()
    none, handled = AppHandlers(Registry()), AppHandlers(registry)
    registry.on_event(old, name="stale")(lambda event: None)
    for lookup in (none, handled):
        lookup.learn(old)
    new = importlib.reload(module).Created
    none.learn(new)
    assert none.resolve_type("Created") is new
    with pytest.raises(ConfigurationError, match=r"types_reloaded\.Created \(.*\).*execute again.*handled by stale\."):
        handled.learn(new)
    registry.remove("stale")
    registry.on_event(new, name="stale")(lambda event: None)
    assert handled.learn(new) == "Created"
    assert handled.resolve_type("Created") is new
    del sys.modules["types_reloaded"]


def test_a_program_that_is_also_imported_is_named_as_imported_twice(tmp_path):
    (tmp_path / "worker.py").write_text(
        textwrap.dedent("""
        import msgspec, dawdle
        @dawdle.event("orders.placed")
        class Placed(msgspec.Struct): ...
        if __name__ == "__main__":
            import worker
        """)
    )
    ended = subprocess.run(
        [sys.executable, "worker.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert "Their file is imported twice, as '__main__' and as 'worker'" in ended.stderr
