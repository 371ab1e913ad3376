"""A queue that fails, answers late or forgets: nothing is lost, nothing stops."""

import asyncio
import logging
from contextlib import asynccontextmanager, suppress

import msgspec
import pytest

from dawdle import Context, Dawdle, Registry, Retry
from dawdle._flow.in_flight import InFlight
from dawdle.abc import Delivery, Fault, Outgoing
from dawdle.backends.memory import Memory
from dawdle.errors import BackendError, SignalError
from dawdle.hooks import LeaseLost, ReceiveFailed, Settled
from dawdle.testing import Probe

pytestmark = pytest.mark.anyio


class Placed(msgspec.Struct, frozen=True):
    number: int = 0


class Flawed(Memory):
    """Raises or answers what the test says, per operation: `flaws["ack"] = [BackendError("x"), None, Fault(…)]`.

    Or does what the test says: `instead["ack"] = a coroutine function of the batch`.
    """

    def __init__(self, **options):
        super().__init__(**options)
        self.flaws = {}
        self.instead = {}
        self.calls = []

    async def _flawed(self, name, batch):
        self.calls.append(name)
        if name in self.instead:
            return await self.instead[name](batch)
        flaw = self.flaws[name].pop(0) if self.flaws.get(name) else None
        if isinstance(flaw, Exception):
            raise flaw
        if isinstance(flaw, Fault):
            return [flaw] * len(batch)
        return await getattr(super(), name)(batch)

    async def send(self, batch):
        return await self._flawed("send", batch)

    async def ack(self, batch):
        return await self._flawed("ack", batch)

    async def renew(self, batch):
        return await self._flawed("renew", batch)

    async def release(self, batch):
        return await self._flawed("release", batch)

    async def receive(self, limit, wait):
        self.calls.append("receive")
        if self.flaws.get("receive"):
            raise self.flaws["receive"].pop(0)
        return await super().receive(limit, wait)


@pytest.fixture
def registry():
    return Registry()


@pytest.fixture
def moments():
    return []


@pytest.fixture
def queue(clock):
    return Flawed(clock=clock, lease=30)


@pytest.fixture
def app(queue, registry, clock, moments):
    return Dawdle(queue, registry=registry, clock=clock, hooks=[moments.append], grace=1)


async def test_a_receive_that_fails_is_tried_again_ever_more_rarely_and_never_gives_up(
    app, queue, registry, clock, moments
):
    seen = []

    @registry.on_event(Placed)
    async def handler(event):
        seen.append(event)

    queue.flaws["receive"] = [BackendError("down")] * 12 + [ValueError("a bug"), OSError("network")]
    async with app:
        await app.signal(Placed())
        await clock.advance(0)
        assert seen == []
        await clock.advance(400)
        assert seen == [Placed()]
    pauses = [moment.pause for moment in moments if isinstance(moment, ReceiveFailed)]
    assert len(pauses) == 14
    for number, pause in enumerate(pauses):
        longest = min(30, 0.1 * 2**number)
        assert 0 <= pause <= longest


async def test_that_receiving_works_again_is_logged_once(app, queue, registry, clock, caplog):
    registry.on_event(Placed)(lambda event: None)
    queue.flaws["receive"] = [BackendError("down")] * 3
    async with app:
        await clock.advance(100)
        await app.signal(Placed())
        await clock.advance(100)
        await app.signal(Placed())
        await clock.advance(100)
    told = [record.getMessage() for record in caplog.records if "works again" in record.getMessage()]
    assert told == ["receiving from default works again (failures in a row: 3)"]


async def test_copies_that_are_not_stored_leave_the_original_released_for_the_backoff(app, queue, registry, clock):
    runs = []

    @registry.on_event(Placed, retry=Retry(initial=10, jitter=0))
    async def bad(event):
        runs.append(clock.monotonic())
        if len(runs) == 1:
            raise ValueError

    async with app:
        await app.signal(Placed())
        queue.flaws["send"] = [BackendError("down")]
        await clock.advance(9)
        assert len(runs) == 1
        assert len(queue.messages()) == 1
        await clock.advance(2)
    assert runs == [0.0, 10.0]
    assert queue.messages() == []


