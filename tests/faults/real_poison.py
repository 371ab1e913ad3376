"""Poison: messages that can never be handled; handlers, hooks and log handlers that raise odd errors."""

import asyncio
import logging
import random
import time
from collections import Counter

import dawdle
from tests.faults.apps import OrderPlaced
from tests.faults.poison import REASONS, SIGNED, Bad, Good, body_of, kinds_of
from tests.faults.queues import queue_at
from tests.faults.rig import QueuePair, Rig, missing, rig, signal_all, until
from tests.faults.row import Figures, Scale, row
from tests.faults.workers import WorkerContext, worker_pool

NOISE = 0.02
"""Seconds. A p99 below this is about the machine and not about the app, and counts as this."""


def takes_what_comes(context: WorkerContext) -> None:
    """Be a worker that handles good events and notes their latency; bad events always fail."""
    registry = dawdle.Registry()

    @registry.on_event(Good, name="good")
    async def good(event: Good, ctx: dawdle.Context) -> None:
        context.note(f"good {ctx.event_id}")
        context.note(f"late {context.more['name']} {time.time() - event.at:.4f} {ctx.event_id}")

    @registry.on_event(Bad, name="bad", retry=dawdle.Retry(max_attempts=3, initial=0.1))
    async def bad(event: Bad) -> None:
        raise ValueError("it always fails")

    context.work(registry, lease=10, unclaimed=3, **context.more.get("options", {}))


@row(
    22,
    "real",
    "poison of each kind between good messages",
    must="in the dead-letter queue with the reason, good traffic's p99 ≤ 2×",
    on_ministack=True,
    on_sqlite=True,
)
def poison(scale: Scale) -> Figures:
    """Two workers on queues of their own, with the same good traffic side by side; one of them gets the poison."""
    figures = Figures()
    rate, each = (25, 2) if scale.on_ministack else (100, 10)
    seconds = scale.of(20, at_least=5)
    with rig(scale) as on, worker_pool(on.folder) as workers:
        clean, bad = on.pair(), on.pair()
        for name, pair in (("clean", clean), ("poisoned", bad)):
            workers.start(takes_what_comes, pair.url, name=name)
        _wait_for_all(on, 2)
        ids = asyncio.run(_good_and_bad(on, clean, bad, rate, seconds, each))
        asyncio.run(until(lambda: not missing(on.notes(), ["good"], ids), 30))
        asyncio.run(until(lambda: on.counts(bad.url).all == 0, 60, step=0.5))
        workers.stop(figures)
        lost = missing(on.notes(), ["good"], ids)
        figures.must("good events lost", lost, lost == 0, f"0 of {len(ids)}")
        late = {name: _p99(on, name) for name in ("clean", "poisoned")}
        figures.note("p99 without, ms", late["clean"] * 1000)
        limit = 2 * max(late["clean"], NOISE)
        figures.must("p99 with, ms", late["poisoned"] * 1000, late["poisoned"] <= limit, f"≤ {limit * 1000:.3g}")
        _check_letters(on, bad, REASONS, each, figures)
        on.drained(figures, clean.url, bad.url)
    if not scale.on_ministack:
        _forged(scale, figures)
    return figures


