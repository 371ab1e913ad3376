"""One small world on a test clock: nodes, their queue, what goes wrong, and the books. A seed says all of it."""

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
from tests.faults.ledger import GOOD, Deed, Ledger
from tests.faults.simulation import SimulatedSQS, number_in
from tests.faults.trouble import CALM, Rates, Trouble
from tests.faults.wire import Wire

ATTEMPTS: Final = 3
RETRY: Final = Retry(max_attempts=ATTEMPTS, initial=2, jitter=0.5)
GRACE: Final = 25.0
ANSWERED: Final = 90.0
"""Seconds in which every call has its answer or is given up: a lease of tries, the last of which may hang."""
LEAVING: Final = 40.0
"""Seconds in which every node must be left: its grace, its flush, and the answers that are on their way."""


class Happened(msgspec.Struct, frozen=True):
    """The event of all these stories."""

    number: int


class Tally:
    """What one seed came to."""

    def __init__(self) -> None:
        self.broken: list[str] = []
        self.counts: Counter[str] = Counter()
        self.most: dict[str, float] = {}

    def must(self, holds: bool, otherwise: str) -> None:
        """Note a promise that was broken."""
        if not holds and otherwise not in self.broken:
            self.broken.append(otherwise)

    def reach(self, name: str, value: float) -> None:
        """Note a figure of which the largest over all seeds is shown."""
        self.most[name] = max(value, self.most.get(name, value))


