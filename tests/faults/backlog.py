"""A backlog for one handler with a limit, and a little work for another: worked off on a test clock, and measured."""

import asyncio
import heapq
import math
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from random import Random
from typing import Final, Literal, NamedTuple, Self

import msgspec

from dawdle import Dawdle, Registry
from dawdle.abc import Backend, Delivery, Fault, Outgoing, ReleaseEntry
from dawdle.backends.memory import Memory
from dawdle.errors import BackendError
from dawdle.hooks import Forwarded, Moment
from dawdle.testing import ManualClock, Probe
from tests.faults.simulation import SimulatedSQS
from tests.faults.trouble import Trouble
from tests.faults.wire import Wire

SLOTS: Final = 100
BEAT: Final = 1.0
"""Seconds from one event of the other handler to the next."""

HOP: Final = 900.0
LINE: Final = 10.0
"""Seconds: the longest delay on SQS, and what may wait in memory."""


class OrderPlaced(msgspec.Struct, frozen=True):
    number: int


class PriceAsked(msgspec.Struct, frozen=True):
    number: int
    at: float


class Scenario(NamedTuple):
    """How many events, what their runs take, on what."""

    queue: Literal["memory", "simulated"] = "simulated"
    kind: Literal["constant", "exponential"] = "constant"
    mean: float = 0.2
    events: int = 500
    limit: int = 1
    nodes: int = 1

    def runs(self, seed: int) -> list[float]:
        """Return what each run takes, in seconds."""
        if self.kind == "constant":
            return [self.mean] * self.events
        random = Random(f"the runs of {seed}")
        return [random.expovariate(1 / self.mean) for _ in range(self.events)]

    def __str__(self) -> str:
        return f"{self.queue}, {self.events:,} {self.kind} of {self.mean:g} s, limit {self.limit}, nodes {self.nodes}"


class Line(Wire):
    """A node's way to the queue, which is cut when its process is killed."""

    dead = False

    async def send(self, batch: Sequence[Outgoing]) -> list[Fault | None]:
        self._require_life()
        return await super().send(batch)

    async def receive(self, limit: int, wait: float) -> list[Delivery]:
        self._require_life()
        deliveries = await super().receive(limit, wait)
        self._require_life()
        return deliveries

    async def ack(self, receipts: Sequence[str]) -> list[Fault | None]:
        self._require_life()
        return await super().ack(receipts)

    async def renew(self, receipts: Sequence[str]) -> list[Fault | None]:
        self._require_life()
        return await super().renew(receipts)

    async def release(self, batch: Sequence[ReleaseEntry]) -> list[Fault | None]:
        self._require_life()
        return await super().release(batch)

    def _require_life(self) -> None:
        if self.dead:
            raise BackendError("the process was killed")


class Node:
    """One process: an app, and what it did."""

    def __init__(self, number: int, app: Dawdle, backend: Backend) -> None:
        self.number = number
        self.app = app
        self.backend = backend

    @property
    def alive(self) -> bool:
        """Whether it was not killed."""
        return not (isinstance(self.backend, Line) and self.backend.dead)

    def kill(self) -> None:
        """End the process: nothing of it reaches the queue any more, and what it held comes back with its leases."""
        assert isinstance(self.backend, Line), "a queue in memory dies with its process"
        self.backend.dead = True

    @property
    def waiting(self) -> list[int]:
        """How many events wait in memory for each handler with a limit."""
        return list(Probe(self.app).waiting.values())


