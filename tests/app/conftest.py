"""The app is tested on a held clock, without sleep, and leaves no task behind."""

from contextlib import asynccontextmanager

import msgspec
import pytest

from dawdle import Dawdle, Registry
from dawdle.backends.memory import Memory


@pytest.fixture(autouse=True)
async def leaves_no_task(no_task_is_left):
    return


@pytest.fixture
def registry():
    return Registry()


@pytest.fixture
def queue(clock):
    return Memory(clock=clock, max_delay=900)


@pytest.fixture
def moments():
    return []


@pytest.fixture
def make_app(registry, queue, clock, moments):
    """Make an app on the held clock."""

    def make(backend=None, **options):
        return Dawdle(backend or queue, **{"registry": registry, "clock": clock, "hooks": [moments.append], **options})

    return make


@pytest.fixture
def running(make_app):
    """Enter an app on the held clock."""

    @asynccontextmanager
    async def run(backend=None, **options):
        async with make_app(backend, **options) as app:
            yield app

    return run


@pytest.fixture
def letters(queue):
    """Read what is in the dead-letter queue."""
    return lambda: [msgspec.json.decode(body) for body in queue.dead_letters.messages()]
