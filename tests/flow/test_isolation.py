"""A message that comes again and again is tried with nothing else in flight, and given up after three trials."""

import asyncio

import msgspec
import pytest

from dawdle import Dawdle, Registry
from dawdle.abc import Outgoing
from dawdle.backends.memory import Memory
from dawdle.hooks import DeadLettered, Forwarded

pytestmark = pytest.mark.anyio


class Placed(msgspec.Struct, frozen=True):
    number: int = 0


class Durable(Memory):
    """A queue that outlives the processes that use it."""

    def __init__(self, **options):
        super().__init__(**options)
        self.limits = msgspec.structs.replace(self.limits, shared=True, durable=True, max_wait=20, max_batch=10)

    async def die_with(self, times):
        """Receive all that is there so often, each time as a process that is gone before it says what came of it."""
        for _ in range(times):
            while await self.receive(10, 0):
                pass
            await self._clock.advance(61)


def body_of(number, **attributes):
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": f"e-{number}",
            "source": "/shop",
            "type": "Placed",
            "data": {"number": number},
            **attributes,
        }
    )


@pytest.fixture
def queue(clock):
    return Durable(clock=clock)


@pytest.fixture
def registry():
    return Registry()


@pytest.fixture
def moments():
    return []


@pytest.fixture
def app(queue, registry, clock, moments):
    return Dawdle(queue, registry=registry, clock=clock, grace=1, hooks=[moments.append])


class Diary:
    """How many handlers run at the same time as each."""

    def __init__(self, registry, clock):
        self.running, self.company, self.order = set(), {}, []

        @registry.on_event(Placed, name="handler")
        async def handler(event):
            self.order.append(event.number)
            self.running.add(event.number)
            for number in self.running:
                self.company[number] = self.company.get(number, set()) | self.running - {number}
            await clock.sleep_until(clock.monotonic() + 1)
            self.running.remove(event.number)


async def test_what_came_four_times_runs_as_ever_and_on_the_fifth_it_is_tried_alone(
    app, queue, registry, clock, moments
):
    diary = Diary(registry, clock)
    await queue.send([Outgoing(body_of(number)) for number in range(3)])
    await queue.die_with(1)
    await queue.send([Outgoing(body_of(10))])
    await queue.die_with(3)
    async with app:
        await clock.advance(60)
    assert queue.messages() == []
    assert sorted(diary.order) == [0, 1, 2, 10]
    assert diary.order[0] == 10
    assert diary.company == {0: set(), 1: set(), 2: set(), 10: set()}
    why = [moment.why for moment in moments if isinstance(moment, Forwarded)]
    assert set(why) == {"trial"}
    assert 3 <= len(why) <= 15  # one for each, and some for those that came while another had its turn


async def test_trials_that_come_together_take_turns_and_do_not_wait_for_each_other(app, queue, registry, clock):
    diary = Diary(registry, clock)
    await queue.send([Outgoing(body_of(number, dawdletrial=1)) for number in range(3)])
    async with app:
        await clock.advance(30)
        assert sorted(diary.order) == [0, 1, 2]
        assert queue.messages() == []
    assert diary.company == {0: set(), 1: set(), 2: set()}


async def test_a_trial_comes_again_when_what_was_in_hand_is_settled_and_runs_alone(app, queue, registry, clock):
    diary = Diary(registry, clock)
    async with app:
        await queue.send([Outgoing(body_of(number)) for number in range(5)])
        await clock.advance(0)
        await queue.send([Outgoing(body_of(9, dawdletrial=1))])
        await clock.advance(0.5)
        await queue.send([Outgoing(body_of(20))])
        await clock.advance(30)
        assert queue.messages() == []
    assert diary.company[9] == set()
    assert sorted(diary.order) == [0, 1, 2, 3, 4, 9, 20]


async def test_a_trial_waits_for_a_receive_of_idle_and_that_for_a_trial(registry, clock):
    class Slow(Durable):
        async def receive(self, limit, wait):
            if not wait:
                asked.append(clock.monotonic())
                await clock.sleep_until(clock.monotonic() + 0.5)
            return await super().receive(limit, wait)

    asked, queue, diary = [], Slow(clock=clock), Diary(registry, clock)
    async with Dawdle(queue, registry=registry, clock=clock, grace=1) as app:
        await clock.advance(1)
        idle = asyncio.create_task(app.idle())
        await clock.advance(0)
        await queue.send([Outgoing(body_of(1, dawdletrial=1))])
        await clock.advance(0)
        await queue.send([Outgoing(body_of(2)), Outgoing(body_of(3))])
        await clock.advance(30)
        assert idle.done()
        assert queue.messages() == []
    assert asked[0] == 1
    assert sorted(diary.order) == [1, 2, 3]
    assert diary.company[1] == set()


