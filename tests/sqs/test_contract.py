"""SQS passes the contract: on our server by a held clock, on ministack in real time."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from dawdle.backends.sqs import SQS
from dawdle.backends.sqs._data_plane import _transports
from dawdle.testing import ManualClock
from dawdle.testing.contract import BackendContract
from dawdle.testing.sqs import SQSServer

# aiohttp would rather have a file for what is larger than a mebibyte; SQS takes no more than that.
large_body = pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")


@large_body
class TestOnOurServer(BackendContract):
    slack = 1.0
    options = {}

    @asynccontextmanager
    async def opened(self):
        self.clock = ManualClock()
        async with SQSServer(clock=self.clock) as self.server:
            self.server.create_queue("dead")
            self.server.create_queue("orders", dead_letter="dead")
            async with SQS(self.server.queue_url("orders"), lease=10, **self.options) as backend:
                yield backend

    async def parked(self):
        async with asyncio.timeout(self.patience):
            while not self.server.queue("orders").polls:
                await asyncio.sleep(0.002)

    async def passes(self, seconds):
        await self.clock.advance(seconds)


@large_body
class TestFIFOOnOurServer(TestOnOurServer):
    @asynccontextmanager
    async def opened(self):
        self.clock = ManualClock()
        async with SQSServer(clock=self.clock) as self.server:
            self.server.create_queue("dead.fifo")
            self.server.create_queue("delayed")
            self.server.create_queue("orders.fifo", dead_letter="dead.fifo", max_receives=1000)
            delayed = self.server.queue_url("delayed")
            url = self.server.queue_url("orders.fifo")
            async with SQS(url, lease=10, delay_queue_url=delayed, **self.options) as backend:
                yield backend

    async def parked(self):
        async with asyncio.timeout(self.patience):
            while not self.server.queue("orders.fifo").polls:
                await asyncio.sleep(0.002)


@pytest.mark.once
class TestFIFOByBotocore(TestFIFOOnOurServer):
    @pytest.fixture(autouse=True)
    def by_botocore(self):
        self.options = {"client": "aiobotocore"}


@pytest.mark.once
class TestByBotocore(TestOnOurServer):
    @pytest.fixture(autouse=True)
    def by_botocore(self):
        self.options = {"client": "aiobotocore"}


@pytest.mark.once
class TestByAiohttp(TestOnOurServer):
    """As with a proxy or a client certificate."""

    @pytest.fixture(autouse=True)
    def by_aiohttp(self, monkeypatch):
        monkeypatch.setattr(_transports, "_is_direct", lambda *_: False)


@large_body
@pytest.mark.slow
@pytest.mark.once
@pytest.mark.xdist_group("ministack")
class TestOnMinistack(BackendContract):
    slack = 1.0
    patience = 10.0

    @pytest.fixture(autouse=True)
    def url_of_ministack(self, ministack_url, make_pair):
        self.url, self.make_pair = ministack_url, make_pair

    @asynccontextmanager
    async def opened(self):
        url, _ = await self.make_pair(self.url)
        async with SQS(url, lease=2) as backend:
            yield backend

    @pytest.mark.xfail(strict=True, reason="ministack lets go of a handle only when another receive has the message")
    async def test_a_renewal_of_what_is_no_longer_ours_says_lost(self):
        await super().test_a_renewal_of_what_is_no_longer_ours_says_lost()


@large_body
@pytest.mark.slow
@pytest.mark.once
@pytest.mark.xdist_group("ministack")
class TestFIFOOnMinistack(BackendContract):
    slack = 1.0
    patience = 10.0

    @pytest.fixture(autouse=True)
    def url_of_ministack(self, ministack_url, make_fifo):
        self.url, self.make_fifo = ministack_url, make_fifo

    @asynccontextmanager
    async def opened(self):
        url, delayed = await self.make_fifo(self.url)
        async with SQS(url, lease=2, delay_queue_url=delayed) as backend:
            yield backend

    @pytest.mark.xfail(strict=True, reason="ministack lets go of a handle only when another receive has the message")
    async def test_a_renewal_of_what_is_no_longer_ours_says_lost(self):
        await super().test_a_renewal_of_what_is_no_longer_ours_says_lost()
