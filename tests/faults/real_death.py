"""Processes that die: killed at random, or exactly between two steps that belong together."""

import asyncio
import os
import time
from collections import Counter

import msgspec

import dawdle
from dawdle.hooks import Forwarded, HandlerFinished, Moment
from tests.faults.rig import Rig, missing, rig, signal_all
from tests.faults.row import Figures, Scale, row
from tests.faults.workers import Work, WorkerContext, WorkerPool, worker_pool
from tests.journeys import kill

DIED = 77
"""The exit code of a process that ends itself on purpose."""


class OrderPlaced(msgspec.Struct, frozen=True):
    number: int
    kills: bool = False


@row(
    1,
    "real",
    "SIGKILL a random worker of 4 every 250 to 750 ms",
    must="0 lost, extra runs ≤ messages in hand at the kills",
    on_ministack=True,
    on_sqlite=True,
)
def killed_at_random(scale: Scale) -> Figures:
    """10,000 events and 200 kills; ministack slows down with each waiting message, and gets 1,500 and 30."""
    orders, kills = (1_500, 30) if scale.on_ministack else (10_000, 200)
    orders, kills = scale.of(orders), scale.of(kills)
    return kill.run(kill.Plan(orders=orders, rate=orders / (kills * 0.5), longest=0.5, kills=kills), scale)


def dies_before_the_delete(context: WorkerContext) -> None:
    """Be a worker that dies once per event, when its handler has ended and nothing is deleted."""
    registry = dawdle.Registry()

    @registry.on_event(OrderPlaced, name="only")
    async def only(event: OrderPlaced, ctx: dawdle.Context) -> None:
        context.note(f"only {ctx.event_id}")

    def die(moment: Moment) -> None:
        if isinstance(moment, HandlerFinished) and context.first(f"died {moment.event_id}"):
            os._exit(DIED)

    context.work(registry, concurrency=1, lease=3, hooks=[die])


def dies_after_the_forward(context: WorkerContext) -> None:
    """Be a worker that dies once per event, when a copy is stored and its original is not deleted."""
    registry = dawdle.Registry()

    @registry.on_event(OrderPlaced, name="works")
    async def works(event: OrderPlaced, ctx: dawdle.Context) -> None:
        context.note(f"works {ctx.event_id}")

    @registry.on_event(OrderPlaced, name="fails", retry=dawdle.Retry(initial=0.1))
    async def fails_the_first_time(event: OrderPlaced, ctx: dawdle.Context) -> None:
        context.note(f"fails {ctx.event_id}")
        if context.first(f"failed {ctx.event_id}"):
            raise ConnectionError("not now")

    def die(moment: Moment) -> None:
        if isinstance(moment, Forwarded) and context.first(f"died {moment.event_id}"):
            os._exit(DIED)

    context.work(registry, concurrency=1, lease=3, hooks=[die])


@row(2, "real", "exit between handler and delete, ×500, 20 at a time", must="one extra run each", on_sqlite=True)
def exit_before_delete(scale: Scale) -> Figures:
    return _deaths(scale, dies_before_the_delete, {"only": (2, 2)})


@row(
    3,
    "real",
    "exit between forward and delete, ×500, 20 at a time",
    must="at most one extra run per handler",
    on_sqlite=True,
)
def exit_after_forward(scale: Scale) -> Figures:
    """Fewer runs would be kept promises too, but not a death where it is meant: the original was deleted by then."""
    return _deaths(scale, dies_after_the_forward, {"works": (2, 2), "fails": (3, 3)})


def _deaths(scale: Scale, work: Work, runs: dict[str, tuple[int, int]]) -> Figures:
    """Let workers die once per event, and count the runs of each handler: from, to."""
    figures, count = Figures(), scale.of(500)
    with rig(scale) as on, worker_pool(on.folder) as workers:
        pair = on.pair()
        ids = asyncio.run(signal_all(pair.url, [OrderPlaced(number) for number in range(count)]))
        for _ in range(min(20, count)):
            workers.start(work, pair.url)
        codes = _replace_the_dead(on, workers, work, pair.url, patience=30 + count / 4)
        workers.stop(figures)
        notes = on.notes()
        figures.must("deaths", codes[DIED], codes[DIED] == count, f"{count}")
        if codes.keys() - {DIED}:
            figures.failed(f"workers died with {dict(codes)}")
        for name, (fewest, most) in runs.items():
            each = [notes[f"{name} {event_id}"] for event_id in ids]
            lost = missing(notes, [name], ids)
            figures.must(f"{name}: lost", lost, lost == 0, "0")
            figures.note(f"{name}: extra runs", sum(each) - count * (1 if name != "fails" else 2))
            figures.must(f"{name}: most runs", max(each), max(each) <= most, f"≤ {most}")
            figures.must(f"{name}: fewest runs", min(each), min(each) >= fewest, f"≥ {fewest}")
        on.drained(figures, pair.url)
    return figures


def _replace_the_dead(on: Rig, workers: WorkerPool, work: Work, url: str, patience: float) -> Counter[int | None]:
    """Start a worker for each that died, until the queue is empty; return their exit codes."""
    codes: Counter[int | None] = Counter()
    end = time.monotonic() + patience
    while time.monotonic() < end:
        for worker in workers.dead(0.5):
            codes[worker.code] += 1
            workers.start(work, url)
        if on.counts(url).all == 0:
            break
    return codes


def works_with_a_killer(context: WorkerContext) -> None:
    """Be a worker that an event kills, among others that take a while."""
    registry = dawdle.Registry()

    @registry.on_event(OrderPlaced, name="handler")
    async def handler(event: OrderPlaced, ctx: dawdle.Context) -> None:
        await asyncio.sleep(0.02 if event.kills else 0.1)
        if event.kills:
            os._exit(DIED)
        context.note(f"handler {ctx.event_id}")

    context.work(registry, concurrency=20, lease=2)


@row(24, "real", "os._exit in a handler", must="dead-lettered after three trials, batch-mates not", on_sqlite=True)
def killers(scale: Scale) -> Figures:
    """Two that kill among 28 that do not, sent in batches of ten, and two workers."""
    figures, trials = Figures(), 3
    with rig(scale) as on, worker_pool(on.folder) as workers:
        pair = on.pair()
        events = [OrderPlaced(number, kills=number in {5, 15}) for number in range(30)]
        ids = asyncio.run(signal_all(pair.url, events))
        killers = {each for event, each in zip(events, ids, strict=True) if event.kills}
        for _ in range(2):
            workers.start(works_with_a_killer, pair.url)
        started = time.monotonic()
        codes = _replace_the_dead(on, workers, works_with_a_killer, pair.url, patience=180)
        figures.note("seconds", round(time.monotonic() - started, 1))
        workers.stop(figures)
        letters = {letter["id"]: letter for letter in on.letters(pair.dead)}
        lost = missing(on.notes(), ["handler"], [each for each in ids if each not in killers])
        # Four receives until the first trial is written, and one death may be of two at once.
        figures.must("deaths", codes[DIED], codes[DIED] <= len(killers) * (4 + trials), "≤ 4 + 3 each")
        figures.must("killers dead-lettered", len(killers & letters.keys()), killers <= letters.keys(), "all")
        figures.must("others dead-lettered", len(letters.keys() - killers), letters.keys() <= killers, "0")
        figures.must("others lost", lost, lost == 0, "0")
        silent = [letter for letter in letters.values() if not letter.get("dawdleerror")]
        figures.must("letters without a reason", len(silent), not silent, "0")
        on.drained(figures, pair.url)
    return figures
