"""Several backends are opened and closed side by side; an error of one closes the others."""

import asyncio

import pytest

from dawdle import Dawdle, Registry
from dawdle.backends.memory import Memory
from dawdle.errors import BackendError, ConfigurationError

pytestmark = pytest.mark.anyio


class Slow(Memory):
    """Waits for the others while it opens and closes, and notes what it does."""

    def __init__(self, told, others, *, error=None, group=False):
        super().__init__()
        self.told, self.others, self.error, self.group = told, others, error, group

    async def __aenter__(self):
        if self.group:
            self.tasks = await asyncio.TaskGroup().__aenter__()
        self.told.append("opening")
        try:
            await self.others(self.told, "opening")
        except asyncio.CancelledError:
            self.told.append("cancelled")
            raise
        if self.error is not None:
            raise self.error
        return await super().__aenter__()

    async def __aexit__(self, *error):
        self.told.append("closing")
        await self.others(self.told, "closing")
        await super().__aexit__(*error)
        if self.group:
            await self.tasks.__aexit__(None, None, None)


def all_of(count):
    """Wait until so many do the same. One after another, they would wait for ever."""

    async def others(told, what):
        async with asyncio.timeout(5):
            while told.count(what) < count:
                await asyncio.sleep(0)

    return others


async def never(told, what):
    if what == "opening":
        await asyncio.Event().wait()


def app_of(*backends):
    names = ("default", "video", "audit")
    return Dawdle(queues=dict(zip(names, backends, strict=False)), registry=Registry())


async def test_queues_are_opened_and_closed_side_by_side(no_task_is_left):
    told = []
    async with app_of(*(Slow(told, all_of(3)) for _ in range(3))) as app:
        assert told == ["opening"] * 3
        assert app.health().healthy
    assert told == ["opening"] * 3 + ["closing"] * 3


async def test_a_backend_may_hold_a_task_group(no_task_is_left):
    told = []
    async with app_of(Slow(told, all_of(2), group=True), Slow(told, all_of(2), group=True)):
        pass
    assert told == ["opening"] * 2 + ["closing"] * 2


@pytest.mark.parametrize("error", [BackendError("no route to host"), ConfigurationError("no such region"), OSError()])
async def test_an_error_of_one_closes_the_others_and_is_raised_alone(error, no_task_is_left):
    told = []

    async def one_opened(told, what):
        while told.count("opening") < 3:
            await asyncio.sleep(0)

    app = app_of(Slow(told, one_opened), Slow(told, one_opened, error=error), Slow(told, never))
    with pytest.raises(type(error)) as raised:
        await app.__aenter__()
    assert raised.value is error
    assert sorted(told) == ["cancelled", "closing"] + ["opening"] * 3


async def test_two_errors_at_once_are_one(no_task_is_left):
    told, first, second = [], BackendError("down"), BackendError("down too")
    app = app_of(Slow(told, all_of(2), error=first), Slow(told, all_of(2), error=second))
    with pytest.raises(BackendError) as raised:
        await app.__aenter__()
    assert raised.value in {first, second}


async def test_a_cancelled_start_closes_those_that_are_open(no_task_is_left):
    told = []

    async def at_once(told, what):
        pass

    app = app_of(Slow(told, at_once), Slow(told, never))
    entering = asyncio.create_task(app.__aenter__())
    while told.count("opening") < 2:
        await asyncio.sleep(0)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert sorted(told) == ["cancelled", "closing", "opening", "opening"]


async def test_an_app_that_dies_closes_all_of_its_queues_and_raises_what_it_died_of(no_task_is_left):
    from dawdle.testing.probe import Probe

    told, error = [], ValueError("a bug")
    with pytest.raises(ValueError, match="a bug") as raised:
        async with app_of(Slow(told, all_of(2)), Slow(told, all_of(2))) as app:
            Probe(app).fail(error)
            await app.ended()
    assert raised.value is error
    assert told == ["opening"] * 2 + ["closing"] * 2


async def test_an_error_while_one_closes_is_raised_and_the_other_is_closed_too(no_task_is_left):
    class Broken(Memory):
        async def __aexit__(self, *error):
            await super().__aexit__(*error)
            raise BackendError("closing failed")

    queue = Memory()
    with pytest.raises(BackendError, match="closing failed"):
        async with app_of(Broken(), queue):
            pass
    async with app_of(queue, Memory()):
        pass


@pytest.mark.parametrize("count", [1, 2])
async def test_a_backend_that_is_cancelled_from_within_while_it_opens_is_an_error(count, no_task_is_left):
    class Cancelled(Memory):
        async def __aenter__(self):
            connecting = asyncio.get_running_loop().create_future()
            connecting.cancel()
            return await connecting

    async with asyncio.timeout(5):
        with pytest.raises(BackendError, match="could not open the queue 'default': it was cancelled") as raised:
            await Dawdle(
                queues=dict([("default", Cancelled()), ("video", Memory())][:count]), registry=Registry()
            ).__aenter__()
    assert isinstance(raised.value.__cause__, asyncio.CancelledError)
