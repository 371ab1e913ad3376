"""Versions: nodes that lack a type, a handler, an owed handler or all handlers, beside nodes that have them."""

import asyncio
import random
import time
from collections import Counter

import msgspec

import dawdle
from tests.faults.rig import Rig, rig, signal_all
from tests.faults.row import Figures, Scale, row
from tests.faults.workers import WorkerContext, WorkerPool, worker_pool


class OrderPlaced(msgspec.Struct, frozen=True):
    number: int


class OrderShipped(msgspec.Struct, frozen=True):
    """A type that only new nodes know."""

    number: int


class Heartbeat(msgspec.Struct, frozen=True):
    """The event of a node that lacks all other handlers: without any handler it would not receive."""


HANDLERS = {"receipt": OrderPlaced, "stats": OrderPlaced, "label": OrderShipped, "track": OrderShipped}
NODES = {
    "new": ("receipt", "stats", "label", "track"),
    "without a type": ("receipt", "stats"),
    "without a handler": ("receipt", "label", "track"),
    "without any": (),
}


def node(context: WorkerContext) -> None:
    """Be a node of one version. Every fifth run fails at first, and is owed by its name alone from then on."""
    registry = dawdle.Registry()

    @registry.on_event(Heartbeat, name="heart")
    async def heart(event: Heartbeat) -> None: ...

    def add(name: str) -> None:
        async def handler(event: OrderPlaced | OrderShipped, ctx: dawdle.Context) -> None:
            if event.number % 5 == 0 and ctx.attempt == 1:
                context.note(f"failed {name} {ctx.event_id}")
                raise ConnectionError("the first time")
            context.note(f"done {name} {ctx.event_id}")

        registry.on_event(HANDLERS[name], name=name, retry=dawdle.Retry(initial=0.1, factor=1))(handler)

    for name in NODES[context.more["version"]]:
        add(name)
    context.work(registry, lease=20, concurrency=100)


@row(
    28,
    "real",
    "old and new versions together: nodes lacking a type, a handler, an owed handler, all handlers",
    must="0 lost",
    on_ministack=True,
    on_sqlite=True,
)
def versions(scale: Scale) -> Figures:
    """Old nodes are replaced by new ones once all is signaled: until then what a node lacks is offered around.

    The handlers of an event are those of the node that first handles it. Lost is an event that no handler is done
    with, and a handler that has failed on it and was never done.
    """
    figures, count = Figures(), scale.of(1_000 if scale.on_ministack else 20_000)
    rate = 100.0 if scale.on_ministack else 1_500.0
    kinds = (OrderPlaced, OrderShipped)
    events = [random.choice(kinds)(number) for number in range(count)]
    with rig(scale) as on, worker_pool(on.folder) as workers:
        pair = on.pair()
        for version in NODES:
            workers.start(node, pair.url, version=version)
        started = time.monotonic()
        ids = asyncio.run(signal_all(pair.url, events, rate))
        figures.note("events", count)
        figures.note("signaled in s", round(time.monotonic() - started, 1))
        _deploy(workers, pair.url, figures)
        _finish(on, pair.url, patience=120 if scale.on_ministack else 90)
        figures.note("done in s", round(time.monotonic() - started, 1))
        workers.stop(figures)
        _count(on, ids, [type(event) for event in events], figures)
        letters = on.letters(pair.dead)
        figures.must("dead-lettered", len(letters), not letters, "0")
        on.drained(figures, pair.url)
    return figures


def _deploy(workers: WorkerPool, url: str, figures: Figures) -> None:
    """Replace every node by a new one."""
    workers.stop(figures)
    for _ in range(2):
        workers.start(node, url, version="new")


def _finish(on: Rig, url: str, patience: float) -> None:
    end = time.monotonic() + patience
    while on.counts(url).all and time.monotonic() < end:
        time.sleep(0.5)


def _count(on: Rig, ids: list[str], kinds: list[type], figures: Figures) -> None:
    notes = on.notes()
    done: Counter[str] = Counter()
    twice = 0
    for line, runs in notes.items():
        what, _, rest = line.partition(" ")
        if what == "done":
            done[rest.split()[1]] += 1
            twice += runs - 1
    lost = sum(not done[each] for each in ids)
    failed = [line.removeprefix("failed ") for line in notes if line.startswith("failed ")]
    owed = sum(f"done {each}" not in notes for each in failed)
    by_old = sum(done[each] == 1 and kind is OrderPlaced for each, kind in zip(ids, kinds, strict=True))
    unclaimed = sum("unclaimed" in line for line in on.log())
    figures.must("events lost", lost, lost == 0, "0")
    figures.must("failed handlers not done", owed, owed == 0 and len(failed) > 0, f"0 of {len(failed)}")
    figures.must("run again", twice, twice == 0, "0")
    figures.must("handled by a node that lacks a handler", by_old, by_old > 0, "more")
    figures.must("offered around", unclaimed, unclaimed > 0, "more")
