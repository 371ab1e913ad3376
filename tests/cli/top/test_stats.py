import json
import threading

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dawdle
from dawdle import hooks
from dawdle.backends.memory import Memory
from dawdle.backends.sqlite import SQLite
from dawdle.cli._snapshot import HandlerStats, QueueStats, WorkerStats, bucket_of, merged, quantile
from dawdle.cli._stats import Stats
from dawdle.testing import ManualClock

pytestmark = pytest.mark.anyio


class OrderPlaced(msgspec.Struct, frozen=True):
    order_id: str


class Time:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def stats(time):
    return Stats("shop:app", clock=time)


def started(handler):
    return hooks.HandlerStarted("default", "1", "OrderPlaced", handler, 1)


def finished(handler, outcome="done", seconds=0.01):
    return hooks.HandlerFinished("default", "1", "OrderPlaced", handler, 1, outcome, None, seconds)


def requested(call, queue="default", error=None):
    return hooks.Requested(queue, call, 1, 10, 0, error, None, 0.01)


def forwarded(why, handler="receipt"):
    return hooks.Forwarded("default", "1", "OrderPlaced", handler, why, 1.0)


def settled(verdict="acked"):
    return hooks.Settled("default", verdict, 1.0)


def handler_of(stats, name):
    return next(each for each in stats.snapshot().handlers if each.name == name)


def queue_of(stats, name="default"):
    (found,) = [each for each in stats.snapshot().queues if each.name == name]
    return found


def test_runs_and_failures_are_counted_by_handler(stats):
    for outcome in ("done", "failed", "rejected", "later"):
        stats(started("receipt"))
        stats(finished("receipt", outcome))
    stats(started("shipping"))
    receipt, shipping = handler_of(stats, "receipt"), handler_of(stats, "shipping")
    assert (receipt.runs, receipt.failures, receipt.running) == (4, 2, 0)
    assert (shipping.runs, shipping.failures, shipping.running) == (0, 0, 1)


@pytest.mark.parametrize("outcome", ["interrupted", "crowded"])
def test_a_run_that_comes_again_unjudged_is_not_counted(stats, outcome):
    stats(started("receipt"))
    stats(finished("receipt", outcome))
    receipt = handler_of(stats, "receipt")
    assert (receipt.runs, receipt.failures, receipt.running, receipt.durations) == (0, 0, 0, {})


def test_only_retries_are_counted_as_such_and_every_copy_as_a_copy(stats):
    for why in ("retry", "retry", "crowded", "due"):
        stats(forwarded(why))
    assert handler_of(stats, "receipt").retries == 2
    assert queue_of(stats).copies == 4


def test_dead_letters_are_counted_by_handler_and_by_queue(stats):
    stats(hooks.DeadLettered("default", "1", "OrderPlaced", "receipt", "why"))
    stats(hooks.DeadLettered("default", "1", "", None, "unreadable"))
    assert handler_of(stats, "receipt").dead_letters == 1
    assert queue_of(stats).dead_letters == 2


def test_requests_are_counted_by_call_and_those_of_attached_queues_with_the_main_one(stats):
    stats(hooks.Received("default", 3, 10))
    stats(hooks.Received("default", 0, 10))
    stats(hooks.ReceiveFailed("default", "away", 1.0))
    stats(requested("send"))
    stats(requested("send", "default (dead letters)"))
    stats(requested("delete", "default (delayed)", error="away"))
    queue = queue_of(stats)
    assert queue.requests == {"receive": 3, "send": 2, "delete": 1}
    assert (queue.received, queue.empty_receives, queue.failed_requests, queue.recent_requests) == (3, 1, 2, 6)
    assert [each.name for each in stats.snapshot().queues] == ["default"]


def test_an_event_that_was_retried_is_one_event(stats):
    stats(forwarded("retry"))
    for verdict in ("acked", "acked", "released", "kept"):
        stats(settled(verdict))
    queue = queue_of(stats)
    assert (queue.finished, queue.events, queue.recent_events) == (2, 1, 1)


def test_what_is_recent_is_forgotten_and_the_totals_stay(stats, time):
    stats(started("receipt"))
    stats(finished("receipt", "failed"))
    stats(forwarded("retry"))
    stats(requested("send"))
    time.now += 9
    receipt = handler_of(stats, "receipt")
    assert (receipt.recent_runs, receipt.recent_failures, receipt.recent_retries) == (1, 1, 1)
    time.now += 3
    receipt = handler_of(stats, "receipt")
    assert (receipt.recent_runs, receipt.recent_failures, receipt.recent_retries, receipt.durations) == (0, 0, 0, {})
    assert (receipt.runs, receipt.failures, receipt.retries) == (1, 1, 1)
    assert queue_of(stats).recent_requests == 1
    time.now += 70
    assert queue_of(stats).recent_requests == 0
    assert queue_of(stats).requests == {"send": 1}


def test_messages_are_recent_for_ten_seconds_and_requests_for_a_minute(stats, time):
    stats(hooks.Received("default", 7, 10))
    stats(hooks.Signaled("default", "1", "OrderPlaced", 0.0))
    time.now += 9
    queue = queue_of(stats)
    assert (queue.recent_received, queue.recent_signaled, queue.recent_requests) == (7, 1, 1)
    time.now += 30
    queue = queue_of(stats)
    assert (queue.recent_received, queue.recent_signaled, queue.recent_requests) == (0, 0, 1)
    assert (queue.received, queue.signaled) == (7, 1)


def test_the_longest_wait_of_recent_events_is_kept(stats, time):
    assert [each.recent_waited for each in stats.snapshot().handlers] == []
    for waited in (0.2, 4.0, None, 1.0):
        stats(hooks.HandlerStarted("default", "1", "OrderPlaced", "receipt", 1, waited))
    assert handler_of(stats, "receipt").recent_waited == 4.0
    time.now += 12
    assert handler_of(stats, "receipt").recent_waited is None