async def test_an_ack_comes_only_after_every_copy_is_stored(app, queue, registry, clock):
    @registry.on_event(Placed)
    async def bad(event):
        raise ValueError

    async with app:
        await app.signal(Placed())
        await app.idle()
    assert [call for call in queue.calls if call != "receive"] == ["send", "send", "ack"]


async def test_an_ack_that_fails_is_tried_again_until_the_queue_has_it(app, queue, registry, clock, moments):
    runs = []

    @registry.on_event(Placed)
    async def handler(event):
        runs.append(clock.monotonic())

    queue.flaws["ack"] = [
        BackendError("down"),
        Fault("unavailable", "busy"),
        BackendError("throttled", kind="throttled"),
    ]
    async with app:
        await app.signal(Placed())
        await clock.advance(3)
        assert queue.messages() == []
        await clock.advance(60)
    assert runs == [0.0]
    assert [moment.verdict for moment in moments if isinstance(moment, Settled)] == ["acked"]


async def test_a_done_message_that_comes_back_before_it_is_acked_is_acked_and_not_run(app, queue, registry, clock):
    runs = []

    @registry.on_event(Placed)
    async def handler(event):
        runs.append(clock.monotonic())
        message = next(iter(queue._in_flight.values()))
        message.visible_at = clock.monotonic() + 5  # its lease ends while the queue is down

    queue.flaws["ack"] = [BackendError("down")] * 7
    async with app:
        await app.signal(Placed())
        await clock.advance(30)
        assert queue.messages() == []
    assert runs == [0.0]
    assert queue.calls.count("ack") == 8


async def test_a_message_that_cannot_be_acked_for_a_lease_comes_back_and_is_acked_without_being_run_again(
    app, queue, registry, clock, moments
):
    runs = []

    @registry.on_event(Placed)
    async def handler(event):
        runs.append(clock.monotonic())

    queue.flaws["ack"] = [BackendError("down")] * 500
    async with app:
        await app.signal(Placed())
        await clock.advance(100)
        queue.flaws["ack"] = []
        await clock.advance(100)
    assert runs == [0.0]
    assert queue.messages() == []
    verdicts = [moment.verdict for moment in moments if isinstance(moment, Settled)]
    assert verdicts[0] == "kept"
    assert verdicts[-1] == "acked"


async def test_a_message_that_was_deleted_and_comes_again_is_deleted_without_being_run(app, queue, registry, clock):
    runs = []

    @registry.on_event(Placed)
    async def handler(event):
        runs.append(clock.monotonic())

    async def forgets(receipts):  # it says yes, and the message is there again
        return [None] * len(receipts)

    async with app:
        queue.instead["ack"] = forgets
        await app.signal(Placed())
        await clock.advance(40)
        del queue.instead["ack"]
        await clock.advance(40)
        assert queue.messages() == []
    assert runs == [0.0]


async def test_a_message_is_kept_while_its_deletion_waits_for_an_answer(app, queue, registry, clock):
    received = []

    @registry.on_event(Placed)
    async def handler(event): ...

    async def slow(receipts):
        await clock.sleep_until(clock.monotonic() + 100)
        received.extend(message.receive_count for message in queue._in_flight.values())
        return await Memory.ack(queue, receipts)

    async with app:
        await clock.advance(0)
        queue.instead["ack"] = slow
        await app.signal(Placed())
        await clock.advance(110)
        assert queue.messages() == []
    assert received == [1]


async def test_a_hop_whose_original_comes_back_is_not_stored_twice(app, queue, registry, clock):
    runs = []

    @registry.on_event(Placed)
    async def handler(event):
        runs.append(clock.monotonic())

    queue.limits = msgspec.structs.replace(queue.limits, max_delay=900)
    queue.flaws["ack"] = [BackendError("down")] * 12
    async with app:
        await app.signal(Placed(), delay=1000)
        await clock.advance(990)
        assert len(queue.messages()) == 1
        await clock.advance(20)
    assert len(runs) == 1
    assert queue.calls.count("send") == 2


