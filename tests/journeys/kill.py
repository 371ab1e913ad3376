"""Workers are killed at random while they work; every event must be handled by every handler all the same.

    python -m tests.journeys.kill [--orders 10000] [--workers 4] [--witness]

Four worker processes on one SQS queue, one killed with SIGKILL every 250 to 750 ms and replaced. Each handler writes
down what it has done, before its message is deleted; each worker keeps the number of messages it has in hand where the
parent can read it after the kill. Lost is what was signaled and is neither done nor dead-lettered, per handler. A run
beyond the first can only be of a message that was in hand at a kill.
"""

import argparse
import asyncio
import json
import mmap
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from tests.servers import free_port, ministack, running

import dawdle
from dawdle.backends.sqs import SQS
from dawdle.hooks import Moment, Received, Settled

HANDLERS = ("receipt", "stats", "shipping")
LEASE = 4
SLOT = 8


class OrderPlaced(msgspec.Struct, frozen=True):
    number: int


def work(index: int, url: str, notes: str, counts: str) -> None:
    """Be one worker, until killed."""
    paper = os.open(notes, os.O_WRONLY | os.O_APPEND)
    with open(counts, "r+b") as file:
        hands = mmap.mmap(file.fileno(), 0)
    registry, in_hand = dawdle.Registry(), 0

    def watch(moment: Moment) -> None:
        nonlocal in_hand
        if isinstance(moment, Received):
            in_hand += moment.messages
        elif isinstance(moment, Settled):
            in_hand -= 1
        hands[index * SLOT : index * SLOT + SLOT] = in_hand.to_bytes(SLOT, "little")

    def add(name: str) -> None:
        @registry.on_event(OrderPlaced, name=name, retry=dawdle.Retry(initial=0.2))
        async def handler(event: OrderPlaced, ctx: dawdle.Context) -> None:
            await asyncio.sleep(random.random() / 20)
            if name == "shipping" and ctx.attempt == 1 and event.number % 10 == 0:
                raise ConnectionError("the carrier does not answer")
            os.write(paper, f"{name} {ctx.event_id}\n".encode())

        del handler

    for name in HANDLERS:
        add(name)
    dawdle.Dawdle(SQS(url, lease=LEASE, wait=2), registry=registry, concurrency=50, hooks=[watch]).run()


class Workers:
    """Processes forked from a parent that has loaded everything; killed and replaced at random."""

    def __init__(self, count: int, url: str, notes: Path, counts: Path) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["dawdle.backends.sqs._connection", "tests.servers"])
        self._arguments = (url, str(notes), str(counts))
        counts.write_bytes(bytes(SLOT * 10_000))
        with counts.open("r+b") as file:
            self._hands = mmap.mmap(file.fileno(), 0)
        self._started = 0
        self._alive: list[tuple[int, multiprocessing.process.BaseProcess]] = [self._start() for _ in range(count)]
        self.kills = 0
        self.in_hand_at_kills = 0

    def _start(self) -> tuple[int, multiprocessing.process.BaseProcess]:
        index, self._started = self._started, self._started + 1
        process = self._context.Process(target=work, args=(index, *self._arguments), daemon=True)
        process.start()
        return index, process

    def kill_one(self) -> None:
        """Kill a worker, read what it had in hand, and start another."""
        index, process = self._alive.pop(random.randrange(len(self._alive)))
        process.kill()
        process.join(10)
        self.kills += 1
        self.in_hand_at_kills += int.from_bytes(self._hands[index * SLOT : index * SLOT + SLOT], "little")
        self._alive.append(self._start())

    def end(self) -> None:
        """End those that are left."""
        for _, process in self._alive:
            assert process.pid is not None
            os.kill(process.pid, signal.SIGTERM)
        for _, process in self._alive:
            process.join(30)
            if process.is_alive():
                process.kill()
                process.join(10)


