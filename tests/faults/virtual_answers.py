"""Answers that are lost, late, partly no, or doubled: rows 9, 10, 16, 17 and 18, on a test clock."""

import asyncio

from dawdle.errors import SignalError
from tests.faults.ledger import moody
from tests.faults.row import Figures, Scale, row
from tests.faults.seeds import run_seeds
from tests.faults.trouble import Rates
from tests.faults.world import Happened, Tally, World

EVENTS = 12
STORM = 60.0
"""Seconds for which things go wrong; then they end, and all that is left must drain."""


@row(9, "virtual", "5 % of every kind of answer lost after it was applied", must="0 lost, runs ≤ 1 + faults")
def answers_lost(scale: Scale) -> Figures:
    async def story(seed: int, tally: Tally) -> None:
        async with World(
            seed,
            tally,
            nodes=1 + seed % 3,
            rates=Rates(lost=0.05),
            plan=moody(seed, longest=40),
            crowded="b" if seed % 4 == 0 else None,
        ) as world:
            world.signal_some(EVENTS, over=STORM)
            await world.clock.advance(30)
            if seed % 5 == 0:
                await world.replace(0)
            await world.clock.advance(STORM)
            world.calm()
            await world.drain()
            world.judge()
            for operation in ("send", "receive", "ack", "renew", "release"):
                tally.counts[f"{operation} lost"] += world.trouble.fired[f"{operation} lost"]

    return run_seeds(scale, 2000, story)


@row(10, "virtual", "+ 1 s on every call with a 6 s lease", must="no lease lost")
def slow_calls(scale: Scale) -> Figures:
    async def story(seed: int, tally: Tally) -> None:
        there = (0.0, 0.5, 1.0)[seed % 3]
        rates = Rates(slow=(there, 1.0 - there))
        async with World(seed, tally, nodes=2, rates=rates, lease=6, plan=moody(seed, longest=20)) as world:
            world.signal_some(EVENTS, over=STORM)
            await world.clock.advance(STORM)
            await world.drain()
            world.judge(allowed=lambda run: 0)
            tally.must(not world.leases_lost, f"{world.leases_lost} leases were lost")
            tally.counts["leases lost"] += world.leases_lost
            tally.counts["renewals"] += sum(call.operation == "renew" for call in world.trouble.calls)

    return run_seeds(scale, 2000, story, needs="renewals")


@row(16, "virtual", "20 % Failed[] in every batch", must="each its own caller's, 0 lost")
def entries_failed(scale: Scale) -> Figures:
    async def story(seed: int, tally: Tally) -> None:
        rates = Rates(entries=0.2)
        async with World(seed, tally, nodes=1 + seed % 3, rates=rates, plan=moody(seed, longest=10)) as world:
            for _ in range(2):
                signaling = [asyncio.create_task(each) for each in (_signals(world), _signals_many(world))]
                await world.clock.advance(20)
                await asyncio.gather(*signaling)
            world.calm()
            await world.drain()
            world.judge()

    return run_seeds(scale, 1000, story, needs="refused")


async def _signals(world: World) -> None:
    """Signal events side by side, which share batches: an error means not stored, and none means stored."""
    app = world.random.choice(world.apps)
    numbers = [world.number() for _ in range(8)]
    answers = await asyncio.gather(*(app.signal(Happened(number)) for number in numbers), return_exceptions=True)
    for number, answer in zip(numbers, answers, strict=True):
        stored, told = number in world.queue.first_stored, not isinstance(answer, Exception)
        world.tally.must(stored == told, f"event {number} was {stored=}, and its caller was told {told}")
        world.tally.counts["refused"] += not told
        if told:
            world.ledger.signaled.add(number)


async def _signals_many(world: World) -> None:
    """Signal events in one call: its error says which are stored and which are not."""
    numbers = [world.number() for _ in range(12)]
    app = world.random.choice(world.apps)
    try:
        stored, failed = await app.signal_many([Happened(number) for number in numbers]), set[str]()
    except SignalError as error:
        stored, failed = list(error.stored), set(error.failed)
    world.tally.must(len(stored) + len(failed) == len(numbers), "signal_many answered for some events only")
    world.tally.must(world.queue.ids.issuperset(stored), "signal_many says stored of what is not")
    world.tally.must(world.queue.ids.isdisjoint(failed), "signal_many says failed of what is stored")
    world.tally.counts["refused"] += len(failed)
    world.ledger.signaled.update(number for number in numbers if number in world.queue.first_stored)


@row(17, "virtual", "10 % delivered twice, also twice in one receive", must="0 lost, runs ≤ 1 + faults, 1 on one node")
def delivered_twice(scale: Scale) -> Figures:
    async def story(seed: int, tally: Tally) -> None:
        nodes = (1, 1, 2, 3)[seed % 4]
        async with World(seed, tally, nodes=nodes, rates=Rates(twice=0.1), plan=moody(seed, longest=40)) as world:
            world.signal_some(EVENTS, over=STORM)
            await world.clock.advance(STORM + 30)
            world.calm()
            await world.drain()
            world.judge(allowed=(lambda run: 0) if nodes == 1 else None)
            tally.counts["in one answer"] += world.trouble.fired["in one answer"]

    return run_seeds(scale, 2000, story, needs="in one answer")


@row(18, "virtual", "deleted and back again to the same process, 2 %", must="0 lost, not run")
def deleted_and_back(scale: Scale) -> Figures:
    async def story(seed: int, tally: Tally) -> None:
        async with World(seed, tally, rates=Rates(comes_back=0.02), plan=moody(seed, longest=10)) as world:
            world.signal_some(EVENTS, over=STORM)
            await world.clock.advance(STORM + 30)
            world.calm()
            await world.drain()
            world.judge(allowed=lambda run: 0)

    return run_seeds(scale, 2000, story)
