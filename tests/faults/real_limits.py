"""A handler with a limit under a backlog: row 32, with worker processes on a server, and time that passes."""

import asyncio
import heapq
import math
import signal
import time
from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Final, NamedTuple

import msgspec

import dawdle
from dawdle.backends.sqs import SQS
from dawdle.hooks import Forwarded, LeaseLost, Moment
from tests.faults.rig import Rig, rig, signal_all, until
from tests.faults.row import Figures, Scale, row
from tests.faults.workers import Worker, WorkerContext, WorkerPool, worker_pool

LEASE: Final = 4
"""Seconds, where workers are killed; elsewhere 30, as many processes may share this machine."""

BEAT: Final = 0.25
"""Seconds from one event of the other handler to the next."""

ALONE: Final = 8
"""Such events, before there is a backlog."""

SHARE: Final = 0.9
BEYOND: Final = 4.0
ROUNDING: Final = 5.0
"""Seconds that a short backlog may end late: delays are whole seconds, and storing and receiving it take some."""

QUICKLY: Final = 0.5
"""Seconds that another handler's event may take at any rate: a dozen processes share this machine."""


LONG: Final = 8.0
"""Seconds of a run that a stop lets end."""


class OrderPlaced(msgspec.Struct, frozen=True):
    number: int
    seconds: float


class PriceAsked(msgspec.Struct, frozen=True):
    at: float


class Load(NamedTuple):
    """A backlog on a queue of its own."""

    name: str
    runs: Sequence[float]
    limit: int = 1
    nodes: int = 1

    @property
    def ideal(self) -> float:
        """Seconds that as many servers would take as runs are allowed at once, first come, first served."""
        ends = [0.0] * (self.limit * self.nodes)
        for run in self.runs:
            heapq.heapreplace(ends, ends[0] + run)
        return max(ends)


class Note(NamedTuple):
    """A line that a worker wrote."""

    what: str
    load: str
    number: int
    at: float


def works(context: WorkerContext) -> None:
    """Be a worker with a handler that has a limit, and one that has none."""
    registry, name = dawdle.Registry(), context.more["name"]

    def note(what: str, number: int, at: float) -> None:
        context.note(f"{what} {name} {number} {at:.6f}")

    @registry.on_event(OrderPlaced, name="orders", concurrency=context.more["limit"])
    async def orders(event: OrderPlaced) -> None:
        note("run", event.number, time.time())
        await asyncio.sleep(event.seconds)
        note("done", event.number, time.time())

    @registry.on_event(PriceAsked, name="prices")
    async def prices(event: PriceAsked) -> None:
        note("price", 0, time.time() - event.at)

    def watch(moment: Moment) -> None:
        if isinstance(moment, Forwarded) and moment.why == "crowded":
            note("copy", 0, moment.delay)
        elif isinstance(moment, LeaseLost):
            note("lease", 0, moment.seconds)

    context.work(registry, lease=context.more["lease"], hooks=[watch])


@row(
    32,
    "real",
    "limits under a backlog on SQS, workers killed and stopped",
    must="≥ 0.9 of what the limit allows, ≤ 4 copies each, others' median ≤ 3×, 0 lost, given back at a stop",
)
def limits_under_a_backlog(scale: Scale) -> Figures:
    """Backlogs side by side, each on its own queue: four are measured, in two workers are killed and stopped."""
    random = Random(32)
    loads = [
        Load("constant 0.2 s", [0.2] * scale.of(400, 50)),
        Load("exponential 0.2 s, 2 nodes", [random.expovariate(5) for _ in range(scale.of(600, 80))], nodes=2),
        Load("constant 1 s, limit 10", [1.0] * scale.of(500, 80), limit=10),
        Load("exponential 1 s, limit 10, 2 nodes", [random.expovariate(1) for _ in range(scale.of(1000, 160))], 10, 2),
    ]
    killed = Load("killed", [random.expovariate(5) for _ in range(scale.of(600, 80))], nodes=3)
    figures = Figures()

    async def all_of_them(on: Rig, workers: WorkerPool) -> None:
        await asyncio.gather(
            *(_measured(on, workers, load, figures) for load in loads),
            _killed(on, workers, killed, figures),
            _stopped(on, workers, figures),
        )

    with rig(scale) as on, worker_pool(on.folder) as workers:
        asyncio.run(all_of_them(on, workers))
        workers.stop(figures)
    return figures


def _notes(on: Rig, load: Load) -> list[Note]:
    """Return what the workers of a load wrote so far. Its name is one word there."""
    lines = [line.split() for line in (on.folder / "notes").read_text().split("\n")[:-1]]
    return [
        Note(what, name, int(number), float(at))
        for what, name, number, at in (line for line in lines if len(line) == 4 and line[1] == _word(load))
    ]


def _word(load: Load) -> str:
    return load.name.replace(" ", "-")


async def _crewed(on: Rig, workers: WorkerPool, load: Load, url: str, lease: int = 30) -> list[Worker]:
    """Start a load's workers, and return when they are up."""
    more = {"name": _word(load), "limit": load.limit, "lease": lease}
    started = [workers.start(works, url, **more) for _ in range(load.nodes)]
    for worker in started:
        if await until(lambda worker=worker: f"up {worker.context.index}" in on.notes(), 60) is None:
            raise TimeoutError(f"worker {worker.context.index} did not come up in 60 s")
    return started


