"""Row 30: everything at once, at random, for minutes: `python -m tests.faults.soak [--minutes 10] [--seed 1]`.

200 events a second, each with three handlers, on four workers. All the while workers are killed and stopped, answers
are lost, refused, delayed and doubled, poison is sent, and handlers fail, reject, block their loop and end their
process. One worker is never killed: it says every few seconds how much memory, how many tasks and descriptors it has.
Then the load ends, and four workers have time to do what it left.
"""

import argparse
import asyncio
import contextlib
import os
import random
import signal
import sys
import time
from collections import Counter
from statistics import median
from typing import Any

import msgspec

import dawdle
from dawdle._rules.poison import MAX_PUT_OFF_SECONDS
from dawdle.backends.sqs import SQS
from dawdle.hooks import Moment
from tests.faults.poison import REASONS, Bad, Good, body_of, kinds_of
from tests.faults.rig import QueuePair, Rig, rig, until
from tests.faults.row import Figures, Row, Scale
from tests.faults.table import run_row, show
from tests.faults.workers import WorkerContext, WorkerPool, worker_pool

HANDLERS = ("receipt", "stats", "shipping")
RATE = 200
MOODS = {"works": 900, "slow": 40, "fails": 40, "rejects": 10, "later": 8, "blocks": 1, "kills": 1}
FAULTS: list[dict[str, Any]] = [
    {"fault": "lost_answer", "share": 0.1},
    {"fault": "server_error", "share": 0.3},
    {"fault": "throttle", "share": 0.3},
    {"fault": "reset", "share": 0.2},
    {"fault": "entries_failed", "entries": (1, 4)},
    {"fault": "entries_failed", "entries": (0,), "operation": "ChangeMessageVisibilityBatch"},
    {"fault": "twice", "share": 0.1},
    {"fault": "twice", "share": 0.1, "within": True},
    {"fault": "comes_back", "share": 0.05, "seconds": 1},
    {"fault": "delay", "share": 0.3, "seconds": 0.5},
    {"fault": "silence", "times": 2},
    {"fault": "access_denied", "times": 1},
    {"fault": "queue_missing", "times": 1, "operation": "ReceiveMessage"},
]
REST = 2 * MAX_PUT_OFF_SECONDS + 60
"""Seconds in which the last message must be settled. A suspect that finds no room is put off for up to the first of
them: once while the load lasts, and once more by a worker that has no time left for suspects by then. After that the
queue is quiet, and the suspect is tried three times at most."""
SAMPLE = 2.0
GROWTH = {"rss": 8 * 1024, "tasks": 30, "descriptors": 12}
"""By how much the last quarter of the samples may be above the second, in the median: KiB, and pieces."""


class OrderPlaced(msgspec.Struct, frozen=True):
    number: int
    mood: str = "works"


def work(context: WorkerContext) -> None:
    """Be a worker of three handlers, the third of them with moods."""
    registry = dawdle.Registry()

    def add(name: str) -> None:
        @registry.on_event(OrderPlaced, name=name, retry=dawdle.Retry(initial=0.5, max_delay=5))
        async def handler(event: OrderPlaced, ctx: dawdle.Context) -> None:
            await asyncio.sleep(random.random() * 0.05)
            if name == "shipping":
                await _in_a_mood(event.mood, ctx, steady=context.more["steady"])
            context.note(f"{name} {ctx.event_id}")

        del handler

    for name in HANDLERS:
        add(name)

    @registry.on_event(Good, name="good")
    async def good(event: Good) -> None: ...

    @registry.on_event(Bad, name="bad", retry=dawdle.Retry(max_attempts=3, initial=0.1))
    async def bad(event: Bad) -> None:
        raise ValueError("it always fails")

    hooks = [_sampling(context)] if context.more["measured"] else []
    context.work(registry, lease=4, concurrency=50, unclaimed=5, grace=5, hooks=hooks)


