"""Leases: handlers that take longer than one, a blocked event loop, renewals that fail."""

import asyncio
import time
from collections.abc import Callable

import dawdle
from dawdle.backends.sqs import SQS
from dawdle.hooks import LeaseLost, Moment
from tests.faults.apps import OrderPlaced, Watched
from tests.faults.rig import QueuePair, Rig, rig, signal_all, until
from tests.faults.row import Figures, Scale, row
from tests.faults.workers import WorkerContext, worker_pool

LEASE = 2


def holds_for_long(context: WorkerContext) -> None:
    """Be a worker whose handler takes five leases."""
    registry = dawdle.Registry()

    @registry.on_event(OrderPlaced, name="long")
    async def long(event: OrderPlaced, ctx: dawdle.Context) -> None:
        context.note(f"run {ctx.event_id}")
        await asyncio.sleep(5 * LEASE)
        context.note(f"done {ctx.event_id}")

    context.work(registry, lease=LEASE, concurrency=10)


@row(19, "real", "a handler of 5 leases", must="1 run", on_ministack=True, on_sqlite=True)
def longer_than_the_lease(scale: Scale) -> Figures:
    """30 events and four workers with room for ten each, so that another one would get a message whose lease ends."""
    figures, count = Figures(), scale.of(30, at_least=5)
    with rig(scale) as on, worker_pool(on.folder) as workers:
        pair = on.pair()
        for _ in range(4):
            workers.start(holds_for_long, pair.url)
        ids = asyncio.run(signal_all(pair.url, [OrderPlaced(number) for number in range(count)]))
        _wait(lambda: sum(on.notes()[f"done {each}"] > 0 for each in ids) == count, 8 * LEASE + 10)
        workers.stop(figures)
        notes = on.notes()
        runs, done = (sum(notes[f"{what} {each}"] for each in ids) for what in ("run", "done"))
        figures.note("events", count)
        figures.must("runs", runs, runs == count, f"{count}")
        figures.must("done", done, done == count, f"{count}")
        on.drained(figures, pair.url)
    return figures


def blocks_the_loop(context: WorkerContext) -> None:
    """Be a worker with the most common mistake in async code: it blocks the event loop for three leases."""
    registry = dawdle.Registry()

    @registry.on_event(OrderPlaced, name="sleeper")
    async def sleeper(event: OrderPlaced, ctx: dawdle.Context) -> None:
        if event.number == 0:
            context.note(f"sleeper {ctx.event_id}")
            time.sleep(3 * LEASE)  # noqa: ASYNC251 - the mistake
            context.note(f"end of sleeper {ctx.event_id}")

    @registry.on_event(OrderPlaced, name="cruncher")
    async def cruncher(event: OrderPlaced, ctx: dawdle.Context) -> None:
        if event.number == 1:
            context.note(f"cruncher {ctx.event_id}")
            end = time.monotonic() + 3 * LEASE
            while time.monotonic() < end:
                sum(range(1000))
            context.note(f"end of cruncher {ctx.event_id}")

    def watch(moment: Moment) -> None:
        if type(moment).__name__ == "LoopBlocked":
            context.note(f"blocked {moment.handler} {moment.seconds}")

    context.work(registry, lease=LEASE, concurrency=1, hooks=[watch])


@row(20, "real", "the loop blocked for 3 leases", must="1 run, a warning with the handler's name")
def blocked(scale: Scale) -> Figures:
    """time.sleep and a busy Python loop, each in a worker of its own; two more workers wait for messages."""
    figures, names = Figures(), ("sleeper", "cruncher")
    with rig(scale) as on, worker_pool(on.folder) as workers:
        pair = on.pair()
        for _ in range(4):
            workers.start(blocks_the_loop, pair.url)
        ids = asyncio.run(signal_all(pair.url, [OrderPlaced(number) for number in range(2)]))
        owed = [f"end of {name} {each}" for name, each in zip(names, ids, strict=True)]
        _wait(lambda: all(on.notes()[line] for line in owed), 30)
        _wait(lambda: on.counts(pair.url).all == 0, 10)
        workers.stop(figures)
        for name, each in zip(names, ids, strict=True):
            runs = on.notes()[f"{name} {each}"]
            figures.must(f"{name}: runs", runs, runs == 1, "1")
            told = [line for line in on.log() if line.startswith("WARNING") and name in line and "block" in line]
            figures.must(f"{name}: warnings with its name", len(told), len(told) >= 1, "1 or more")
            seconds = sum(float(line.split()[2]) for line in on.notes() if line.startswith(f"blocked {name} "))
            figures.must(f"{name}: blocked, by the hook", seconds, 2 * LEASE <= seconds <= 5 * LEASE, "some 3 leases")
        on.drained(figures, pair.url)
    return figures


@row(
    21,
    "real",
    "renewal fails twice, then works; then says that the lease is gone",
    must="kept, then cancelled ≤ 1 s, and neither sent nor deleted",
)
def renewal_fails(scale: Scale) -> Figures:
    """A lease of 3 s: one renewal each second, and what failed is tried again in a quarter of one."""
    figures = Figures()

    async def go(on: Rig, pair: QueuePair) -> None:
        cancelled: list[float] = []
        lost: list[float] = []

        async def handle(event: OrderPlaced, ctx: dawdle.Context) -> None:
            if watched.runs[ctx.event_id] > 1:
                return
            try:
                await asyncio.sleep(9 if event.number == 1 else 20)
            except asyncio.CancelledError:
                cancelled.append(time.monotonic())
                raise

        def watch(moment: Moment) -> None:
            if isinstance(moment, LeaseLost):
                lost.append(time.monotonic())

        watched = Watched(SQS(pair.url, lease=3, wait=1), handle, hooks=[watch])
        async with watched.app as app:
            failing = "ChangeMessageVisibilityBatch"
            on.add_fault_rule("entries_failed", operation=failing, code="InternalError", times=2)
            first = await app.signal(OrderPlaced(1))
            await until(lambda: len(watched.handled) == 1, 15)
            figures.must("failed renewals", len(on.fired()), len(on.fired()) == 2, "2")
            figures.must("runs of the first", watched.runs[first], watched.runs[first] == 1, "1")
            figures.must("lost leases of the first", len(lost), not lost, "0")

            deletes, sends = on.requests("DeleteMessageBatch"), on.requests("SendMessageBatch")
            on.add_fault_rule("entries_failed", operation=failing, code="MessageNotInflight", times=1)
            second = await app.signal(OrderPlaced(2))
            await until(lambda: bool(cancelled), 10)
            struck = on.fired()[-1]["at"]
            took = cancelled[0] - struck if cancelled else 99.0
            made = (on.requests("DeleteMessageBatch") - deletes, on.requests("SendMessageBatch") - sends - 1)
            figures.must("cancelled after", took, 0 <= took <= 1, "≤ 1 s")
            figures.must("lost leases of the second", len(lost), len(lost) == 1, "1")
            figures.must("deletes and sends by then", f"{made}", made == (0, 0), "(0, 0)")
            await until(lambda: watched.runs[second] == 2 and on.counts(pair.url).all == 0, 15)
            figures.must("runs of the second", watched.runs[second], watched.runs[second] == 2, "2: it runs again")
        watched.left(figures)

    with rig(scale) as on:
        pair = on.pair()
        asyncio.run(go(on, pair))
        on.drained(figures, pair.url)
    return figures


def _wait(true: Callable[[], bool], patience: float) -> None:
    asyncio.run(until(true, patience))
