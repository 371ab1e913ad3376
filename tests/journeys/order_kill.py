"""A FIFO queue while its workers are killed: nothing is lost, and each customer's events are first done in their order.

    python -m tests.journeys.order_kill --customers 100 --events 50 --kills 200
    python -m tests.journeys.order_kill --customers 10 --events 10 --kills 10 --on-ministack

Every 250 to 750 ms one worker process is killed (SIGKILL) and replaced. One event in twenty fails at first, and holds
its customer's line until it is tried again. A handler writes down that an event is done before its message is deleted.
"""

import argparse
import asyncio
import random
import sys
import time
from dataclasses import dataclass

import msgspec
from tests.faults.rig import Rig, rig, until
from tests.faults.row import Figures, Scale
from tests.faults.workers import WorkerContext, WorkerPool, worker_pool

import dawdle
from dawdle.backends.sqs import SQS


class Step(msgspec.Struct, frozen=True):
    customer: int
    number: int


@dataclass(frozen=True)
class Plan:
    """How much is done, and how often a worker is killed."""

    customers: int = 100
    events: int = 50
    workers: int = 3
    kills: int = 200
    patience: float = 600.0


def work(context: WorkerContext) -> None:
    """Be one worker, until killed."""
    registry = dawdle.Registry()

    @registry.on_event(name="handler", retry=dawdle.Retry(initial=0.3))
    async def handler(event: Step, ctx: dawdle.Context) -> None:
        context.note(f"begin {event.customer} {event.number}")
        await asyncio.sleep(random.random() * 0.1)
        if ctx.attempt == 1 and random.random() < 0.05:
            raise ConnectionError("not now")
        context.note(f"done {event.customer} {event.number}")

    context.work(registry, lease=2, wait=2, concurrency=20)


async def kill_at_random(workers: WorkerPool, plan: Plan, url: str, killed: list[int]) -> None:
    """Kill one every 250 to 750 ms and start another, until they are enough."""
    while len(killed) < plan.kills:
        await asyncio.sleep(random.uniform(0.25, 0.75))
        killed.append(await asyncio.to_thread(workers.kill, random.choice(workers.workers)))
        await asyncio.to_thread(workers.start, work, url)


async def signal_all(url: str, plan: Plan, seconds: float) -> None:
    """Signal the events of all customers, each customer's in order, for about as long as workers are killed."""

    async def signal_one(customer: int) -> None:
        for number in range(plan.events):
            await app.signal(Step(customer, number), group=f"customer-{customer}")
            await asyncio.sleep(random.random() * 2 * seconds / plan.events)

    async with dawdle.Dawdle(SQS(url), registry=dawdle.Registry(), start_listener=False) as app:
        await asyncio.gather(*map(signal_one, range(plan.customers)))


async def journey(on: Rig, plan: Plan, figures: Figures) -> None:
    """Signal, kill workers meanwhile, wait until all is done, and say what came of it."""
    pair, killed, want = on.pair(fifo=True), list[int](), plan.customers * plan.events
    with worker_pool(on.folder) as workers:
        for _ in range(plan.workers):
            workers.start(work, pair.url)
        started = time.monotonic()
        killing = asyncio.create_task(kill_at_random(workers, plan, pair.url, killed))
        try:
            await signal_all(pair.url, plan, plan.kills * 0.4)
            await killing
            youngest = f"up {workers.workers[-1].context.index}"
            await until(lambda: youngest in on.notes(), 30)  # a SIGTERM that comes earlier ends it at once
            while on.counts(pair.url).all and time.monotonic() < started + plan.patience:
                await asyncio.sleep(0.2)
        finally:
            killing.cancel()
        figures.note("seconds", round(time.monotonic() - started, 1))
        await asyncio.to_thread(workers.stop, figures)
    notes = on.notes()  # in the order in which each line was written first
    done = {line: count for line, count in notes.items() if line.startswith("done ")}
    first: dict[int, list[int]] = {customer: [] for customer in range(plan.customers)}
    for line in done:
        _, customer, number = line.split()
        first[int(customer)].append(int(number))
    letters = {f"done {each['data']['customer']} {each['data']['number']}" for each in on.letters(pair.dead)}
    lost = want - len(done.keys() | letters)
    swapped = sum(numbers != sorted(numbers) for numbers in first.values())
    again = sum(count - 1 for line, count in notes.items() if line.startswith("begin "))
    figures.note("events", want)
    figures.must("kills", len(killed), len(killed) >= plan.kills, f"{plan.kills} or more")
    figures.must("in hand at the kills", sum(killed), sum(killed) > 0, "more: nothing was tried")
    figures.must("run again", again, again > 0, "more: nothing was tried")
    figures.must("lost", lost, lost == 0, "0")
    figures.must("customers out of order", swapped, swapped == 0, "0")
    figures.must("dead-lettered", len(letters), len(letters) <= want // 100, f"{want // 100} at the most")
    on.drained(figures, pair.url)


def run(plan: Plan, *, on_ministack: bool) -> Figures:
    """Run the journey on a server of its own and return its figures."""
    figures = Figures()
    with rig(Scale(on_ministack=on_ministack)) as on:
        asyncio.run(journey(on, plan, figures))
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=100)
    parser.add_argument("--events", type=int, default=50)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--on-ministack", action="store_true")
    asked = parser.parse_args()
    found = run(
        Plan(customers=asked.customers, events=asked.events, workers=asked.workers, kills=asked.kills),
        on_ministack=asked.on_ministack,
    )
    for name, value in found.shown.items():
        print(f"{name:24} {value}")
    for line in found.broken:
        print(line, file=sys.stderr)
    sys.exit(1 if found.broken else 0)