async def test_a_copy_that_is_stored_is_not_stored_again_for_its_sibling_that_is_not(app, queue, registry, clock):
    runs = []

    def bad(name, initial):
        @registry.on_event(Placed, name=name, retry=Retry(initial=initial, jitter=0))
        async def handler(event, ctx: Context):
            runs.append((name, ctx.attempt, clock.monotonic()))
            if ctx.attempt == 1:
                raise ValueError

    @registry.on_event(Placed, name="good")
    async def good(event):
        runs.append(("good", 1, clock.monotonic()))

    bad("one", 10)
    bad("two", 20)

    async def store_the_first(batch):
        queue.send_calls = getattr(queue, "send_calls", 0) + 1
        if queue.send_calls != 1:
            return await Memory.send(queue, batch)
        return [*await Memory.send(queue, batch[:1]), *[Fault("unavailable", "busy")] * (len(batch) - 1)]

    async with app:
        await app.signal(Placed())
        queue.instead["send"] = store_the_first
        await clock.advance(100)
        assert queue.messages() == []
    assert sorted(runs) == [("good", 1, 0.0), ("one", 1, 0.0), ("one", 2, 10.0), ("two", 1, 0.0), ("two", 2, 20.0)]


class Nonsense(Flawed):
    """Answers a call with what the test says, which may be anything."""

    async def _flawed(self, name, batch):
        if self.flaws.get(name) and not isinstance(self.flaws[name][0], Exception):
            self.calls.append(name)
            return self.flaws[name].pop(0)
        return await super()._flawed(name, batch)

    async def receive(self, limit, wait):
        if self.flaws.get("receive"):
            return self.flaws["receive"].pop(0)
        return await super().receive(limit, wait)


NONSENSE = {
    "an error of its own": OSError("network"),
    "nothing": None,
    "no slots": [],
    "no fault": ["yes"],
}


@pytest.mark.parametrize("call", ["send", "ack", "release", "renew"])
@pytest.mark.parametrize("answer", NONSENSE.values(), ids=NONSENSE)
async def test_a_backend_that_answers_nonsense_ends_nothing_and_loses_nothing(registry, clock, call, answer):
    runs = []

    @registry.on_event(Placed)
    async def handler(event, ctx: Context):
        runs.append(ctx.attempt)
        queue.flaws[call] = [answer] if len(runs) == 1 else []
        if call == "release" and len(runs) == 1:
            queue.flaws["send"] = [BackendError("down")]
        await clock.sleep_until(clock.monotonic() + 40)
        if call != "ack" and len(runs) == 1:
            raise ValueError

    queue = Nonsense(clock=clock, lease=30)
    async with Dawdle(queue, registry=registry, clock=clock, grace=1) as app:
        await app.signal(Placed())
        await clock.advance(400)
        assert app.health().healthy
        assert queue.messages() == []
    assert runs == ([1] if call == "ack" else [1, 2])


@pytest.mark.parametrize("answer", [None, [None], "no"], ids=repr)
async def test_a_receive_that_answers_nonsense_is_tried_again(registry, clock, answer):
    seen = []

    @registry.on_event(Placed)
    async def handler(event):
        seen.append(event)

    queue = Nonsense(clock=clock)
    queue.flaws["receive"] = [answer] * 3
    async with Dawdle(queue, registry=registry, clock=clock, hooks=[seen.append], grace=1) as app:
        await app.signal(Placed())
        await clock.advance(5)
        assert app.health().healthy
    assert Placed() in seen
    assert len([moment for moment in seen if isinstance(moment, ReceiveFailed)]) == 3


async def test_an_error_that_is_not_the_contracts_is_a_signal_error_all_the_same(app, queue):
    async with app:
        queue.flaws["send"] = [OSError("network")]
        with pytest.raises(SignalError, match="OSError: network"):
            await app.signal(Placed())


async def test_what_a_queue_refuses_for_good_ends_the_app_at_once(app, queue, registry, clock):
    @registry.on_event(Placed)
    async def handler(event): ...

    queue.flaws["receive"] = [BackendError("no such region", kind="refused")]
    await app.__aenter__()
    await clock.advance(1)
    assert queue.calls.count("receive") == 1
    assert not app.health().healthy
    assert app.health().reasons == ("the app has died: BackendError: no such region",)
    with pytest.raises(BackendError, match="no such region"):
        await app.signal(Placed())
    with pytest.raises(BackendError, match="no such region"):
        await app.__aexit__(None, None, None)


