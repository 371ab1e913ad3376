"""Group commit: at once when idle, together while a call is in flight, each with an answer of its own."""

import asyncio

import pytest

from dawdle._flow.batcher import MAX_CALLS, Batcher
from dawdle.errors import BackendError, ConfigurationError

pytestmark = pytest.mark.anyio


class Queue:
    """Takes batches when the test lets it."""

    def __init__(self):
        self.batches = []
        self.flying = 0
        self.most = 0
        self.gate = asyncio.Event()

    async def __call__(self, batch):
        self.batches.append(batch)
        self.flying += 1
        self.most = max(self.most, self.flying)
        try:
            await self.gate.wait()
        finally:
            self.flying -= 1
        return [f"answer to {entry}" for entry in batch]


@pytest.fixture
async def queue():
    return Queue()


def batcher_of(group, carry, max_count=10, **limits):
    return Batcher(carry, spawn=group.create_task, max_count=max_count, **limits)


async def test_an_idle_batcher_sends_at_once_and_what_comes_meanwhile_leaves_together(queue):
    async with asyncio.TaskGroup() as group:
        batcher = batcher_of(group, queue)
        first = batcher.submit("a")
        await asyncio.sleep(0)
        later = [batcher.submit(entry) for entry in "bcd"]
        await asyncio.sleep(0)
        assert queue.batches == [["a"]]
        queue.gate.set()
        assert await first == "answer to a"
        assert await asyncio.gather(*later) == ["answer to b", "answer to c", "answer to d"]
    assert queue.batches == [["a"], ["b", "c", "d"]]


async def test_what_is_submitted_in_one_turn_leaves_in_one_batch(queue):
    queue.gate.set()
    async with asyncio.TaskGroup() as group:
        batcher = batcher_of(group, queue)
        await asyncio.gather(*(batcher.submit(number) for number in range(10)))
    assert len(queue.batches) == 1


async def test_what_waits_behind_a_call_that_hangs_leaves_without_a_full_batch(queue, monkeypatch):
    monkeypatch.setattr("dawdle._flow.batcher.STALL_SECONDS", 0.05)
    hung = asyncio.Event()

    async def hangs_once(batch):
        if batch == ["hangs"]:
            await hung.wait()
        return await queue(batch)

    queue.gate.set()
    async with asyncio.TaskGroup() as group:
        batcher = batcher_of(group, hangs_once)
        first = batcher.submit("hangs")
        await asyncio.sleep(0)
        assert await asyncio.gather(batcher.submit("a"), batcher.submit("b")) == ["answer to a", "answer to b"]
        assert await batcher.submit("c") == "answer to c"
        assert not first.done()
        hung.set()
        assert await first == "answer to hangs"
    assert queue.batches == [["a", "b"], ["c"], ["hangs"]]
    await asyncio.sleep(0.1)
    assert not batcher.busy


async def test_calls_that_hang_are_never_more_than_eight(queue, monkeypatch):
    monkeypatch.setattr("dawdle._flow.batcher.STALL_SECONDS", 0.01)
    async with asyncio.TaskGroup() as group:
        batcher = batcher_of(group, queue)
        futures = []
        more = 5
        while more:  # on a busy machine a call may carry several
            more -= queue.flying == MAX_CALLS
            futures.append(batcher.submit(len(futures)))
            await asyncio.sleep(0.04)
        assert queue.flying == MAX_CALLS
        queue.gate.set()
        await asyncio.gather(*futures)
    assert queue.most == MAX_CALLS


async def test_a_call_that_does_not_hang_is_waited_for(queue, monkeypatch):
    monkeypatch.setattr("dawdle._flow.batcher.STALL_SECONDS", 60)
    async with asyncio.TaskGroup() as group:
        batcher = batcher_of(group, queue)
        futures = [batcher.submit("a")]
        await asyncio.sleep(0)
        futures += [batcher.submit("b")]
        await asyncio.sleep(0.02)
        assert queue.batches == [["a"]]
        queue.gate.set()
        await asyncio.gather(*futures)
        queue.gate.clear()
        last = batcher.submit("c")
        await asyncio.sleep(0)
        waits = batcher.submit("d")
        await asyncio.sleep(0.02)
        assert queue.batches == [["a"], ["b"], ["c"]], "it was somebody else who waited when the time was taken"
        queue.gate.set()
        await asyncio.gather(last, waits)


async def test_a_second_flight_starts_only_with_a_full_batch_and_never_more_than_eight(queue):
    async with asyncio.TaskGroup() as group:
        batcher = batcher_of(group, queue)
        futures = [batcher.submit(0)]
        await asyncio.sleep(0)
        futures += [batcher.submit(number) for number in range(9)]
        await asyncio.sleep(0)
        assert queue.flying == 1
        futures += [batcher.submit(9)]
        await asyncio.sleep(0)
        assert queue.flying == 2
        futures += [batcher.submit(number) for number in range(500)]
        for _ in range(5):
            await asyncio.sleep(0)
        assert queue.flying == MAX_CALLS
        queue.gate.set()
        await asyncio.gather(*futures)
    assert queue.most == MAX_CALLS
    assert sum(len(batch) for batch in queue.batches) == 511
    assert max(len(batch) for batch in queue.batches) == 10


