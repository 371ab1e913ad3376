"""The measurements that only a queue in a file has: its own calls, two processes on one file, idling, waking."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import dawdle
from dawdle.abc import Delivery
from dawdle.backends.sqlite import SQLite
from tests.bench import sync_counter
from tests.bench.contestants import FileQueue, contestant
from tests.bench.rig import Meter, Rig, Server, cpu
from tests.bench.second_process import SecondProcess
from tests.bench.work import Job, Order, Result, Setting

WARM_UP: Final = 0.3
"""Of the seconds of a measurement, before it begins."""

MIN_IDLE_SECONDS: Final = 6.0
MIN_SHARE_SECONDS: Final = 6.0
WAKE_UPS: Final = 100


async def put_get_ack(job: Job) -> Result:
    """Put, get and ack through a queue's own calls, while so many messages wait in it."""
    queue: FileQueue = contestant(job.contestant, job.where)(Setting(job, ()))
    async with queue:
        await queue.fill(job.work.backlog)
        if job.work.waiting:
            await queue.fill(job.work.waiting, delayed=True)
        await queue.run(time.perf_counter() + job.work.seconds * WARM_UP)
        meter = Meter(Server(job))
        before = sync_counter.counts()
        result = meter.stop(await queue.run(time.perf_counter() + job.work.seconds))
        after = sync_counter.counts()
    result.figures["rate"] = result.rate or 0.0
    if before is not None and after is not None and after[1] > before[1]:
        result.figures["syncs per transaction"] = (after[0] - before[0]) / (after[1] - before[1])
    return result


async def two_roles(job: Job) -> Result:
    """Signal in one process and handle in another, by an app in each; the CPU of both counts."""
    rig = await Rig(job).open()
    async with SecondProcess(job, "signal") as other:
        await rig.listen()

        async def run(events: int) -> None:
            done = rig.handled(events)
            await other.ask(f"signal {events}")
            await done.wait()

        events = await rig.events_for(run)
        theirs = float(await other.ask("cpu"))
        rig.meter.start()
        await run(events)
        result = rig.meter.stop(events)
        assert result.cpu_us is not None
        result.cpu_us += (float(await other.ask("cpu")) - theirs) / events * 1e6
    return result


class Timed(SQLite):
    """Keeps how long each message lay in the file."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.took: list[float] = []

    async def receive(self, limit: int, wait: float) -> list[Delivery]:
        """Receive, and look at the clock."""
        deliveries = await super().receive(limit, wait)
        now = time.time()
        self.took += [now - each.stored_at for each in deliveries if each.stored_at is not None]
        return deliveries


async def stored_to_received(job: Job) -> Result:
    """Receive and ack in one process what 64 tasks in another put, as fast as they can."""
    events = 0
    async with Timed(Path(job.address) / "bench.db") as queue, SecondProcess(job, "put") as other:
        putting = asyncio.create_task(other.ask(f"put {job.work.seconds}"))
        acks: set[asyncio.Task[Any]] = set()
        while not putting.done() or events < int(putting.result()):
            taken = await queue.receive(queue.limits.max_batch, 0.1)
            events += len(taken)
            if taken:
                acks.add(acking := asyncio.create_task(queue.ack([each.receipt for each in taken])))
                acking.add_done_callback(acks.discard)
    return Result(events=events, figures=percentiles(queue.took))


async def share(job: Job) -> Result:
    """Put, get and ack in two processes at once: what the slower one does of what the faster one does."""
    async with SecondProcess(job, "share") as first, SecondProcess(job, "share") as second:
        ask = f"share {max(MIN_SHARE_SECONDS, job.work.seconds)}"
        answers = [said.split() for said in await asyncio.gather(first.ask(ask), second.ask(ask))]
    events = sorted(int(count) for count, _ in answers)
    longest = max(float(seconds) for _, seconds in answers)
    return Result(events=sum(events), figures={"share": events[0] / events[1], "longest ms": longest * 1000})


async def woken(job: Job) -> Result:
    """Wait in one process for single messages that another puts, 30 to 110 ms apart."""
    took: list[float] = []
    async with SQLite(Path(job.address) / "bench.db") as queue, SecondProcess(job, "put") as other:
        putting = asyncio.create_task(other.ask(f"trickle {WAKE_UPS}"))
        while len(took) < WAKE_UPS:
            taken = await queue.receive(10, 20)
            now = time.time()
            took += [now - float(each.body) for each in taken]
            await queue.ack([each.receipt for each in taken])
        await putting
    return Result(events=len(took), figures=percentiles(took))


async def idle(job: Job) -> Result:
    """Listen on a file that is empty, and measure the CPU of the process."""
    registry = dawdle.Registry()
    registry.on_event(Order, name="bench")(_handle)
    seconds = max(MIN_IDLE_SECONDS, job.work.seconds)
    async with dawdle.Dawdle(SQLite(Path(job.address) / "bench.db"), registry=registry):
        await asyncio.sleep(1.5)
        before = cpu()
        await asyncio.sleep(seconds)
        used = cpu() - before
    return Result(events=1, figures={"percent": used / seconds * 100})


async def _handle(event: Order) -> None: ...


def percentiles(seconds: list[float]) -> dict[str, float]:
    """Return the median and the 99th percentile, in milliseconds."""
    ordered = sorted(seconds)
    return {"p50 ms": ordered[len(ordered) // 2] * 1000, "p99 ms": ordered[len(ordered) * 99 // 100] * 1000}


SQLITE_MEASURES: dict[str, Callable[[Job], Coroutine[Any, Any, Result]]] = {
    "put_get_ack": put_get_ack,
    "two_roles": two_roles,
    "stored_to_received": stored_to_received,
    "share": share,
    "woken": woken,
    "idle": idle,
}