async def test_a_slow_handler_keeps_its_lease_for_as_long_as_it_runs(app, queue, registry, clock):
    runs = []

    @registry.on_event(Placed)
    async def slow(event):
        runs.append(clock.monotonic())
        await clock.sleep_until(clock.monotonic() + 300)

    async with app:
        await app.signal(Placed())
        await clock.advance(310)
        await app.idle()
    assert runs == [0.0]
    assert 29 <= queue.calls.count("renew") <= 30  # one is due just when it ends


async def test_no_renewal_is_made_for_what_is_settled(app, queue, registry, clock):
    @registry.on_event(Placed)
    async def quick(event): ...

    async with app:
        await app.signal_many([Placed(number) for number in range(100)])
        await clock.advance(1000)
    assert "renew" not in queue.calls


async def test_renewals_that_fail_are_tried_again_before_the_lease_ends(app, queue, registry, clock):
    runs = []

    @registry.on_event(Placed)
    async def slow(event):
        runs.append(clock.monotonic())
        await clock.sleep_until(clock.monotonic() + 100)

    queue.flaws["renew"] = [
        BackendError("down"),
        OSError("network"),
        None,
        BackendError("down"),
        Fault("throttled", "slow"),
    ]
    async with app:
        await app.signal(Placed())
        await clock.advance(120)
    assert runs == [0.0]
    assert queue.messages() == []


class Stubborn(Flawed):
    """What renews its leases raises when it is closed."""

    @asynccontextmanager
    async def renewer(self):
        try:
            yield self.renew
        finally:
            raise OSError("it was closed already")


async def test_a_renewer_that_cannot_be_closed_does_not_hold_a_stop(registry, clock):
    @registry.on_event(Placed)
    async def handler(event): ...

    app = Dawdle(Stubborn(clock=clock), registry=registry, clock=clock, grace=1)
    await app.__aenter__()
    await clock.advance(1)
    leaving = asyncio.create_task(app.__aexit__(None, None, None))
    await clock.advance(30)
    assert leaving.done()
    await leaving


async def test_a_lease_that_was_lost_and_is_ours_again_is_not_lost(app, queue, registry, clock, moments):
    runs = []

    @registry.on_event(Placed)
    async def slow(event):
        runs.append(clock.monotonic())
        await clock.sleep_until(clock.monotonic() + 50)

    async def late(receipts, renew=queue.renew):
        if 27 < clock.monotonic() < 30:
            await clock.sleep_until(31)  # the lease is over, and the message has come again to us
        return await renew(receipts)

    queue.flaws["renew"] = [BackendError("down")] * 7
    queue.renew = late
    async with app:
        await app.signal(Placed())
        await clock.advance(60)
        assert queue.messages() == []
    assert runs == [0.0]
    assert not [moment for moment in moments if isinstance(moment, LeaseLost)]


async def test_renewals_of_a_queue_that_answers_slowly_are_made_side_by_side(registry, clock):
    runs = []

    @registry.on_event(Placed)
    async def slow(event):
        runs.append(event.number)
        await clock.sleep_until(clock.monotonic() + 100)

    queue = Flawed(clock=clock, lease=30, max_batch=10)

    async def late(receipts, renew=queue.renew):
        await clock.sleep_until(clock.monotonic() + 4)
        return await renew(receipts)

    queue.renew = late
    async with Dawdle(queue, registry=registry, clock=clock, grace=1) as app:
        await app.signal_many([Placed(number) for number in range(100)])
        await clock.advance(110)
        assert queue.messages() == []
    assert sorted(runs) == list(range(100))