class Backlog:
    """The nodes, and what came of the events. `async with` stores the events and lets the nodes receive."""

    def __init__(self, seed: int, scenario: Scenario, *, handlers: Sequence[str] = ("orders",)) -> None:
        self.scenario = scenario
        self.handlers = handlers
        self.clock = ManualClock()
        self.runs = scenario.runs(seed)
        self.nodes: list[Node] = []
        self.started: dict[tuple[int, str], float] = {}
        self.done: dict[tuple[int, str], float] = {}
        self.calls: Counter[tuple[int, str]] = Counter()
        self.copies = 0
        self.beats: list[float] = []
        self.most_of_one = self.most_of_all = 0
        self.began = 0.0
        self._sqs = SimulatedSQS(self.clock)
        self.queue = self._sqs.queue
        self._memory = Memory(clock=self.clock) if scenario.queue == "memory" else None
        self._trouble = Trouble(self.clock, Random(f"the way of {seed}"))
        self._signals: set[asyncio.Task[str]] = set()

    async def __aenter__(self) -> Self:
        await self._sqs.__aenter__()
        first = await self.join()
        events = [OrderPlaced(number) for number in range(1, self.scenario.events + 1)]
        storing = asyncio.create_task(first.app.signal_many(events))
        while not storing.done():
            await self.clock.advance(0.1)
        await storing
        for _ in range(1, self.scenario.nodes):
            await self.join()
        self.began = self.clock.monotonic()
        for node in self.nodes:
            await node.app.start_listener()
        return self

    async def __aexit__(self, *error: object) -> None:
        leaving = [asyncio.create_task(node.app.__aexit__(None, None, None)) for node in self.nodes]
        await self.clock.advance(60)
        await asyncio.gather(*leaving, *self._signals, return_exceptions=True)
        await self._sqs.__aexit__(None, None, None)

    @property
    def is_done(self) -> bool:
        """Whether every handler has had every event."""
        return len(self.done) == self.scenario.events * len(self.handlers)

    @property
    def took(self) -> float:
        """Seconds from the first receive to the end of the last run."""
        return max(self.done.values()) - self.began

    @property
    def ideal(self) -> float:
        """Seconds that as many servers would take as runs are allowed at once, first come, first served."""
        ends = [0.0] * (self.scenario.limit * self.scenario.nodes)
        for run in self.runs:
            heapq.heapreplace(ends, ends[0] + run)
        return max(ends)

    @property
    def beyond(self) -> float:
        """Copies per event and handler that its wait did not make necessary."""
        waits = [at - self.began for at in self.started.values()]
        return (self.copies - sum(math.ceil(max(0.0, wait - LINE) / HOP) for wait in waits)) / len(waits)

    @property
    def median(self) -> float:
        """Seconds from signal to handler, of the other handler's events."""
        return sorted(self.beats)[len(self.beats) // 2]

    async def join(self, *, listening: bool = False) -> Node:
        """Let a node begin; `listening`: it receives."""
        number = len(self.nodes)
        backend = self._memory or Line(self.queue, self._trouble, node=number)
        registry = Registry()
        app = Dawdle(
            backend,
            registry=registry,
            clock=self.clock,
            hooks=[self._note],
            concurrency=SLOTS,
            start_listener=listening,
        )
        node = Node(number, app, backend)
        for name in self.handlers:
            registry.on_event(OrderPlaced, name=name, concurrency=self.scenario.limit)(self._handler(node, name))
        registry.on_event(PriceAsked, name="prices")(self._answer)
        self.nodes.append(node)
        await app.__aenter__()
        return node

    async def pass_time(self, seconds: int, *, until_done: bool = True) -> bool:
        """Let seconds pass, with an event for the other handler in each; return whether all is done."""
        for _ in range(seconds):
            if until_done and self.is_done:
                break
            self._beat()
            await self.clock.advance(BEAT)
            self._look()
        return self.is_done

    def _beat(self) -> None:
        node = next(node for node in self.nodes if node.alive)
        signaling = asyncio.create_task(node.app.signal(PriceAsked(0, self.clock.monotonic())))
        self._signals.add(signaling)
        signaling.add_done_callback(self._signals.discard)

    def _look(self) -> None:
        for node in self.nodes:
            if waiting := node.waiting:
                self.most_of_one = max(self.most_of_one, *waiting)
                self.most_of_all = max(self.most_of_all, sum(waiting))

    def _handler(self, node: Node, name: str) -> Callable[[OrderPlaced], Coroutine[object, object, None]]:
        async def handle(event: OrderPlaced) -> None:
            if not node.alive:
                return
            pair = event.number, name
            self.calls[pair] += 1
            self.started.setdefault(pair, self.clock.monotonic())
            await self.clock.sleep_until(self.clock.monotonic() + self.runs[event.number - 1])
            if node.alive:
                self.done.setdefault(pair, self.clock.monotonic())

        return handle

    async def _answer(self, event: PriceAsked) -> None:
        self.beats.append(self.clock.monotonic() - event.at)

    def _note(self, moment: Moment) -> None:
        self.copies += isinstance(moment, Forwarded) and moment.why == "crowded"
