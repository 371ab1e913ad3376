"""What events that wait cost in memory: in handlers under way, and delayed."""

import asyncio
import gc
import os
from pathlib import Path
from typing import Final, Protocol, cast

from tests.bench.rig import Rig
from tests.bench.work import Handler, Job, Order, Result

_WARM_UP: Final = 500
_AT_ONCE: Final = 200


class Delaying(Protocol):
    """A contestant that keeps an event until it is due."""

    async def delay_many(self, events: list[Order]) -> None: ...


async def held(job: Job) -> Result:
    """Measure memory per message in flight: so many handlers have started, and none ends."""
    hold, started = asyncio.Event(), 0
    hold.set()

    def make() -> Handler:
        async def handle(event: Order) -> None:
            nonlocal started
            started += 1
            await hold.wait()
            rig.count()

        return handle

    rig = await Rig(job).open(make)
    await rig.listen()
    await rig.pass_through(rig.signal_in_turn, _WARM_UP)
    hold.clear()
    started, events = 0, job.work.in_flight
    before = resident()
    done = rig.handled(events)
    signals: set[asyncio.Task[None]] = set()
    for number in range(events):
        task = asyncio.create_task(rig.contestant.signal(rig.order(number)))
        signals.add(task)
        task.add_done_callback(signals.discard)
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0.01)
    while started < events:
        await asyncio.sleep(0.01)
    used = resident() - before
    hold.set()
    await done.wait()
    return Result(events=events, bytes=used / events - job.work.body)


async def delayed(job: Job) -> Result:
    """Measure memory per event that waits for its time, and what the others cost beside so many."""
    rig = await Rig(job).open()
    await rig.listen()

    async def run(events: int) -> None:
        await rig.pass_through(rig.signal_in_turn, events)

    await run(_WARM_UP)
    used = 0.0
    if waiting := job.work.waiting:
        delaying = cast("Delaying", rig.contestant)
        before = resident()
        for _ in range(waiting // 1000):
            await delaying.delay_many([rig.order() for _ in range(1000)])
        used = (resident() - before) / waiting - job.work.body
    events = await rig.events_for(run)
    rig.meter.start()
    await run(events)
    result = rig.meter.stop(events)
    result.bytes = used
    return result


def resident() -> int:
    """Return the bytes of memory that this process holds; where there is no /proc, none."""
    gc.collect()
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0
