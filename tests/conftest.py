"""What all tests share: asyncio as the backend of anyio, a clock to hold, and no task left behind."""

import asyncio
import gc
from functools import cache

import botocore.session
import pytest

from dawdle.testing import ManualClock
from tests.servers import ministack

# botocore lists 400 folders and decodes a megabyte of JSON for each session, and these never change: that was a third
# of what a test on the SQS server takes. The clients of one session share such a loader; here all sessions do.
botocore.session.create_loader = cache(botocore.session.create_loader)


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Keep the garbage collector away from what stays: a third of the time to collect the tests, and half a second of
    each full collection after it.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture(autouse=True)
def environment_says_nothing(monkeypatch):
    for name in ("DAWDLE_BACKEND", "DAWDLE_SQS_QUEUE_URL", "DAWDLE_SQLITE_PATH", "DAWDLE_START_LISTENER"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def no_task_is_left():
    before = asyncio.all_tasks()
    yield
    for _ in range(10):
        await asyncio.sleep(0)
    left = {task for task in asyncio.all_tasks() - before if not task.done()}
    assert not {task for task in left if "TestRunner" not in repr(task.get_coro())}


@pytest.fixture(scope="session")
def ministack_url():
    with ministack() as url:
        yield url
