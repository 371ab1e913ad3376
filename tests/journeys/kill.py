"""Workers are killed at random while they work; every event must be handled by every handler all the same.

    python -m tests.journeys.kill [--orders 10000] [--processes 4] [--kills 200] [--sqlite | --on-ministack]

Worker processes on one queue, on SQS or in a SQLite file, one killed with SIGKILL every 250 to 750 ms and replaced.
Each handler writes down what it has done, before its message is deleted; each worker keeps the number of messages it
has in hand where the parent can read it after the kill. Lost is what was signaled and is neither done nor
dead-lettered, per handler. A run beyond the first can only be of a message that was in hand at a kill.
"""

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from tests.faults.rig import Rig, rig, signal_all, until
from tests.faults.row import Figures, Scale
from tests.faults.workers import WorkerContext, WorkerPool, worker_pool

import dawdle

HANDLERS = ("receipt", "stats", "shipping")


class OrderPlaced(msgspec.Struct, frozen=True):
    number: int


@dataclass(frozen=True)
class Plan:
    """How much is done, and how fast."""

    orders: int = 10_000
    workers: int = 4
    rate: float = 1000.0
    """Orders a second."""

    longest: float = 0.05
    """Seconds that a handler takes at most."""

    kills: int = 0
    """At least so many, however soon the orders are done."""

    patience: float = 300.0


def work(context: WorkerContext) -> None:
    """Be one worker, until killed."""
    registry = dawdle.Registry()
    for name in HANDLERS:
        registry.on_event(OrderPlaced, name=name, retry=dawdle.Retry(initial=0.2))(_handler(context, name))
    context.work(registry, lease=4, wait=2, concurrency=50)


def _handler(context: WorkerContext, name: str):
    async def handler(event: OrderPlaced, ctx: dawdle.Context) -> None:
        await asyncio.sleep(random.random() * context.more["longest"])
        if name == "shipping" and ctx.attempt == 1 and event.number % 10 == 0:
            raise ConnectionError("the carrier does not answer")
        context.note(f"{name} {ctx.event_id}")

    return handler


async def kill_at_random(workers: WorkerPool, plan: Plan, url: str, enough: asyncio.Event) -> list[int]:
    """Kill one every 250 to 750 ms and start another; return what each had in hand."""
    in_hand: list[int] = []
    while not enough.is_set() or len(in_hand) < plan.kills:
        await asyncio.sleep(random.uniform(0.25, 0.75))
        in_hand.append(await asyncio.to_thread(workers.kill, random.choice(workers.workers)))
        await asyncio.to_thread(workers.start, work, url, longest=plan.longest)
    return in_hand


async def journey(on: Rig, plan: Plan, figures: Figures) -> None:
    """Place orders, kill workers meanwhile, wait until all is done, and say what came of it."""
    pair, enough, want = on.pair(), asyncio.Event(), plan.orders * len(HANDLERS)
    given_up: set[str] = set()
    with worker_pool(on.folder) as workers:
        for _ in range(plan.workers):
            workers.start(work, pair.url, longest=plan.longest)
        started = time.monotonic()
        killing = asyncio.create_task(kill_at_random(workers, plan, pair.url, enough))
        try:
            ids = await signal_all(pair.url, [OrderPlaced(number) for number in range(plan.orders)], plan.rate)
            owed = {f"{name} {each}" for name in HANDLERS for each in ids}
            while (done := len((on.notes().keys() | given_up) & owed)) < want:
                if done > want * 0.9:
                    enough.set()  # enough was killed; what is left must come back by itself
                if time.monotonic() > started + plan.patience:
                    break
                await asyncio.sleep(0.2)
                given_up |= _owed_in(on.letters(pair.dead))
            enough.set()
            in_hand = await killing
            # What was done but not yet deleted when its worker was killed comes back when its lease ends.
            await until(lambda: on.counts(pair.url).all == 0, plan.patience, step=0.2)
            # Before it is up, a signal ends a worker as any process; the last of them has just been started.
            await until(lambda: all(f"up {each.context.index}" in on.notes() for each in workers.workers), 60)
        finally:
            killing.cancel()
        figures.note("seconds", round(time.monotonic() - started, 1))
        await asyncio.to_thread(workers.stop, figures)
    runs = Counter({line: count for line, count in on.notes().items() if line in owed})
    given_up |= _owed_in(on.letters(pair.dead))
    lost = len(owed - runs.keys() - given_up)
    figures.note("orders", plan.orders)
    figures.must("kills", len(in_hand), len(in_hand) >= plan.kills, f"{plan.kills} or more")
    figures.must("in hand at the kills", sum(in_hand), sum(in_hand) > 0, "more: nothing was tried")
    figures.must("lost", lost, lost == 0, "0")
    # What ran alone in three processes that were killed just then is taken for what kills them: 1 in 10,000 or so.
    figures.must("dead-lettered", len(given_up), len(given_up) <= want // 1000, f"{want // 1000} at the most")
    for name in HANDLERS:
        extra = sum(count - 1 for line, count in runs.items() if line.startswith(f"{name} "))
        figures.must(f"run again: {name}", extra, extra <= sum(in_hand), "at most what was in hand")
    on.drained(figures, pair.url)


def _owed_in(letters: list[dict[str, Any]]) -> set[str]:
    """Return whose claims were given up: the named handler's, or all handlers'."""
    pairs = [(letter, [letter["dawdleowed"]] if "dawdleowed" in letter else HANDLERS) for letter in letters]
    return {f"{name} {letter['id']}" for letter, names in pairs for name in names}


def run(plan: Plan, scale: Scale) -> Figures:
    """Run the journey on a server or a file of its own and return its figures; of `scale` only where."""
    figures = Figures()
    with rig(scale) as on:
        asyncio.run(journey(on, plan, figures))
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=10_000)
    parser.add_argument("--processes", "--workers", type=int, default=4)
    parser.add_argument("--kills", type=int, default=0, help="at least so many; the orders are spread over them")
    on_what = parser.add_mutually_exclusive_group()
    on_what.add_argument("--sqlite", action="store_true", help="on one SQLite file")
    on_what.add_argument("--on-ministack", action="store_true", help="on ministack, fed at 100 orders a second")
    parser.add_argument("--patience", type=float, default=600.0)
    asked = parser.parse_args()
    plan = Plan(orders=asked.orders, workers=asked.processes, patience=asked.patience)
    if asked.on_ministack:
        plan = replace(plan, rate=100.0)
    if asked.kills:
        # Of few processes each is killed often: what takes long there is received so often that it is a suspect.
        longest = asked.processes / 8
        plan = replace(plan, kills=asked.kills, rate=asked.orders / (asked.kills * 0.5), longest=longest)
    found = run(plan, Scale(on_ministack=asked.on_ministack, on_sqlite=asked.sqlite))
    for name, value in found.shown.items():
        print(f"{name:24} {value}")
    for line in found.broken:
        print(line, file=sys.stderr)
    sys.exit(1 if found.broken else 0)
