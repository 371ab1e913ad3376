"""Worker processes of the real rows: forked from a parent that has loaded everything, and ended one by one, by id.

The main function of a worker takes a `WorkerContext` and notes what it does. One that ends cleanly notes what it left
open.
"""

import asyncio
import contextlib
import logging
import mmap
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import dawdle
from dawdle.hooks import LeaseLost, Moment, Received, Settled
from dawdle.testing import Probe
from tests.faults.queues import queue_at
from tests.faults.row import Figures

COUNTER_BYTES = 8
"""Bytes of the counter in which a worker keeps how many messages are in flight there."""

MAX_WORKERS = 20_000
"""Workers of one pool."""

LEAVING = "leaving an app"
"""The name of a task that closes an app while others run; it is not counted as left behind."""

_context = multiprocessing.get_context("forkserver")


def prepare() -> None:
    """Start the parent of all workers, if it does not run; it ends with us."""
    _context.set_forkserver_preload(["tests.faults.preload"])
    multiprocessing.forkserver.ensure_running()


class Audited(dawdle.Dawdle):
    """An app that, when it is left, checks what it leaves: no slot taken, no message in flight.

    The last of a process to be left looks for tasks, threads and descriptors as well.
    """

    leaves: dict[str, str] | None = None
    """What it left behind; None until it is closed."""

    _entered_here = 0
    _before: dict[str, int] = {}

    async def __aenter__(self) -> Self:
        if Audited._entered_here == 0:
            Audited._before = _held()
        Audited._entered_here += 1
        return await super().__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        probe = Probe(self)
        try:
            await super().__aexit__(kind, error, trace)
        finally:
            Audited._entered_here -= 1
        end = time.monotonic() + 2
        while (leaves := self._left(probe)) and time.monotonic() < end:
            await asyncio.sleep(0.02)
        self.leaves = leaves

    def _left(self, probe: Probe) -> dict[str, str]:
        left: dict[str, str] = {}
        if Audited._entered_here == 0:
            now = _held()
            left = {name: f"{had} → {now[name]}" for name, had in Audited._before.items() if now[name] > had}
        if probe.free_slots != probe.slots:
            left["slots"] = f"{probe.free_slots} of {probe.slots}"
        if probe.in_flight:
            left["in flight"] = f"{probe.in_flight}"
        return left


def _held() -> dict[str, int]:
    pooled = ("AnyIO worker thread", "asyncio_")  # they are idle, and end with the loop
    return {
        "tasks": sum(task.get_name() != LEAVING for task in asyncio.all_tasks()),
        "threads": sum(not thread.name.startswith(pooled) for thread in threading.enumerate()),
        "descriptors": len(os.listdir("/proc/self/fd")),
    }


@dataclass
class WorkerContext:
    """The arguments of a worker, and where it writes its notes."""

    index: int
    url: str
    folder: Path
    environment: dict[str, str]
    more: dict[str, Any] = field(default_factory=dict)
    _notes: int = -1

    def open(self) -> None:
        """Open the notes and the log, in the worker's own process."""
        self._notes = os.open(self.folder / "notes", os.O_WRONLY | os.O_APPEND)
        logging.basicConfig(filename=self.folder / "log", level=logging.INFO)

    def note(self, line: str) -> None:
        """Write a line in one call, so that a kill cannot cut it."""
        os.write(self._notes, f"{line}\n".encode())

    def hush(self) -> None:
        """Redirect stderr to a file: there may be thousands of tracebacks, and they are expected."""
        os.dup2(os.open(self.folder / "errors", os.O_WRONLY | os.O_APPEND | os.O_CREAT), sys.stderr.fileno())

    def first(self, what: str) -> bool:
        """Return True in the first worker that calls this with `what`."""
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self.folder / what, os.O_CREAT | os.O_EXCL))
            return True
        return False

    def work(self, registry: dawdle.Registry, *, lease: int = 4, wait: int = 1, **options: Any) -> None:
        """Be a worker until a signal ends it."""
        hooks = (_counting(self), *options.pop("hooks", ()))
        queue = queue_at(self.url, lease=lease, wait=wait)
        app = Audited(queue, registry=registry, hooks=hooks, lifespan=options.pop("lifespan", self._life), **options)
        app.run()
        left = "nothing" if app.leaves == {} else str(app.leaves)
        self.note(f"left {self.index}: {left}")

    @contextlib.asynccontextmanager
    async def _life(self, app: dawdle.Dawdle) -> Any:
        self.note(f"up {self.index}")
        yield


