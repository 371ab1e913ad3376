"""What app.health() says while all is well, and while it is not."""

import asyncio

import msgspec
import pytest

from dawdle import Dawdle, Registry, Retry, SignalError
from dawdle.abc import Fault, Outgoing
from dawdle.backends.memory import Memory
from dawdle.errors import BackendError
from dawdle.hooks import ReceiveFailed

pytestmark = pytest.mark.anyio


class Placed(msgspec.Struct, frozen=True):
    number: int = 0


class Remote(Memory):
    """A queue of other processes too, that waits for 20 s at most, and says what the test says."""

    def __init__(self, **options):
        super().__init__(**options)
        self.limits = msgspec.structs.replace(
            self.limits, shared=True, durable=True, max_wait=20, max_batch=10, receive_cancellable=False
        )
        self.says = None
        self.asked = []

    async def receive(self, limit, wait):
        self.asked.append(self._clock.monotonic())
        if isinstance(self.says, Exception):
            raise self.says
        if self.says == "nothing":
            await asyncio.Event().wait()
        return await super().receive(limit, wait)


@pytest.fixture
def registry():
    registry = Registry()

    @registry.on_event(Placed, name="receipt")
    async def handler(event): ...

    return registry


@pytest.fixture
def queue(clock):
    return Remote(clock=clock)


@pytest.fixture
def moments():
    return []


@pytest.fixture
def app(queue, registry, clock, moments):
    return Dawdle(queue, registry=registry, clock=clock, grace=1, unclaimed=100, hooks=[moments.append])


async def leave(app, queue, clock):
    queue.says = None
    leaving = asyncio.create_task(app.__aexit__(None, None, None))
    await clock.advance(120)
    await leaving


async def test_an_app_that_is_not_entered_is_not_healthy_and_one_that_only_signals_is(queue, registry, clock):
    app = Dawdle(queue, registry=registry, clock=clock, start_listener=False)
    assert not app.health().healthy
    async with app:
        await clock.advance(3600)
        assert app.health().healthy
        assert not app.health().listening


async def test_an_idle_app_is_healthy_and_says_when_it_last_heard_from_its_queue(app, queue, clock):
    await app.__aenter__()
    await clock.advance(3605)
    health = app.health()
    assert health.healthy
    assert health.listening
    assert (health.in_hand, health.oldest, health.oldest_handlers) == (0, None, ())
    (told,) = health.queues
    assert told.queue == "default"
    assert 0 <= told.last_receive <= 20
    assert (told.backoff, told.failures, told.error) == (None, 0, None)
    await leave(app, queue, clock)


async def test_a_queue_in_memory_that_is_empty_for_a_day_is_healthy(registry, clock):
    async with Dawdle(Memory(clock=clock), registry=registry, clock=clock) as app:
        await clock.advance(86_400)
        assert app.health().healthy


async def test_a_queue_that_says_nothing_is_unhealthy_after_a_minute_and_recovers_alone(app, queue, clock):
    queue.says = "nothing"
    await app.__aenter__()
    await clock.advance(59)
    assert app.health().healthy
    await clock.advance(1)
    health = app.health()
    assert not health.healthy
    assert health.reasons[0].startswith("default: no receive has completed for 60 s")
    queue.says = None
    await clock.advance(80)
    assert app.health().healthy
    await leave(app, queue, clock)


@pytest.mark.parametrize("kind", ["denied", "missing"])
async def test_what_needs_somebody_is_unhealthy_at_once_and_asked_rarely(app, queue, clock, kind):
    queue.says = BackendError("AccessDenied: not yours", kind=kind)
    await app.__aenter__()
    await clock.advance(0)
    health = app.health()
    assert (health.healthy, health.reasons) == (False, ("default: AccessDenied: not yours",))
    assert health.queues[0].backoff == kind
    await clock.advance(300)
    for minute in range(5):
        assert len([at for at in queue.asked if 60 * minute <= at < 60 * minute + 60]) <= 6
    queue.says = None
    await clock.advance(81)  # the longest pause, and a receive that waits in vain
    assert app.health().healthy
    await leave(app, queue, clock)


async def test_throttling_is_told_as_such_and_only_one_receive_goes_on(app, queue, registry, clock, moments):
    await app.__aenter__()
    await app.signal_many([Placed(number) for number in range(1000)])
    await clock.advance(1)
    queue.says = BackendError("RequestThrottled", kind="throttled")
    await clock.advance(60)
    failed = [moment for moment in moments if isinstance(moment, ReceiveFailed)]
    assert {moment.kind for moment in failed} == {"throttled"}
    queue.asked.clear()
    await clock.advance(120)
    assert 6 <= len(queue.asked) <= 13
    assert app.health().healthy is False  # none has completed for a minute
    await leave(app, queue, clock)