async def _in_a_mood(mood: str, ctx: dawdle.Context, *, steady: bool) -> None:
    match mood:
        case "slow":
            await asyncio.sleep(random.random() * 6)
        case "fails" if ctx.attempt < 3:
            raise ConnectionError("the carrier does not answer")
        case "rejects":
            raise dawdle.Reject("never")
        case "later" if random.random() < 0.5:
            raise dawdle.RetryLater(random.random())
        case "blocks":
            time.sleep(1)  # noqa: ASYNC251 - the mistake
        case "kills" if steady:
            raise dawdle.Reject("it would have killed the one that is measured")
        case "kills":
            os._exit(77)


def _sampling(context: WorkerContext):
    """Return a hook that writes down, now and then, what this process has."""
    last = 0.0

    def sample(moment: Moment) -> None:
        nonlocal last
        if time.monotonic() - last > SAMPLE:
            last = time.monotonic()
            with open("/proc/self/statm") as statm:
                rss = int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE") // 1024
            context.note(f"sample {rss} {len(asyncio.all_tasks())} {len(os.listdir('/proc/self/fd'))} {last:.0f}")

    return sample


async def signal_on(url: str, end: float) -> list[str]:
    """Signal at the rate until the end, and return the ids that the queue is known to have stored."""
    told: list[str] = []
    moods = random.choices([*MOODS], [*MOODS.values()], k=100_000)
    async with dawdle.Dawdle(SQS(url), registry=dawdle.Registry(), start_listener=False) as app:
        started, number = time.monotonic(), 0
        while time.monotonic() < end:
            burst = [OrderPlaced(number + each, moods[(number + each) % len(moods)]) for each in range(20)]
            number += len(burst)
            try:
                told += await app.signal_many(burst)
            except dawdle.SignalError as error:
                told += error.stored
            await asyncio.sleep(max(0.0, started + number / RATE - time.monotonic()))
    return told


async def break_answers(on: Rig, end: float) -> None:
    """Let one kind of answer go wrong after another, for up to three seconds each."""
    while time.monotonic() < end:
        number = await asyncio.to_thread(on.add_fault_rule, **random.choice(FAULTS), seed=random.randrange(10**6))
        await asyncio.sleep(random.uniform(0.5, 3))
        await asyncio.to_thread(on.remove_fault_rules, number)
        await asyncio.sleep(random.uniform(0.2, 2))


async def break_workers(workers: WorkerPool, pair: QueuePair, end: float, figures: Figures) -> Counter[str]:
    """Kill or stop one after another, but for the first, and replace whatever has died."""
    ends: Counter[str] = Counter()
    steady = workers.workers[0]
    while time.monotonic() < end:
        await asyncio.sleep(random.uniform(1, 4))
        for worker in await asyncio.to_thread(workers.dead, 0):
            ends["stopped" if worker.code == 0 else f"died with {worker.code}"] += 1
            if worker is steady:
                figures.failed(f"the steady worker ended with {worker.code}")
        while len(workers.workers) < 4:
            await asyncio.to_thread(workers.start, work, pair.url, steady=False, measured=False)
        victim = random.choice([worker for worker in workers.workers if worker is not steady])
        victim.send(random.choice([signal.SIGKILL, signal.SIGTERM]))
    return ends


async def send_poison(on: Rig, pair: QueuePair, end: float) -> set[str]:
    """Send one poison a second; return their names."""
    sent: set[str] = set()
    while time.monotonic() < end:
        kind = random.choice([*REASONS])
        with contextlib.suppress(Exception):  # it may be stored and it may not: not counted
            await asyncio.to_thread(on.send, pair.url, body_of(kind, len(sent)))
            sent.add(f"{kind}-{len(sent)}")
        await asyncio.sleep(1)
    return sent


