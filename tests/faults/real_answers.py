"""Responses that are lost, batches with failed entries, messages that are delivered twice or come back."""

import asyncio
import random
from collections import Counter

import msgspec

import dawdle
from dawdle.backends.sqs import SQS
from tests.faults.apps import OrderPlaced, Watched
from tests.faults.rig import QueuePair, Rig, rig, until
from tests.faults.row import Figures, Scale, row

PATIENCE = 90.0


class Singles(SQS):
    """A queue with batches of one message, so that each lost response is about one message."""

    def __init__(self, url: str, **options: int) -> None:
        super().__init__(url, **options)
        self.limits = msgspec.structs.replace(self.limits, max_batch=1)


async def signal_all(app: dawdle.Dawdle, count: int) -> tuple[list[str], list[str]]:
    """Signal events concurrently; return the ids of those that are stored, and of those that may be."""
    stored: list[str] = []
    unsure: list[str] = []
    room = asyncio.Semaphore(200)

    async def one(number: int) -> None:
        async with room:
            try:
                stored.append(await app.signal(OrderPlaced(number)))
            except dawdle.SignalError as error:
                unsure.extend(error.failed)

    await asyncio.gather(*(one(number) for number in range(count)))
    return stored, unsure


@row(
    9, "real", "5 % of every kind of answer lost after it was applied", must="0 lost, runs ≤ 1 + faults of its messages"
)
def answers_lost(scale: Scale) -> Figures:
    """Twice: with batches, where a lost response is about ten messages at most, and with single messages."""
    figures = Figures()
    # In full batches an event takes 0.3 requests, so there are more of them: else few answers would be lost.
    for name, kind, about, count in (("batches", SQS, 10, 8_000), ("singles", Singles, 1, 2_000)):
        with rig(scale) as on:
            asyncio.run(_answers_lost(on, name, kind, about, scale.of(count), figures))
    return figures


async def _answers_lost(on: Rig, name: str, kind: type[SQS], about: int, count: int, figures: Figures) -> None:
    pair, failed = on.pair(), set()

    async def handle(event: OrderPlaced, ctx: dawdle.Context) -> None:
        await asyncio.sleep(random.random() * 0.02)
        if event.number % 10 == 0 and event.number not in failed:
            failed.add(event.number)
            raise ConnectionError("the first time")

    watched = Watched(kind(pair.url, lease=3, wait=1), handle, retry_of_handler=dawdle.Retry(initial=0.1))
    on.add_fault_rule("lost_answer", share=0.05, seed=random.randrange(10**6))
    async with watched.app as app:
        stored, unsure = await signal_all(app, count)
        await until(lambda: len(watched.handled) >= count and on.counts(pair.url).all == 0, PATIENCE, step=0.5)
    fired = [fault for fault in on.fired() if fault["operation"] != "GetQueueAttributes"]
    on.remove_fault_rules()
    watched.left(figures)
    lost = sum(watched.runs[each] == 0 for each in stored)
    extra = sum(watched.runs.values()) - len(watched.runs) - len(failed)
    kinds = Counter(fault["operation"] for fault in fired)
    figures.must(f"{name}: answers lost", len(fired), len(kinds) >= 3, "at least three kinds of them")
    figures.note(f"{name}: told that they may be stored", len(unsure))
    figures.must(f"{name}: events lost", lost, lost == 0, "0")
    figures.must(f"{name}: extra runs", extra, extra <= about * len(fired), f"≤ {about * len(fired)}")
    on.drained(figures, pair.url)


@row(16, "real", "20 % Failed[] in every batch", must="each its own caller's")
def entries_failed(scale: Scale) -> Figures:
    """Sends, deletes and renewals. An event whose signal succeeded runs once; one whose signal failed never runs."""
    figures = Figures()

    async def go(on: Rig, pair: QueuePair) -> None:
        watched = Watched(SQS(pair.url, lease=6, wait=1))
        number = on.add_fault_rule("entries_failed", entries=(3, 7))
        async with watched.app as app:
            stored, refused = await signal_all(app, scale.of(2_000))
            await until(lambda: len(watched.handled) >= len(stored) and on.counts(pair.url).all == 0, 60, step=0.2)
        fired = Counter(fault["operation"] for fault in on.fired())
        on.remove_fault_rules(number)
        watched.left(figures)
        figures.must("batches hit", fired.total(), fired["SendMessageBatch"] > 0 and fired["DeleteMessageBatch"] > 0)
        figures.note("told yes", len(stored))
        figures.must("told no", len(refused), len(refused) > 0, "more")
        wrong = sum(watched.runs[each] != 1 for each in stored)
        figures.must("told yes and not run once", wrong, wrong == 0, "0")
        wrong = sum(watched.runs[each] != 0 for each in refused)
        figures.must("told no and run", wrong, wrong == 0, "0")

    _with_a_queue(scale, figures, go)
    return figures


@row(17, "real", "10 % delivered twice, also twice in one receive", must="one run each in one process")
def delivered_twice(scale: Scale) -> Figures:
    figures = Figures()

    async def go(on: Rig, pair: QueuePair) -> None:
        on.add_fault_rule("twice", share=0.1, seed=1)
        on.add_fault_rule("twice", share=0.1, seed=2, within=True)
        await _each_runs_once(on, pair, scale.of(3_000), figures, "delivered twice")

    _with_a_queue(scale, figures, go)
    return figures


@row(18, "real", "deleted and back again to the same process, 2 %", must="not run")
def comes_back(scale: Scale) -> Figures:
    figures = Figures()

    async def go(on: Rig, pair: QueuePair) -> None:
        on.add_fault_rule("comes_back", share=0.02, seed=1, seconds=1)
        on.add_fault_rule("comes_back", nth=(2, 5), seconds=2)
        await _each_runs_once(on, pair, scale.of(3_000), figures, "deletes undone")

    _with_a_queue(scale, figures, go)
    return figures


async def _each_runs_once(on: Rig, pair: QueuePair, count: int, figures: Figures, what: str) -> None:
    """Signal events and check that each runs once in this process, in spite of the fault rules in force."""

    async def handle(event: OrderPlaced, ctx: dawdle.Context) -> None:
        await asyncio.sleep(random.random() * 0.05)

    watched = Watched(SQS(pair.url, lease=6, wait=1), handle)
    async with watched.app as app:
        stored, unsure = await signal_all(app, count)
        await until(lambda: len(watched.handled) >= count, 60)
        await asyncio.sleep(3)  # what comes back does so by now
        on.remove_fault_rules()
        await until(lambda: on.counts(pair.url).all == 0, 20)  # deleted by an old receipt: back after a lease
    fired = len(on.fired())
    watched.left(figures)
    figures.note("events", len(stored))
    figures.must(what, fired, fired >= 2, "more: nothing was tried")
    lost, again = sum(watched.runs[each] == 0 for each in stored), sum(watched.runs.values()) - len(watched.runs)
    figures.must("lost", lost, lost == 0 and not unsure, "0")
    figures.must("run again", again, again == 0, "0")


def _with_a_queue(scale: Scale, figures: Figures, go) -> None:
    with rig(scale) as on:
        pair = on.pair()
        asyncio.run(go(on, pair))
        on.drained(figures, pair.url)
