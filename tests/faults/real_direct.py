"""A service that handles its own direct events, deployed again and again under load. Row 31."""

import asyncio
import contextlib
import itertools
import random
import signal
from typing import Any

import msgspec

import dawdle
from tests.faults.rig import Rig, missing, rig, until
from tests.faults.row import Figures, Scale, row
from tests.faults.workers import Worker, WorkerContext, WorkerPool, worker_pool

SIDE_BY_SIDE = 8


class PageViewed(msgspec.Struct, frozen=True):
    number: int


def serves(context: WorkerContext) -> None:
    """Be a service that signals directly for as long as it lives, and is stopped in the middle of it."""
    registry = dawdle.Registry()

    @registry.on_event(PageViewed, name="count")
    async def count(event: PageViewed, ctx: dawdle.Context) -> None:
        await asyncio.sleep(random.uniform(0, 0.2))
        context.note(f"count {ctx.event_id}")

    @registry.on_event(PageViewed, name="index")
    async def index(event: PageViewed, ctx: dawdle.Context) -> None:
        await asyncio.sleep(random.uniform(0, 0.6))
        context.note(f"index {ctx.event_id}")

    @contextlib.asynccontextmanager
    async def life(app: dawdle.Dawdle) -> Any:
        async def request(number: int) -> None:
            try:
                event_id = await app.signal(PageViewed(number), direct=True)
            except dawdle.DawdleError:
                return  # told, and so not promised
            context.note(f"signaled {event_id}")

        async def load() -> None:
            async with asyncio.TaskGroup() as requests:
                for number in itertools.count():
                    requests.create_task(request(number))
                    await asyncio.sleep(0.02)

        loading = asyncio.create_task(load())
        context.note(f"up {context.index}")
        try:
            yield
        finally:
            loading.cancel()
            await asyncio.wait([loading])

    context.work(registry, lease=10, grace=0.3, concurrency=4, lifespan=life)


@row(
    31,
    "real",
    "SIGTERM ×50 under direct load, grace 0.3 s",
    must="of 1,000 events or more lost 0",
    on_ministack=True,
    on_sqlite=True,
)
def deployed(scale: Scale) -> Figures:
    """Each deploy ends a service while events run, wait for a slot, and come in after the signal."""
    figures, lives = Figures(), scale.of(50)
    width = min(SIDE_BY_SIDE, lives)
    with rig(scale) as on, worker_pool(on.folder) as workers:
        pair = on.pair()

        async def some(count: int) -> None:
            for _ in range(count):
                await _live(on, workers, workers.start(serves, pair.url), figures)

        async def all_lives() -> None:
            shares = [lives // width + (number < lives % width) for number in range(width)]
            await asyncio.gather(*map(some, shares))
            last = workers.start(drains, pair.url)
            await until(lambda: on.counts(pair.url).all == 0, 60)
            await _ended(workers, last, figures)

        asyncio.run(all_lives())
        notes = on.notes()
        ids = [line.split()[1] for line in notes if line.startswith("signaled ")]
        lost = missing(notes, ["count", "index"], ids)
        figures.must("events", len(ids), len(ids) >= scale.of(1000), f"{scale.of(1000)} or more")
        figures.note("run twice", sum(notes[f"{name} {each}"] > 1 for each in ids for name in ("count", "index")))
        figures.must("lost", lost, lost == 0, "0")
        on.drained(figures, pair.url)
    return figures


def drains(context: WorkerContext) -> None:
    """Be a worker that handles what the deploys have put into the queue."""
    registry = dawdle.Registry()

    @registry.on_event(PageViewed, name="count")
    async def count(event: PageViewed, ctx: dawdle.Context) -> None:
        context.note(f"count {ctx.event_id}")

    @registry.on_event(PageViewed, name="index")
    async def index(event: PageViewed, ctx: dawdle.Context) -> None:
        context.note(f"index {ctx.event_id}")

    context.work(registry, lease=10, grace=5)


async def _live(on: Rig, workers: WorkerPool, worker: Worker, figures: Figures) -> None:
    """Let a service come up, work for a while, and end it."""
    if await until(lambda: f"up {worker.context.index}" in on.notes(), 30) is None:
        raise TimeoutError(f"worker {worker.context.index} did not come up in 30 s")
    await asyncio.sleep(random.uniform(0.4, 1.0))
    await _ended(workers, worker, figures)


async def _ended(workers: WorkerPool, worker: Worker, figures: Figures) -> None:
    worker.send(signal.SIGTERM)
    if await until(lambda: not worker.alive(), 20) is None:
        figures.failed(f"worker {worker.context.index} has not ended 20 s after SIGTERM")
        return
    workers.audit(figures, [worker])
