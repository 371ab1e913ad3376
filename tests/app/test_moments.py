"""The moments that hooks get: what has begun ends, and each says how long it took."""

import asyncio

import msgspec
import pytest

import dawdle
from dawdle import EventError, Retry, SignalError
from dawdle.abc import Fault
from dawdle.backends.memory import Memory
from dawdle.errors import BackendError
from dawdle.hooks import (
    Decoded,
    Encoded,
    HandlerFinished,
    HandlerStarted,
    Received,
    Requested,
    Settled,
    Signaled,
    SignaledDirect,
    SignalFailed,
    SignalStarted,
)
from tests.app.events import Cancelled, Placed

pytestmark = pytest.mark.anyio

SIGNALING = (SignalStarted, Encoded, Signaled, SignaledDirect, SignalFailed)


class Anything(msgspec.Struct):
    value: object


class Failing(Memory):
    """Answers a send with a fault, an error, or not at all."""

    answer: object = None

    async def send(self, batch):
        if isinstance(self.answer, BaseException):
            raise self.answer
        if self.answer == "never":
            await asyncio.Event().wait()
        if isinstance(self.answer, Fault):
            return [self.answer] * len(batch)
        return await super().send(batch)


def of(moments, *kinds):
    return [moment for moment in moments if isinstance(moment, kinds)]


async def test_one_event_has_a_moment_for_each_step(running, registry, moments, clock):
    @registry.on_event(Placed, name="mail")
    async def mail(event: Placed) -> None:
        await clock.sleep_until(clock.monotonic() + 2)

    async with running() as app:
        event_id = await app.signal(Placed(1))
        await clock.advance(5)
    about = [moment for moment in moments if not isinstance(moment, (Received, Requested))]
    assert [type(moment) for moment in about] == [
        *(SignalStarted, Encoded, Signaled),
        *(Decoded, HandlerStarted, HandlerFinished, Settled),
    ]
    assert {moment.event_id for moment in about} == {event_id}
    assert {moment.event_type for moment in about} == {"Placed"}
    started, encoded, _, decoded, began, ended, settled = about
    assert started.queues == ("default",)
    assert encoded.size == decoded.size > 100
    assert (began.waited, ended.seconds) == (0, 2)
    assert (settled.verdict, settled.seconds, settled.settling) == ("acked", 2, 0)


async def test_a_moment_s_seconds_are_those_of_its_step(registry, clock, moments):
    class Slow(Memory):
        async def send(self, batch):
            await clock.sleep_until(clock.monotonic() + 3)
            return await super().send(batch)

        async def ack(self, receipts):
            await clock.sleep_until(clock.monotonic() + 4)
            return await super().ack(receipts)

    @registry.on_event(Placed, name="mail")
    async def mail(event: Placed) -> None:
        await clock.sleep_until(clock.monotonic() + 2)

    async with dawdle.Dawdle(Slow(clock=clock), registry=registry, clock=clock, hooks=[moments.append]) as app:
        signaling = asyncio.create_task(app.signal(Placed(1)))
        await clock.advance(60)
        await signaling
    (signaled,) = of(moments, Signaled)
    (settled,) = of(moments, Settled)
    assert signaled.seconds == 3
    assert (settled.seconds, settled.settling) == (6, 4)
    assert [(each.call, each.entries, each.refused, each.error, each.seconds) for each in of(moments, Requested)] == [
        ("send", 1, 0, None, 3),
        ("delete", 1, 0, None, 4),
    ]
    first = of(moments, Received)[0]
    assert (first.messages, first.seconds) == (1, 3), "the wait for a message is a part of the receive"
    assert first.limit >= 10


async def test_a_batch_is_one_request_and_a_moment_for_each_event(running, moments):
    async with running() as app:
        ids = await app.signal_many([Placed(number) for number in range(30)])
    assert [each.event_id for each in of(moments, SignalStarted)] == ids
    assert [each.event_id for each in of(moments, Signaled)] == ids
    sends = [each for each in of(moments, Requested) if each.call == "send"]
    assert sum(each.entries for each in sends) == 30
    assert all(each.entries <= each.limit for each in sends)


