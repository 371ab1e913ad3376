"""Each test runs on asyncio's loop and on uvloop, logs nothing, and leaves no task."""

import asyncio
import gc
import logging
from importlib.util import find_spec

import pytest

from tests.backends.http.scripted import Authority

NO_UVLOOP = pytest.mark.skipif(find_spec("uvloop") is None, reason="needs uvloop")


@pytest.fixture(params=["asyncio", pytest.param("uvloop", marks=NO_UVLOOP)])
def anyio_backend(request):
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@pytest.fixture(autouse=True)
def nothing_is_logged(caplog):
    caplog.set_level(logging.DEBUG)
    yield
    gc.collect(1)  # an exception that nobody retrieved is logged when its future goes; all of gc takes 0.1 s
    assert [each for each in caplog.records if "Using selector" not in each.getMessage()] == []


@pytest.fixture
async def leaves_no_task():
    before = asyncio.all_tasks()
    yield
    for _ in range(5):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() - before == set()


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"), "ours")
