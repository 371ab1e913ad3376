"""A small cluster on a test clock: nodes, their queue, faults, and a record of what ran. One seed decides all of it."""

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from random import Random
from typing import Any, Final, Self

import msgspec

from dawdle import Context, Dawdle, Registry, Retry
from dawdle.abc import Clock
from dawdle.errors import ConfigurationError, SignalError
from dawdle.hooks import HandlerFinished, LeaseLost, Moment
from dawdle.testing import ManualClock, Probe
from tests.faults.fault_injection import NO_FAULTS, FaultInjector, FaultRates
from tests.faults.run_record import SUCCEEDS, Behaviour, RunRecord
from tests.faults.simulated_backend import SimulatedBackend
from tests.faults.simulated_sqs import SimulatedSQS, number_in

MAX_ATTEMPTS: Final = 3
RETRY: Final = Retry(max_attempts=MAX_ATTEMPTS, initial=2, jitter=0.5)
GRACE_SECONDS: Final = 25.0
ANSWER_SECONDS: Final = 90.0
"""Seconds in which every call is answered or times out: retries for a lease, the last of which may hang."""
STOP_SECONDS: Final = 40.0
"""Seconds in which a node must stop: its grace, its flush, and the responses on their way."""


class Happened(msgspec.Struct, frozen=True):
    """The event of all these stories."""

    number: int


class SeedResult:
    """What one seed has shown: broken promises, counts and maxima."""

    def __init__(self) -> None:
        self.broken: list[str] = []
        self.counts: Counter[str] = Counter()
        self.maxima: dict[str, float] = {}

    def must(self, holds: bool, otherwise: str) -> None:
        """Note a promise that was broken."""
        if not holds and otherwise not in self.broken:
            self.broken.append(otherwise)

    def note_max(self, name: str, value: float) -> None:
        """Note a figure; the largest over all seeds is shown."""
        self.maxima[name] = max(value, self.maxima.get(name, value))