def _counting(context: WorkerContext) -> Callable[[Moment], None]:
    """Return a hook that counts messages in flight in shared memory, where the parent reads it after a kill."""
    with (context.folder / "in-hand").open("r+b") as file:
        hands = mmap.mmap(file.fileno(), 0)
    in_hand = 0

    def count(moment: Moment) -> None:
        nonlocal in_hand
        if isinstance(moment, Received):
            in_hand += moment.messages
        elif isinstance(moment, (Settled, LeaseLost)):
            in_hand -= 1
        hands[context.index * COUNTER_BYTES : context.index * COUNTER_BYTES + COUNTER_BYTES] = max(0, in_hand).to_bytes(
            COUNTER_BYTES, "little"
        )

    return count


Work = Callable[[WorkerContext], None]


def _begin(work: Work, context: WorkerContext) -> None:
    os.environ.clear()
    os.environ.update(context.environment)
    context.open()
    work(context)


class Worker:
    """One process."""

    def __init__(self, work: Work, context: WorkerContext) -> None:
        self.context = context
        self._process = _context.Process(target=_begin, args=(work, context), daemon=True)
        self._process.start()
        self.started = time.monotonic()
        assert self._process.pid is not None
        self.pid = self._process.pid
        self.code: int | None = None

    @property
    def sentinel(self) -> int:
        return self._process.sentinel

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it lives."""
        if self.alive():
            os.kill(self.pid, number)

    def alive(self) -> bool:
        """Whether it runs; once it does not, `code` is its exit code."""
        if self.code is None and not self._process.is_alive():
            self._process.join()
            self.code = self._process.exitcode
            self._process.close()
        return self.code is None

    def end(self, patience: float) -> bool:
        """Wait for its end; kill it if it does not come, and return whether it came."""
        if self.alive():
            self._process.join(patience)
        came = not self.alive()
        if not came:
            self._process.kill()
            self._process.join(10)
            self.alive()
        return came


class WorkerPool:
    """Workers that share a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started = 0
        self.workers: list[Worker] = []
        (folder / "in-hand").write_bytes(bytes(COUNTER_BYTES * MAX_WORKERS))
        with (folder / "in-hand").open("r+b") as file:
            self._hands = mmap.mmap(file.fileno(), 0)

    def start(self, work: Work, url: str, **more: Any) -> Worker:
        """Start a worker."""
        context = WorkerContext(self._started, url, self._folder, dict(os.environ), more)
        self._started += 1
        worker = Worker(work, context)
        self.workers.append(worker)
        return worker

    def dead(self, patience: float) -> list[Worker]:
        """Wait until some have ended, and remove and return them."""
        wait([worker.sentinel for worker in self.workers if worker.alive()], patience)
        ended = [worker for worker in self.workers if not worker.alive()]
        self.workers = [worker for worker in self.workers if worker not in ended]
        return ended

    def kill(self, worker: Worker) -> int:
        """Kill one with SIGKILL, and return how many messages were in flight there."""
        worker.send(signal.SIGKILL)
        worker.end(10)
        self.workers.remove(worker)
        return self.in_hand(worker)

    def in_hand(self, worker: Worker) -> int:
        """Return how many messages are in flight in a worker, or were when it ended."""
        at = worker.context.index * COUNTER_BYTES
        return int.from_bytes(self._hands[at : at + COUNTER_BYTES], "little")

    def stop(self, figures: Figures, patience: float = 30.0) -> None:
        """Stop all workers and wait: each must end by itself, and leave nothing behind."""
        asked, self.workers = self.workers, []
        for worker in asked:
            worker.send(signal.SIGTERM)
        for worker in asked:
            if not worker.end(patience):
                figures.failed(f"worker {worker.context.index} had to be killed")
        self.audit(figures, asked)

    def audit(self, figures: Figures, ended: Sequence[Worker]) -> None:
        """Check what stopped workers left behind."""
        told = dict(line.split(": ", 1) for line in _lines(self._folder) if line.startswith("left "))
        for worker in ended:
            left = told.get(f"left {worker.context.index}", "nothing said")
            if left != "nothing" or worker.code != 0:
                figures.failed(f"worker {worker.context.index} ended with {worker.code}, and left: {left}")

    def close(self) -> None:
        for worker in self.workers:
            worker.send(signal.SIGKILL)
        for worker in self.workers:
            worker.end(10)
        self._hands.close()


def _lines(folder: Path) -> list[str]:
    return (folder / "notes").read_text().split("\n")[:-1]


@contextmanager
def worker_pool(folder: Path) -> Iterator[WorkerPool]:
    """Yield a pool; when the block ends, its workers are killed."""
    prepare()
    made = WorkerPool(folder)
    try:
        yield made
    finally:
        made.close()