async def _measured(on: Rig, workers: WorkerPool, load: Load, figures: Figures) -> None:
    """Work a backlog off and hold it against what the limit allows."""
    url = on.pair().url
    await _crewed(on, workers, load, url)
    async with dawdle.Dawdle(SQS(url), registry=dawdle.Registry(), start_listener=False) as app:
        asking = asyncio.create_task(_ask(app))
        await until(lambda: _count(on, load, "price") >= ALONE, 60)
        before = _count(on, load, "price")
        await signal_all(url, [OrderPlaced(number, run) for number, run in enumerate(load.runs)])
        done = await until(lambda: _count(on, load, "done") >= len(load.runs), 3 * load.ideal + 30, 0.25)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    notes = _notes(on, load)
    if done is None:
        figures.failed(f"{load.name}: {_count(on, load, 'done')} of {len(load.runs)} are done")
        return
    began, ended = ({note.number: note.at for note in notes if note.what == what} for what in ("run", "done"))
    took = max(ended.values()) - min(began.values())
    busy = sum(ended.values()) - sum(began.values())
    share = busy / (took * load.limit * load.nodes)
    late = took - load.ideal
    copies = sum(note.what == "copy" for note in notes) / len(load.runs)
    waits = [note.at for note in notes if note.what == "price"]
    alone, median = (sorted(each)[len(each) // 2] for each in (waits[:before], waits[before:]))
    holds = share >= SHARE or late <= max(ROUNDING, load.ideal * (1 / SHARE - 1))
    figures.must(f"{load.name}: share", share, holds, f"{SHARE} or more, or {ROUNDING:g} s late at most")
    figures.note(f"{load.name}: late, s", late)
    figures.must(f"{load.name}: copies", copies, copies <= BEYOND, f"{BEYOND:g} or less")
    figures.must(
        f"{load.name}: others' median, s", median, median <= max(3 * alone, QUICKLY), f"3 × {alone:.3f} s or less"
    )
    twice = _count(on, load, "run") - len(load.runs)
    figures.must(f"{load.name}: run twice", twice, twice == 0, "0")
    on.drained(figures, url)


async def _killed(on: Rig, workers: WorkerPool, load: Load, figures: Figures) -> None:
    """Kill workers and stop workers in the middle, with others in their place, until a few are left to work it off."""
    url = on.pair().url
    crewed = await _crewed(on, workers, load, url, LEASE)
    await signal_all(url, [OrderPlaced(number, run) for number, run in enumerate(load.runs)])
    kills = 0
    for turn in range(6):
        await asyncio.sleep(load.ideal / 10)
        crewed.pop(0).send(signal.SIGKILL if turn % 2 else signal.SIGTERM)
        kills += turn % 2
        crewed += await _crewed(on, workers, load._replace(nodes=1), url, LEASE)
    done = await until(lambda: len(_numbers(on, load, "done")) == len(load.runs), 4 * load.ideal + 60, 0.25)
    lost = len(load.runs) - len(_numbers(on, load, "done"))
    figures.must("killed: lost", lost, done is not None and lost == 0, "0")
    twice = sum(count - 1 for count in _numbers(on, load, "run").values())
    # What ran, what had run and was about to be deleted, and leases that this machine was too busy to renew.
    most = 2 * kills * load.limit + _count(on, load, "lease")
    figures.must("killed: run twice", twice, twice <= most, f"{most} at most")
    figures.note("killed", kills)
    on.drained(figures, url, patience=2 * LEASE)
    for worker in [each for each in workers.workers if not each.alive()]:
        workers.workers.remove(worker)


async def _stopped(on: Rig, workers: WorkerPool, figures: Figures) -> None:
    """Stop a worker in which one event runs for long and others wait."""
    url, load = on.pair().url, Load("stopped", [LONG] * 5)
    (worker,) = await _crewed(on, workers, load, url)
    await signal_all(url, [OrderPlaced(number, run) for number, run in enumerate(load.runs)])
    await until(lambda: on.counts(url).in_flight == len(load.runs) and _count(on, load, "run") == 1, 30)
    worker.send(signal.SIGTERM)
    seconds = await until(lambda: on.counts(url).visible == len(load.runs) - 1, LONG, 0.02)
    figures.must("given back after a stop, s", seconds or math.inf, (seconds or math.inf) <= LONG / 2, "at once")
    figures.must("runs on", worker.alive(), worker.alive(), "True")
    await until(lambda: not worker.alive(), 3 * LONG)
    ended = _count(on, load, "done")
    figures.must("ended", ended, ended == 1, "1")


async def _ask(app: dawdle.Dawdle) -> None:
    while True:
        await app.signal(PriceAsked(time.time()))
        await asyncio.sleep(BEAT)


def _count(on: Rig, load: Load, what: str) -> int:
    return sum(note.what == what for note in _notes(on, load))


def _numbers(on: Rig, load: Load, what: str) -> Counter[int]:
    return Counter(note.number for note in _notes(on, load) if note.what == what)
