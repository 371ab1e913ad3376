"""On an ordered queue the order of first completions is the order of sends, in each group, whatever happens.

Two nodes share a queue in memory. Handlers fail, ask for later, reject, take longer than a lease; nodes stop and start,
lose leases, and their calls to the queue fail, or are done and not answered.
"""

import asyncio
from collections import defaultdict

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dawdle import Context, Dawdle, Registry, Reject, Retry, RetryLater
from dawdle.backends.memory import Memory
from dawdle.hooks import DeadLettered, Moment
from dawdle.testing import ManualClock
from dawdle.testing.probe import Probe
from tests.faults.shared_memory import DOWN, UNANSWERED, Node

GROUPS = "ab"
EVENTS = 5
LEASE = 10
PATIENCE = 4 * 3600


class Step(msgspec.Struct, frozen=True):
    group: str
    number: int


class World:
    """Two nodes, what their handlers do, and what has come of each event."""

    def __init__(self, behaviour: dict[str, list[str]]) -> None:
        self.clock = ManualClock()
        self.queue = Memory(clock=self.clock, ordered=True, lease=LEASE)
        self.behaviour = behaviour
        self.runs: dict[str, int] = defaultdict(int)
        self.first: dict[tuple[str, str], list[int]] = defaultdict(list)
        """By group and handler: the events in the order in which each was first completed, or given up.

        A handler that has lost its lease may complete an event that another node has given up meanwhile.
        """
        self.nodes = [Node.of(self.queue) for _ in range(2)]
        self.apps = [self.app(node) for node in self.nodes]

    def app(self, node: Node) -> Dawdle:
        registry = Registry()
        for name in ("one", "two"):
            registry.on_event(Step, name=name, retry=Retry(max_attempts=4, initial=2))(self.handler(name))
        return Dawdle(node, registry=registry, clock=self.clock, grace=1, hooks=[self.watch])

    def watch(self, moment: Moment) -> None:
        if isinstance(moment, DeadLettered):
            self.ends(moment.event_id, *(("one", "two") if moment.handler is None else (moment.handler,)))

    def ends(self, event_id: str, *names: str) -> None:
        for name in names:
            done = self.first[event_id[0], name]
            if int(event_id[1:]) not in done:
                done.append(int(event_id[1:]))

    def handler(self, name: str):
        async def handle(event: Step, ctx: Context) -> None:
            plan, run = self.behaviour[f"{event.group}{event.number}{name}"], self.runs[f"{ctx.event_id}{name}"]
            self.runs[f"{ctx.event_id}{name}"] += 1
            what = plan[run] if run < len(plan) else "done"
            if what == "slow":
                await self.clock.sleep_until(self.clock.monotonic() + 3)
            if what == "long":
                await self.clock.sleep_until(self.clock.monotonic() + 4 * LEASE)
            if what == "fail":
                raise ConnectionError
            if what == "later":
                raise RetryLater(7)
            if what == "reject":
                raise Reject("never")
            self.ends(ctx.event_id, name)

        return handle

    async def act(self, node: int, what: str) -> None:
        app, backend = self.apps[node], self.nodes[node]
        if what == "stop":
            stopping = asyncio.create_task(app.stop_listener())
            while not stopping.done():
                await self.clock.advance(0.5)
        elif what == "start":
            await app.start_listener()
        elif what == "lose":
            Probe(app).lose_leases()
        elif what == "heal":
            backend.faults.clear()
        else:
            call, how = what.split()
            backend.faults[call] = how

    async def heal(self) -> None:
        for node, app in zip(self.nodes, self.apps, strict=True):
            node.faults.clear()
            await app.start_listener()


def ways(*calls):
    return [f"{call} {how}" for call in calls for how in (DOWN, UNANSWERED)]


plans = st.lists(st.sampled_from(["done", "slow", "long", "fail", "later", "reject"]), max_size=6)
deeds = st.tuples(
    st.integers(0, 1),
    st.sampled_from(["stop", "start", "lose", "heal", *ways("ack", "release", "renew", "send")]),
    st.sampled_from([0.0, 0.1, 1.0, 3.5, 11.0]),
)


def in_order_of_sends(examples):
    """Return a property that tries so many."""

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def holds(data):
        asyncio.run(play(*drawn(data)))

    return holds


def drawn(data):
    """Draw what the handlers do, and what happens to the nodes."""
    behaviour = {
        f"{group}{number}{name}": data.draw(plans)
        for group in GROUPS
        for number in range(EVENTS)
        for name in ("one", "two")
    }
    return behaviour, data.draw(st.lists(deeds, max_size=12))


@pytest.mark.slow
@pytest.mark.parametrize("examples", [60, pytest.param(600, marks=pytest.mark.thorough)])
def test_first_completions_are_in_the_order_of_sends(examples):
    in_order_of_sends(examples)()


async def play(behaviour, schedule) -> None:
    world = World(behaviour)
    async with world.apps[0] as app, world.apps[1]:
        for number in range(EVENTS):
            for group in GROUPS:
                await app.signal(Step(group, number), group=group, id=f"{group}{number}")
        for node, what, wait in schedule:
            await world.act(node, what)
            await world.clock.advance(wait)
        await world.heal()
        end = world.clock.monotonic() + PATIENCE
        while world.queue.messages() and world.clock.monotonic() < end:
            await world.clock.advance(5)
        assert not world.queue.messages(), "it does not end"
    assert world.first == {(group, name): list(range(EVENTS)) for group in GROUPS for name in ("one", "two")}


def test_a_day_with_each_kind_of_trouble_keeps_the_order():
    behaviour = {f"{g}{n}{h}": [] for g in GROUPS for n in range(EVENTS) for h in ("one", "two")}
    behaviour |= {"a1one": ["fail", "long", "fail"], "b2two": ["reject"], "b0one": ["long"], "a3two": ["later"] * 3}
    schedule = [(0, "lose", 1.0), (0, "ack down", 11.0), (0, "stop", 1.0), (1, "release unanswered", 3.5)]
    asyncio.run(play(behaviour, schedule))