async def test_what_waits_leaves_after_the_younger_of_two_calls_and_not_after_the_older():
    calls = []

    async def carry(batch):
        calls.append((batch, asyncio.Event()))
        await calls[-1][1].wait()
        return batch

    async def answer(batch):
        next(answered for carried, answered in calls if carried == batch).set()
        for _ in range(3):
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        batcher = batcher_of(group, carry, max_count=2)
        for entries in ("a", "bc", "d"):
            for entry in entries:
                batcher.submit(entry)
            await asyncio.sleep(0)
        assert [batch for batch, _ in calls] == [["a"], ["b", "c"]]
        await answer(["a"])
        assert len(calls) == 2, "d would leave alone, and e would too a moment later"
        batcher.submit("e")
        await asyncio.sleep(0)
        batcher.submit("f")
        assert [batch for batch, _ in calls[2:]] == [["d", "e"]]
        await answer(["d", "e"])
        assert calls[3][0] == ["f"], "the older call may hang"
        for _, answered in calls:
            answered.set()


async def test_a_batch_never_holds_more_bytes_than_allowed(queue):
    queue.gate.set()
    async with asyncio.TaskGroup() as group:
        batcher = batcher_of(group, queue, max_bytes=10, size=len)
        await asyncio.gather(*(batcher.submit(entry) for entry in ["aaaa", "bbbb", "cccc", "d" * 11, "e"]))
    assert queue.batches == [["aaaa", "bbbb"], ["cccc"], ["d" * 11], ["e"]]


async def test_cancelling_a_caller_never_cancels_its_batch(queue):
    async with asyncio.TaskGroup() as group:
        batcher = batcher_of(group, queue)
        futures = [batcher.submit(entry) for entry in "ab"]
        await asyncio.sleep(0)
        futures[0].cancel()
        queue.gate.set()
        assert await futures[1] == "answer to b"
    assert queue.batches == [["a", "b"]]


async def test_a_call_that_fails_gives_its_error_to_its_own_entries_only():
    failing = True

    async def carry(batch):
        await asyncio.sleep(0)
        if failing:
            raise BackendError("down")
        return batch

    async with asyncio.TaskGroup() as group:
        batcher = batcher_of(group, carry)
        for future in [batcher.submit(entry) for entry in "ab"]:
            with pytest.raises(BackendError, match="down"):
                await future
        failing = False
        assert await batcher.submit("c") == "c"


async def test_a_call_that_the_configuration_forbids_was_surely_not_carried_out():
    async def carry(batch):
        raise ConfigurationError("opened otherwise")

    async with asyncio.TaskGroup() as group:
        with pytest.raises(BackendError, match="^opened otherwise$") as caught:
            await batcher_of(group, carry).submit("a")
    assert (caught.value.kind, caught.value.uncertain, caught.value.retryable) == ("refused", False, False)


async def test_an_answer_too_few_is_an_error_and_hangs_nobody():
    async def carry(batch):
        return batch[1:]

    async with asyncio.TaskGroup() as group:
        batcher = batcher_of(group, carry)
        with pytest.raises(BackendError, match="returned 0 answers for 1 entries"):
            await batcher.submit("a")


@pytest.mark.parametrize("end", ["cancelled", "closed"])
async def test_when_the_app_is_left_only_what_was_sent_is_uncertain(queue, end):
    """Of an entry that still waits for the next request nothing was sent, so it cannot be stored."""
    tasks = []
    batcher = Batcher(queue, spawn=lambda flight: tasks.append(asyncio.create_task(flight)), max_count=10)
    sent = batcher.submit("a")
    await asyncio.sleep(0)
    waiting = batcher.submit("b")
    if end == "closed":
        batcher.close()
    for task in tasks:
        task.cancel()
    with pytest.raises(BackendError, match="^the app closed before the queue answered$") as caught:
        await sent
    assert caught.value.uncertain
    with pytest.raises(BackendError, match="^the app closed before the request was sent$") as caught:
        await waiting
    assert not caught.value.uncertain
    await asyncio.gather(*tasks, return_exceptions=True)
    assert queue.batches == [["a"]]


async def test_a_closed_batcher_takes_nothing_and_leaves_nobody_waiting(queue):
    tasks = []
    batcher = Batcher(queue, spawn=lambda flight: tasks.append(asyncio.create_task(flight)), max_count=1)
    waiting = batcher.submit("a")
    batcher.close()
    with pytest.raises(BackendError, match="before the request was sent"):
        await waiting
    with pytest.raises(BackendError, match="the app is closing") as caught:
        batcher.submit("b")
    assert not caught.value.uncertain
    with pytest.raises(BackendError, match="the app is closing"):
        batcher.submit_many("bc")
    queue.gate.set()
    await asyncio.gather(*tasks)
    assert queue.batches == []


async def test_idle_returns_when_all_is_answered(queue):
    async with asyncio.TaskGroup() as group:
        batcher = batcher_of(group, queue)
        future = batcher.submit("a")
        idle = group.create_task(batcher.idle())
        await asyncio.sleep(0)
        assert not idle.done()
        queue.gate.set()
        await idle
        assert future.done()
        assert not batcher.busy