async def test_work_without_room_for_more_is_no_reason_to_be_unhealthy(app, queue, registry, clock):
    @registry.on_event(Placed, name="slow")
    async def slow(event):
        await clock.sleep_until(500)

    await app.__aenter__()
    await app.signal_many([Placed(number) for number in range(150)])
    await clock.advance(400)
    health = app.health()
    assert health.healthy
    assert health.in_hand == 100
    assert 399 <= health.oldest <= 400
    assert health.oldest_handlers == ("slow",)
    await clock.advance(120)
    await leave(app, queue, clock)


async def test_letters_and_unclaimed_events_are_counted(app, queue, registry, clock):
    Unheard = msgspec.defstruct("Unheard", [])

    @registry.on_event(Placed, retry=Retry(max_attempts=1))
    async def bad(event):
        raise ValueError

    await app.__aenter__()
    await app.signal_many([Placed(), Placed(), Unheard()])
    await clock.advance(10)
    assert app.health().dead_letters == 2
    assert app.health().unclaimed >= 2
    await clock.advance(200)
    assert app.health().dead_letters == 3
    await leave(app, queue, clock)


async def test_an_open_receive_that_is_abandoned_is_told_and_one_that_came_back_is_not(queue, registry, clock, caplog):
    """What it brings is hidden for a lease: a minute's silence after a deploy, and nothing else says why."""
    for grace, told in ((25, 0), (5, 1)):
        caplog.clear()
        app = Dawdle(queue, registry=registry, clock=clock, grace=grace)
        await app.__aenter__()
        await clock.advance(1)
        await leave(app, queue, clock)
        assert caplog.text.count("abandoned an open receive from default") == told


async def test_where_an_open_receive_loses_nothing_by_it_its_end_is_not_told(registry, clock, caplog):
    class Slow(Memory):
        async def receive(self, limit, wait):
            try:
                return await super().receive(limit, wait)
            finally:
                await clock.sleep_until(clock.monotonic() + 2)

    queue = Slow(clock=clock)
    app = Dawdle(queue, registry=registry, clock=clock, grace=1)
    await app.__aenter__()
    await clock.advance(1)
    await leave(app, queue, clock)
    assert "abandoned" not in caplog.text


DENIED = BackendError("AccessDenied: not yours", kind="denied")


class Failing(Memory):
    """Says what the test says to each kind of call; None carries it out."""

    def __init__(self, **options):
        super().__init__(**options)
        self.limits = msgspec.structs.replace(self.limits, durable=True, receive_cancellable=True)
        self.says = {}

    def _raise(self, call):
        if self.says.get(call) is not None:
            raise self.says[call]

    async def wake(self):
        """Let a receive come back: a message is stored past the app."""
        await super().send([Outgoing(b"{}")])

    async def receive(self, limit, wait):
        self._raise("receive")
        return await super().receive(limit, wait)

    async def send(self, batch):
        self._raise("send")
        return await super().send(batch)

    async def ack(self, receipts):
        self._raise("delete")
        return await super().ack(receipts)

    async def release(self, batch):
        self._raise("release")
        return await super().release(batch)

    async def renew(self, receipts):
        self._raise("renew")
        return await super().renew(receipts)


class Letters(Failing):
    """With a dead-letter queue that says what the test says."""

    def __init__(self, **options):
        super().__init__(**options)
        self._dead = Failing(dead_letters=False, **options)


@pytest.fixture
def failing(clock):
    return Letters(clock=clock, lease=30)


async def signal_in_vain(app):
    with pytest.raises(SignalError):
        await app.signal(Placed())


async def test_a_send_that_is_denied_is_unhealthy_at_once_where_nothing_is_received_too(failing, registry, clock):
    async with Dawdle(failing, registry=registry, clock=clock, start_listener=False) as app:
        failing.says["send"] = DENIED
        await signal_in_vain(app)
        assert app.health().reasons == ("default: a send failed 0 s ago: AccessDenied: not yours",)
        await clock.advance(12)
        await signal_in_vain(app)
        (calls,) = app.health().failing
        assert (calls.queue, calls.call, calls.kind, calls.failures) == ("default", "send", "denied", 2)
        assert (calls.first, calls.latest) == (12, 0)
        failing.says.clear()
        await app.signal(Placed())
        assert (app.health().healthy, app.health().failing) == (True, ())


