"""Order within a group, on an ordered queue in memory: whatever happens to one event, those behind it wait."""

import asyncio
import itertools
from contextlib import suppress
from datetime import timedelta

import msgspec
import pytest

import dawdle
from dawdle import Reject, Retry, RetryLater
from dawdle.abc import Outgoing
from dawdle.backends.memory import Memory
from dawdle.errors import ConfigurationError
from dawdle.hooks import Forwarded, Settled
from dawdle.testing.probe import Probe

pytestmark = pytest.mark.anyio


class Step(msgspec.Struct, frozen=True):
    group: str
    number: int


@pytest.fixture
def queue(clock):
    return Memory(clock=clock, ordered=True)


@pytest.fixture
def runs():
    return []


async def signal_steps(app, *groups, count=3):
    for number in range(count):
        for group in groups:
            await app.signal(Step(group, number), group=group)


def of(runs, group):
    return [number for each, number in runs if each == group]


async def test_events_of_a_group_run_one_after_another_and_groups_side_by_side(running, registry, clock, runs):
    busy, most = {}, 0

    @registry.on_event
    async def handler(event: Step) -> None:
        nonlocal most
        assert event.group not in busy, "two of a group at once"
        busy[event.group] = event.number
        most = max(most, len(busy))
        await clock.sleep_until(clock.monotonic() + 1)
        runs.append((event.group, event.number))
        del busy[event.group]

    async with running() as app:
        await signal_steps(app, *"abc", count=20)
        await clock.advance(20.2)
        assert [of(runs, group) for group in "abc"] == [list(range(20))] * 3
    assert most == 3


async def test_a_message_behind_another_one_leaves_its_slot_to_other_groups(running, registry, clock, runs):
    @registry.on_event
    async def handler(event: Step) -> None:
        await clock.sleep_until(clock.monotonic() + 1)
        runs.append((event.group, event.number))

    async with running(concurrency=4) as app:
        for group in "abcd":
            await signal_steps(app, group, count=10)
        await clock.advance(10.2)  # a receive waits 20 ms for more room than for one
        assert len(runs) == 40


async def test_a_failure_holds_its_group_and_no_other(running, registry, clock, runs, moments):
    @registry.on_event(retry=Retry(initial=10, jitter=0))
    async def handler(event: Step, ctx: dawdle.Context) -> None:
        runs.append((event.group, event.number))
        if event == Step("a", 1) and ctx.attempt < 3:
            raise ConnectionError("not now")

    async with running() as app:
        await signal_steps(app, "a", "b")
        await app.idle()
        assert runs == [("a", 0), ("b", 0), ("b", 1), ("a", 1), ("b", 2)] or of(runs, "a") == [0, 1]
        assert of(runs, "b") == [0, 1, 2]
        await clock.advance(10)
        await app.idle()
        assert of(runs, "a") == [0, 1, 1]
        await clock.advance(20)
        await app.idle()
    assert of(runs, "a") == [0, 1, 1, 1, 2]
    assert not [moment for moment in moments if isinstance(moment, Forwarded)]  # nothing was copied


async def test_a_retry_runs_all_handlers_and_counts_its_receives(running, registry, clock):
    ran = []

    @registry.on_event(name="good")
    async def good(event: Step, ctx: dawdle.Context) -> None:
        ran.append(("good", ctx.attempt))

    @registry.on_event(name="bad", retry=Retry(initial=1))
    async def bad(event: Step, ctx: dawdle.Context) -> None:
        ran.append(("bad", ctx.attempt))
        if ctx.attempt < 3:
            raise ConnectionError("not now")

    async with running() as app:
        await app.signal(Step("a", 0), group="a")
        await clock.advance(5)
        await app.idle()
    assert sorted(ran) == [("bad", 1), ("bad", 2), ("bad", 3), ("good", 1), ("good", 2), ("good", 3)]


async def test_a_slow_sibling_does_not_let_a_copy_of_a_failed_handler_leave_its_place(
    running, registry, clock, moments, runs
):
    @registry.on_event(name="slow")
    async def slow(event: Step) -> None:
        await clock.sleep_until(clock.monotonic() + 30)

    @registry.on_event(name="bad", retry=Retry(initial=40, jitter=0))
    async def bad(event: Step, ctx: dawdle.Context) -> None:
        runs.append((clock.monotonic(), ctx.attempt))
        if ctx.attempt == 1:
            raise ConnectionError("not now")

    async with running() as app:
        await app.signal(Step("a", 0), group="a")
        await clock.advance(100)
        await app.idle()
    assert runs == [(0, 1), (40, 2)]  # the wait counts from the failure
    assert not [moment for moment in moments if isinstance(moment, Forwarded)]


