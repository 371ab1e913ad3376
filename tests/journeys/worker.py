"""`dawdle worker` under load, while all that can happen to its processes happens; no event may be lost.

    python -m tests.journeys.worker [--events 5000] [--processes 4] [--rounds 4] [--sqlite | --on-ministack]

In each round, while events come in: a process is killed by SIGKILL and one is ended by SIGTERM, the worker gets SIGHUP,
its code is changed, its code gets a syntax error and is mended, the worker itself is killed by SIGKILL, and another is
stopped by SIGTERM and started again. Each handler writes down what it has done before its message is deleted. Lost is
what was signaled and is neither done nor dead-lettered, per handler.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import psutil
from tests.faults.rig import Rig, rig, signal_all, until
from tests.faults.row import Figures, Scale
from tests.ports import free_port

HANDLERS = ("receipt", "shipping")

SHOP = """
    import asyncio, os, random
    import dawdle, msgspec
    from tests.faults.queues import queue_at

    VERSION = {version}
    notes = os.open({notes!r}, os.O_WRONLY | os.O_APPEND)

    def note(line):
        os.write(notes, f"{{line}}\\n".encode())  # in one call, so that a kill cannot cut it

    class OrderPlaced(msgspec.Struct, frozen=True):
        number: int

    @dawdle.on_event(name="receipt")
    async def receipt(event: OrderPlaced, ctx: dawdle.Context) -> None:
        note(f"began {{ctx.event_id}}")
        await asyncio.sleep(random.random() * 0.3)
        note(f"receipt {{ctx.event_id}}")
        note(f"version {version}")

    @dawdle.on_event(name="shipping", retry=dawdle.Retry(initial=0.2))
    async def shipping(event: OrderPlaced, ctx: dawdle.Context) -> None:
        await asyncio.sleep(random.random() * 0.1)
        if ctx.attempt == 1 and event.number % 10 == 0:
            raise ConnectionError("the carrier does not answer")
        note(f"shipping {{ctx.event_id}}")

    app = dawdle.Dawdle(queue_at({url!r}, lease=4, wait=2), grace=5)