async def test_a_send_that_is_unavailable_is_unhealthy_when_it_lasts_and_until_nobody_has_asked_for_long(
    failing, registry, clock
):
    async with Dawdle(failing, registry=registry, clock=clock, start_listener=False) as app:
        failing.says["send"] = BackendError("no route to host")
        await signal_in_vain(app)
        await clock.advance(59)
        await signal_in_vain(app)
        assert app.health().healthy
        await clock.advance(1)
        await signal_in_vain(app)
        assert app.health().reasons == ("default: 3 sends in a row failed, the first 60 s ago: no route to host",)
        await clock.advance(299)
        assert not app.health().healthy
        await clock.advance(1)
        assert app.health().healthy


async def test_a_wrong_event_says_nothing_of_the_queue(failing, registry, clock):
    class Picky(Failing):
        async def send(self, batch):
            return [Fault("refused", "too large")] * len(batch)

    async with Dawdle(Picky(clock=clock), registry=registry, clock=clock, start_listener=False) as app:
        for _ in range(3):
            await signal_in_vain(app)
            await clock.advance(60)
        assert (app.health().healthy, app.health().failing) == (True, ())


async def test_a_batch_of_which_one_entry_is_stored_shows_that_the_queue_works(registry, clock):
    class Partly(Failing):
        async def send(self, batch):
            return [None, *[Fault("denied", "KmsAccessDenied")] * (len(batch) - 1)]

    async with Dawdle(Partly(clock=clock), registry=registry, clock=clock, start_listener=False) as app:
        with pytest.raises(SignalError):
            await app.signal_many([Placed(), Placed()])
        assert app.health().healthy


async def test_deletes_that_are_denied_are_unhealthy_although_everything_is_handled(failing, registry, clock):
    async with Dawdle(failing, registry=registry, clock=clock, grace=1) as app:
        failing.says["delete"] = DENIED
        await app.signal(Placed())
        await clock.advance(10)
        (reason,) = app.health().reasons
        assert reason.startswith("default: ")
        assert " deletes in a row failed, the first 1" in reason
        failing.says.clear()
        await clock.advance(60)
        assert app.health().healthy


async def test_letters_that_cannot_be_stored_name_the_dead_letter_queue(failing, registry, clock):
    @registry.on_event(Placed, retry=Retry(max_attempts=1))
    async def bad(event):
        raise ValueError

    async with Dawdle(failing, registry=registry, clock=clock, grace=1) as app:
        failing.dead_letters.says["send"] = DENIED
        await app.signal(Placed())
        await clock.advance(1)
        assert app.health().reasons == ("default (dead letters): a send failed 1 s ago: AccessDenied: not yours",)
        failing.dead_letters.says.clear()
        await clock.advance(3600)
        assert app.health().healthy
        assert app.health().dead_letters == 1


@pytest.mark.parametrize(("call", "word"), [("release", "release"), ("renew", "lease renewal")])
async def test_releases_and_renewals_that_are_denied_are_unhealthy(failing, clock, call, word):
    registry = Registry()

    @registry.on_event(Placed, name="slow")
    async def slow(event):
        await clock.sleep_until(clock.monotonic() + 25)

    async with Dawdle(failing, registry=registry, clock=clock, grace=0) as app:
        failing.says[call] = DENIED
        await app.signal(Placed())
        await clock.advance(12)
        if call == "release":
            stopping = asyncio.create_task(app.stop_listener())
            await clock.advance(5)
            await stopping
        (reason,) = app.health().reasons
        assert f" {word}" in reason
        assert reason.endswith(": AccessDenied: not yours")
        failing.says.clear()


async def test_a_receive_that_recovers_speaks_for_other_calls_that_failed_by_the_same(failing, registry, clock):
    """Credentials that were expired fail a signal, and the next signal may be days away."""
    async with Dawdle(failing, registry=registry, clock=clock, grace=1) as app:
        await clock.advance(1)
        failing.says.update(send=DENIED, receive=DENIED)
        await failing.wake()
        await clock.advance(1)
        await signal_in_vain(app)
        assert len(app.health().reasons) == 2
        failing.says.clear()
        await clock.advance(60)
        await failing.wake()
        await clock.advance(0)
        assert app.health().healthy
        assert app.health().failing == ()