@pytest.mark.parametrize(
    ("answer", "kind", "uncertain", "error"),
    [
        (Fault("throttled", "slow down"), "throttled", False, "slow down (the queue answered throttled)"),
        (BackendError("away", kind="unavailable"), "unavailable", True, "away"),
        (ValueError("a bug of the backend"), "unavailable", True, "ValueError: a bug of the backend"),
    ],
)
async def test_what_a_queue_does_not_store_is_a_failed_signal(running, moments, clock, answer, kind, uncertain, error):
    queue = Failing(clock=clock)
    queue.answer = answer
    async with running(queue) as app:
        with pytest.raises(SignalError):
            await app.signal(Placed(1))
        with pytest.raises(SignalError) as raised:
            await app.signal_many([Placed(2), Placed(3)])
        queue.answer = None
    assert of(moments, Signaled) == []
    failed = of(moments, SignalFailed)
    assert [each.event_id for each in failed] == [each.event_id for each in of(moments, SignalStarted)]
    assert {(each.queue, each.event_type, each.error, each.kind, each.uncertain) for each in failed} == {
        ("default", "Placed", error, kind, uncertain)
    }
    assert [each.event_id for each in failed[1:]] == list(raised.value.failed)
    requests = [each for each in of(moments, Requested) if each.call == "send"]
    assert [each.refused for each in requests] == [1, 2]
    whole = not isinstance(answer, Fault)
    assert {each.kind for each in requests} == {kind if whole else None}


async def test_an_event_that_cannot_travel_fails_without_its_queue(running, moments):
    async with running() as app:
        with pytest.raises(EventError):
            await app.signal(Anything(float("nan")))
        with pytest.raises(EventError):
            await app.signal_many([Placed(1), Anything(float("nan")), Placed(2)])
    assert [type(each) for each in of(moments, *SIGNALING)] == [
        *(SignalStarted, SignalFailed),
        *(SignalStarted, Encoded, SignalStarted, SignalFailed, SignalFailed),
    ]
    alone, other, culprit = of(moments, SignalFailed)
    assert {(each.kind, each.uncertain) for each in (alone, other, culprit)} == {(None, False)}
    assert alone.error == culprit.error
    assert alone.error.startswith("EventError: Anything.value is nan")
    assert other.error.startswith("another event of the same call cannot travel: EventError: Anything.value is nan")


async def test_a_signal_that_is_cancelled_is_failed_and_uncertain(running, moments, clock):
    queue = Failing(clock=clock)
    queue.answer = "never"
    async with running(queue, grace=0) as app:
        signaling = asyncio.create_task(app.signal(Placed(1)))
        await clock.advance(1)
        signaling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await signaling
        (failed,) = of(moments, SignalFailed)
        assert (failed.error, failed.kind, failed.uncertain, failed.seconds) == (
            *("the call was cancelled", None, True),
            1,
        )


async def test_an_event_of_two_queues_has_an_end_for_each(registry, clock, moments):
    audit = Failing(clock=clock)
    app = dawdle.Dawdle(
        queues={"default": Memory(clock=clock), "audit": audit},
        routes={Placed: ("default", "audit")},
        registry=registry,
        clock=clock,
        hooks=[moments.append],
    )
    async with app:
        await app.signal(Placed(1))
        audit.answer = Fault("throttled", "slow down")
        with pytest.raises(SignalError):
            await app.signal_many([Placed(2), Cancelled(3)])
        audit.answer = None
    assert [each.queues for each in of(moments, SignalStarted)] == [
        ("default", "audit"),
        ("default", "audit"),
        ("default",),
    ]
    assert [(type(each), each.queue) for each in of(moments, Signaled, SignalFailed)] == [
        *((Signaled, "default"), (Signaled, "audit")),
        *((Signaled, "default"), (Signaled, "default"), (SignalFailed, "audit")),
    ]