async def test_a_trial_that_is_received_again_is_counted_and_the_third_is_the_last(
    app, queue, registry, clock, moments
):
    diary = Diary(registry, clock)
    await queue.send([Outgoing(body_of(1, dawdletrial=2)), Outgoing(body_of(2, dawdletrial=3, dawdleowed="handler"))])
    await queue.die_with(1)
    async with app:
        await clock.advance(30)
    assert diary.order == [1]
    (letter,) = [msgspec.json.decode(body) for body in queue.dead_letters.messages()]
    assert (letter["id"], letter["dawdleowed"]) == ("e-2", "handler")
    assert letter["dawdleerror"] == "3 processes in a row ended while they ran it in isolation"
    assert "dawdletrial" not in letter
    (told,) = [moment for moment in moments if isinstance(moment, DeadLettered)]
    assert told.handler == "handler"


async def test_a_trial_with_an_outcome_is_a_message_like_any_other(app, queue, registry, clock):
    @registry.on_event(Placed, name="bad")
    async def bad(event):
        raise ValueError

    await queue.send([Outgoing(body_of(1, dawdletrial=3))])
    async with app:
        await clock.advance(0)
        (copy,) = [msgspec.json.decode(body) for body in queue.messages()]
        assert copy["dawdleattempt"] == 2
        assert "dawdletrial" not in copy


async def test_a_trial_for_which_there_is_never_quiet_waits_in_the_queue(app, queue, registry, clock, moments):
    done = {}

    @registry.on_event(Placed, name="long")
    async def long(event):
        await clock.sleep_until(clock.monotonic() + (600 if event.number == 0 else 1))
        done[event.number] = clock.monotonic()

    async with app:
        await queue.send([Outgoing(body_of(0)), Outgoing(body_of(1, dawdletrial=1))])
        await clock.advance(200)
        kept = [msgspec.json.decode(body) for body in queue.messages()]
        assert {copy["id"]: copy.get("dawdletrial") for copy in kept} == {"e-0": None, "e-1": 1}
        await app.signal(Placed(7))
        await clock.advance(130)
        assert list(done) == [7]
        await clock.advance(700)
        assert queue.messages() == []
    assert list(done) == [7, 0, 1]
    why = {moment.why for moment in moments if isinstance(moment, Forwarded)}
    assert why == {"trial"}


async def test_a_stop_gives_a_trial_back_uncounted(app, queue, registry, clock):
    started = asyncio.Event()

    @registry.on_event(Placed, name="long")
    async def long(event):
        started.set()
        await clock.sleep_until(clock.monotonic() + 600)

    await app.__aenter__()
    await queue.send([Outgoing(body_of(0)), Outgoing(body_of(1, dawdletrial=2))])
    await clock.advance(5)
    leaving = asyncio.create_task(app.__aexit__(None, None, None))
    await clock.advance(10)
    await leaving
    async with asyncio.timeout(60):
        await started.wait()
    copies = [msgspec.json.decode(body) for body in queue.messages()]
    assert {copy["id"]: copy.get("dawdletrial") for copy in copies} == {"e-0": None, "e-1": 2}
    assert queue._in_flight == {}


async def test_a_queue_that_ends_with_its_process_has_no_trials(registry, clock):
    runs = []

    @registry.on_event(Placed)
    async def handler(event):
        runs.append(event)

    queue = Memory(clock=clock)
    await queue.send([Outgoing(body_of(1))])
    for _ in range(6):
        await queue.receive(1, 0)
        await clock.advance(61)
    async with Dawdle(queue, registry=registry, clock=clock):
        await clock.advance(1)
    assert runs == [Placed(1)]


async def test_a_trial_does_not_wait_in_hand_behind_another_that_may_end_the_process(app, queue, registry, clock):
    @registry.on_event(Placed, name="handler")
    async def handler(event):
        await clock.sleep_until(clock.monotonic() + 100)

    async with app:
        await queue.send([Outgoing(body_of(number, dawdletrial=2)) for number in range(5)])
        await clock.advance(8)
        assert app.health().in_hand == 1
        assert len(queue._in_flight) == 1
        kept = [msgspec.json.decode(body) for body in queue.messages()]
        assert [copy["dawdletrial"] for copy in kept] == [2] * 5
        await clock.advance(2500)
        assert queue.messages() == []


