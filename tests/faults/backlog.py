"""A backlog for one handler with a limit, and a few events for another, on a test clock, with what came of it."""

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
from tests.faults.fault_injection import FaultInjector
from tests.faults.simulated_backend import SimulatedBackend
from tests.faults.simulated_sqs import SimulatedSQS

SLOTS: Final = 100
OTHER_EVENT_SECONDS: Final = 1.0
"""Seconds from one event of the other handler to the next."""

MAX_DELAY_SECONDS: Final = 900.0
MAX_LINE_SECONDS: Final = 10.0
"""Seconds: the longest delay on SQS, and what may wait in memory."""


class OrderPlaced(msgspec.Struct, frozen=True):
    number: int


class PriceAsked(msgspec.Struct, frozen=True):
    number: int
    at: float


class Scenario(NamedTuple):
    """How many events, how long their runs take, and on which queue."""

    queue: Literal["memory", "simulated"] = "simulated"
    kind: Literal["constant", "exponential"] = "constant"
    mean: float = 0.2
    events: int = 500
    limit: int = 1
    nodes: int = 1

    def runs(self, seed: int) -> list[float]:
        """Return how many seconds each run takes."""
        if self.kind == "constant":
            return [self.mean] * self.events
        random = Random(f"the runs of {seed}")
        return [random.expovariate(1 / self.mean) for _ in range(self.events)]

    def __str__(self) -> str:
        return f"{self.queue}, {self.events:,} {self.kind} of {self.mean:g} s, limit {self.limit}, nodes {self.nodes}"


class KillableBackend(SimulatedBackend):
    """The backend of a node that can be killed: from then on none of its calls reaches the queue."""

    dead = False

    async def send(self, batch: Sequence[Outgoing]) -> list[Fault | None]:
        self._require_alive()
        return await super().send(batch)

    async def receive(self, limit: int, wait: float) -> list[Delivery]:
        self._require_alive()
        deliveries = await super().receive(limit, wait)
        self._require_alive()
        return deliveries

    async def ack(self, receipts: Sequence[str]) -> list[Fault | None]:
        self._require_alive()
        return await super().ack(receipts)

    async def renew(self, receipts: Sequence[str]) -> list[Fault | None]:
        self._require_alive()
        return await super().renew(receipts)

    async def release(self, batch: Sequence[ReleaseEntry]) -> list[Fault | None]:
        self._require_alive()
        return await super().release(batch)

    def _require_alive(self) -> None:
        if self.dead:
            raise BackendError("the process was killed")


class Node:
    """One node: an app and its backend."""

    def __init__(self, number: int, app: Dawdle, backend: Backend) -> None:
        self.number = number
        self.app = app
        self.backend = backend

    @property
    def alive(self) -> bool:
        """Whether it was not killed."""
        return not (isinstance(self.backend, KillableBackend) and self.backend.dead)

    def kill(self) -> None:
        """Kill the node: its calls fail from now on, and its messages become visible when their leases end."""
        assert isinstance(self.backend, KillableBackend), "a queue in memory dies with its process"
        self.backend.dead = True

    @property
    def waiting(self) -> list[int]:
        """How many events wait in memory for each handler with a limit."""
        return list(Probe(self.app).waiting.values())


class BacklogRun:
    """Nodes that work off a backlog, and what came of it. `async with` stores the events and starts the nodes."""

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
        self.other_waits: list[float] = []
        self.max_waiting_for_one = self.max_waiting_for_all = 0
        self.began = 0.0
        self._sqs = SimulatedSQS(self.clock)
        self.queue = self._sqs.queue
        self._memory = Memory(clock=self.clock) if scenario.queue == "memory" else None
        self._faults = FaultInjector(self.clock, Random(f"the way of {seed}"))
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
    def extra_copies(self) -> float:
        """Copies per event and handler that its wait did not make necessary."""
        waits = [at - self.began for at in self.started.values()]
        return (
            self.copies - sum(math.ceil(max(0.0, wait - MAX_LINE_SECONDS) / MAX_DELAY_SECONDS) for wait in waits)
        ) / len(waits)

    @property
    def median(self) -> float:
        """Seconds from signal to handler, of the other handler's events."""
        return sorted(self.other_waits)[len(self.other_waits) // 2]

    async def join(self, *, listening: bool = False) -> Node:
        """Let a node begin; `listening`: it receives."""
        number = len(self.nodes)
        backend = self._memory or KillableBackend(self.queue, self._faults, node=number)
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
            self._signal_other()
            await self.clock.advance(OTHER_EVENT_SECONDS)
            self._sample_waiting()
        return self.is_done

    def _signal_other(self) -> None:
        node = next(node for node in self.nodes if node.alive)
        signaling = asyncio.create_task(node.app.signal(PriceAsked(0, self.clock.monotonic())))
        self._signals.add(signaling)
        signaling.add_done_callback(self._signals.discard)

    def _sample_waiting(self) -> None:
        for node in self.nodes:
            if waiting := node.waiting:
                self.max_waiting_for_one = max(self.max_waiting_for_one, *waiting)
                self.max_waiting_for_all = max(self.max_waiting_for_all, sum(waiting))

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
        self.other_waits.append(self.clock.monotonic() - event.at)

    def _note(self, moment: Moment) -> None:
        self.copies += isinstance(moment, Forwarded) and moment.why == "crowded"
