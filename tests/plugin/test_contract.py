"""The contract suite runs against a user's own backend from ten lines of his."""

import pytest

pytestmark = pytest.mark.once

TEN_LINES = """
from drawer import Drawer
from dawdle.testing.contract import BackendContract


class TestDrawer(BackendContract):
    slack = 0.0

    def make(self):
        return Drawer(self.clock)
"""

ON_REAL_TIME = """
from drawer import Drawer
from dawdle.abc import SystemClock
from dawdle.testing.contract import BackendContract


class TestDrawer(BackendContract):
    slack = 0.1

    def make(self):
        return Drawer(SystemClock(), lease=0.4)
"""

DRAWER = '''
import itertools
from contextlib import asynccontextmanager

from dawdle.abc import Delivery, Fault, Limits


class Drawer:
    """A queue in a dict, without a dead-letter queue: it neither waits nor delays."""

    def __init__(self, clock, lease=10):
        self.limits = Limits(
            max_batch=10, max_body=1000, max_batch_bytes=5000, lease=lease, can_release_later=True, durable=False
        )
        self.dead_letters = self.delayed = None
        self.clock = clock
        self.numbers = itertools.count()
        self.bodies, self.visible_at, self.receipts, self.counts = {}, {}, {}, {}

    async def __aenter__(self):
        return self

    async def __aexit__(self, *error): ...

    async def prepare_receive(self): ...

    async def send(self, batch):
        return [self.put(each) for each in batch]

    def put(self, outgoing):
        if len(outgoing.body) > self.limits.max_body or outgoing.delay:
            return Fault("refused", "too large, or delayed")
        key = str(next(self.numbers))
        self.bodies[key], self.visible_at[key], self.counts[key] = outgoing.body, 0.0, 0

    async def receive(self, limit, wait):
        now = self.clock.monotonic()
        keys = [key for key, at in self.visible_at.items() if at <= now][:limit]
        return [self.hand_out(key, now) for key in keys]

    def hand_out(self, key, now):
        self.visible_at[key] = now + self.limits.lease
        self.counts[key] += 1
        receipt = f"{key}.{self.counts[key]}"
        self.receipts[key] = receipt
        return Delivery(receipt, key, self.bodies[key], self.counts[key])

    def held(self, receipt):
        key = receipt.partition(".")[0]
        return key if self.receipts.get(key) == receipt and key in self.bodies else None

    async def ack(self, receipts):
        for key in filter(None, map(self.held, receipts)):
            del self.bodies[key], self.visible_at[key]
        return [None] * len(receipts)

    async def renew(self, receipts):
        return [self.show(each, self.limits.lease) for each in receipts]

    async def release(self, batch):
        return [self.show(receipt, delay) for receipt, delay in batch]

    def show(self, receipt, delay):
        key = self.held(receipt)
        if key is None or self.visible_at[key] <= self.clock.monotonic():
            return Fault("lost", "its lease has ended")
        self.visible_at[key] = self.clock.monotonic() + delay

    @asynccontextmanager
    async def renewer(self):
        yield self.renew
'''


@pytest.mark.parametrize("mode", ["--asyncio-mode=auto", "-pno:asyncio"])
def test_ten_lines_run_the_contract(run, mode):
    assert len(TEN_LINES.strip().splitlines()) <= 10
    outcomes = run(mode, drawer=DRAWER, test_drawer=TEN_LINES).parseoutcomes()
    assert outcomes.keys() == {"passed", "skipped"}
    assert outcomes["passed"] >= 20


@pytest.mark.slow
def test_a_queue_without_a_clock_of_the_test_is_given_real_time(run):
    outcomes = run("--asyncio-mode=strict", drawer=DRAWER, test_drawer=ON_REAL_TIME).parseoutcomes()
    assert outcomes.keys() == {"passed", "skipped"}
    assert outcomes["passed"] >= 20


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("del self.bodies[key], self.visible_at[key]", "pass"),
        ('receipt = f"{key}.{self.counts[key]}"', 'receipt = f"{key}.1"'),
        ("self.visible_at[key] = self.clock.monotonic() + delay", "self.visible_at[key] = 0.0"),
    ],
    ids=["an ack that deletes nothing", "one receipt for all receives", "a release that does not wait"],
)
def test_the_contract_finds_a_mistake(run, right, wrong):
    assert right in DRAWER
    result = run("-pno:asyncio", "-x", drawer=DRAWER.replace(right, wrong), test_drawer=TEN_LINES)
    assert result.parseoutcomes()["failed"] == 1
