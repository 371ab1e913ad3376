"""A message of an ordered queue that ends its process: it runs in isolation, and does not hold its group for ever."""

import asyncio

import msgspec
import pytest

from dawdle import Context, Dawdle, Registry, Retry
from dawdle.backends.memory import Memory
from tests.faults.shared_memory import Node

pytestmark = pytest.mark.anyio


class Step(msgspec.Struct, frozen=True):
    group: str
    number: int


class Other(msgspec.Struct, frozen=True):
    pass


@pytest.fixture
def queue(clock):
    return Memory(clock=clock, ordered=True, lease=10)


async def received(queue, clock, times):
    """Receive everything so many times, each time by a process that ends before it says what came of it."""
    for _ in range(times):
        assert await queue.receive(100, 0)
        await clock.advance(10)


@pytest.fixture
def make(queue, clock):
    def make(registry, **options):
        return Dawdle(Node.of(queue), registry=registry, clock=clock, **options)

    return make


async def signal(make, *steps):
    async with make(Registry(), start_listener=False) as app:
        for step in steps:
            await app.signal(step, group=step.group)


async def test_a_suspect_waits_until_nothing_else_runs_and_then_runs_alone(make, queue, clock, caplog):
    registry, log, running = Registry(), [], set()

    @registry.on_event
    async def handler(event: Step, ctx: Context) -> None:
        running.add(event.group)
        log.append((event.group, frozenset(running)))
        await clock.sleep_until(clock.monotonic() + 5)
        running.remove(event.group)

    await signal(make, Step("suspect", 0))
    await received(queue, clock, 4)
    await signal(make, Step("other", 0))
    async with make(registry) as app:
        await clock.advance(1)
        await app.signal(Step("late", 0), group="late")
        await clock.advance(20)
    alone = [beside for group, beside in log if group == "suspect"]
    assert alone == [frozenset({"suspect"})]
    assert {group for group, _ in log} == {"suspect", "other", "late"}
    assert "in isolation, attempt 5" in caplog.text


@pytest.mark.parametrize(
    ("receives", "age", "given_up"), [(14, 0, False), (400, 0, False), (14, 86_400, False), (299, 86_400, True)]
)
async def test_a_message_that_has_no_known_outcome_for_a_day_is_given_up_and_its_group_goes_on(
    make, queue, clock, receives, age, given_up
):
    registry, runs = Registry(), []

    @registry.on_event(retry=Retry(max_attempts=3))
    async def handler(event: Step) -> None:
        runs.append(event.number)

    await signal(make, Step("a", 0), Step("a", 1))
    await received(queue, clock, receives)
    await clock.advance(age)
    async with make(registry):
        await clock.advance(5)
    letters = [msgspec.json.decode(body) for body in queue.dead_letters.messages()]
    # The second one is innocent: it was received as often, and never run.
    assert runs == ([1] if given_up else [0, 1])
    assert [letter["dawdleerror"] for letter in letters] == (
        ["no outcome is known of 300 of the 300 times it was received, in 89390 s: its workers may have died"]
        if given_up
        else []
    )


@pytest.mark.parametrize("whose", ["handler", "app"])
async def test_as_many_receives_as_attempts_are_no_reason_to_give_up(make, queue, clock, whose):
    registry, runs = Registry(), []
    options = {"retry": Retry(max_attempts=30)}

    @registry.on_event(**options if whose == "handler" else {})
    async def handler(event: Step, ctx: Context) -> None:
        runs.append(ctx.attempt)

    await signal(make, Step("a", 0))
    await received(queue, clock, 31)
    async with make(registry, **options if whose == "app" else {}):
        await clock.advance(5)
    assert runs == [29]


async def test_a_failure_is_not_final_in_a_process_that_knows_of_no_other(make, queue, clock):
    registry, runs = Registry(), []

    @registry.on_event(retry=Retry(max_attempts=3, initial=1))
    async def handler(event: Step, ctx: Context) -> None:
        runs.append(ctx.attempt)
        if len(runs) == 1:
            raise ConnectionError

    await signal(make, Step("a", 0))
    await received(queue, clock, 12)
    async with make(registry):
        await clock.advance(60)
    assert runs == [2, 14]
    assert queue.dead_letters.messages() == []