async def test_a_lost_lease_cancels_the_handlers_and_neither_sends_nor_acks(
    app, queue, registry, clock, moments, caplog
):
    story = []

    @registry.on_event(Placed)
    async def slow(event):
        story.append("started")
        if len(story) > 1:
            return
        try:
            await clock.sleep_until(clock.monotonic() + 1000)
        except asyncio.CancelledError:
            story.append(("cancelled", clock.monotonic()))
            raise

    queue.flaws["renew"] = [Fault("lost", "gone")]
    async with app:
        await app.signal(Placed())
        await clock.advance(11)
        assert story == ["started", ("cancelled", 10.0)]
        assert [call for call in queue.calls if call in {"send", "ack", "release"}] == ["send"]
        await clock.advance(30)
        assert story[2:] == ["started"]
    assert len([moment for moment in moments if isinstance(moment, LeaseLost)]) == 1
    assert "lost the lease of a message of" in caplog.text


async def test_a_message_that_comes_again_while_in_hand_starts_nothing_and_its_newer_receipt_is_acked(
    app, queue, registry, clock
):
    runs = []

    @registry.on_event(Placed)
    async def slow(event):
        runs.append(clock.monotonic())
        await clock.sleep_until(clock.monotonic() + 50)

    queue.flaws["renew"] = [BackendError("down")] * 4
    async with app:
        await app.signal(Placed())
        await clock.advance(60)
        await app.idle()
    assert runs == [0.0]
    assert queue.messages() == []


async def test_a_handler_that_outlives_what_a_queue_can_hold_has_failed_and_is_tried_again(app, queue, registry, clock):
    runs = []

    @registry.on_event(Placed, name="endless", retry=Retry(max_attempts=2, initial=10, jitter=0))
    async def endless(event, ctx: Context):
        runs.append((ctx.attempt, clock.monotonic()))
        await asyncio.Event().wait()

    @registry.on_event(Placed, name="quick")
    async def quick(event):
        runs.append("quick")

    queue.limits = msgspec.structs.replace(queue.limits, max_hold=300)
    async with app:
        await app.signal(Placed())
        await clock.advance(1000)
    assert runs == [(1, 0.0), "quick", (2, 310.0)]
    (letter,) = [msgspec.json.decode(body) for body in queue.dead_letters.messages()]
    assert letter["dawdleowed"] == "endless"
    assert letter["dawdleerror"] == (
        "TimeoutError: it ran for 300 s, the longest that its queue keeps a message in flight"
    )
    assert queue.messages() == []


async def test_a_release_that_fails_at_a_stop_is_said_and_the_app_is_left(app, queue, registry, clock, caplog):
    @registry.on_event(Placed)
    async def slow(event):
        await clock.sleep_until(10**9)

    await app.__aenter__()
    await app.signal(Placed())
    await clock.advance(0)
    queue.flaws["release"] = [BackendError("down")]
    leaving = asyncio.create_task(app.__aexit__(None, None, None))
    await clock.advance(20)
    await leaving
    assert "is received again when its lease ends" in caplog.text
    assert len(queue.messages()) == 1


async def test_a_queue_that_never_answers_does_not_hold_a_stop(app, queue, registry, clock, caplog):
    async def never(batch):
        await asyncio.Event().wait()

    @registry.on_event(Placed)
    async def handler(event): ...

    await app.__aenter__()
    await app.signal(Placed())
    queue.instead["ack"] = never
    await clock.advance(1)
    leaving = asyncio.create_task(app.__aexit__(None, None, None))
    await clock.advance(30)
    assert leaving.done()
    await leaving


async def test_idle_never_raises_and_waits_until_the_queue_can_be_asked(app, queue, registry, clock):
    seen = []

    @registry.on_event(Placed)
    async def handler(event):
        seen.append(event)

    async with app:
        await clock.advance(0)
        await app.signal(Placed())
        await clock.advance(0)
        queue.flaws["receive"] = [BackendError("down"), OSError("network")]
        idle = asyncio.create_task(app.idle())
        await clock.advance(1)
        assert idle.done()
        await idle
    assert seen == [Placed()]


class Late(Flawed):
    """Answers a release, and carries out an ack, only when the test lets it."""

    def __init__(self, **options):
        super().__init__(**options)
        self.gate = asyncio.Event()

    async def release(self, batch):
        answer = await super().release(batch)
        await self.gate.wait()
        return answer

    async def ack(self, batch):
        await self.gate.wait()
        return await super().ack(batch)


@pytest.fixture
def late(clock):
    return Late(clock=clock, lease=30)