async def test_beside_a_message_that_runs_alone_for_long_others_come_in(app, queue, registry, clock):
    done = []

    @registry.on_event(Placed, name="handler")
    async def handler(event):
        await clock.sleep_until(clock.monotonic() + (600 if event.number == 0 else 1))
        done.append(event.number)

    async with app:
        await queue.send([Outgoing(body_of(0, dawdletrial=1))])
        await clock.advance(1)
        await app.signal(Placed(1))
        direct = asyncio.create_task(app.signal(Placed(2), direct=True))
        await clock.advance(28)
        assert done == []
        await clock.advance(5)
        assert sorted(done) == [1, 2]
        await direct
        await app.signal(Placed(3))
        await clock.advance(600)
        assert sorted(done) == [0, 1, 2, 3]
        assert done[-1] == 0


async def test_beside_one_that_runs_alone_for_long_a_direct_event_begins_though_nothing_is_received(
    app, queue, registry, clock
):
    over, seen = asyncio.Event(), []

    @registry.on_event(Placed)
    async def handler(event):
        seen.append(event.number)
        if event.number == 1:
            await app.stop_listener()
            await over.wait()

    async with app:
        await queue.send([Outgoing(body_of(1, dawdletrial=1))])
        await clock.advance(1)
        direct = asyncio.create_task(app.signal(Placed(2), direct=True))
        await clock.advance(28)
        assert seen == [1]
        await clock.advance(2)
        assert seen == [1, 2]
        over.set()
        await direct


async def test_a_single_file_in_which_no_other_message_came_puts_off_no_later_trial(registry, clock):
    class Taken(Durable):
        taken = False

        async def send(self, batch):
            return [None] * len(batch) if self.taken else await super().send(batch)

    queue, diary = Taken(clock=clock), Diary(registry, clock)
    trials = [Outgoing(body_of(number, dawdletrial=1, time="2000-01-01T00:00:00Z")) for number in range(5)]
    await queue.send(trials[:2])
    queue.taken = True  # another worker gets what this one puts off, so its single file ends without a suspect
    async with Dawdle(queue, registry=registry, clock=clock, grace=1):
        await clock.advance(40)
        queue.taken = False
        await queue.send(trials[2:])
        await clock.advance(20)
        assert sorted(diary.order)[-3:] == [2, 3, 4]
        assert queue.messages() == []


async def test_an_isolation_while_no_other_message_came_puts_off_no_later_trial(app, queue, registry, clock):
    ended = []

    @registry.on_event(Placed, name="handler")
    async def handler(event):
        await clock.sleep_until(clock.monotonic() + 6)
        ended.append(clock.monotonic())

    began, count = clock.monotonic(), 30
    for number in range(count):  # three minutes of isolation in four, and the allowance is a minute and a fifth
        await queue.send([Outgoing(body_of(number, dawdletrial=1), delay=8 * number)])
    async with app:
        await clock.advance(8 * count)
    assert [round(each - began) for each in ended] == [8 * number + 6 for number in range(count)]


@pytest.mark.parametrize("came", ["a message", "a direct event"])
async def test_an_isolation_that_held_another_message_back_is_paid_for(app, queue, registry, clock, caplog, came):
    @registry.on_event(Placed, name="handler")
    async def handler(event):
        if event.number >= 0:
            await clock.sleep_until(clock.monotonic() + 6)

    async with app:
        for number in range(30):
            await queue.send([Outgoing(body_of(number, dawdletrial=1))])
            await clock.advance(2)
            if came == "a message":
                await app.signal(Placed(-1))
            else:
                direct = asyncio.create_task(app.signal(Placed(-1), direct=True))
            await clock.advance(6)
            if came != "a message":
                await direct
    assert "too much time in isolation" in caplog.text


async def test_a_worker_without_time_for_suspects_runs_one_that_comes_to_a_quiet_queue(
    app, queue, registry, clock, caplog
):
    ended = []

    @registry.on_event(Placed, name="handler")
    async def handler(event):
        await clock.sleep_until(clock.monotonic() + 29 * bool(event.number))
        ended.append(event.number)

    async with app:
        for number in range(1, 8):
            await queue.send([Outgoing(body_of(number, dawdletrial=1))])
            await clock.advance(2)
            await app.signal(Placed(0))
            await clock.advance(30)
        assert "too much time in isolation" in caplog.text
        await clock.advance(10)
        ended.clear()
        await queue.send([Outgoing(body_of(99, dawdletrial=1, time="2000-01-01T00:00:00Z"))])
        await clock.advance(30)
        assert ended == [99]


