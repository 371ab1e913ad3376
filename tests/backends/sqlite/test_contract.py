"""SQLite passes the contract: by a clock that the test moves, by the machine's own, and with a second object."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from dawdle.backends.sqlite import SQLite
from dawdle.testing import ManualClock
from dawdle.testing.contract import BackendContract


class TestByAClockOfTheTest(BackendContract):
    slack = 0.001

    @pytest.fixture(autouse=True)
    def set_path(self, tmp_path):
        self.path = tmp_path / "app.db"

    @asynccontextmanager
    async def opened(self):
        self.clock = ManualClock()
        async with SQLite(self.path, clock=self.clock, lease=10) as backend:
            yield backend

    async def parked(self):
        await asyncio.sleep(0)

    async def passes(self, seconds):
        await self.clock.advance(seconds)


@pytest.mark.slow
class TestOrdered(TestByAClockOfTheTest):
    @asynccontextmanager
    async def opened(self):
        self.clock = ManualClock()
        async with SQLite(self.path, clock=self.clock, lease=10, ordered=True) as backend:
            yield backend


class TestByTheClockOfTheMachine(BackendContract):
    slack = 0.3

    @pytest.fixture(autouse=True)
    def set_path(self, tmp_path):
        self.path = tmp_path / "app.db"

    @asynccontextmanager
    async def opened(self):
        async with SQLite(self.path, lease=2) as backend:
            yield backend