class World:
    """Nodes around one queue. `async with` enters them; leaving it leaves them and judges what is left over.

    - `nodes`: how many; each with its own registry, and `clocks` (one each, else the true one).
    - `plan`: what each handler makes of each event.
    - `crowded`: this handler takes one event at a time.
    - `kind`: the type of the events. `rosters`: which handlers each node has, where not all have all.
    """

    def __init__(
        self,
        seed: int,
        tally: Tally,
        *,
        nodes: int = 1,
        rates: Rates = CALM,
        handlers: tuple[str, ...] = ("a", "b"),
        plan: Callable[[int, str], Deed] = lambda number, handler: GOOD,
        crowded: str | None = None,
        lease: int = 30,
        in_flight: int = 120_000,
        wait: float = 20.0,
        patience: float = 10.0,
        concurrency: int = 10,
        clock: ManualClock | None = None,
        clocks: Sequence[Clock] = (),
        kind: type[Happened] | None = None,
        rosters: Sequence[Sequence[str]] = (),
    ) -> None:
        self.seed = seed
        self.tally = tally
        self.random = Random(f"the world of {seed}")
        self.clock = clock or ManualClock()
        # A queue's seconds do not begin when ours do.
        self.first_second = self.random.random()
        self._sqs = SimulatedSQS(self.clock, lease=lease, in_flight=in_flight)
        self.queue, self.dead = self._sqs.queue, self._sqs.dead
        self.trouble = Trouble(self.clock, Random(f"the trouble of {seed}"), rates)
        self.ledger = Ledger(handlers)
        self.interrupted: Counter[int] = Counter()
        """By event: runs that a stop ended, so that the same attempt is made again."""

        self.leases_lost = 0
        self.signal_errors = 0
        self.signaled_again: Counter[int] = Counter()
        """By event: how often it was signaled once more under its id, since it was not known to be stored."""

        self._plan = plan
        self._crowded = crowded
        self._signals: set[asyncio.Task[None]] = set()
        self._numbers = iter(range(1, 1_000_000))
        self._wait = wait
        self._concurrency = concurrency
        self._clocks = clocks
        self._kind = kind or Happened
        self._rosters = rosters
        self.apps = [self._app(node, patience) for node in range(nodes)]

    async def __aenter__(self) -> Self:
        await self._sqs.__aenter__()
        await self.clock.advance(self.first_second)
        for app in self.apps:
            await app.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        await self._leave(self.apps)
        for task in self._signals:
            task.cancel()
        await self._sqs.__aexit__(None, None, None)
        left = self.queue.in_flight
        self.tally.must(kind is not None or not left, f"{left} messages are invisible at the end")

    async def replace(self, *nodes: int) -> None:
        """Leave nodes and enter new ones in their place, as a deploy does, and who finds them unhealthy.

        What a node has left invisible has had a fault of its own just then, or waited behind a call that hung.
        """
        began = self.clock.monotonic()
        recently = began - self.queue.lease
        await self._leave([self.apps[node] for node in nodes])
        for node in nodes:
            left = [number_in(message.body) for message in self.queue.held_by(node)]
            if self.trouble.hung.get(node, 0.0) > began:
                self.trouble.charge("left behind a call that hung", left)
            unexplained = [number for number in left if self.trouble.last.get(number, -math.inf) < recently]
            self.tally.must(not unexplained, f"events {unexplained} are invisible after a stop")
            self.apps[node] = self._app(node, 10.0)
            await self.apps[node].__aenter__()

    async def kill_calls(self) -> None:
        """Replace every node although its calls have no answer: a fault for what was received and not deleted."""
        in_hand = [number_in(message.body) for message in self.queue.messages() if message.receive_count]
        self.trouble.charge("replaced", in_hand)
        await self.replace(*range(len(self.apps)))

    async def signal(self, number: int, node: int, **when: Any) -> None:
        """Signal an event until it is known to be stored, as a careful caller does: under the same id."""
        while True:
            try:
                await self.apps[node].signal(self._kind(number), id=f"event-{number}", **when)
            except (SignalError, ConfigurationError):  # the second, while the node is being replaced
                self.signal_errors += 1
                self.signaled_again[number] += 1
                await self.pause(2 + 10 * self.random.random())
            else:
                self.ledger.signaled.add(number)
                return

    def signal_some(self, count: int, over: float, **when: Any) -> list[int]:
        """Begin to signal events, on any node and at any moment in the next `over` seconds, some at the same one."""
        numbers = [next(self._numbers) for _ in range(count)]
        moment = 0.0
        for number in numbers:
            if self.random.random() < 0.6:
                moment = self.random.random() * over
            self.spawn(self._signal_later(number, moment, self.random.randrange(len(self.apps)), when))
        return numbers

    def number(self) -> int:
        """Return the number of an event that is new."""
        return next(self._numbers)

    def spawn(self, coroutine: Coroutine[object, object, None]) -> None:
        """Run something beside the story; it must have ended when all is drained."""
        task = asyncio.create_task(coroutine, name="who signals")
        self._signals.add(task)
        task.add_done_callback(self._signals.discard)

    async def pause(self, seconds: float) -> None:
        """Wait, while somebody else lets time pass."""
        await self.clock.sleep_until(self.clock.monotonic() + seconds)

    def calm(self) -> None:
        """Let nothing go wrong any more."""
        self.trouble.rates = CALM

    async def drain(self, patience: float = 3600.0) -> float:
        """Let time pass until everything is done, for `patience` at most, and return how long that took.

        Then see that nothing stirs: no lease is renewed that nobody holds.
        """
        began = self.clock.monotonic()
        while self.clock.monotonic() < began + patience and (
            self._signals or self.queue.message_count or self._is_direct()
        ):
            await self.clock.advance(2)
        took = self.clock.monotonic() - began
        left = self.queue.message_count
        self.tally.must(not self._signals, f"{len(self._signals)} signals are not answered after {took:.0f} s")
        self.tally.must(not left, f"{left} messages are still in the queue after {took:.0f} s")
        answered = self.clock.monotonic() + ANSWERED
        while self.clock.monotonic() < answered and any(app.health().in_hand for app in self.apps):
            await self.clock.advance(1)  # an ack that was carried out and has no answer yet: its message is kept
        in_hand = sum(app.health().in_hand for app in self.apps)
        self.tally.must(not in_hand, f"{in_hand} are in hand {ANSWERED:g} s after the queue was empty")
        await self.clock.advance(2)
        calls = len(self.trouble.calls)
        await self.clock.advance(2 * self.queue.lease)
        renewals = sum(call.operation == "renew" for call in self.trouble.calls[calls:])
        self.tally.must(not renewals or bool(left), f"{renewals} renewals with nothing in hand")
        return took

    def _is_direct(self) -> bool:
        """Whether an event is in flight that no queue holds: it may still go there."""
        return any(app.health().in_hand for app in self.apps) and not self.queue.message_count

    def judge(self, allowed: Callable[[tuple[int, str, int]], int] | None = None) -> None:
        """Hold the books against the promises: nothing lost, and no more extra runs than `allowed` says for a run.

        Without it: as many as faults happened to calls about the event, and stops to its runs.
        """
        lost = self.ledger.lost(self.dead.messages())
        self.tally.must(not lost, f"lost: {_some(lost)}")
        redriven = self.dead.redriven
        self.tally.must(not redriven, f"{redriven} messages were received too often")
        allowed = allowed or (lambda run: self.trouble.charged[run[0]] + self.interrupted[run[0]])
        extra = self.ledger.extra()
        over = {run: count for run, count in extra.items() if count > allowed(run)}
        told = [f"event {run[0]}, {run[1]}, attempt {run[2]}: {1 + count}" for run, count in over.items()]
        self.tally.must(not over, f"ran too often: {_some(told)}")
        counts = self.tally.counts
        counts["events"] += len(self.ledger.signaled)
        counts["lost"] += len(lost)
        counts["runs"] += self.ledger.runs.total()
        counts["extra runs"] += sum(extra.values())
        counts["faults"] += self.trouble.fired.total()

    async def _leave(self, apps: Sequence[Dawdle]) -> None:
        """Leave nodes, and see that nothing hangs and that all is back in its place."""
        leaving = {asyncio.create_task(app.__aexit__(None, None, None)): app for app in apps}
        await self.clock.advance(LEAVING)
        for task, app in leaving.items():
            if not task.done():
                self.tally.broken.append(f"leaving a node takes over {LEAVING:g} s")
                task.cancel()
                await self.clock.advance(LEAVING)
            elif task.exception() is not None:
                self.tally.broken.append(f"leaving raised {task.exception()!r}")
            probe = Probe(app)
            self.tally.must(
                probe.free_slots == probe.slots, f"{probe.free_slots} of {probe.slots} slots are free at the end"
            )
            self.tally.must(not probe.in_flight, f"{probe.in_flight} in flight at the end")

    async def _signal_later(self, number: int, seconds: float, node: int, when: dict[str, Any]) -> None:
        await self.pause(seconds)
        await self.signal(number, node, **when)

    def _app(self, node: int, patience: float) -> Dawdle:
        return Dawdle(
            Wire(self.queue, self.trouble, node=node, wait=self._wait, patience=patience),
            registry=self._registry(node),
            clock=self._clocks[node] if self._clocks else self.clock,
            hooks=[self._note],
            retry=RETRY,
            concurrency=self._concurrency,
            grace=GRACE,
            start_listener=True,
        )

    def _registry(self, node: int) -> Registry:
        registry = Registry()
        for name in self._rosters[node] if self._rosters else self.ledger.handlers:
            options: dict[str, Any] = {"concurrency": 1} if name == self._crowded else {}
            registry.on_event(self._kind, name=name, **options)(self._handler(node, name))
        return registry

    def _handler(self, node: int, name: str) -> Callable[[Happened, Context], Coroutine[object, object, None]]:
        ledger, clock = self.ledger, self.clock

        async def handle(event: Happened, context: Context) -> None:
            deed = self._plan(event.number, name)
            ledger.start(node, event.number, name, context.attempt, self.queue.now())
            if deed.seconds:
                await clock.sleep_until(clock.monotonic() + deed.seconds)
            if context.attempt <= deed.fails:
                raise ValueError("as planned")
            ledger.finish(event.number, name, clock.monotonic())

        return handle

    def _note(self, moment: Moment) -> None:
        if isinstance(moment, LeaseLost):
            self.leases_lost += 1
        elif isinstance(moment, HandlerFinished) and moment.outcome == "interrupted":
            self.interrupted[int(moment.event_id.rpartition("-")[2])] += 1


def _some(things: Sequence[Any] | set[Any]) -> str:
    told = sorted(things, key=str)
    return "; ".join(str(thing) for thing in told[:3]) + (f" and {len(told) - 3} more" if len(told) > 3 else "")
