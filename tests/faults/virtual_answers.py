"""Lost responses, slow ones, failed entries, duplicates: rows 9, 10, 16, 17 and 18, on a test clock."""

import asyncio

from dawdle.errors import SignalError
from tests.faults.cluster import Cluster, Happened, SeedResult
from tests.faults.fault_injection import FaultRates
from tests.faults.row import Figures, Scale, row
from tests.faults.run_record import random_behaviour
from tests.faults.seeds import run_seeds

EVENTS = 12
FAULT_SECONDS = 60.0
"""Seconds with faults; then they end, and the queue must drain."""


@row(9, "virtual", "5 % of every kind of answer lost after it was applied", must="0 lost, runs ≤ 1 + faults")
def answers_lost(scale: Scale) -> Figures:
    async def story(seed: int, result: SeedResult) -> None:
        async with Cluster(
            seed,
            result,
            nodes=1 + seed % 3,
            rates=FaultRates(lost=0.05),
            plan=random_behaviour(seed, longest=40),
            limited="b" if seed % 4 == 0 else None,
        ) as cluster:
            cluster.signal_some(EVENTS, over=FAULT_SECONDS)
            await cluster.clock.advance(30)
            if seed % 5 == 0:
                await cluster.replace(0)
            await cluster.clock.advance(FAULT_SECONDS)
            cluster.stop_faults()
            await cluster.drain()
            cluster.check_promises()
            for operation in ("send", "receive", "ack", "renew", "release"):
                result.counts[f"{operation} lost"] += cluster.faults.fired[f"{operation} lost"]

    return run_seeds(scale, 2000, story)


@row(10, "virtual", "+ 1 s on every call with a 6 s lease", must="no lease lost")
def slow_calls(scale: Scale) -> Figures:
    async def story(seed: int, result: SeedResult) -> None:
        there = (0.0, 0.5, 1.0)[seed % 3]
        rates = FaultRates(slow=(there, 1.0 - there))
        async with Cluster(
            seed, result, nodes=2, rates=rates, lease=6, plan=random_behaviour(seed, longest=20)
        ) as cluster:
            cluster.signal_some(EVENTS, over=FAULT_SECONDS)
            await cluster.clock.advance(FAULT_SECONDS)
            await cluster.drain()
            cluster.check_promises(allowed=lambda run: 0)
            result.must(not cluster.leases_lost, f"{cluster.leases_lost} leases were lost")
            result.counts["leases lost"] += cluster.leases_lost
            result.counts["renewals"] += sum(call.operation == "renew" for call in cluster.faults.calls)

    return run_seeds(scale, 2000, story, needs="renewals")


@row(16, "virtual", "20 % Failed[] in every batch", must="each its own caller's, 0 lost")
def entries_failed(scale: Scale) -> Figures:
    async def story(seed: int, result: SeedResult) -> None:
        rates = FaultRates(entries=0.2)
        async with Cluster(
            seed, result, nodes=1 + seed % 3, rates=rates, plan=random_behaviour(seed, longest=10)
        ) as cluster:
            for _ in range(2):
                signaling = [asyncio.create_task(each) for each in (_signals(cluster), _signals_many(cluster))]
                await cluster.clock.advance(20)
                await asyncio.gather(*signaling)
            cluster.stop_faults()
            await cluster.drain()
            cluster.check_promises()

    return run_seeds(scale, 1000, story, needs="refused")


async def _signals(cluster: Cluster) -> None:
    """Signal events concurrently, so that they share batches: an error means not stored, none means stored."""
    app = cluster.random.choice(cluster.apps)
    numbers = [cluster.new_number() for _ in range(8)]
    answers = await asyncio.gather(*(app.signal(Happened(number)) for number in numbers), return_exceptions=True)
    for number, answer in zip(numbers, answers, strict=True):
        stored, told = number in cluster.queue.first_stored, not isinstance(answer, Exception)
        cluster.result.must(stored == told, f"event {number} was {stored=}, and its caller was told {told}")
        cluster.result.counts["refused"] += not told
        if told:
            cluster.record.signaled.add(number)


async def _signals_many(cluster: Cluster) -> None:
    """Signal events in one call: its error says which are stored and which are not."""
    numbers = [cluster.new_number() for _ in range(12)]
    app = cluster.random.choice(cluster.apps)
    try:
        stored, failed = await app.signal_many([Happened(number) for number in numbers]), set[str]()
    except SignalError as error:
        stored, failed = list(error.stored), set(error.failed)
    cluster.result.must(len(stored) + len(failed) == len(numbers), "signal_many answered for some events only")
    cluster.result.must(cluster.queue.ids.issuperset(stored), "signal_many says stored of what is not")
    cluster.result.must(cluster.queue.ids.isdisjoint(failed), "signal_many says failed of what is stored")
    cluster.result.counts["refused"] += len(failed)
    cluster.record.signaled.update(number for number in numbers if number in cluster.queue.first_stored)


@row(17, "virtual", "10 % delivered twice, also twice in one receive", must="0 lost, runs ≤ 1 + faults, 1 on one node")
def delivered_twice(scale: Scale) -> Figures:
    async def story(seed: int, result: SeedResult) -> None:
        nodes = (1, 1, 2, 3)[seed % 4]
        async with Cluster(
            seed, result, nodes=nodes, rates=FaultRates(twice=0.1), plan=random_behaviour(seed, longest=40)
        ) as cluster:
            cluster.signal_some(EVENTS, over=FAULT_SECONDS)
            await cluster.clock.advance(FAULT_SECONDS + 30)
            cluster.stop_faults()
            await cluster.drain()
            cluster.check_promises(allowed=(lambda run: 0) if nodes == 1 else None)
            result.counts["in one answer"] += cluster.faults.fired["in one answer"]

    return run_seeds(scale, 2000, story, needs="in one answer")


@row(18, "virtual", "deleted and back again to the same process, 2 %", must="0 lost, not run")
def deleted_and_back(scale: Scale) -> Figures:
    async def story(seed: int, result: SeedResult) -> None:
        async with Cluster(
            seed, result, rates=FaultRates(comes_back=0.02), plan=random_behaviour(seed, longest=10)
        ) as cluster:
            cluster.signal_some(EVENTS, over=FAULT_SECONDS)
            await cluster.clock.advance(FAULT_SECONDS + 30)
            cluster.stop_faults()
            await cluster.drain()
            cluster.check_promises(allowed=lambda run: 0)

    return run_seeds(scale, 2000, story)
