"""The simulated queue is a queue like any other: it passes the contract, and what SQS does besides."""

import asyncio
from contextlib import asynccontextmanager
from random import Random

import pytest

from dawdle.abc import Outgoing
from dawdle.errors import BackendError
from dawdle.testing import ManualClock
from dawdle.testing.contract import BackendContract
from tests.faults.fault_injection import FaultInjector, FaultRates
from tests.faults.simulated_backend import SimulatedBackend
from tests.faults.simulated_sqs import SimulatedSQS, number_in

pytestmark = pytest.mark.anyio

STILL = FaultRates(latency=(0, 0))


class TestTheSimulatedQueue(BackendContract):
    @asynccontextmanager
    async def opened(self):
        self.clock = ManualClock()
        async with (
            SimulatedSQS(self.clock, lease=10) as sqs,
            SimulatedBackend(sqs.queue, FaultInjector(self.clock, Random(0), STILL)) as wire,
        ):
            yield wire

    async def parked(self):
        await asyncio.sleep(0)

    async def passes(self, seconds):
        await self.clock.advance(seconds)


BODY = b'{"number":7}'


@pytest.fixture
async def queue(clock, no_task_is_left):
    async with SimulatedSQS(clock, in_flight=2) as sqs:
        yield sqs.queue


def wire_to(queue, seed=0, **rates):
    return SimulatedBackend(queue, FaultInjector(queue.clock, Random(seed), FaultRates(**{"latency": (0, 0), **rates})))


async def test_an_abandoned_poll_swallows_the_next_message_until_its_lease_ends(queue, clock):
    poll = asyncio.create_task(wire_to(queue).receive(10, 20))
    await clock.advance(1)
    poll.cancel()
    await clock.advance(1)
    queue.send([Outgoing(BODY)])
    assert await wire_to(queue).receive(10, 0) == []
    await clock.advance(30)
    (delivery,) = await wire_to(queue).receive(10, 0)
    assert delivery.receive_count == 2


async def test_a_full_flight_is_an_error_for_who_does_not_wait_and_silence_for_who_does(queue, clock):
    for _ in range(3):
        queue.send([Outgoing(BODY)])
    first, _ = await wire_to(queue).receive(10, 0)
    with pytest.raises(BackendError, match="in flight") as raised:
        await wire_to(queue).receive(10, 0)
    assert raised.value.kind == "throttled"
    poll = asyncio.create_task(wire_to(queue).receive(10, 20))
    await clock.advance(5)
    assert not poll.done()
    await wire_to(queue).ack([first.receipt])
    await clock.advance(0)
    assert len(poll.result()) == 1


async def test_what_is_received_too_often_is_dead_lettered(clock):
    async with SimulatedSQS(clock, max_receives=2) as sqs:
        sqs.queue.send([Outgoing(BODY)])
        for _ in range(2):
            assert len(await wire_to(sqs.queue).receive(10, 0)) == 1
            await clock.advance(30)
        assert await wire_to(sqs.queue).receive(10, 0) == []
        assert [number_in(message.body) for message in sqs.dead.messages()] == [7]
        assert (sqs.queue.message_count, sqs.dead.redriven) == (0, 1)


async def test_a_lost_answer_was_carried_out(queue):
    with pytest.raises(BackendError):
        await wire_to(queue, lost=1.0, slowly=0).send([Outgoing(BODY)])
    assert queue.message_count == 1


@pytest.mark.parametrize("kind", ["unavailable", "throttled", "denied", "missing"])
async def test_a_refused_call_was_not(queue, kind):
    with pytest.raises(BackendError) as raised:
        await wire_to(queue, **{kind: 1.0}).send([Outgoing(BODY)])
    assert raised.value.kind == kind
    assert not queue.message_count


async def test_silence_lasts_until_the_caller_gives_up(queue, clock):
    call = asyncio.create_task(wire_to(queue, silence=1.0).send([Outgoing(BODY)]))
    await clock.advance(9.9)
    assert not call.done()
    await clock.advance(0.2)
    with pytest.raises(BackendError, match="in time"):
        call.result()


async def test_entries_fail_one_by_one(queue):
    faults = await wire_to(queue, entries=0.5).send([Outgoing(BODY) for _ in range(10)])
    assert 0 < sum(fault is not None for fault in faults) < 10
    assert queue.message_count == sum(fault is None for fault in faults)


async def test_twice_in_one_answer_has_one_key_and_two_receipts(queue):
    queue.send([Outgoing(BODY)])
    one, two = await wire_to(queue, twice=1.0, within=1.0).receive(10, 0)
    assert one.key == two.key
    assert one.receipt != two.receipt


async def test_what_is_deleted_comes_back_under_its_key(queue, clock):
    queue.send([Outgoing(BODY)])
    wire = wire_to(queue, comes_back=1.0)
    (first,) = await wire.receive(10, 0)
    await wire.ack([first.receipt])
    await clock.advance(60)
    (second,) = await wire.receive(10, 0)
    assert (second.key, second.receive_count) == (first.key, 2)