async def test_what_comes_again_while_it_is_released_is_released_again_and_not_hidden_for_a_lease(
    late, registry, clock
):
    runs = []

    @registry.on_event(Placed)
    async def handler(event):
        runs.append(clock.monotonic())
        if len(runs) == 1:
            await asyncio.Event().wait()

    async with Dawdle(late, registry=registry, clock=clock, grace=1) as app:
        await app.signal(Placed())
        await clock.advance(0)
        stopping = asyncio.create_task(app.stop_listener())
        await clock.advance(1.5)
        await app.start_listener()
        await clock.advance(0.1)
        late.gate.set()
        await clock.advance(1.5)
        await stopping
        assert len(runs) == 2
    assert late.messages() == []


async def test_what_comes_again_while_it_is_deleted_is_deleted_by_its_newer_receipt(late, registry, clock):
    runs = []

    @registry.on_event(Placed)
    async def handler(event):
        runs.append(clock.monotonic())

    async with Dawdle(late, registry=registry, clock=clock) as app:
        await app.signal(Placed())
        await clock.advance(31)
        late.gate.set()
        await clock.advance(0.1)
        assert late.messages() == []
    assert runs == [0.0]


async def test_of_two_receives_that_come_back_in_the_wrong_order_the_newer_receipt_counts(clock):
    in_flight, queue = InFlight(clock), object()

    def received(receipt, receive_count):
        return in_flight.add(queue, Delivery(receipt, "key", b"{}", receive_count))

    message = received("first", 1)
    assert received("newer", 3) is None
    assert received("older", 2) is None
    assert (message.receipt, message.receive_count, len(in_flight)) == ("newer", 3, 1)


@pytest.mark.parametrize("error", [OSError("the disk is full"), SystemExit(3), asyncio.CancelledError()], ids=repr)
async def test_a_log_handler_that_raises_changes_nothing(app, queue, registry, clock, error):
    runs = []

    class Broken(logging.Handler):
        def emit(self, record):
            raise error

    @registry.on_event(Placed, retry=Retry(max_attempts=2, initial=1))
    async def bad(event):
        runs.append(event.number)
        raise ValueError

    broken = Broken()
    logging.getLogger("dawdle").addHandler(broken)
    try:
        queue.flaws["receive"] = [BackendError("down")] * 3
        queue.flaws["ack"] = [BackendError("down")] * 3
        async with app:
            await app.signal_many([Placed(1), Placed(2)])
            await queue.send([Outgoing(b"garbage")])
            await clock.advance(60)
            assert queue.messages() == []
    finally:
        logging.getLogger("dawdle").removeHandler(broken)
    assert sorted(runs) == [1, 1, 2, 2]
    assert len(queue.dead_letters.messages()) == 3


class Deaf(Memory):
    """Ignores every cancellation of one operation, until it is told that it was enough."""

    def __init__(self, operation, **options):
        super().__init__(**options)
        self.deaf = operation
        self.enough = False

    async def _hear(self, operation):
        while operation == self.deaf and not self.enough:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.05)

    async def send(self, batch):
        await self._hear("send")
        return await super().send(batch)

    async def ack(self, batch):
        await self._hear("ack")
        return await super().ack(batch)

    async def receive(self, limit, wait):
        await self._hear("receive")
        return await super().receive(limit, wait)


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["send", "ack", "receive"])
async def test_a_backend_that_ignores_every_cancellation_does_not_hold_the_app(registry, clock, caplog, operation):
    @registry.on_event(Placed)
    async def handler(event): ...

    queue = Deaf(operation, clock=clock, lease=30)
    app = Dawdle(queue, registry=registry, clock=clock, grace=1)
    await app.__aenter__()
    signaling = asyncio.create_task(app.signal(Placed()))
    await clock.advance(0.1)
    leaving = asyncio.create_task(app.__aexit__(None, None, None))
    await clock.advance(1 + 3 + 3)
    async with asyncio.timeout(60):
        await leaving
    assert "it ignores cancellation" in caplog.text
    if operation == "send":
        with pytest.raises(SignalError):
            await signaling
    queue.enough = True
    await asyncio.gather(Probe(app).over(), signaling, return_exceptions=True)
