"""The measurements, each a function from a job to a result. They know what a contestant can do, and none by name."""

import asyncio
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from tests.bench.latency import latency
from tests.bench.memory import delayed, held
from tests.bench.rig import BATCH, Rig
from tests.bench.sqlite_measures import SQLITE_MEASURES
from tests.bench.work import Handler, Job, Order, Result


async def send_each(job: Job) -> Result:
    """Signal one by one from many tasks, without any handler."""
    rig = await Rig(job).open()
    return await sending(rig, rig.signal_each)


async def send_many(job: Job) -> Result:
    """Signal a hundred at once, and again."""
    rig = await Rig(job).open()
    return await sending(rig, rig.signal_many)


async def sending(rig: Rig, send: Callable[[int], Awaitable[None]]) -> Result:
    async def store(events: int) -> None:
        await rig.store(send, events)

    events = await rig.events_for(store)
    rig.meter.start()
    await store(events)
    return rig.meter.stop(events)


async def receive(job: Job) -> Result:
    """Handle what waits in the queue, to the last delete. The first fifth is the warm-up."""
    rig = await Rig(job).open()
    await rig.events_for(rig.fill)
    enough = max(10 * rig.work.concurrency, 5 * BATCH)
    if rig.server.left() < enough:
        await rig.fill(enough - rig.server.left())
    events = rig.server.left()
    warm_up = events // 5
    done = rig.handled(events)
    rig.when(warm_up, rig.meter.start)
    await rig.listen()
    await done.wait()
    await rig.deleted()
    return rig.meter.stop(events - warm_up)


async def pass_through(job: Job) -> Result:
    """Signal one by one from many tasks while handlers run, until all is done and deleted."""
    rig = await Rig(job).open()
    return await passing(rig, rig.signal_each)


async def closed(job: Job) -> Result:
    """The same, with so many events under way at any time: the next is signaled when one is handled."""
    rig = await Rig(job).open()
    return await passing(rig, rig.signal_in_turn)


async def passing(rig: Rig, signal: Callable[[int], Awaitable[None]]) -> Result:
    await rig.listen()

    async def run(events: int) -> None:
        await rig.pass_through(signal, events)

    events = await rig.events_for(run)
    rig.meter.start()
    await run(events)
    return rig.meter.stop(events)


async def parked(job: Job) -> Result:
    """The same, with so many handlers under way at any time: each ends when as many have started after it."""
    waiting: deque[asyncio.Future[None]] = deque()
    is_over = False

    def make() -> Handler:
        async def handle(event: Order) -> None:
            if not is_over:
                waiting.append(asyncio.get_running_loop().create_future())
                if len(waiting) > job.work.in_flight:
                    waiting.popleft().set_result(None)
                await waiting[-1]
            rig.count()

        return handle

    rig = await Rig(job).open(make)
    await rig.listen()
    warm_up = job.work.in_flight + 500
    events = max(3 * job.work.in_flight, int(10_000 * job.work.seconds))
    rig.when(warm_up, rig.meter.start)
    measured = rig.handled(warm_up + events)
    everything = warm_up + events + job.work.in_flight
    last = rig.handled(everything)
    signaling = asyncio.create_task(rig.signal_each(everything))
    await measured.wait()
    result = rig.meter.stop(events)
    is_over = True
    while waiting:
        waiting.popleft().set_result(None)
    await signaling
    await last.wait()
    return result


IMPORT = """
import asyncio, msgspec, resource
before = resource.getrusage(resource.RUSAGE_SELF)
import {}
after = resource.getrusage(resource.RUSAGE_SELF)
print((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000)
"""
IMPORTS = 5
IMPORTED = {"aiobotocore": "aiobotocore.session", "pyee": "pyee.asyncio"}
"""What an app imports of a contestant; where none stands, the package."""


async def importing(job: Job) -> Result:
    """Import a package over asyncio and msgspec in fresh interpreters; the best counts, since the rest is disk."""
    command = [sys.executable, "-c", IMPORT.format(IMPORTED.get(job.contestant, job.contestant))]
    took = []
    for _ in range(IMPORTS):
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        said, _ = await process.communicate()
        took.append(float(said))
    return Result(events=IMPORTS, milliseconds=min(took))


MEASURES: dict[str, Callable[[Job], Coroutine[Any, Any, Result]]] = {
    "send_each": send_each,
    "send_many": send_many,
    "receive": receive,
    "pass_through": pass_through,
    "closed": closed,
    "parked": parked,
    "latency": latency,
    "held": held,
    "delayed": delayed,
    "import": importing,
    **SQLITE_MEASURES,
}