"""


class OrderPlaced(msgspec.Struct, frozen=True):
    number: int


@dataclass(frozen=True)
class Plan:
    """How much is done, and how fast."""

    events: int = 5000
    processes: int = 4
    rounds: int = 4
    rate: float = 60.0
    """Events a second."""
    patience: float = 300.0
    only: tuple[str, ...] = ()
    """What is done to the worker in each round; (): everything."""


@dataclass
class Worker:
    """A worker in a folder, which is started, disturbed and started again."""

    folder: Path
    url: str
    processes: int
    version: int = 0
    process: subprocess.Popen[bytes] | None = None
    port: int = field(default_factory=free_port)
    done: dict[str, int] = field(default_factory=dict)
    """How often each thing was done to it."""
    latest: list[float] = field(default_factory=list)
    """Seconds from a change of the code to the first event that the new code handles."""

    def write(self, more: str = "") -> None:
        """Change the code: a new version, or a mistake."""
        text = textwrap.dedent(SHOP).format(version=self.version, notes=str(self.folder / "notes"), url=self.url)
        path = self.folder / "shop.new"
        path.write_text(text + more)
        path.rename(self.folder / "shop.py")

    async def start(self) -> None:
        """Start the worker, and wait until it is ready."""
        command = [sys.executable, "-m", "dawdle", "worker", "shop:app", "--reload", f"--processes={self.processes}"]
        command.append(f"--health-port=127.0.0.1:{self.port}")
        root = Path(__file__).parents[2]
        path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
        with (self.folder / "worker.log").open("ab") as log:
            self.process = subprocess.Popen(  # noqa: ASYNC220 - it takes a millisecond
                command, cwd=self.folder, env={**os.environ, "PYTHONPATH": path}, stdout=log, stderr=subprocess.STDOUT
            )
        if await until(self.is_ready, 60) is None:
            raise RuntimeError(f"the worker is not ready: {self.log()[-3000:]}")

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ready", timeout=5) as answer:
                return json.load(answer)["status"] == "ready"
        except OSError:
            return False

    def in_flight(self) -> dict[int, int]:
        """Return how many messages each process has in flight, by its id."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/stats", timeout=5) as answer:
            return {each["pid"]: sum(queue["in_flight"] for queue in each["queues"]) for each in json.load(answer)}

    def log(self) -> str:
        return (self.folder / "worker.log").read_text()

    def children(self) -> list[psutil.Process]:
        assert self.process is not None
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.pid).children()
        return []

    async def kill_one(self) -> None:
        """Kill the process that has most in flight."""
        busy = self.in_flight()
        with suppress(ProcessLookupError, ValueError):
            os.kill(max(busy, key=lambda pid: busy[pid]), signal.SIGKILL)

    async def end_one(self) -> None:
        self._signal_one(signal.SIGTERM)

    async def hang_up(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    async def change(self) -> None:
        """Change the code, and wait until an event is handled by the new one."""
        self.version += 1
        started = time.monotonic()
        self.write()
        if await until(lambda: f"version {self.version}\n" in (self.folder / "notes").read_text(), 60, 0.02) is None:
            raise RuntimeError(f"no event was handled by the new code: {self.log()[-3000:]}")
        self.latest.append(time.monotonic() - started)

    async def break_code(self) -> None:
        """Write a syntax error, and mend it when the worker has told it."""
        before = self.log().count("SyntaxError")
        self.write("\ndef (\n")
        if await until(lambda: self.log().count("SyntaxError") > before, 60) is None:
            raise RuntimeError(f"the syntax error was not told: {self.log()[-3000:]}")
        await self.change()

    async def kill_all(self) -> None:
        """Kill the worker itself; its processes end by themselves, and another worker is started."""
        assert self.process is not None
        orphans = self.children()
        self.process.kill()
        self.process.wait()
        _, alive = await asyncio.to_thread(psutil.wait_procs, orphans, 30)
        if alive:
            raise RuntimeError(f"processes outlived their supervisor: {alive}")
        await self.start()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def stop(self) -> int:
        """Stop the worker as a deploy does, and return its exit code."""
        assert self.process is not None
        self.process.terminate()
        return await asyncio.to_thread(self.process.wait, 60)

    def _signal_one(self, number: signal.Signals) -> None:
        with suppress(psutil.NoSuchProcess, IndexError):
            random.choice(self.children()).send_signal(number)


DISTURBANCES = (
    Worker.kill_one,
    Worker.change,
    Worker.end_one,
    Worker.hang_up,
    Worker.kill_one,
    Worker.break_code,
    Worker.restart,
    Worker.hang_up,
    Worker.kill_all,
)


async def disturb(worker: Worker, plan: Plan) -> None:
    """Do everything to a worker, in every round."""
    chosen = [each for each in DISTURBANCES if not plan.only or each.__name__ in plan.only]
    pause = max(0.2, plan.events / plan.rate / (plan.rounds * len(chosen)) / 3)
    for _ in range(plan.rounds):
        for disturbance in chosen:
            await asyncio.sleep(pause)
            await disturbance(worker)
            worker.done[disturbance.__name__] = worker.done.get(disturbance.__name__, 0) + 1


async def keep_alive(worker: Worker, all_done: asyncio.Event) -> None:
    """Signal a new event now and then, so that new code has something to handle when the others are done."""
    while not all_done.is_set():
        await signal_all(worker.url, [OrderPlaced(-1)])
        await asyncio.sleep(0.2)


async def journey(on: Rig, plan: Plan, figures: Figures) -> None:
    """Signal events, disturb the worker meanwhile, wait until all is done, and say what came of it."""
    pair = on.pair()
    worker = Worker(on.folder, pair.url, plan.processes)
    worker.write()
    started, disturbed = time.monotonic(), asyncio.Event()
    try:
        await worker.start()
        figures.note("seconds until ready", round(time.monotonic() - started, 2))
        async with asyncio.TaskGroup() as group:
            storm = group.create_task(disturb(worker, plan))
            storm.add_done_callback(lambda _: disturbed.set())
            group.create_task(keep_alive(worker, disturbed))
            ids = await signal_all(pair.url, [OrderPlaced(number) for number in range(plan.events)], plan.rate)
        owed = {f"{name} {each}" for name in HANDLERS for each in ids}
        given_up: set[str] = set()

        def lost() -> set[str]:
            given_up.update(f"{letter.get('dawdleowed', '?')} {letter.get('id')}" for letter in on.letters(pair.dead))
            return owed - on.notes().keys() - given_up

        await until(lambda: not lost() and on.counts(pair.url).all == 0, plan.patience, 0.2)
        missing = lost()
        children = worker.children()
        code = await worker.stop()
    finally:
        end(worker)
    figures.note("seconds", round(time.monotonic() - started, 1))
    figures.note("events", len(ids))
    figures.must("disturbances", sum(worker.done.values()), bool(worker.done), "1 or more")
    for name, count in worker.done.items():
        figures.must(name, count, count >= plan.rounds, f"{plan.rounds} or more")
    figures.must("lost", len(missing), not missing, "0")
    figures.must("dead-lettered", len(given_up), len(given_up) <= len(owed) // 1000, "1 in 1,000 at the most")
    runs = on.notes()
    cut = sum(count for line, count in runs.items() if line.startswith("began ")) - sum(
        count for line, count in runs.items() if line.startswith("receipt ")
    )
    figures.must("cut off in the middle", cut, cut > 0 or plan.events < 1000, "more: nothing was tried")
    figures.note("run again", sum(runs[each] - 1 for each in owed if runs[each]))
    if worker.latest:
        figures.note("seconds from change to new code, median", sorted(worker.latest)[len(worker.latest) // 2])
        figures.note("the same, longest", max(worker.latest))
    figures.must("exit code of the worker", code, code == 0, "0")
    left = [each for each in children if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
    figures.must("processes left", len(left), not left, "0")
    on.drained(figures, pair.url)


def end(worker: Worker) -> None:
    """End what runs of a worker, whatever happened."""
    if worker.process is not None and worker.process.poll() is None:
        worker.process.kill()
        worker.process.wait()


def run(plan: Plan, scale: Scale) -> Figures:
    """Run the journey on a server or a file of its own and return its figures; of `scale` only where."""
    figures = Figures()
    with rig(scale) as on:
        asyncio.run(journey(on, plan, figures))
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=5000)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--rate", type=float, default=60.0, help="events a second")
    parser.add_argument("--only", nargs="+", default=(), help="such as kill_one and hang_up; everything without it")
    on_what = parser.add_mutually_exclusive_group()
    on_what.add_argument("--sqlite", action="store_true", help="on one SQLite file")
    on_what.add_argument("--on-ministack", action="store_true", help="on ministack")
    asked = parser.parse_args()
    found = run(
        Plan(asked.events, asked.processes, asked.rounds, asked.rate, only=tuple(asked.only)),
        Scale(on_ministack=asked.on_ministack, on_sqlite=asked.sqlite),
    )
    for name, value in found.shown.items():
        print(f"{name:42} {value}")
    for line in found.broken:
        print(line, file=sys.stderr)
    sys.exit(1 if found.broken else 0)