async def test_attempts_that_are_spent_end_in_a_letter(running, registry, clock, runs, letters, queue):
    @registry.on_event(name="bad", retry=Retry(max_attempts=3, initial=1))
    async def bad(event: Step) -> None:
        runs.append((event.group, event.number))
        if event.number == 0:
            raise ConnectionError("never")

    async with running() as app:
        await signal_steps(app, "a", count=2)
        await clock.advance(5)
        await app.idle()
        (letter,) = letters()
        (delivery,) = await queue.dead_letters.receive(10, 0)
    assert of(runs, "a") == [0, 0, 0, 1]
    assert (letter["dawdleowed"], letter["data"]) == ("bad", {"group": "a", "number": 0})
    assert letter["dawdleerror"] == "ConnectionError: never"
    assert delivery.group == "a"


async def test_events_behind_one_that_failed_have_all_their_attempts(running, registry, clock, letters):
    """They are received and given back with it, which are no attempts of theirs."""
    tries = {}

    @registry.on_event(name="bad", retry=Retry(max_attempts=4, initial=1))
    async def bad(event: Step, ctx: dawdle.Context) -> None:
        tries.setdefault(event.number, []).append(ctx.attempt)
        raise ConnectionError("an outage")

    async with running() as app:
        await signal_steps(app, "a", count=3)
        await clock.advance(60)
        await app.idle()
    assert tries == {number: [1, 2, 3, 4] for number in range(3)}
    assert [letter["data"]["number"] for letter in letters()] == [0, 1, 2]


async def test_a_handler_that_rejects_gets_its_letter_when_the_others_are_done(running, registry, clock, letters, runs):
    @registry.on_event(name="never")
    async def never(event: Step) -> None:
        runs.append("never")
        raise Reject("no such customer")

    @registry.on_event(name="later", retry=Retry(initial=1))
    async def later(event: Step, ctx: dawdle.Context) -> None:
        runs.append("later")
        if ctx.attempt == 1:
            raise ConnectionError("not now")

    async with running() as app:
        await app.signal(Step("a", 0), group="a")
        await app.idle()
        assert letters() == []
        await clock.advance(2)
        await app.idle()
    assert [letter["dawdleowed"] for letter in letters()] == ["never"]
    assert sorted(runs) == ["later", "later", "never", "never"]


async def test_retry_later_holds_the_group_and_is_no_failure(running, registry, clock, runs, letters):
    asked = 0

    @registry.on_event(retry=Retry(max_attempts=2, initial=1))
    async def handler(event: Step, ctx: dawdle.Context) -> None:
        nonlocal asked
        runs.append((event.group, event.number))
        if event.number == 0 and asked < 40:
            asked += 1
            raise RetryLater(5)
        if event.number == 0 and ctx.attempt == 1:
            raise ConnectionError("the first failure")

    async with running() as app:
        await signal_steps(app, "a", count=2)
        await clock.advance(300)
        await app.idle()
    assert of(runs, "a") == [0] * 42 + [1]
    assert letters() == []


async def test_without_a_dead_letter_queue_a_failure_holds_its_group_and_says_so(
    running, registry, clock, runs, caplog
):
    @registry.on_event(retry=Retry(max_attempts=1))
    async def handler(event: Step) -> None:
        runs.append((event.group, event.number))
        raise ConnectionError("never")

    async with running(Memory(clock=clock, ordered=True, dead_letters=False)) as app:
        await signal_steps(app, "a", count=2)
        await clock.advance(3600)
        await app.idle()
    assert of(runs, "a") == [0, 0]
    assert "it holds its group, and is tried again in 3.6e+03 s; give the queue a dead-letter queue" in caplog.text


async def test_a_stop_gives_back_those_behind_and_ends_the_first_within_its_grace(
    running, registry, clock, runs, queue
):
    started = asyncio.Event()

    @registry.on_event
    async def handler(event: Step) -> None:
        started.set()
        await clock.sleep_until(clock.monotonic() + 5)
        runs.append((event.group, event.number))

    async with running() as app:
        await signal_steps(app, "a")
        await started.wait()
        stopping = asyncio.create_task(app.stop_listener())
        await clock.advance(0)
        assert Probe(app).in_flight == 1
        await clock.advance(5)
        await stopping
        assert of(runs, "a") == [0]
        assert len(queue.messages()) == 2
        await app.start_listener()
        await clock.advance(11)
        await app.idle()
    assert of(runs, "a") == [0, 1, 2]


