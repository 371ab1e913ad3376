"""How long an event takes from its signal to its handler, at shares of what the contestant can do at most."""

import asyncio
import random
import time
from typing import Final

from tests.bench.rig import Rig
from tests.bench.work import Handler, Job, Order, Result

LOADS: Final = (0.01, 0.5, 0.9)
_TIMER_SECONDS: Final = 0.001
"""uvloop's timers tick at milliseconds. So much lateness is the timer's, and the rest is the contestant's."""

_MIN_EVENTS: Final = 100
_MAX_TIMES: Final = 12
"""So many times as long as others may one load take that has few events; a slow contestant has fewer then."""


async def latency(job: Job) -> Result:
    """Measure what the contestant can do at most, then signal at random moments, as many callers would."""
    took: list[float] = []

    def make() -> Handler:
        async def handle(event: Order) -> None:
            took.append(time.perf_counter() - event.sent)
            rig.count()

        return handle

    rig = await Rig(job).open(make)
    await rig.listen()

    async def run(events: int) -> None:
        await rig.pass_through(rig.signal_in_turn, events)

    events = await rig.events_for(run)
    rig.meter.start()
    await run(events)
    result = rig.meter.stop(events)
    assert result.rate is not None
    for load in LOADS:
        rate = result.rate * load
        count = int(max(rate * job.work.seconds, min(_MIN_EVENTS, rate * job.work.seconds * _MAX_TIMES), 10))
        took.clear()
        done = rig.handled(count)
        await arrive(rig, count, rate)
        await done.wait()
        await rig.deleted()
        took.sort()
        result.latency[f"{load:.0%}"] = [took[int(len(took) * share)] * 1000 for share in (0.5, 0.99)]
    return result


async def arrive(rig: Rig, events: int, rate: float) -> None:
    """Signal at moments that do not depend on the answers, so that a stall counts for all who meet it."""
    chance = random.Random(1)
    due = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(events):
            due += chance.expovariate(rate)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            sent = min(time.perf_counter(), due + _TIMER_SECONDS)
            group.create_task(rig.contestant.signal(Order(number, sent, rig.text)))