def test_the_windows_are_no_longer_than_the_app_has_run(stats, time):
    assert stats.snapshot().window == 0
    time.now += 3
    assert stats.snapshot().window == stats.snapshot().queue_window == 3
    time.now += 600.5
    assert stats.snapshot().window == pytest.approx(10.5)
    assert stats.snapshot().queue_window == pytest.approx(60.5)


@given(st.lists(st.floats(1e-6, 3e7), min_size=1, max_size=50), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_off_by_less_than_five_percent(durations, share):
    histogram = merged({bucket_of(each): 1} for each in durations)
    ordered = sorted(durations)
    exact = next(each for at, each in enumerate(ordered, 1) if at >= share * len(ordered) - 1e-9)
    assert quantile(histogram, share) == pytest.approx(exact, rel=0.05)


def test_no_runs_have_no_quantile():
    assert quantile({}, 0.5) is None


def test_a_bucket_that_no_worker_of_ours_has_is_read_as_the_nearest():
    assert quantile({10**9: 1}, 0.5) == quantile({bucket_of(1e12): 1}, 0.5)
    assert quantile({-(10**9): 1}, 0.5) == quantile({0: 1}, 0.5)


def test_a_duration_of_nothing_and_one_of_a_century_have_buckets():
    assert bucket_of(0.0) == bucket_of(-1.0) == 0
    assert bucket_of(1e-9) == 0
    assert bucket_of(3e9) == bucket_of(1e12)


def test_memory_is_bounded_whatever_names_come(stats):
    for number in range(2000):
        stats(forwarded("unclaimed", f"made-up-{number}"))
        stats(forwarded("retry", f"made-up-{number}"))
    snapshot = stats.snapshot()
    assert len(snapshot.handlers) == 501
    assert handler_of(stats, "(others)").retries == 1500


def test_handlers_that_have_not_run_are_listed_with_their_types(time):
    stats = Stats("shop:app", handlers=lambda: {"receipt": ("OrderPlaced",), "audit": ()}, clock=time)
    stats(started("receipt"))
    assert [(each.name, each.types, each.running) for each in stats.snapshot().handlers] == [
        ("receipt", ("OrderPlaced",), 1),
        ("audit", (), 0),
    ]


def test_a_snapshot_travels_as_json(stats):
    stats(started("receipt"))
    stats(finished("receipt", seconds=0.02))
    stats(requested("send"))
    snapshot = stats.snapshot()
    text = msgspec.json.encode([snapshot])
    assert msgspec.json.decode(text, type=list[WorkerStats]) == [snapshot]
    (seen,) = json.loads(text)
    assert (seen["version"], seen["app"], seen["handlers"][0]["name"]) == (1, "shop:app", "receipt")
    assert seen["pid"] > 0
    assert seen["id"] == snapshot.id != Stats("shop:app").snapshot().id
    assert seen["host"]
    assert seen["rss"] > 1_000_000


def test_a_snapshot_of_a_later_release_is_read():
    text = b'[{"version": 2, "new": 1, "handlers": [{"name": "receipt", "new": []}], "queues": [{"name": "default"}]}]'
    (read,) = msgspec.json.decode(text, type=list[WorkerStats])
    assert read == WorkerStats(
        version=2, handlers=(HandlerStats(name="receipt"),), queues=(QueueStats(name="default"),)
    )


def test_a_snapshot_may_be_taken_in_another_thread_while_events_come(stats):
    ended = threading.Event()

    def count():
        for number in range(20_000):
            stats(started(f"handler-{number % 400}"))
            stats(finished(f"handler-{number % 400}", seconds=number / 1000))
        ended.set()

    thread = threading.Thread(target=count)
    thread.start()
    taken = 0
    while not ended.is_set() or not taken:
        stats.snapshot()
        taken += 1
    thread.join()
    assert sum(each.runs for each in stats.snapshot().handlers) == 20_000


async def test_a_real_app_is_counted_to_the_event():
    clock, registry = ManualClock(), dawdle.Registry()

    @registry.on_event(name="receipt")
    async def send_receipt(event: OrderPlaced) -> None: ...

    @registry.on_event(name="shipping", retry=dawdle.Retry(max_attempts=3))
    async def book_shipping(event: OrderPlaced) -> None:
        raise ConnectionError("away")

    stats = Stats("shop:app", health=lambda: app.health(), clock=clock.monotonic)  # noqa: PLW0108 - the app comes later
    app = dawdle.Dawdle(Memory(clock=clock), registry=registry, clock=clock, hooks=[stats])
    async with app:
        for number in range(5):
            await app.signal(OrderPlaced(str(number)))
        await clock.advance(3600)
        receipt, shipping = handler_of(stats, "receipt"), handler_of(stats, "shipping")
        assert (receipt.runs, receipt.failures, receipt.retries, receipt.running) == (5, 0, 0, 0)
        assert (shipping.runs, shipping.failures, shipping.retries, shipping.dead_letters) == (15, 15, 10, 5)
        queue = queue_of(stats)
        assert (queue.events, queue.finished, queue.copies, queue.dead_letters) == (5, 15, 10, 5)
        assert (queue.received, queue.in_flight, queue.slots) == (15, 0, 100)
        assert queue.requests["send"] >= 3


async def test_a_queue_says_where_it_is(tmp_path):
    backend = SQLite(tmp_path / "shop.db")
    stats = Stats("shop:app", queues={"default": backend})
    assert queue_of(stats).place == ""
    async with backend:
        assert queue_of(stats).system == "sqlite"
        assert queue_of(stats).place == backend.identity
