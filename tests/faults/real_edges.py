"""An app in the wrong place: threads with event loops of their own, and handlers that fork."""

import asyncio
import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

import dawdle
from tests.faults.rig import QueuePair, Rig, missing, rig, signal_all, until
from tests.faults.row import Figures, Scale, row
from tests.faults.workers import Worker, WorkerContext, WorkerPool, worker_pool

SOON = 2.0
"""Seconds in which a call that is refused at once must raise, on two cores that are busy."""


class OrderPlaced(msgspec.Struct, frozen=True):
    number: int


class ParcelSent(msgspec.Struct, frozen=True):
    order_id: str


def uses_other_loops(context: WorkerContext) -> None:
    """Be a worker whose `def` handler asks in a loop of its own, is refused, and then signals from its thread.

    A thread beside it, which has no handler's context, does the same, as an endpoint of a web app would.
    """
    registry, apps, over = dawdle.Registry(), list[dawdle.Dawdle](), threading.Event()

    @registry.on_event(OrderPlaced, name="ships")
    def ships(event: OrderPlaced, ctx: dawdle.Context) -> None:
        app = dawdle.current()
        apps.append(app)
        _refused(context, lambda: app.signal(ParcelSent("wrong")))
        context.note(f"sent {dawdle.from_thread.signal(ParcelSent(ctx.event_id))}")
        context.note(f"ships {ctx.event_id}")

    @registry.on_event(ParcelSent, name="tells")
    async def tells(event: ParcelSent, ctx: dawdle.Context) -> None:
        context.note(f"tells {ctx.event_id}")
        context.note(f"told {event.order_id}")

    def beside() -> None:
        while not over.wait(0.02):
            try:
                context.note(f"sent {dawdle.from_thread.signal(ParcelSent('beside'))}")
            except dawdle.DawdleError as error:  # the app is not entered yet, or is being left
                context.note(f"beside {type(error).__name__}")
            for app in apps[-1:]:
                for call in (app.idle, app.stop_listener, app.start_listener, app.redrive, app.ended):
                    _refused(context, call)
                _refused(context, lambda app=app: app.__aexit__(None, None, None))

    thread = threading.Thread(target=beside, daemon=True)
    if context.more["beside"]:
        thread.start()
    context.work(registry, lease=30, grace=5, concurrency=20)
    if context.more["beside"]:
        over.set()
        thread.join(10)
        context.note("hung" if thread.is_alive() else "thread ended")


def _refused(context: WorkerContext, call: Callable[[], Awaitable[Any]]) -> None:
    """Await a call of an app in another event loop, and note its result and how long it took."""

    async def ask() -> None:
        await call()

    started = time.monotonic()
    try:
        asyncio.run(asyncio.wait_for(ask(), 20))
        context.note("not refused")
    except dawdle.ConfigurationError:
        took = time.monotonic() - started
        context.note("refused" if took < SOON else f"refused late {took:.1f}")
    except TimeoutError:
        context.note("not refused")


async def _deploys(
    on: Rig, workers: WorkerPool, work: Callable[[WorkerContext], None], pair: QueuePair, times: int
) -> list[str]:
    """Replace one worker after another, and return what went wrong."""
    wrong: list[str] = []
    for _ in range(times):
        old = workers.workers.pop(0)
        await _up(on, workers.start(work, pair.url, beside=True))
        await asyncio.sleep(0.3)
        old.send(signal.SIGTERM)
        if await until(lambda old=old: not old.alive(), 20) is None:
            wrong.append(f"worker {old.context.index} has not ended 20 s after SIGTERM")
            old.end(0)
    return wrong


async def _up(on: Rig, worker: Worker) -> None:
    if await until(lambda: f"up {worker.context.index}" in on.notes(), 30) is None:
        raise TimeoutError(f"worker {worker.context.index} did not come up in 30 s")


