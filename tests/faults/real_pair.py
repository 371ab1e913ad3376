"""A pair of workers with different handlers on one queue, beside a node that has both and one that has neither."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

import dawdle
from tests.faults.rig import Rig, missing, rig, signal_all
from tests.faults.row import Figures, Scale, row
from tests.faults.workers import Worker, WorkerContext, WorkerPool, worker_pool

BOTH: Final = ("mail", "crm")
PATIENCE: Final = 120.0
"""Seconds after the last signal in which everything must be handled."""


class Shared(msgspec.Struct, frozen=True):
    """An event that both handlers must have. Each process declares it for itself."""

    number: int


class Heartbeat(msgspec.Struct, frozen=True):
    """The event of a node without any of the handlers."""


NODES: Final = {"old": (BOTH, ()), "mail": (("mail",), BOTH), "crm": (("crm",), BOTH), "neither": ((), BOTH)}
"""By version: the handlers that a node has, and those that its type names. An old node's names none."""


def node(context: WorkerContext) -> None:
    """Be a node of one version."""
    names, named = NODES[context.more["version"]]
    dawdle.event("Shared", handlers=named)(Shared)
    registry = dawdle.Registry()

    @registry.on_event(Heartbeat, name="heart")
    async def heart(event: Heartbeat) -> None: ...

    for name in names:
        registry.on_event(Shared, name=name, retry=dawdle.Retry(initial=0.1, factor=1))(_handler(context, name))
    # The test server serves the poll that has waited longest. Where each waits a second, as long as a copy's shortest
    # delay, that is the same node again and again: of SQS, which chooses among all, that would be wrong.
    context.work(registry, lease=20, wait=7, concurrency=100)


def _handler(context: WorkerContext, name: str) -> Callable[[Shared, dawdle.Context], Awaitable[None]]:
    async def handle(event: Shared, ctx: dawdle.Context) -> None:
        if event.number % 10 == 0 and ctx.attempt == 1:
            raise ConnectionError("the first time")
        context.note(f"{name} {ctx.event_id}")

    return handle


@row(
    33,
    "real",
    "a worker pair with different handlers, beside an old node and one that has neither",
    must="0 lost for each, 0 run again",
    on_ministack=True,
    on_sqlite=True,
)
def worker_pair(scale: Scale) -> Figures:
    """Half way the old node leaves, as in a deploy."""
    figures, count = Figures(), scale.of(1_000)
    events = [Shared(number) for number in range(count)]
    with rig(scale) as on, worker_pool(on.folder) as workers:
        pair = on.pair()
        old, *_ = [workers.start(node, pair.url, version=version) for version in NODES]
        started = time.monotonic()
        ids = asyncio.run(signal_all(pair.url, events[: count // 2], 100.0))
        _leave(workers, old, figures)
        ids += asyncio.run(signal_all(pair.url, events[count // 2 :], 100.0))
        while on.counts(pair.url).all and time.monotonic() < started + count / 100 + PATIENCE:
            time.sleep(0.5)
        figures.note("events", count)
        figures.note("done in s", round(time.monotonic() - started, 1))
        workers.stop(figures)
        _count(on, ids, figures)
        letters = on.letters(pair.dead)
        figures.must("dead-lettered", len(letters), not letters, "0")
        on.drained(figures, pair.url)
    return figures


def _leave(workers: WorkerPool, worker: Worker, figures: Figures) -> None:
    worker.send(signal.SIGTERM)
    if not worker.end(30):
        figures.failed("the old node had to be killed")
    workers.workers.remove(worker)
    workers.audit(figures, [worker])


def _count(on: Rig, ids: list[str], figures: Figures) -> None:
    notes = on.notes()
    for name in BOTH:
        lost = missing(notes, [name], ids)
        again = sum(notes[f"{name} {each}"] - 1 for each in ids if notes[f"{name} {each}"])
        figures.must(f"lost for {name}", lost, lost == 0, "0")
        figures.must(f"run again, {name}", again, again == 0, "0")
    told = sum("unclaimed" in line for line in on.log())
    figures.note("told of as unclaimed", told)