async def place(url: str, orders: int, rate: float) -> list[str]:
    """Signal orders at no more than a rate, and return their ids."""
    ids: list[str] = []
    async with dawdle.Dawdle(SQS(url), registry=dawdle.Registry(), start_listener=False) as app:
        started = time.monotonic()
        while len(ids) < orders:
            burst = [OrderPlaced(len(ids) + number) for number in range(min(50, orders - len(ids)))]
            ids += await app.signal_many(burst)
            await asyncio.sleep(max(0.0, started + len(ids) / rate - time.monotonic()))
    return ids


async def kill_at_random(workers: Workers, until: asyncio.Event) -> None:
    """Kill one every 250 to 750 ms."""
    while not until.is_set():
        await asyncio.sleep(random.uniform(0.25, 0.75))
        await asyncio.to_thread(workers.kill_one)


async def dead_letters(url: str) -> Counter[tuple[str, str]]:
    """Return what was given up, by handler and event."""
    found: Counter[tuple[str, str]] = Counter()
    async with SQS(url, lease=60) as queue:
        while deliveries := await queue.receive(10, 1):
            for delivery in deliveries:
                letter = json.loads(delivery.body)
                found[letter.get("dawdleowed", "?"), letter["id"]] += 1
    return found


async def journey(url: str, dead: str, orders: int, count: int, rate: float, patience: float) -> dict[str, object]:
    """Place orders, kill workers meanwhile, wait until all is done, and return the figures."""
    with tempfile.TemporaryDirectory() as folder:
        notes, counts = Path(folder, "done"), Path(folder, "in-hand")
        notes.touch()
        workers, placed = Workers(count, url, notes, counts), asyncio.Event()
        started = time.monotonic()
        try:
            killing = asyncio.create_task(kill_at_random(workers, placed))
            ids = await place(url, orders, rate)
            half = (orders * len(HANDLERS)) // 2
            done: Counter[str] = Counter()
            end = time.monotonic() + patience
            while len(done) < orders * len(HANDLERS) and time.monotonic() < end:
                if len(done) > half and sum(done.values()) >= orders * len(HANDLERS) * 0.9:
                    placed.set()  # enough was killed; what is left must come back by itself
                await asyncio.sleep(0.2)
                done = Counter(notes.read_text().split("\n")[:-1])
            placed.set()
            await killing
            seconds = time.monotonic() - started
        finally:
            await asyncio.to_thread(workers.end)
        done = Counter(notes.read_text().split("\n")[:-1])
    letters = await dead_letters(dead)
    owed = {f"{name} {each}" for name in HANDLERS for each in ids}
    given_up = {f"{name} {each}" for name, each in letters}
    extra = {name: sum(n - 1 for key, n in done.items() if key.startswith(f"{name} ")) for name in HANDLERS}
    return {
        "orders": orders,
        "seconds": round(seconds, 1),
        "kills": workers.kills,
        "in hand at the kills": workers.in_hand_at_kills,
        "lost": len(owed - set(done) - given_up),
        "dead-lettered": len(given_up),
        **{f"run again: {name}": extra[name] for name in HANDLERS},
    }


@contextmanager
def our_server() -> Iterator[str]:
    """Run our own server in a process of its own."""
    port = free_port()
    with running([sys.executable, "-m", "dawdle.testing.sqs", "--port", str(port)], port, dict(os.environ)) as url:
        yield url


def run(orders: int, workers: int, *, witness: bool, patience: float) -> dict[str, object]:
    """Run the journey on a server of its own and return its figures."""
    from tests.sqs.conftest import queue_pair

    os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    rate = 100.0 if witness else 1000.0
    with ministack() if witness else our_server() as server:
        url, dead = asyncio.run(queue_pair(server))
        return asyncio.run(journey(url, dead, orders, workers, rate, patience))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--witness", action="store_true", help="on ministack, fed at 100 orders a second")
    parser.add_argument("--patience", type=float, default=300.0)
    arguments = parser.parse_args()
    figures = run(arguments.orders, arguments.workers, witness=arguments.witness, patience=arguments.patience)
    for name, value in figures.items():
        print(f"{name:24} {value}")
    runs = [value for name, value in figures.items() if name.startswith("run again")]
    good = figures["lost"] == 0 and all(value <= figures["in hand at the kills"] for value in runs)
    sys.exit(0 if good else 1)