@pytest.mark.slow
async def test_forged_trials_take_a_fifth_of_a_workers_time_and_few_copies(
    app, queue, registry, clock, moments, caplog
):
    late, forged = [], []

    @registry.on_event(Placed, name="handler")
    async def handler(event):
        await clock.sleep_until(clock.monotonic() + 1)
        if event.number >= 10_000:
            forged.append(event.number)
        else:
            late.append(clock.monotonic() - event.number)

    seconds, count, times = 1800, 800, ({}, {"time": "9999-12-31T00:00:00Z"})
    async with app:
        await queue.send(
            [Outgoing(body_of(10_000 + number, dawdletrial=2, **times[number % 2])) for number in range(count)]
        )
        for second in range(0, seconds, 4):
            await app.signal(Placed(second))
            await clock.advance(4)
        await clock.advance(60)
        assert len(late) == seconds // 4
        late.sort()
        assert late[len(late) // 2] < 2
        assert late[-1] < 90
        assert len(forged) <= 60 + seconds / 5
        assert sum(isinstance(moment, Forwarded) for moment in moments) <= count * seconds / 150
    told = [record.getMessage() for record in caplog.records if "too much time in isolation" in record.getMessage()]
    assert told
    assert "a sender that forges dawdletrial (set signing_keys)" in told[0]


async def test_a_suspect_on_one_of_many_queues_gets_its_turn_and_nothing_of_the_others_runs_beside_it(registry, clock):
    queues = {name: Durable(clock=clock) for name in ("default", "a", "b", "c", "d")}
    diary = Diary(registry, clock)
    async with Dawdle(queues=queues, registry=registry, clock=clock, grace=1):
        await clock.advance(1)
        await queues["d"].send([Outgoing(body_of(9, dawdletrial=1))])
        await clock.advance(1)
        for number, queue in enumerate(queues.values()):
            await queue.send([Outgoing(body_of(number))])
        await clock.advance(40)
        assert not any(queue.messages() for queue in queues.values())
    assert sorted(diary.order) == [0, 1, 2, 3, 4, 9]
    assert diary.company[9] == set()


async def test_an_idle_queue_in_memory_keeps_no_suspect_from_its_turn(queue, registry, clock, moments):
    """The first receive of a queue in memory waits for ever, and what it brings waits until the suspect has ended."""
    diary = Diary(registry, clock)
    memory = Memory(clock=clock)
    app = Dawdle(
        queues={"default": queue, "memory": memory},
        routes={Placed: "default"},
        registry=registry,
        clock=clock,
        hooks=[moments.append],
    )
    async with app:
        await clock.advance(1)
        await queue.send([Outgoing(body_of(1, dawdletrial=1))])
        for _ in range(100):
            await clock.advance(0.1)
            if diary.running:
                break
        assert diary.running == {1}
        await app.signal(Placed(2), queue="memory")
        await app.signal(Placed(3), queue="memory")
        await clock.advance(0.5)
        assert diary.order == [1]
        await clock.advance(5)
        assert sorted(diary.order) == [1, 2, 3]
    assert diary.company[1] == set()
    assert sum(isinstance(moment, Forwarded) for moment in moments) <= 2


async def test_one_that_outlasts_its_isolation_does_not_end_that_of_another(queue, registry, clock):
    """The first is on a plain queue and runs for 40 s; the second is on an ordered one, and begins after 30 s."""
    ordered, running, beside = Durable(clock=clock, ordered=True, lease=5), set(), {}

    @registry.on_event(Placed, name="handler")
    async def handler(event):
        running.add(event.number)
        for number in running:
            beside.setdefault(number, set()).update(running)
        await clock.sleep_until(clock.monotonic() + {1: 40, 2: 10}.get(event.number, 1))
        running.remove(event.number)

    app = Dawdle(
        queues={"default": queue, "ordered": ordered},
        routes={Placed: "default"},
        registry=registry,
        clock=clock,
        grace=1,
    )
    async with app:
        await queue.send([Outgoing(body_of(1, dawdletrial=1))])
        for _ in range(400):
            await clock.advance(0.1)
            if running:
                break
        assert running == {1}
        await app.signal(Placed(2), queue="ordered", group="a")
        for _ in range(4):  # each time as a process that ends before it says what came of it
            assert await ordered.receive(1, 0)
            await clock.advance(5)
        await clock.advance(12)
        assert beside == {1: {1}}, "the second is in flight, and waits until the first has ended"
        await clock.advance(10)
        assert running == {2}
        await app.signal_many([Placed(number) for number in range(10, 20)])
        await clock.advance(20)
    assert beside[2] == {2}
    assert set(beside) == {1, 2, *range(10, 20)}
