"""One contestant on its rig: its handlers, the server's own counts, and the meter."""

import asyncio
import json
import resource
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from http.client import HTTPConnection
from typing import Any, Final, Self
from urllib.parse import urlsplit

from tests.bench import sync_counter
from tests.bench.contestants import Contestant, contestant
from tests.bench.work import Handler, Job, Order, Result, Setting

BATCH: Final = 100
"""Events of one `signal_many`."""

_WARM_UP_SECONDS: Final = 0.15
_MAX_EVENTS: Final = 50_000
_MAX_BYTES: Final = 400_000_000
"""Of bodies that wait in the server at once."""


class Server:
    """The other side's own counts; blocking, since nothing else goes on when they are asked for."""

    def __init__(self, job: Job) -> None:
        self._queue = job.queue
        is_http = job.where in {"stub", "server"}
        self._connection = HTTPConnection(urlsplit(job.address).netloc) if is_http else None

    def requests(self) -> dict[str, int]:
        return self._ask("requests")

    def entries(self) -> dict[str, int]:
        return self._ask("entries")

    def left(self) -> int:
        """Return how many messages are not deleted."""
        queue = self._ask("queues").get(self._queue, {})
        return sum(queue.get(state, 0) for state in ("visible", "in_flight"))

    def _ask(self, what: str) -> dict[str, Any]:
        if self._connection is None:
            return {}
        self._connection.request("GET", f"/_control/{what}")
        answer = self._connection.getresponse()
        found = answer.read()
        return json.loads(found) if answer.status == 200 else {}


class Meter:
    """CPU, wall clock and requests from `start` to `stop`."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.start()

    def start(self) -> None:
        self._requests, self._entries = self._server.requests(), self._server.entries()
        self._counts = sync_counter.counts()
        self._cpu, self._wall = cpu(), time.perf_counter()

    def stop(self, events: int) -> Result:
        used, took = cpu() - self._cpu, time.perf_counter() - self._wall
        return Result(
            events=events,
            cpu_us=used / events * 1e6,
            rate=events / took,
            syncs=None if self._counts is None else (sync_counter.counts()[0] - self._counts[0]) / events,
            requests=more(self._requests, self._server.requests()),
            entries=more(self._entries, self._server.entries()),
        )


class Rig:
    """One contestant with its handlers, whose runs are counted."""

    def __init__(self, job: Job) -> None:
        self.job, self.work, self.server = job, job.work, Server(job)
        self.meter = Meter(self.server)
        self.text = "x" * job.work.body
        self._stack = AsyncExitStack()
        self._room: asyncio.Semaphore | None = None
        self._runs = 0
        self._marks: list[tuple[int, Callable[[], None]]] = []

    async def open(self, make: Callable[[], Handler] | None = None) -> Self:
        """Open the contestant. `make` makes a handler; without it one that counts."""
        handlers = tuple((make or self.counting)() for _ in range(self.work.handlers))
        kind = contestant(self.job.contestant, self.job.where)
        self.contestant: Contestant = await self._stack.enter_async_context(kind(Setting(self.job, handlers)))
        return self

    async def listen(self) -> None:
        await self._stack.enter_async_context(self.contestant.listening())

    def counting(self) -> Handler:
        async def handle(event: Order) -> None:
            self.count()

        return handle

    def count(self) -> None:
        """Count one run of a handler, and do what is due then."""
        self._runs += 1
        if self._room is not None and self._runs % self.work.handlers == 0:
            self._room.release()
        while self._marks and self._runs == self._marks[-1][0]:
            self._marks.pop()[1]()

    def when(self, events: int, act: Callable[[], None]) -> None:
        """Call `act` when so many more events were handled."""
        self._marks.append((self._runs + events * self.work.handlers, act))
        self._marks.sort(reverse=True, key=lambda mark: mark[0])

    def handled(self, events: int) -> asyncio.Event:
        """Return an event that is set when so many more events were handled."""
        done = asyncio.Event()
        self.when(events, done.set)
        return done

    def order(self, number: int = 0) -> Order:
        return Order(number, time.perf_counter(), self.text)

    async def signal_each(self, events: int) -> None:
        """Signal one by one, in as many tasks as there are signalers."""

        async def signaler(share: int) -> None:
            for number in range(share):
                await self.contestant.signal(self.order(number))

        share, more_of_them = divmod(events, self.work.signalers)
        async with asyncio.TaskGroup() as group:
            for number in range(self.work.signalers):
                group.create_task(signaler(share + (number < more_of_them)))

    async def signal_in_turn(self, events: int) -> None:
        """Signal one by one, with so many events under way at any time as the work says."""
        room = self._room = asyncio.Semaphore(self.work.in_flight)
        numbers = iter(range(events))

        async def signaler() -> None:
            for number in numbers:
                await room.acquire()
                await self.contestant.signal(self.order(number))

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self.work.in_flight, events)):
                group.create_task(signaler())

    async def signal_many(self, events: int) -> None:
        for start in range(0, events, BATCH):
            await self.contestant.signal_many([self.order(start + n) for n in range(min(BATCH, events - start))])

    async def store(self, send: Callable[[int], Awaitable[None]], events: int) -> None:
        """Send until the server has it all: some contestants return before they have sent."""
        before = self.server.left()
        await send(events)
        while self.server.left() - before < events:
            await asyncio.sleep(0.01)

    async def fill(self, events: int) -> None:
        await self.store(self.signal_many, events)

    async def deleted(self) -> None:
        """Wait until the server has nothing left: handlers end before their messages are deleted."""
        while self.server.left():
            await asyncio.sleep(0.01)

    async def pass_through(self, signal: Callable[[int], Awaitable[None]], events: int) -> None:
        """Signal, and wait until all is handled and deleted."""
        done = self.handled(events)
        await signal(events)
        self._room = None
        await done.wait()
        await self.deleted()

    async def events_for(self, run: Callable[[int], Awaitable[None]]) -> int:
        """Warm up by `run`, and return how many events it does in the seconds that the work says."""
        events, took = self.work.signalers, 0.0
        while True:
            started = time.perf_counter()
            await run(events)
            took = time.perf_counter() - started
            if took > _WARM_UP_SECONDS or events >= _MAX_EVENTS:
                break
            events *= 2
        wanted = int(events / took * self.work.seconds)
        most = min(_MAX_EVENTS, max(1, _MAX_BYTES // (self.work.body + 1000)))
        return max(min(wanted, most), self.work.signalers, BATCH, self.work.in_flight)


def cpu() -> float:
    """Return the seconds of CPU of this process, all its threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def more(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {name: count - before.get(name, 0) for name, count in after.items() if count > before.get(name, 0)}