@row(
    35,
    "real",
    "a second event loop in a def handler and beside it, 30 deploys",
    must="each await there refused ≤ 2 s, 0 hung, 0 lost",
)
def second_loop(scale: Scale) -> Figures:
    figures, count, deploys = Figures(), scale.of(600), scale.of(30)

    async def go(on: Rig, workers: WorkerPool, pair: QueuePair) -> tuple[list[str], list[str]]:
        events = [OrderPlaced(number) for number in range(count)]
        return await asyncio.gather(
            signal_all(pair.url, events, rate=count / deploys),
            _deploys(on, workers, uses_other_loops, pair, deploys),
        )

    with rig(scale) as on, worker_pool(on.folder) as workers:
        pair = on.pair()
        for _ in range(2):
            workers.start(uses_other_loops, pair.url, beside=True)
        ids, wrong = asyncio.run(go(on, workers, pair))
        asyncio.run(_drained(on, ["ships", "told"], ids))
        workers.stop(figures)
        workers.start(uses_other_loops, pair.url, beside=False)  # what the threads signaled last is there still
        asyncio.run(_drained(on, ["tells"], _sent(on)))
        workers.stop(figures)
        notes, sent = on.notes(), _sent(on)
        for line in wrong:
            figures.failed(line)
        lost = missing(notes, ["ships", "told"], ids) + missing(notes, ["tells"], sent)
        figures.note("orders", len(ids))
        figures.note("signaled from threads", len(sent))
        figures.must("lost", lost, lost == 0, "0")
        figures.must("refused", notes["refused"], notes["refused"] >= count, f"{count} or more")
        late = sum(times for line, times in notes.items() if line.startswith("refused late"))
        figures.must("late", late, late == 0, "0")
        figures.must("not refused", notes["not refused"], notes["not refused"] == 0, "0")
        figures.must("hung", notes["hung"], notes["hung"] == 0, "0")
        figures.must("threads ended", notes["thread ended"], notes["thread ended"] == deploys + 2, f"{deploys + 2}")
        on.drained(figures, pair.url)
    return figures


def _sent(on: Rig) -> list[str]:
    return [line.removeprefix("sent ") for line in on.notes() if line.startswith("sent ")]


async def _drained(on: Rig, names: Sequence[str], ids: Sequence[str]) -> None:
    await until(lambda: missing(on.notes(), names, ids) == 0, 60, step=0.2)


def forks(context: WorkerContext) -> None:
    """Be a worker whose handlers fork helpers, and end them by signals."""
    warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12 on: a process with threads forks
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]  # it may have children
    fork, registry = multiprocessing.get_context("fork"), dawdle.Registry()

    def pooled() -> str:
        pool = fork.Pool(2)
        done = pool.map(abs, range(-5, 0))
        pool.terminate()
        pool.join()
        return "pooled" if done == [5, 4, 3, 2, 1] else f"pooled {done}"

    def terminated() -> str:
        child = fork.Process(target=time.sleep, args=(60,))
        child.start()
        child.terminate()
        child.join(20)
        # Another thread that starts a process collects this one too, and for a moment has not said how it ended.
        end = time.monotonic() + 1
        while (code := child.exitcode) is None and time.monotonic() < end:
            time.sleep(0.01)
        child.kill()
        return f"child {code}"

    def bare() -> str:
        number = os.fork()
        if number == 0:
            time.sleep(60)
            os._exit(0)
        os.kill(number, signal.SIGTERM)
        return f"child {os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])}"

    def work(event: OrderPlaced, ctx: dawdle.Context) -> None:
        context.note((pooled, terminated, bare)[event.number % 3]())
        context.note(f"{ctx.handler} {ctx.event_id}")

    @registry.on_event(OrderPlaced, name="thread")
    def in_a_thread(event: OrderPlaced, ctx: dawdle.Context) -> None:
        work(event, ctx)

    @registry.on_event(OrderPlaced, name="loop")
    async def in_the_loop(event: OrderPlaced, ctx: dawdle.Context) -> None:
        work(event, ctx)

    context.work(registry, lease=30, grace=15, concurrency=4)


@row(
    36,
    "real",
    "handlers that fork a Pool, a Process and bare, and end them by SIGTERM",
    must="each child ends by it, no worker does, 0 lost, 0 run twice",
)
def forked_pool(scale: Scale) -> Figures:
    figures, count = Figures(), scale.of(300)
    with rig(scale) as on, worker_pool(on.folder) as workers:
        pair = on.pair()
        ids = asyncio.run(signal_all(pair.url, [OrderPlaced(number) for number in range(count)]))
        started = [workers.start(forks, pair.url) for _ in range(2)]
        asyncio.run(_drained(on, ["thread", "loop"], ids))
        stopped = sum(not worker.alive() for worker in started)
        workers.stop(figures)
        notes: Counter[str] = on.notes()
        lost = missing(notes, ["thread", "loop"], ids)
        twice = sum(notes[f"{name} {each}"] > 1 for each in ids for name in ("thread", "loop"))
        pools, ended = notes["pooled"], notes["child -15"]
        told = sum("asked to stop" in line for line in on.log())
        figures.note("pools", pools)
        figures.note("children ended by SIGTERM", ended)
        others = {
            line: times
            for line, times in notes.items()
            if line.startswith(("child ", "pooled ")) and line != "child -15"
        }
        if others:
            figures.failed(f"others ended so: {others}")
        figures.must("of", pools + ended, pools + ended == 2 * count, f"{2 * count}")
        figures.must("workers stopped", stopped, stopped == 0, "0")
        figures.must("signals that workers saw", told, told == 2, "2")
        figures.must("lost", lost, lost == 0, "0")
        figures.must("run twice", twice, twice == 0, "0")
        on.drained(figures, pair.url)
    return figures