async def test_what_waited_for_its_handler_in_a_deploy_runs_after_a_restart(make, queue, clock):
    registry, runs = Registry(), []
    await signal(make, Step("a", 0))
    old = Registry()
    old.on_event(Other)(lambda event: None)
    async with make(old):
        await clock.advance(2 * 3600)

    @registry.on_event
    async def handler(event: Step) -> None:
        runs.append(event.number)

    async with make(registry):
        await clock.advance(600)
    assert runs == [0]
    assert queue.dead_letters.messages() == []


async def test_a_failure_that_this_process_knows_is_no_suspicion(make, queue, clock, caplog):
    registry, runs = Registry(), []

    @registry.on_event(retry=Retry(max_attempts=30, initial=1, factor=1))
    async def handler(event: Step, ctx: Context) -> None:
        runs.append(ctx.attempt)
        if ctx.attempt < 25:
            raise ConnectionError

    await signal(make, Step("a", 0))
    async with make(registry):
        await clock.advance(60)
    assert runs == list(range(1, 26))
    assert "isolation" not in caplog.text


async def test_suspects_that_came_together_run_one_by_one(make, queue, clock):
    registry, running, most = Registry(), set(), 0

    @registry.on_event
    async def handler(event: Step) -> None:
        nonlocal most
        running.add(event.group)
        most = max(most, len(running))
        await clock.sleep_until(clock.monotonic() + 1)
        running.remove(event.group)

    await signal(make, *(Step(group, 0) for group in "abcd"))
    await received(queue, clock, 4)
    async with make(registry):
        await clock.advance(10)
    assert queue.messages() == []
    assert most == 1


@pytest.mark.parametrize("first", ["suspect", "other"])
async def test_a_suspect_that_finds_no_quiet_runs_beside_the_others(make, queue, clock, first):
    registry, ran = Registry(), {}

    @registry.on_event
    async def handler(event: Step) -> None:
        if event.group == "hangs":
            await clock.sleep_until(clock.monotonic() + 300)
        ran[event.group] = clock.monotonic()

    await signal(make, *[Step("hangs", 0)] * (first == "suspect"), Step("suspect", 0))
    await received(queue, clock, 4)
    await signal(make, *[Step("hangs", 0)] * (first == "other"))
    start = clock.monotonic()
    async with make(registry, grace=1):
        await clock.advance(500)
    assert ran["suspect"] <= start + 100
    assert 300 <= ran["hangs"] - start <= 400


async def test_a_stop_gives_back_a_suspect_that_waits(make, queue, clock):
    registry, ran, started = Registry(), [], asyncio.Event()

    @registry.on_event
    async def handler(event: Step) -> None:
        if event.group == "slow":
            started.set()
            await clock.sleep_until(clock.monotonic() + 1000)
        ran.append(event.group)

    await signal(make, Step("suspect", 0))
    await received(queue, clock, 4)
    await signal(make, Step("slow", 0))
    async with make(registry, grace=3) as app:
        await started.wait()
        stopping = asyncio.create_task(app.stop_listener())
        await clock.advance(10)
        await stopping
        assert ran == []
        found = await queue.receive(10, 0)
        assert len(found) == 2
        await queue.ack([each.receipt for each in found])


async def test_what_is_done_and_not_deleted_keeps_those_behind_it_from_running(queue, clock):
    registry, runs, node = Registry(), [], Node.of(queue)

    @registry.on_event
    async def handler(event: Step) -> None:
        runs.append(event.number)

    async with Dawdle(node, registry=registry, clock=clock) as app:
        node.faults["ack"] = "down"
        await app.signal_many([Step("a", number) for number in range(3)], group="a")
        await clock.advance(60)
        assert runs == [0]
        node.faults.clear()
        await clock.advance(30)
    assert runs == [0, 1, 2]
    assert queue.messages() == []