async def test_a_handler_that_a_stop_cuts_off_holds_its_group_until_it_runs_again(running, registry, clock, runs):
    started = asyncio.Event()

    @registry.on_event
    async def handler(event: Step, ctx: dawdle.Context) -> None:
        started.set()
        if not runs:
            runs.append((event.group, event.number, "cut off"))
            await clock.sleep_until(clock.monotonic() + 500)
        runs.append((event.group, event.number, ctx.attempt))

    async with running(grace=3) as app:
        await signal_steps(app, "a")
        await started.wait()
        stopping = asyncio.create_task(app.stop_listener())
        await clock.advance(4)
        await stopping
        await app.start_listener()
        await app.idle()
    assert runs == [("a", 0, "cut off"), ("a", 0, 1), ("a", 1, 1), ("a", 2, 1)]


async def test_a_lost_lease_of_the_first_keeps_those_behind_it_from_running(running, registry, clock, runs, queue):
    started = asyncio.Event()

    @registry.on_event
    async def handler(event: Step) -> None:
        started.set()
        if not runs:
            runs.append((event.group, event.number))
            with suppress(asyncio.CancelledError):
                await clock.sleep_until(clock.monotonic() + 500)
            return
        runs.append((event.group, event.number))

    async with running() as app:
        await signal_steps(app, "a", "b")
        await started.wait()
        Probe(app).lose_leases()
        await asyncio.sleep(0)
        assert of(runs, "a") == [0]
        await clock.advance(200)  # the leases end
        await app.idle()
    assert of(runs, "a") == [0, 0, 1, 2]
    assert of(runs, "b")[-3:] == [0, 1, 2]


async def test_an_event_without_a_group_is_in_order_with_nothing(running, registry, clock, runs):
    @registry.on_event(retry=Retry(initial=10))
    async def handler(event: Step, ctx: dawdle.Context) -> None:
        if event.number == 0 and ctx.attempt == 1:
            raise ConnectionError("not now")
        runs.append(event.number)

    async with running() as app:
        for number in range(3):
            await app.signal(Step("", number))
        await app.idle()
        assert sorted(runs) == [1, 2]
        await clock.advance(10)
        await app.idle()
    assert sorted(runs) == [0, 1, 2]


async def test_a_delayed_event_takes_its_place_when_it_is_due(running, registry, clock, runs, moments):
    @registry.on_event
    async def handler(event: Step) -> None:
        runs.append((event.group, event.number))
        if event.number == 1:
            await clock.sleep_until(clock.monotonic() + 100)

    async with running() as app:
        await app.signal(Step("a", 2), group="a", delay=timedelta(seconds=50))
        await app.signal(Step("a", 0), group="a")
        await app.idle()
        await clock.advance(40)
        await app.signal(Step("a", 1), group="a")
        await clock.advance(20)
        assert of(runs, "a") == [0, 1]  # it is due, and waits behind the one that runs
        await clock.advance(90)
        await app.idle()
    assert of(runs, "a") == [0, 1, 2]
    assert [moment.why for moment in moments if isinstance(moment, Forwarded)] == ["due"]


async def test_a_delay_that_takes_several_hops_ends_in_the_ordered_queue(running, registry, clock, runs):
    @registry.on_event
    async def handler(event: Step) -> None:
        runs.append(clock.monotonic())

    async with running(Memory(clock=clock, ordered=True, max_delay=900)) as app:
        await app.signal(Step("a", 0), group="a", delay=2000)
        await clock.advance(2001)
        await app.idle()
    assert len(runs) == 1
    assert 2000 <= runs[0] <= 2001


async def test_a_delay_without_a_delay_queue_is_an_error_before_anything_is_stored(running, registry, clock, queue):
    queue = Memory(clock=clock, ordered=True, max_delay=0)
    async with running(queue) as app:
        with pytest.raises(ConfigurationError, match="'default' is ordered and has no delay queue"):
            await app.signal(Step("a", 0), group="a", delay=1)
        with pytest.raises(ConfigurationError, match="'default' is ordered and has no delay queue"):
            await app.signal_many([Step("a", 0)], group="a", delay=1)
    assert queue.messages() == []


