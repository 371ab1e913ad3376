"""Tasks that run at once: they are tasks like any other, and what waits for them leaves none behind."""

import asyncio
import sys
from contextvars import ContextVar

import pytest

from dawdle._flow.eager_tasks import start_eagerly, wait_for_all

pytestmark = pytest.mark.anyio

here: ContextVar[str] = ContextVar("here", default="outside")


async def test_a_task_runs_up_to_its_first_wait_before_it_is_returned():
    steps = []

    async def work():
        here.set("inside")
        steps.append(asyncio.current_task().get_name())
        await asyncio.sleep(0)
        steps.append(here.get())
        return "done"

    task = start_eagerly(work(), "its name")
    assert steps == (["its name"] if sys.version_info >= (3, 12) else [])
    assert asyncio.current_task() is not task
    assert await task == "done"
    assert steps == ["its name", "inside"]
    assert here.get() == "outside"


async def test_a_task_factory_of_the_user_makes_these_tasks_too():
    made = []

    def factory(loop, coroutine, **options):
        made.append(options.get("name"))
        return asyncio.Task(coroutine, loop=loop, **options)

    async def work():
        return "done"

    loop = asyncio.get_running_loop()
    loop.set_task_factory(factory)
    try:
        task = start_eagerly(work(), "its name")
    finally:
        loop.set_task_factory(None)
    assert await task == "done"
    assert len(made) == 1
    assert task.get_name() == "its name"


async def test_a_task_that_raises_at_once_disturbs_neither_its_maker_nor_the_wait():
    async def fails():
        raise ValueError("at once")

    tasks = [start_eagerly(fails(), "one"), start_eagerly(asyncio.sleep(0, "done"), "two")]
    await wait_for_all(tasks)
    assert str(tasks[0].exception()) == "at once"
    assert tasks[1].result() == "done"


async def test_a_wait_that_is_cancelled_cancels_its_tasks_once_and_raises_when_all_have_ended():
    cancels, ended = [], asyncio.Event()

    async def slow_to_end():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancels.append("slow")
            await ended.wait()
            raise

    tasks = [start_eagerly(slow_to_end(), "slow"), start_eagerly(asyncio.sleep(0), "quick")]
    waiting = asyncio.create_task(wait_for_all(tasks))
    await asyncio.sleep(0.01)
    for _ in range(3):
        waiting.cancel()
        await asyncio.sleep(0)
    assert not waiting.done()
    ended.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert cancels == ["slow"]
    assert [task.cancelled() for task in tasks] == [True, False]


async def test_one_that_raises_ends_the_others_at_once():
    ended = []

    async def waits():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("waits")
            await asyncio.sleep(0)
            raise

    async def raises():
        await asyncio.sleep(0)
        raise LookupError

    tasks = [start_eagerly(waits(), "waits"), start_eagerly(raises(), "raises")]
    async with asyncio.timeout(5):
        await wait_for_all(tasks)
    assert ended == ["waits"]
    assert tasks[0].cancelled()
    assert isinstance(tasks[1].exception(), LookupError)
