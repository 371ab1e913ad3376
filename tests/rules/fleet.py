"""A queue, some nodes and one handler with a limit, in seconds that cost none: drives the real rule of pacing.

Less than the app: no fan-out, no retries, no leases but a killed node's. A call takes two latencies, a receive brings
up to ten messages, each message holds a slot from its receive to its delete, and delays are whole seconds, as on SQS.
It has a queue of its own on purpose: a heap of times, without receipts, leases or an event loop, costs little per
event, so many scenarios run in one test. The same backlogs run with whole apps, on the test server's
rules, in `tests/faults`.
"""

import heapq
import math
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from dawdle._rules.pacing import MAX_LINE_SECONDS, MAX_RETURN_SECONDS, ComesBack, ConcurrencyLimit, Starts, Waits

BATCH = 10
LEASE = 60.0


class Message(NamedTuple):
    number: int
    """Of the event; below 0: of another handler, without a limit."""
    counted: float | None = None


@dataclass
class Node:
    limit: ConcurrencyLimit
    free: int
    polls: bool = False
    alive: bool = True
    waiting: deque[Message] = field(default_factory=deque)
    held: set[Message] = field(default_factory=set)


@dataclass
class Came:
    """What came of a fleet's events."""

    ideal: float
    """Seconds that as many servers as may run at once would take, first come, first served."""
    took: float
    copies: Counter[int]
    started: dict[int, float]
    others: list[float]
    """Seconds that each message of the other handler waited."""
    most_waiting: int

    @property
    def share(self) -> float:
        return self.ideal / self.took

    @property
    def beyond(self) -> float:
        """Copies per event that the longest delay did not make necessary."""
        needed = sum(math.ceil(max(0.0, at - MAX_LINE_SECONDS) / MAX_RETURN_SECONDS) for at in self.started.values())
        return (self.copies.total() - needed) / len(self.started)

    @property
    def median(self) -> float:
        return sorted(self.others)[len(self.others) // 2]


class Fleet:
    """Nodes on one queue. `run` returns what came of events that were all there at the start."""

    def __init__(
        self,
        seed: int,
        runs: Sequence[float],
        *,
        nodes: int = 1,
        limit: int = 1,
        slots: int = 100,
        latency: float = 0.01,
    ) -> None:
        self.random = Random(seed)
        self.now = 0.0
        self.nodes: list[Node] = []
        self._runs = runs
        self._limit = limit
        self._slots = slots
        self._latency = latency
        self._visible: list[tuple[float, int, Message]] = []
        self._polling: list[Node] = []
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._turn = 0
        self._came = Came(_ideal(runs, nodes * limit), 0.0, Counter(), {}, [], 0)
        self._done: set[int] = set()
        self._began: dict[int, float] = {}
        for _ in range(nodes):
            self.join()

    def run(self, others: float = 1.0, *events: tuple[float, Callable[[], None]]) -> Came:
        """Let the fleet work until every event is done; `others` a second go to the handler without a limit."""
        for number in range(len(self._runs)):
            self._show(Message(number))
        if others:
            self._after(self.random.expovariate(others), lambda: self._other(others))
        for at, event in events:
            self._after(at, event)
        while len(self._done) < len(self._runs):
            self.now, _, step = heapq.heappop(self._agenda)
            step()
        return self._came

    def join(self) -> None:
        """Let a node begin."""
        node = Node(ConcurrencyLimit(self._limit, self._slots), self._slots)
        self.nodes.append(node)
        self._poll(node)

    def kill(self) -> None:
        """End the oldest node; what it holds comes back when its leases end."""
        node = next(node for node in self.nodes if node.alive)
        node.alive = False
        for message in node.held:
            self._after(LEASE * (0.5 + 0.5 * self.random.random()), lambda message=message: self._show(message))

    def _after(self, seconds: float, step: Callable[[], None]) -> None:
        self._turn += 1
        heapq.heappush(self._agenda, (self.now + seconds, self._turn, step))

    def _other(self, rate: float) -> None:
        self._turn += 1
        self._began[-self._turn] = self.now
        self._show(Message(-self._turn))
        self._after(self.random.expovariate(rate), lambda: self._other(rate))

    def _show(self, message: Message) -> None:
        self._turn += 1  # about in order: a queue that is spread over many machines knows no better
        heapq.heappush(self._visible, (self.now + 0.2 * self.random.random(), self._turn, message))
        while self._polling and self._visible:
            self._answer(self._polling.pop(self.random.randrange(len(self._polling))))

    def _poll(self, node: Node) -> None:
        if node.alive and not node.polls and node.free > 0:
            node.polls = True
            self._after(self._latency, lambda: self._answer(node) if self._visible else self._polling.append(node))

    def _answer(self, node: Node) -> None:
        if not node.alive:
            return
        count = min(BATCH, node.free, len(self._visible))
        batch = [heapq.heappop(self._visible)[2] for _ in range(count)]
        node.held.update(batch)
        self._after(self._latency, lambda: self._receive(node, batch))

    def _receive(self, node: Node, batch: list[Message]) -> None:
        if not node.alive:
            return
        node.polls = False
        node.free -= len(batch)
        for message in batch:
            if message.number < 0:
                self._came.others.append(self.now - self._began.pop(message.number))
                self._settle(node, message, 0.01)
            else:
                self._arrive(node, message)
        self._poll(node)

    def _arrive(self, node: Node, message: Message) -> None:
        limit = node.limit
        spare = self._slots // 2 - limit.waiting
        match limit.arrive(self.now, counted=message.counted, spare=spare, random=self.random.random()):
            case Starts():
                self._start(node, message)
            case Waits():
                node.waiting.append(message)
                self._came.most_waiting = max(self._came.most_waiting, limit.waiting)
            case ComesBack(seconds, step):
                self._came.copies[message.number] += 1
                node.held.discard(message)
                copy = Message(message.number, step)
                self._after(self._latency + math.ceil(seconds), lambda: self._show(copy))
                self._settle(node, message, 2 * self._latency)

    def _start(self, node: Node, message: Message) -> None:
        began = self.now
        self._came.started.setdefault(message.number, began)
        self._after(self._runs[message.number], lambda: self._end(node, message, began))

    def _end(self, node: Node, message: Message, began: float) -> None:
        if not node.alive:
            return
        node.limit.finish(began, self.now)
        self._done.add(message.number)
        self._came.took = self.now
        self._settle(node, message, 0.0)
        while node.limit.next(self.now):
            self._start(node, node.waiting.popleft())

    def _settle(self, node: Node, message: Message, seconds: float) -> None:
        """Have a message deleted, which frees its slot."""

        def deleted() -> None:
            node.held.discard(message)
            node.free += 1
            self._poll(node)

        self._after(seconds + 2 * self._latency, deleted)


def _ideal(runs: Sequence[float], servers: int) -> float:
    ends = [0.0] * servers
    for run in runs:
        heapq.heapreplace(ends, ends[0] + run)
    return max(ends)