def soak(minutes: float) -> Figures:
    """Run it all, let it come to rest, and count."""
    figures = Figures()
    with rig(Scale()) as on, worker_pool(on.folder) as workers:
        pair, end = on.pair(), time.monotonic() + minutes * 60

        async def everything() -> tuple[list[str], None, Counter[str], set[str]]:
            return await asyncio.gather(
                signal_on(pair.url, end),
                break_answers(on, end),
                break_workers(workers, pair, end, figures),
                send_poison(on, pair, end),
            )

        for number in range(4):
            workers.start(work, pair.url, steady=number == 0, measured=number == 0)
        told, _, ends, poison = asyncio.run(everything())
        on.remove_fault_rules()
        rest = asyncio.run(until(lambda: _is_at_rest(on, pair, workers), REST, step=1))
        figures.must("at rest after, s", rest, rest is not None, f"≤ {REST:g}")
        workers.dead(0)  # killed by the last ones that kill
        workers.stop(figures)
        figures.note("events", len(told))
        for name, count in sorted(ends.items()):
            figures.note(f"workers {name}", count)
        figures.note("faults", dict(Counter(fault["fault"] for fault in on.fired())))
        _count(on, pair, told, poison, figures)
        _flat(on, figures)
        on.drained(figures, pair.url)
    return figures


def _is_at_rest(on: Rig, pair: QueuePair, workers: WorkerPool) -> bool:
    """Whether the queue is empty. Those that the last killers end are replaced, as an operator's system does."""
    workers.dead(0)
    while len(workers.workers) < 4:
        workers.start(work, pair.url, steady=True, measured=False)
    return on.counts(pair.url).all == 0


def _count(on: Rig, pair: QueuePair, told: list[str], poison: set[str], figures: Figures) -> None:
    """Lost is what was told stored and is neither done nor dead-lettered, per handler."""
    notes, letters = on.notes(), on.letters(pair.dead)
    given_up = {f"{letter.get('dawdleowed', '*')} {letter.get('id')}" for letter in letters}
    for name in HANDLERS:
        lost = sum(
            f"{name} {each}" not in notes and f"{name} {each}" not in given_up and f"* {each}" not in given_up
            for each in told
        )
        figures.must(f"lost: {name}", lost, lost == 0, "0")
    again = sum(count - 1 for line, count in notes.items() if line.split()[0] in HANDLERS)
    figures.note("run again", again)
    found, wrong = kinds_of(letters, REASONS)
    figures.note("letters", len(letters))
    letterless = len(poison) - sum(found[kind] for kind in REASONS)
    figures.must("poison without a letter", max(0, letterless), letterless <= 0, f"0 of {len(poison)}")
    for line in wrong[:10]:
        figures.failed(line)


def _flat(on: Rig, figures: Figures) -> None:
    """Compare the last quarter of the steady worker's samples with the second."""
    samples = [line.split()[1:4] for line in on.notes().elements() if line.startswith("sample ")]
    quarter = len(samples) // 4
    if quarter < 3:
        figures.failed(f"{len(samples)} samples of the steady worker are too few")
        return
    for name, values in zip(GROWTH, zip(*samples, strict=True), strict=True):
        second, last = (median(map(int, values[at : at + quarter])) for at in (quarter, 3 * quarter))
        figures.must(f"{name}, grown", f"{second:.0f} → {last:.0f}", last - second <= GROWTH[name], "flat")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=None)
    asked = parser.parse_args()
    seed = random.randrange(10**6) if asked.seed is None else asked.seed
    random.seed(seed)
    print(f"seed {seed}", flush=True)
    title, must = f"soak: {asked.minutes:g} min at {RATE} events/s, with all of it at random", "lost 0, all flat"
    row = Row(30, "real", title, must, lambda scale: soak(asked.minutes), on_ministack=False, on_sqlite=False)
    verdict = run_row(row, Scale())
    show(verdict)
    return 0 if verdict.good else 1


if __name__ == "__main__":
    sys.exit(main())