async def test_an_id_that_is_known_is_stored_once(running, registry, runs):
    @registry.on_event
    async def handler(event: Step) -> None:
        runs.append(event.number)

    async with running() as app:
        for _ in range(3):
            await app.signal(Step("a", 0), group="a", id="order-1")
        await app.idle()
        await app.signal(Step("a", 0), group="a", id="order-1")
        await app.idle()
    assert runs == [0]


async def test_a_delayed_event_with_a_known_id_is_stored_once(running, registry, clock, runs):
    @registry.on_event
    async def handler(event: Step) -> None:
        runs.append(event.number)

    async with running() as app:
        for delay in (10, 20):
            await app.signal(Step("a", 0), group="a", id="order-1", delay=delay)
        await clock.advance(30)
        await app.idle()
    assert runs == [0]


@pytest.mark.parametrize("source", [None, "/shop"])
async def test_an_event_that_comes_due_with_the_id_of_one_that_ran_is_not_stored_again(
    running, registry, clock, runs, source
):
    @registry.on_event
    async def handler(event: Step) -> None:
        runs.append(event.number)

    async with running() as app:
        await app.signal(Step("a", 1), group="a", id="order-1", source=source, delay=10)
        await app.signal(Step("a", 0), group="a", id="order-1", source=source)
        await clock.advance(30)
        await app.idle()
    assert runs == [0]


async def test_two_events_of_one_id_and_another_source_are_two_events(running, registry, runs):
    @registry.on_event
    async def handler(event: Step) -> None:
        runs.append(event.number)

    async with running() as app:
        for number, source in enumerate(("/one", "/two")):
            await app.signal(Step("a", number), group="a", id="order-1", source=source)
        await app.idle()
    assert runs == [0, 1]


async def test_many_events_of_a_group_are_stored_in_their_order(running, registry, clock, runs):
    @registry.on_event
    async def handler(event: Step) -> None:
        runs.append(event.number)

    async with running(Memory(clock=clock, ordered=True, max_batch=5)) as app:
        await app.signal_many([Step("a", number) for number in range(200)], group="a")
        await app.idle()
    assert runs == list(range(200))


async def test_a_redriven_letter_comes_back_into_its_group(running, registry, clock, queue):
    broken = True

    @registry.on_event
    async def handler(event: Step) -> None:
        if broken:
            raise Reject("broken")

    async with running() as app:
        await signal_steps(app, "a", count=2)
        await app.idle()
        broken = False
        await app.stop_listener()
        assert await app.redrive() == 2
        found = await queue.receive(10, 0)
        assert [(delivery.group, msgspec.json.decode(delivery.body)["data"]["number"]) for delivery in found] == [
            ("a", 0),
            ("a", 1),
        ]


async def test_what_cannot_be_read_is_given_up_and_holds_no_group(running, registry, clock, queue, runs, letters):
    @registry.on_event
    async def handler(event: Step) -> None:
        runs.append(event.number)

    async with running() as app:
        await queue.send([Outgoing(b"{broken", group="a", dedup="1")])
        await app.signal(Step("a", 1), group="a")
        await app.idle()
    assert runs == [1]
    assert [letter["type"] for letter in letters()] == ["dawdle.undecodable"]


async def test_a_bug_while_it_is_handled_holds_the_group_and_loses_nothing(running, registry, clock, runs, monkeypatch):
    from dawdle._flow.intake import Intake

    admit, broken = Intake.admit, True

    def fails(self, message, delivery, opened):
        if broken:
            raise ZeroDivisionError
        return admit(self, message, delivery, opened)

    monkeypatch.setattr(Intake, "admit", fails)

    @registry.on_event
    async def handler(event: Step) -> None:
        runs.append(event.number)

    async with running() as app:
        await signal_steps(app, "a")
        await app.idle()
        broken = False
        await clock.advance(31)
        await app.idle()
    assert runs == [0, 1, 2]


async def test_those_given_back_are_reported_as_released(running, registry, clock, moments):
    @registry.on_event(retry=Retry(initial=10, jitter=0))
    async def handler(event: Step, ctx: dawdle.Context) -> None:
        if ctx.attempt == 1 and event.number == 0:
            raise ConnectionError("not now")

    async with running() as app:
        await app.signal_many([Step("a", number) for number in range(3)], group="a")
        await app.idle()
        assert [moment.verdict for moment in moments if isinstance(moment, Settled)] == ["released"] * 3
        await clock.advance(10)
        await app.idle()
    assert [moment.verdict for moment in moments if isinstance(moment, Settled)] == ["released"] * 3 + ["acked"] * 3