async def test_a_direct_event_has_started_or_is_stored(running, registry, moments):
    @registry.on_event(Placed, name="mail")
    async def mail(event: Placed) -> None: ...

    async with running() as app:
        here = await app.signal(Placed(1), direct=True)
        stored = await app.signal(Cancelled(1), direct=True)
    assert [(type(each), each.event_id) for each in of(moments, *SIGNALING)] == [
        *((SignalStarted, here), (Encoded, here), (SignaledDirect, here)),
        *((SignalStarted, stored), (Encoded, stored), (Signaled, stored)),
    ]
    assert of(moments, HandlerStarted)[0].waited is None


async def test_a_hook_learns_of_a_signal_before_its_headers_are_made(registry, clock, queue):
    heard = []

    def headers():
        heard.append("headers")
        return {"trace": "t-1"}

    app = dawdle.Dawdle(
        queue,
        registry=registry,
        clock=clock,
        headers=headers,
        hooks=[lambda moment: heard.append(type(moment).__name__) if isinstance(moment, SIGNALING) else None],
    )
    async with app:
        await app.signal(Placed(1))
    assert heard == ["SignalStarted", "headers", "Encoded", "Signaled"]


async def test_how_long_an_event_waited_counts_from_when_it_was_due(registry, clock, queue, moments):
    app = dawdle.Dawdle(queue, registry=registry, clock=clock, hooks=[moments.append], start_listener=False)

    @registry.on_event(Placed, name="mail", retry=Retry(max_attempts=2, initial=10, jitter=0))
    async def mail(event: Placed) -> None:
        if event.number == 1:
            raise ConnectionError

    async with app:
        await app.signal_many([Placed(1)])
        await app.signal(Placed(2), delay=20)  # one hop
        await app.signal(Placed(3), delay=1000)  # two hops
        await clock.advance(50)
        await app.start_listener()
        await clock.advance(2000)
    assert [(each.attempt, each.waited) for each in of(moments, HandlerStarted)] == [
        (1, 50),
        (1, 30),
        (2, None),  # its message does not say how long its back-off was
        (1, pytest.approx(0)),
    ]


async def test_a_renewal_is_a_request_too(registry, clock, moments):
    @registry.on_event(Placed)
    async def slow(event: Placed) -> None:
        await clock.sleep_until(clock.monotonic() + 95)

    async with dawdle.Dawdle(
        Memory(lease=30, clock=clock), registry=registry, clock=clock, hooks=[moments.append]
    ) as app:
        await app.signal(Placed(1))
        await clock.advance(200)
    renewals = [each for each in of(moments, Requested) if each.call == "renew"]
    assert len(renewals) == 9
    assert {(each.queue, each.entries, each.refused, each.error) for each in renewals} == {("default", 1, 0, None)}


async def test_attached_queues_say_what_they_are_for(running, registry, moments, clock):
    @registry.on_event(Placed, retry=Retry(max_attempts=1))
    async def fails(event: Placed) -> None:
        raise ConnectionError

    async with running() as app:
        await app.signal(Placed(1))
        await clock.advance(1)
    assert [each.queue for each in of(moments, Requested)] == ["default", "default (dead letters)", "default"]


async def test_in_a_transaction_no_hook_gets_to_know(tmp_path, registry, moments):
    import sqlite3

    from dawdle.backends.sqlite import SQLite

    path = tmp_path / "app.db"
    async with dawdle.Dawdle(SQLite(path), registry=registry, hooks=[moments.append]) as app:
        connection = sqlite3.connect(path)
        connection.execute("begin")
        await app.signal(Placed(1), transaction=connection)
        connection.commit()
        connection.close()
    assert of(moments, *SIGNALING) == []


async def test_a_hook_that_fails_at_each_moment_changes_nothing(registry, queue, clock, caplog):
    done = []

    @registry.on_event(Placed)
    async def handle(event: Placed) -> None:
        done.append(event.number)

    def broken(moment):
        raise ValueError

    async with dawdle.Dawdle(queue, registry=registry, clock=clock, hooks=[broken]) as app:
        await app.signal_many([Placed(number) for number in range(3)])
        await clock.advance(1)
    assert sorted(done) == [0, 1, 2]
    assert len(caplog.records) >= 3 * 7
    assert {record.name for record in caplog.records} == {"dawdle._flow.hook_calls"}