async def test_an_error_that_cannot_be_shown_fails_its_own_entries_and_no_others():
    class Odd(Exception):
        def __str__(self):
            raise RuntimeError

    errors = [Odd()]

    async def carry(batch):
        if errors:
            raise errors.pop()
        return batch

    async with asyncio.TaskGroup() as group:
        batcher = batcher_of(group, carry)
        with pytest.raises(BackendError, match=r"Odd: \(its message cannot be shown: RuntimeError\)"):
            await batcher.submit("a")
        assert await batcher.submit("b") == "b"


class Counted:
    """Answers each batch in the next turn of the loop, and refuses the entries that it is told to."""

    def __init__(self, refused=(), failing=()):
        self.batches = []
        self.refused = refused
        self.failing = failing

    async def __call__(self, batch):
        self.batches.append(batch)
        await asyncio.sleep(0)
        if set(self.failing) & set(batch):
            raise BackendError("down")
        return [f"refused {entry}" if entry in self.refused else None for entry in batch]


async def test_many_entries_have_one_future_and_each_its_own_answer():
    queue = Counted(refused=[3, 12, 24])
    async with asyncio.TaskGroup() as group:
        batcher = batcher_of(group, queue)
        answers = await batcher.submit_many(range(25))
    assert answers == [f"refused {entry}" if entry in queue.refused else None for entry in range(25)]
    assert [len(batch) for batch in queue.batches] == [10, 10, 5]


async def test_a_call_that_fails_fails_no_other_entries_that_were_submitted_with_its_own():
    queue = Counted(failing=[15])
    async with asyncio.TaskGroup() as group:
        batcher = batcher_of(group, queue)
        answers = await batcher.submit_many(range(25))
    assert answers[:10] == [None] * 10
    assert [str(answer) for answer in answers[10:20]] == ["down"] * 10
    assert answers[20:] == [None] * 5


async def test_many_entries_and_single_ones_share_their_batches():
    queue = Counted()
    async with asyncio.TaskGroup() as group:
        batcher = batcher_of(group, queue)
        futures = [batcher.submit("a"), batcher.submit_many("bcdef"), batcher.submit("g"), batcher.submit_many("hijkl")]
        assert await asyncio.gather(*futures) == [None, [None] * 5, None, [None] * 5]
    assert queue.batches == [[*"abcdefghij"], [*"kl"]]


async def test_no_entries_are_answered_without_a_call():
    queue = Counted()
    async with asyncio.TaskGroup() as group:
        batcher = batcher_of(group, queue)
        assert await batcher.submit_many([]) == []
    assert queue.batches == []


async def test_ten_thousand_entries_take_eight_tasks_and_full_batches():
    queue, tasks = Counted(), []
    batcher = Batcher(queue, spawn=lambda call: tasks.append(asyncio.create_task(call)), max_count=10)
    assert await batcher.submit_many(range(10_000)) == [None] * 10_000
    assert len(tasks) == MAX_CALLS
    assert {len(batch) for batch in queue.batches} == {10}
    assert [entry for batch in queue.batches for entry in batch] == list(range(10_000))
    await asyncio.gather(*tasks)


async def test_many_entries_never_make_a_batch_of_more_bytes_than_allowed():
    queue = Counted()
    async with asyncio.TaskGroup() as group:
        batcher = batcher_of(group, queue, max_bytes=10, size=len)
        await batcher.submit_many(["aaaa", "bbbb", "cccc", "d" * 11, "e"])
    assert queue.batches == [["aaaa", "bbbb"], ["cccc"], ["d" * 11], ["e"]]


async def test_cancelling_the_caller_of_many_takes_none_of_them_back():
    queue = Counted()
    async with asyncio.TaskGroup() as group:
        batcher = batcher_of(group, queue)
        caller = group.create_task(wait_for(batcher.submit_many(range(25))))
        await asyncio.sleep(0)
        caller.cancel()
    assert sum(map(len, queue.batches)) == 25


async def wait_for(future):
    return await future


@pytest.mark.parametrize("end", ["cancelled", "closed"])
async def test_of_many_entries_only_those_that_were_sent_are_uncertain(queue, end):
    tasks = []
    batcher = Batcher(queue, spawn=lambda call: tasks.append(asyncio.create_task(call)), max_count=1)
    many = batcher.submit_many(range(MAX_CALLS + 3))
    await asyncio.sleep(0)
    if end == "closed":
        batcher.close()
    for task in tasks:
        task.cancel()
    answers = await many
    assert [answer.uncertain for answer in answers] == [True] * MAX_CALLS + [False] * 3
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_many_entries_are_taken_back_when_no_call_can_start(queue):
    def refuse(call):
        call.close()
        raise BackendError("the app is closing")

    batcher = Batcher(queue, spawn=refuse, max_count=10)
    with pytest.raises(BackendError, match="the app is closing"):
        batcher.submit_many(range(25))
    assert not batcher.busy
    assert not batcher._waiting
