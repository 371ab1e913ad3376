"""Functions on several nodes: who runs a call, which versions of a function may meet, and what becomes of the rest."""

import msgspec
import pytest

import dawdle
from dawdle import Registry, Retry
from dawdle.abc import Outgoing
from tests.app.test_missing import Shared

pytestmark = pytest.mark.anyio


@pytest.fixture
def ran():
    return []


@pytest.fixture
def shared(clock):
    return Shared(clock=clock, max_delay=900)


def registry_with(ran, **options):
    """Return a registry with a function, and the function."""
    registry = Registry()

    @registry.function(**{"name": "resize", **options})
    async def resize(path: str, width: int = 64):
        ran.append((path, width))

    return registry, resize


def new_version(ran, **options):
    registry = Registry()

    @registry.function(**{"name": "resize", **options})
    async def resize(path: str, width: int = 64, *, quality: int = 90):
        ran.append((path, width, quality))

    return registry, resize


async def test_a_node_without_the_function_leaves_the_call_to_one_that_has_it(running, clock, shared, ran):
    registry, resize = registry_with(ran)
    nothing = Registry()

    @nothing.on_event()
    async def every(event: object):
        ran.append(event)

    async with running(shared, registry=nothing) as app:
        await app.call(resize, "a.png", 5)
        await app.call(resize.options(direct=True), "b.png")
        await clock.advance(60)
        assert ran == []
        assert [msgspec.json.decode(body)["type"] for body in shared.messages()] == ["call:resize"] * 2
    async with running(shared, registry=registry):
        await clock.advance(120)
    assert sorted(ran) == [("a.png", 5), ("b.png", 64)]


async def test_a_call_that_no_node_runs_is_dead_lettered_with_the_reason(running, clock, shared, ran):
    _, resize = registry_with(ran)
    async with running(shared, registry=Registry(), unclaimed=3600, start_listener=False) as app:
        await app.call(resize, "a.png")
    registry = Registry()
    registry.function(name="other")(resize.function)
    async with running(shared, registry=registry, unclaimed=3600) as app:
        await clock.advance(4 * 3600)
        letters = [(letter.event_type, letter.event, letter.error) async for letter in app.dead_letters()]
    assert letters == [("call:resize", None, "no node knows an event type 'call:resize', for 3600 s")]
    assert ran == []


async def test_a_call_with_an_argument_that_this_version_lacks_waits_for_the_new_one(running, clock, shared, ran):
    (old, _), (new, resize) = registry_with(ran), new_version(ran)
    async with running(shared, registry=new, start_listener=False) as app:
        await app.call(resize, "a.png", quality=50)
        await app.call(resize, "b.png")
    async with running(shared, registry=old) as app:
        await clock.advance(60)
        assert ran == [("b.png", 64)], "without the new argument the old version takes it too"
        assert [letter async for letter in app.dead_letters()] == []
    async with running(shared, registry=new):
        await clock.advance(120)
    assert ran == [("b.png", 64), ("a.png", 64, 50)]


async def test_a_call_that_fits_no_version_is_dead_lettered_with_what_is_wrong(running, clock, shared, queue, ran):
    registry, _ = registry_with(ran)
    wrong = {"specversion": "1.0", "id": "1", "source": "s", "type": "call:resize", "data": {"path": 5}}
    said = "the data does not fit registry_with.<locals>.resize: Expected `str`, got `int` - at `$.path`"
    for backend, wait, error in (
        (shared, 4 * 3600, f"no node has a version of the function that takes this call: {said}, for 3600 s"),
        (queue, 0, said),
    ):
        async with running(backend, registry=registry, unclaimed=3600) as app:
            await backend.send([Outgoing(msgspec.json.encode(wrong))])
            await clock.advance(wait)
            await app.idle()
            assert [letter.error async for letter in app.dead_letters()] == [error]
    assert ran == []


async def test_a_call_under_an_old_name_runs_and_its_retries_too(running, clock, shared, ran):
    old, resize = registry_with(ran, name="old.resize")
    errors = [ValueError("no")]
    new = Registry()

    @new.function(name="new.resize", aliases=["old.resize"], retry=Retry(initial=1))
    async def resized(path: str, width: int = 64):
        ran.append((path, width))
        if errors:
            raise errors.pop()

    async with running(shared, registry=old, start_listener=False) as app:
        await app.call(resize, "a.png")
    async with running(shared, registry=new):
        await clock.advance(5)
    assert ran == [("a.png", 64)] * 2


async def test_a_caller_that_still_has_the_function_from_before_a_reload_reaches_the_new_one(running, registry, ran):
    source = "@registry.function(name='work')\ndef work(number): ran.append((number, version))"

    def execute(version):
        names = {"__name__": "shop.jobs", "__file__": "shop/jobs.py", "registry": registry, "ran": ran}
        names["version"] = version
        exec(compile(source, "shop/jobs.py", "exec"), names)
        return names["work"]

    before = execute(1)
    async with running() as app:
        await app.call(before, 1)
        await app.idle()
        after = execute(2)
        await app.call(before, 2)
        await app.call(before.options(direct=True), 3)
        await app.call(after, 4)
        await app.idle()
    assert sorted(ran) == [(1, 1), (2, 2), (3, 2), (4, 2)]


async def test_two_registries_may_each_have_a_function_of_one_name(running, queue, clock, ran):
    (one, resize), (other, newer) = registry_with(ran), new_version(ran)
    for registry in (one, other):
        registry.on_event(msgspec.Struct, name="structs")(ran.append)
    async with running(registry=one) as app:
        await app.call(resize, "a.png")
        await app.idle()
    async with running(registry=other) as app:
        await app.call(newer, "a.png")
        await app.idle()
    assert ran == [("a.png", 64), ("a.png", 64, 90)]


async def test_dead_letters_of_every_type_show_calls_and_of_struct_do_not(running, clock, ran):
    registry = Registry()

    @registry.function(name="fails", retry=Retry(max_attempts=1))
    async def fails(number: int):
        raise dawdle.Reject("no")

    async with running(registry=registry) as app:
        await app.call(fails, 7)
        await app.idle()
        assert await app.redrive(msgspec.Struct) == 0
        assert await app.redrive(object, where=lambda letter: letter.event.number == 7) == 1