async def _good_and_bad(on: Rig, clean: QueuePair, bad: QueuePair, rate: int, seconds: int, each: int) -> list[str]:
    """Signal to both queues at a rate, and send the poison to one; return the ids of what is good."""
    ids: list[str] = []
    bodies = [body_of(kind, number) for number in range(each) for kind in REASONS]
    every = max(1, rate * seconds * 3 // 4 // len(bodies))
    empty = dawdle.Registry()
    async with (
        dawdle.Dawdle(queue_at(clean.url), registry=empty, start_listener=False) as one,
        dawdle.Dawdle(queue_at(bad.url), registry=empty, start_listener=False) as other,
    ):
        started = time.monotonic()
        for number in range(rate * seconds):
            for app in (one, other):
                ids.append(await app.signal(Good(time.time(), number)))
            if number % every == 0 and bodies:
                await asyncio.to_thread(on.send, bad.url, bodies.pop())
            await asyncio.sleep(max(0.0, started + number / rate - time.monotonic()))
        for body in bodies:
            await asyncio.to_thread(on.send, bad.url, body)
    return ids


def _forged(scale: Scale, figures: Figures) -> None:
    """Where signatures are required: events without one, and with one by another key. Correctly signed ones run."""
    options = {"signing_keys": {"one": "the secret that only these nodes know"}}
    others = {"signing_keys": {"one": "another secret, of a sender that is not trusted"}}
    with rig(scale) as on, worker_pool(on.folder) as workers:
        pair = on.pair()
        workers.start(takes_what_comes, pair.url, name="signed", options=options)
        on.send(pair.url, body_of("unsigned", 0))

        def app(keys: dict[str, dict[str, str]]) -> dawdle.Dawdle:
            return dawdle.Dawdle(queue_at(pair.url), registry=dawdle.Registry(), start_listener=False, **keys)

        async def signed() -> list[str]:
            async with app(others) as stranger, app(options) as one_of_us:
                await stranger.signal(Good(time.time()), id="forged-0")
                return await one_of_us.signal_many([Good(time.time(), number) for number in range(20)])

        try:
            ids = asyncio.run(signed())
        except TypeError as error:
            figures.failed(f"signatures: {error}")
            return
        asyncio.run(until(lambda: on.counts(pair.url).all == 0, 20))
        workers.stop(figures)
        lost, ran = missing(on.notes(), ["good"], ids), sum(on.notes()[f"good {kind}-0"] for kind in SIGNED)
        figures.must("signed events lost", lost, lost == 0, f"0 of {len(ids)}")
        figures.must("run with a bad signature", ran, ran == 0, "0")
        _check_letters(on, pair, SIGNED, 1, figures)
        on.drained(figures, pair.url)


def _check_letters(on: Rig, pair: QueuePair, reasons: dict[str, str], each: int, figures: Figures) -> None:
    found, wrong = kinds_of(on.letters(pair.dead), reasons)
    for kind in reasons:
        figures.must(kind, found[kind], found[kind] == each, f"{each} letters")
    figures.must("good letters", found["good"], found["good"] == 0, "0")
    for line in wrong:
        figures.failed(line)


def _p99(on: Rig, name: str) -> float:
    late = sorted(float(line.split()[2]) for line in on.notes().elements() if line.startswith(f"late {name} "))
    return late[int(len(late) * 0.99)] if late else 99.0


RAISED = {
    "cancels": asyncio.CancelledError("without a cancellation"),
    "exits": SystemExit(3),
    "groups": ExceptionGroup("two", [ValueError("one"), OSError("the other")]),
    "recurses": RecursionError("maximum recursion depth exceeded"),
}


def raises_what_it_should_not(context: WorkerContext) -> None:
    """Be a worker of five handlers: four raise the first time, and one takes a while."""
    registry = dawdle.Registry()

    def add(name: str, error: BaseException) -> None:
        async def handler(event: OrderPlaced, ctx: dawdle.Context) -> None:
            if ctx.attempt == 1:
                context.note(f"raised {name} {ctx.event_id}")
                raise error
            context.note(f"{name} {ctx.event_id}")

        registry.on_event(OrderPlaced, name=name, retry=dawdle.Retry(initial=0.1))(handler)

    for name, error in RAISED.items():
        add(name, error)

    @registry.on_event(OrderPlaced, name="sibling")
    async def sibling(event: OrderPlaced, ctx: dawdle.Context) -> None:
        await asyncio.sleep(0.2)
        context.note(f"sibling {ctx.event_id}")

    context.work(registry, lease=10)


@row(
    23,
    "real",
    "handlers raising CancelledError, SystemExit, ExceptionGroup, RecursionError",
    must="siblings finish",
    on_ministack=True,
    on_sqlite=True,
)
def raising(scale: Scale) -> Figures:
    """All four and a sibling on one event; each that raised has it again, alone, and works then."""
    figures, names = Figures(), [*RAISED, "sibling"]
    with rig(scale) as on, worker_pool(on.folder) as workers:
        pair = on.pair()
        workers.start(raises_what_it_should_not, pair.url)
        ids = asyncio.run(signal_all(pair.url, [OrderPlaced(number) for number in range(scale.of(50))]))
        asyncio.run(until(lambda: on.counts(pair.url).all == 0, 30, step=0.2))
        workers.stop(figures)
        notes = on.notes()
        runs = Counter({name: sum(notes[f"{name} {each}"] for each in ids) for name in names})
        raised = sum(notes[f"raised {name} {each}"] for name in RAISED for each in ids)
        figures.must("raised", raised, raised == len(ids) * len(RAISED), f"{len(ids) * len(RAISED)}")
        for name in names:
            figures.must(name, runs[name], runs[name] == len(ids), f"{len(ids)}")
        figures.must("dead-lettered", len(on.letters(pair.dead)), not on.letters(pair.dead), "0")
        on.drained(figures, pair.url)
    return figures


class Loud(logging.Handler):
    """A log handler that raises on every record, as one without error handling does when its disk is full."""

    def emit(self, record: logging.LogRecord) -> None:
        raise random.choice([OSError("no space left on device"), SystemExit(3), asyncio.CancelledError()])


def watched_by_what_raises(context: WorkerContext) -> None:
    """Be a worker whose hooks raise, and whose log handler or filter does."""
    context.hush()
    registry = dawdle.Registry()

    def raise_always(anything: object) -> bool:
        context.note(f"raised {type(anything).__name__}")
        raise random.choice([RuntimeError("the watcher is broken"), SystemExit(3), asyncio.CancelledError()])

    log = logging.getLogger("dawdle")
    log.setLevel(logging.INFO)
    if context.more["by"] == "handler":
        log.addHandler(Loud())
    elif context.more["by"] == "filter":
        for name in [each for each in logging.root.manager.loggerDict if each.startswith("dawdle._flow.")]:
            logging.getLogger(name).addFilter(raise_always)

    @registry.on_event(OrderPlaced, name="works")
    async def works(event: OrderPlaced, ctx: dawdle.Context) -> None:
        context.note(f"works {ctx.event_id}")

    @registry.on_event(OrderPlaced, name="fails", retry=dawdle.Retry(initial=0.1))
    async def fails(event: OrderPlaced, ctx: dawdle.Context) -> None:
        context.note(f"fails {ctx.event_id} {ctx.attempt}")
        if ctx.attempt < 3:
            raise ConnectionError("not now")

    @registry.on_event(OrderPlaced, name="rejects")
    async def rejects(event: OrderPlaced, ctx: dawdle.Context) -> None:
        context.note(f"rejects {ctx.event_id}")
        raise dawdle.Reject("never")

    hooks = [raise_always] if context.more["by"] == "hook" else []
    context.work(registry, lease=5, hooks=hooks)


@row(29, "real", "a hook, a log handler and a log filter that raise", must="no verdict changes", on_sqlite=True)
def watchers_raise(scale: Scale) -> Figures:
    """For each: one handler works, one fails twice, one rejects; all of it as without the hook or the log handler.

    They raise an error, a SystemExit or a CancelledError.
    """
    figures, count = Figures(), scale.of(50)
    with rig(scale) as on, worker_pool(on.folder) as workers:
        for by in ("hook", "handler", "filter"):
            pair = on.pair()
            worker = workers.start(watched_by_what_raises, pair.url, by=by)
            ids = asyncio.run(signal_all(pair.url, [OrderPlaced(number) for number in range(count)]))
            asyncio.run(until(lambda url=pair.url: on.counts(url).all == 0 or not worker.alive(), 15, step=0.2))
            workers.stop(figures)
            notes, letters = on.notes(), on.letters(pair.dead)
            names = ["works {}", "fails {} 1", "fails {} 2", "fails {} 3", "rejects {}"]
            wrong = sum(notes[name.format(each)] != 1 for name in names for each in ids)
            figures.must(f"{by}: not run as it should", wrong, wrong == 0, f"0 of {len(names) * count}")
            figures.must(f"{by}: letters", len(letters), len(letters) == count, f"{count}")
            on.drained(figures, pair.url, patience=1)
    return figures


def _wait_for_all(on: Rig, count: int) -> None:
    asyncio.run(until(lambda: sum(line.startswith("up ") for line in on.notes()) == count, 20))