async def test_at_its_limit_a_handler_waits_in_memory_and_its_sibling_does_not_run_again(
    running, registry, clock, runs, moments
):
    @registry.on_event(name="limited", concurrency=1)
    async def limited(event: Step) -> None:
        await clock.sleep_until(clock.monotonic() + 30)

    @registry.on_event(name="sibling")
    async def sibling(event: Step, ctx: dawdle.Context) -> None:
        runs.append((event.group, ctx.attempt))

    async with running() as app:
        for group in "abcdefgh":
            await app.signal(Step(group, 0), group=group)
        await clock.advance(300)
    assert sorted(runs) == [(group, 1) for group in "abcdefgh"]
    assert not [moment for moment in moments if isinstance(moment, Forwarded)]


async def test_at_its_limit_with_half_of_the_slots_waiting_a_message_is_released(running, registry, clock, runs):
    @registry.on_event(name="limited", concurrency=1)
    async def limited(event: Step, ctx: dawdle.Context) -> None:
        await clock.sleep_until(clock.monotonic() + 30)
        runs.append((event.group, ctx.attempt))

    async with running(concurrency=4) as app:
        for group in "abcdefgh":
            await app.signal(Step(group, 0), group=group)
        await clock.advance(3000)
    assert sorted(runs) == [(group, 1) for group in "abcdefgh"]  # a release is no attempt


async def test_a_direct_event_of_a_group_is_an_error_on_an_ordered_queue(running, registry, queue):
    async with running() as app:
        with pytest.raises(ConfigurationError, match="past the order of a group"):
            await app.signal(Step("a", 0), group="a", direct=True)
    assert queue.messages() == []


@pytest.mark.parametrize("max_delay", [0, 900])
async def test_a_direct_event_that_fails_is_retried_with_its_attempts(running, registry, clock, letters, max_delay):
    attempts = []

    @registry.on_event(retry=Retry(max_attempts=4, initial=5, jitter=0))
    async def handler(event: Step, ctx: dawdle.Context) -> None:
        attempts.append((clock.monotonic(), ctx.attempt))
        raise ConnectionError("never")

    queue = Memory(clock=clock, ordered=True, max_delay=max_delay)
    async with running(queue) as app:
        await app.signal(Step("a", 0), direct=True)
        await clock.advance(60)
    assert attempts == [(0, 1), (5, 2), (15, 3), (35, 4)]
    assert len(queue.dead_letters.messages()) == 1


async def test_two_due_events_of_one_id_and_another_source_both_run(running, registry, clock, queue):
    """An id is unique within its source only, and the delay queue takes what other programs send."""
    ran = []

    @registry.on_event
    async def handler(event: Step) -> None:
        ran.append(event.number)

    async with running():
        for number, source in enumerate(("/one", "/two")):
            body = {"specversion": "1.0", "id": "order 1", "source": source, "type": "Step"}
            body["data"] = {"group": "a", "number": number}
            await queue.delayed.send([Outgoing(msgspec.json.encode(body), group="a", dedup=f"{number}")])
        await clock.advance(10)
    assert sorted(ran) == [0, 1]


async def test_idle_in_a_handler_does_not_wait_for_those_behind_its_event(running, registry, clock):
    ran = []

    @registry.on_event
    async def handler(event: Step) -> None:
        if event.number == 0:
            await dawdle.current().idle()
        ran.append(event.number)

    async with running() as app:
        await signal_steps(app, "a")
        await clock.advance(10)
        assert ran == [0, 1, 2]


async def test_without_dead_letters_what_cannot_be_read_keeps_its_place_and_is_told(make_app, registry, clock, caplog):
    unlike = b'{"specversion":"1.0","id":"e-1","source":"s","type":"Step","data":{"group":"a","number":"text"}}'
    for max_delay, bad in itertools.product(({}, {"max_delay": 0}), (b"no event", unlike)):
        caplog.clear()
        ran, queue = [], Memory(clock=clock, ordered=True, dead_letters=False, **max_delay)
        registry.clear()

        @registry.on_event(name="step")
        async def handler(event: Step, ran=ran) -> None:
            ran.append(event.number)

        async with make_app(backend=queue) as app:
            await queue.send([Outgoing(bad, group="a", dedup="1")])
            await app.signal(Step("a", 1), group="a")
            await clock.advance(2000)
        assert ran == []
        assert "it holds its group" in caplog.text