class Cluster:
    """Nodes that share one queue. `async with` starts them; leaving it stops them and checks what they leave behind.

    - `nodes`: how many. Each has a registry of its own. `clocks`: the clock of each, else all have the true one.
    - `plan`: how each handler behaves on each event.
    - `limited`: this handler runs one event at a time.
    - `event_type`: the type of the events. `handlers_by_node`: which handlers each node has, where not all have all.
    """

    def __init__(
        self,
        seed: int,
        result: SeedResult,
        *,
        nodes: int = 1,
        rates: FaultRates = NO_FAULTS,
        handlers: tuple[str, ...] = ("a", "b"),
        plan: Callable[[int, str], Behaviour] = lambda number, handler: SUCCEEDS,
        limited: str | None = None,
        lease: int = 30,
        in_flight: int = 120_000,
        wait: float = 20.0,
        patience: float = 10.0,
        concurrency: int = 10,
        clock: ManualClock | None = None,
        clocks: Sequence[Clock] = (),
        event_type: type[Happened] | None = None,
        handlers_by_node: Sequence[Sequence[str]] = (),
    ) -> None:
        self.seed = seed
        self.result = result
        self.random = Random(f"the cluster of {seed}")
        self.clock = clock or ManualClock()
        # A queue's seconds do not begin when ours do.
        self.first_second = self.random.random()
        self._sqs = SimulatedSQS(self.clock, lease=lease, in_flight=in_flight)
        self.queue, self.dead = self._sqs.queue, self._sqs.dead
        self.faults = FaultInjector(self.clock, Random(f"the faults of {seed}"), rates)
        self.record = RunRecord(handlers)
        self.interrupted: Counter[int] = Counter()
        """By event: runs that a stop interrupted, so that the same attempt runs again."""

        self.leases_lost = 0
        self.signal_errors = 0
        self.signaled_again: Counter[int] = Counter()
        """By event: how often it was signaled again under its id, because it was not known to be stored."""

        self._plan = plan
        self._limited = limited
        self._signals: set[asyncio.Task[None]] = set()
        self._numbers = iter(range(1, 1_000_000))
        self._wait = wait
        self._concurrency = concurrency
        self._clocks = clocks
        self._event_type = event_type or Happened
        self._handlers_by_node = handlers_by_node
        self.apps = [self._app(node, patience) for node in range(nodes)]

    async def __aenter__(self) -> Self:
        await self._sqs.__aenter__()
        await self.clock.advance(self.first_second)
        for app in self.apps:
            await app.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        await self._stop(self.apps)
        for task in self._signals:
            task.cancel()
        await self._sqs.__aexit__(None, None, None)
        left = self.queue.in_flight
        self.result.must(kind is not None or not left, f"{left} messages are invisible at the end")

    async def replace(self, *nodes: int) -> None:
        """Stop nodes and start new ones, as a deploy does, and an orchestrator that finds them unhealthy.

        A stopped node may leave a message invisible only if a fault has just happened to it, or if it waited for a call
        that hung.
        """
        began = self.clock.monotonic()
        recently = began - self.queue.lease
        await self._stop([self.apps[node] for node in nodes])
        for node in nodes:
            left = [number_in(message.body) for message in self.queue.held_by(node)]
            if self.faults.hung_until.get(node, 0.0) > began:
                self.faults.record("left behind a call that hung", left)
            unexplained = [number for number in left if self.faults.last_fault_at.get(number, -math.inf) < recently]
            self.result.must(not unexplained, f"events {unexplained} are invisible after a stop")
            self.apps[node] = self._app(node, 10.0)
            await self.apps[node].__aenter__()

    async def replace_all_while_calls_hang(self) -> None:
        """Replace every node while its calls hang: counts as a fault of every message that was received."""
        in_hand = [number_in(message.body) for message in self.queue.messages() if message.receive_count]
        self.faults.record("replaced", in_hand)
        await self.replace(*range(len(self.apps)))

    async def signal(self, number: int, node: int, **when: Any) -> None:
        """Signal an event, again and again under the same id, until it is known to be stored."""
        while True:
            try:
                await self.apps[node].signal(self._event_type(number), id=f"event-{number}", **when)
            except (SignalError, ConfigurationError):  # the second, while the node is being replaced
                self.signal_errors += 1
                self.signaled_again[number] += 1
                await self.sleep(2 + 10 * self.random.random())
            else:
                self.record.signaled.add(number)
                return

    def signal_some(self, count: int, over: float, **when: Any) -> list[int]:
        """Signal events in the background: on random nodes, at random times within `over` seconds, some together."""
        numbers = [next(self._numbers) for _ in range(count)]
        moment = 0.0
        for number in numbers:
            if self.random.random() < 0.6:
                moment = self.random.random() * over
            self.spawn(self._signal_later(number, moment, self.random.randrange(len(self.apps)), when))
        return numbers

    def new_number(self) -> int:
        """Return the number of a new event."""
        return next(self._numbers)

    def spawn(self, coroutine: Coroutine[object, object, None]) -> None:
        """Run a coroutine in the background; it must have ended when the queue is drained."""
        task = asyncio.create_task(coroutine, name="a signal")
        self._signals.add(task)
        task.add_done_callback(self._signals.discard)

    async def sleep(self, seconds: float) -> None:
        """Sleep until another task has advanced the clock so far."""
        await self.clock.sleep_until(self.clock.monotonic() + seconds)

    def stop_faults(self) -> None:
        """Inject no more faults."""
        self.faults.rates = NO_FAULTS

    async def drain(self, patience: float = 3600.0) -> float:
        """Let time pass until the queue is empty, at most `patience` seconds; return how many seconds it took.

        Then check that the nodes are idle: they renew no lease without a message in flight.
        """
        began = self.clock.monotonic()
        while self.clock.monotonic() < began + patience and (
            self._signals or self.queue.message_count or self._is_direct()
        ):
            await self.clock.advance(2)
        took = self.clock.monotonic() - began
        left = self.queue.message_count
        self.result.must(not self._signals, f"{len(self._signals)} signals are not answered after {took:.0f} s")
        self.result.must(not left, f"{left} messages are still in the queue after {took:.0f} s")
        answered = self.clock.monotonic() + ANSWER_SECONDS
        while self.clock.monotonic() < answered and any(app.health().in_hand for app in self.apps):
            await self.clock.advance(1)  # an ack was carried out, but its response is not here yet
        in_hand = sum(app.health().in_hand for app in self.apps)
        self.result.must(
            not in_hand, f"{in_hand} messages are in flight {ANSWER_SECONDS:g} s after the queue was empty"
        )
        await self.clock.advance(2)
        calls = len(self.faults.calls)
        await self.clock.advance(2 * self.queue.lease)
        renewals = sum(call.operation == "renew" for call in self.faults.calls[calls:])
        self.result.must(not renewals or bool(left), f"{renewals} renewals with no message in flight")
        return took

    def _is_direct(self) -> bool:
        """Whether direct events are in flight: no queue holds them, and they may still be forwarded to it."""
        return any(app.health().in_hand for app in self.apps) and not self.queue.message_count

    def check_promises(self, allowed: Callable[[tuple[int, str, int]], int] | None = None) -> None:
        """Check that no event is lost, and that no attempt has more extra runs than `allowed(run)`.

        By default an event may have as many extra runs as faults happened to it, and as stops interrupted it.
        """
        lost = self.record.lost(self.dead.messages())
        self.result.must(not lost, f"lost: {_some(lost)}")
        redriven = self.dead.redriven
        self.result.must(not redriven, f"{redriven} messages were received too often")
        allowed = allowed or (lambda run: self.faults.faults_of_event[run[0]] + self.interrupted[run[0]])
        extra = self.record.extra()
        over = {run: count for run, count in extra.items() if count > allowed(run)}
        told = [f"event {run[0]}, {run[1]}, attempt {run[2]}: {1 + count}" for run, count in over.items()]
        self.result.must(not over, f"ran too often: {_some(told)}")
        counts = self.result.counts
        counts["events"] += len(self.record.signaled)
        counts["lost"] += len(lost)
        counts["runs"] += self.record.runs.total()
        counts["extra runs"] += sum(extra.values())
        counts["faults"] += self.faults.fired.total()

    async def _stop(self, apps: Sequence[Dawdle]) -> None:
        """Stop nodes, and check that they stop in time and leave no slot and no message taken."""
        leaving = {asyncio.create_task(app.__aexit__(None, None, None)): app for app in apps}
        await self.clock.advance(STOP_SECONDS)
        for task, app in leaving.items():
            if not task.done():
                self.result.broken.append(f"a node takes over {STOP_SECONDS:g} s to stop")
                task.cancel()
                await self.clock.advance(STOP_SECONDS)
            elif task.exception() is not None:
                self.result.broken.append(f"a node raised {task.exception()!r} when it stopped")
            probe = Probe(app)
            self.result.must(
                probe.free_slots == probe.slots, f"{probe.free_slots} of {probe.slots} slots are free at the end"
            )
            self.result.must(not probe.in_flight, f"{probe.in_flight} in flight at the end")

    async def _signal_later(self, number: int, seconds: float, node: int, when: dict[str, Any]) -> None:
        await self.sleep(seconds)
        await self.signal(number, node, **when)

    def _app(self, node: int, patience: float) -> Dawdle:
        return Dawdle(
            SimulatedBackend(self.queue, self.faults, node=node, wait=self._wait, patience=patience),
            registry=self._registry(node),
            clock=self._clocks[node] if self._clocks else self.clock,
            hooks=[self._note],
            retry=RETRY,
            concurrency=self._concurrency,
            grace=GRACE_SECONDS,
            start_listener=True,
        )

    def _registry(self, node: int) -> Registry:
        registry = Registry()
        for name in self._handlers_by_node[node] if self._handlers_by_node else self.record.handlers:
            options: dict[str, Any] = {"concurrency": 1} if name == self._limited else {}
            registry.on_event(self._event_type, name=name, **options)(self._handler(node, name))
        return registry

    def _handler(self, node: int, name: str) -> Callable[[Happened, Context], Coroutine[object, object, None]]:
        record, clock = self.record, self.clock

        async def handle(event: Happened, context: Context) -> None:
            behaviour = self._plan(event.number, name)
            record.start(node, event.number, name, context.attempt, self.queue.now())
            if behaviour.seconds:
                await clock.sleep_until(clock.monotonic() + behaviour.seconds)
            if context.attempt <= behaviour.fails:
                raise ValueError("as planned")
            record.finish(event.number, name, clock.monotonic())

        return handle

    def _note(self, moment: Moment) -> None:
        if isinstance(moment, LeaseLost):
            self.leases_lost += 1
        elif isinstance(moment, HandlerFinished) and moment.outcome == "interrupted":
            self.interrupted[int(moment.event_id.rpartition("-")[2])] += 1


def _some(things: Sequence[Any] | set[Any]) -> str:
    told = sorted(things, key=str)
    return "; ".join(str(thing) for thing in told[:3]) + (f" and {len(told) - 3} more" if len(told) > 3 else "")
