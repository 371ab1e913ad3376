"""Handlers of dead letters: called once, after the letter is stored, beside everything else."""

import asyncio
import logging
import sys
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar

import msgspec
import pytest

import dawdle
from dawdle import Dawdle, DeadLetter, Registry, Reject, Retry
from dawdle.abc import Outgoing
from dawdle.backends.memory import Memory
from dawdle.hooks import DeadLettered
from dawdle.logs import event_fields
from tests.app.events import Cancelled, Placed

pytestmark = pytest.mark.anyio


@pytest.fixture
def told():
    return []


@pytest.fixture
def failing(registry):
    """A handler that gives up each `Placed` at once, and each `Cancelled`."""

    @registry.on_event(Placed, Cancelled, name="mail")
    async def mail(event: Placed | Cancelled) -> None:
        raise Reject("no address")

    return mail


async def test_a_letter_is_told_as_it_is_in_the_dead_letter_queue(running, registry, clock, told, failing):
    @registry.on_dead_letter
    async def page(letter: DeadLetter) -> None:
        told.append(letter)

    async with running() as app:
        event_id = await app.signal(Placed(1), headers={"tenant": "t-1"})
        await app.idle()
        (letter,) = told
        assert (letter.event_id, letter.event_type, letter.handler) == (event_id, "Placed", "mail")
        assert (letter.error, letter.attempts, letter.event) == ("Reject: no address", 1, Placed(1))
        assert letter.headers == {"tenant": "t-1"}
        assert (letter.queue, letter.dead_at.timestamp()) == ("default", pytest.approx(clock.now(), abs=0.002))
        assert [each async for each in app.dead_letters()] == [letter]


async def test_it_is_told_after_the_letter_is_stored_and_the_event_is_gone(running, registry, queue, told, failing):
    @registry.on_dead_letter
    async def page(letter: DeadLetter) -> None:
        told.append(len(queue.dead_letters.messages()))

    async with running() as app:
        await app.signal(Placed(1))
        await app.idle()
    assert told == [1]


async def test_a_type_or_an_annotation_chooses_letters_by_their_event(running, registry, told, failing):
    class Base(msgspec.Struct, frozen=True):
        number: int

    class Derived(Base, frozen=True):
        pass

    @registry.on_event(Base, name="base")
    async def base(event: Base) -> None:
        raise Reject("no")

    @registry.on_dead_letter(Placed)
    async def of_placed(letter: DeadLetter[Placed]) -> None:
        told.append(("placed", letter.event.number))

    @registry.on_dead_letter
    async def of_cancelled(letter: DeadLetter[Cancelled]) -> None:
        told.append(("cancelled", letter.event.number))

    @registry.on_dead_letter(Base, Placed)
    async def of_two(letter: DeadLetter[Base | Placed]) -> None:
        told.append(("two", letter.event.number))

    async with running() as app:
        await app.signal_many([Placed(1), Cancelled(2), Derived(3)])
        await app.idle()
    assert sorted(told) == [("cancelled", 2), ("placed", 1), ("two", 1), ("two", 3)]


async def test_what_cannot_be_decoded_goes_to_those_who_take_every_letter(running, registry, queue, told, failing):
    @registry.on_dead_letter
    async def page(letter: DeadLetter) -> None:
        told.append((letter.event_type, letter.event, letter.handler, b"no event" in letter.error.encode()))

    @registry.on_dead_letter(Placed)
    async def of_placed(letter: DeadLetter[Placed]) -> None:
        told.append("never")

    @registry.on_dead_letter(object)
    async def of_any_event(letter: DeadLetter[object]) -> None:
        told.append("never")

    async with running() as app:
        wrong = {"specversion": "1.0", "id": "1", "source": "/s", "type": "Placed", "data": {"number": "x"}}
        await queue.send([Outgoing(b"no event"), Outgoing(msgspec.json.encode(wrong))])
        await app.idle()
    assert sorted(told) == [("Placed", None, None, False), ("dawdle.undecodable", None, None, False)]


async def test_what_it_raises_is_logged_and_changes_nothing(running, registry, clock, caplog, told, failing):
    @registry.on_dead_letter(name="shop.page")
    async def page(letter: DeadLetter) -> None:
        raise ConnectionError("no pager")

    @registry.on_dead_letter
    async def note(letter: DeadLetter) -> None:
        told.append(letter.event.number)

    @registry.on_dead_letter
    async def leaves(letter: DeadLetter) -> None:
        raise SystemExit(1)

    @registry.on_dead_letter
    async def closes(letter: DeadLetter) -> None:
        raise GeneratorExit

    @registry.on_dead_letter
    async def cancels(letter: DeadLetter) -> None:
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    async with running() as app:
        ids = await app.signal_many([Placed(1), Placed(2)])
        await app.idle()
        assert len([each async for each in app.dead_letters()]) == 2
        assert sorted(told) == [1, 2]
        assert app.health().dead_letters == 2
    first = next(each for each in caplog.records if "handler shop.page failed" in each.getMessage())
    assert first.levelno == logging.ERROR
    assert first.exc_info[0] is ConnectionError
    assert first.dawdle_event_id in ids
    assert (first.dawdle_handler, first.dawdle_event_type, first.dawdle_queue) == ("shop.page", "Placed", "default")
    assert f"failed on the dead letter of Placed {first.dawdle_event_id}, attempt 1 of 1: Conn" in first.getMessage()
    failed = {each.dawdle_handler for each in caplog.records if " failed " in each.getMessage()}
    assert {each.rpartition(".")[2] for each in failed} == {"page", "leaves", "closes", "cancels"}


async def test_it_ends_at_its_timeout(running, registry, clock, caplog, told, failing):
    @registry.on_dead_letter
    async def default(letter: DeadLetter) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            told.append(("default", clock.monotonic() - began))

    @registry.on_dead_letter(timeout=5)
    async def quick(letter: DeadLetter) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            told.append(("quick", clock.monotonic() - began))

    async with running() as app:
        began = clock.monotonic()
        await app.signal(Placed(1))
        await clock.advance(60)
    assert told == [("quick", 5), ("default", 30)]
    assert "TimeoutError: it ran longer than its timeout of 5 s" in caplog.text


async def test_no_settling_waits_for_it_and_idle_does(running, registry, queue, clock, told, failing):
    go_on = asyncio.Event()

    @registry.on_dead_letter(timeout=float("inf"))
    async def page(letter: DeadLetter) -> None:
        await go_on.wait()
        told.append(letter.event.number)

    async with running(concurrency=1) as app:
        await app.signal_many([Placed(number) for number in range(5)])
        await clock.advance(1)
        assert len(queue.dead_letters.messages()) == 5
        assert queue.messages() == []
        assert app.health().in_hand == 0
        idling = asyncio.create_task(app.idle())
        await clock.advance(1)
        assert not idling.done()
        go_on.set()
        await idling
        assert sorted(told) == [0, 1, 2, 3, 4]


async def test_ten_letters_at_once_and_the_rest_waits(running, registry, clock, told, failing):
    running_now = 0

    @registry.on_dead_letter
    async def page(letter: DeadLetter) -> None:
        nonlocal running_now
        running_now += 1
        told.append(running_now)
        await clock.sleep_until(clock.monotonic() + 1)
        running_now -= 1

    async with running() as app:
        await app.signal_many([Placed(number) for number in range(35)])
        await clock.advance(10)
        await app.idle()
    assert len(told) == 35
    assert max(told) == 10


@pytest.mark.slow
async def test_letters_beyond_what_may_wait_are_stored_and_counted(running, registry, clock, caplog, told, failing):
    @registry.on_dead_letter
    async def page(letter: DeadLetter) -> None:
        told.append(letter)
        await clock.sleep_until(clock.monotonic() + 1)

    async with running(concurrency=2000) as app:
        await app.signal_many([Placed(number) for number in range(1100)])
        await clock.advance(1000)
        await app.idle()
        assert len([letter async for letter in app.dead_letters()]) == 1100
    assert len(told) == 1010
    texts = [each.getMessage() for each in caplog.records if each.name == "dawdle._flow.letter_notices"]
    assert len(texts) == 2
    assert "1000 wait" in texts[0]
    assert "were not called for 90 dead letters" in texts[1]


async def test_a_stop_waits_for_it_within_the_grace(running, registry, clock, told, failing):
    @registry.on_dead_letter
    async def page(letter: DeadLetter) -> None:
        await asyncio.sleep(0.05)
        told.append(letter.event.number)

    async with running(grace=5) as app:
        await app.signal_many([Placed(1), Placed(2)])
        while not app.health().dead_letters:
            await asyncio.sleep(0)
    assert sorted(told) == [1, 2]


async def test_what_a_stop_cuts_off_is_logged_and_its_letter_is_kept(registry, clock, caplog, told, failing):
    queue = Memory(clock=clock)

    @registry.on_dead_letter(timeout=float("inf"))
    async def page(letter: DeadLetter) -> None:
        told.append(letter.event_id)
        await asyncio.Event().wait()

    async with Dawdle(queue, registry=registry, clock=clock, grace=0) as app:
        ids = await app.signal_many([Placed(number) for number in range(15)])
        while len(told) < 10:
            await asyncio.sleep(0)
    assert len(queue.dead_letters.messages()) == 15
    cut = [each for each in caplog.records if each.name == "dawdle._flow.letter_notices"]
    assert {each.dawdle_event_id for each in cut} == set(ids)
    assert sum("was cancelled on Placed" in each.getMessage() for each in cut) == 10
    assert sum("were not called for Placed" in each.getMessage() for each in cut) == 5


@pytest.mark.slow
@pytest.mark.once
async def test_one_that_ignores_its_cancellation_does_not_keep_the_app_from_being_left(
    registry, clock, caplog, failing
):
    end = asyncio.Event()

    @registry.on_dead_letter
    async def stubborn(letter: DeadLetter) -> None:
        while not end.is_set():
            with suppress(asyncio.CancelledError):
                await end.wait()

    async with Dawdle(Memory(clock=clock), registry=registry, clock=clock, grace=0) as app:
        await app.signal(Placed(1))
        while not app.health().dead_letters:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert "a handler of dead letters is still running: it ignores cancellation" in caplog.text
    end.set()
    await asyncio.sleep(0.01)


async def test_it_may_signal_and_stop_the_listener_and_wait_for_idle(running, registry, told, failing):
    class OrderFailed(msgspec.Struct, frozen=True):
        number: int

    @registry.on_event(OrderFailed)
    async def failed(event: OrderFailed) -> None:
        told.append(event.number)

    @registry.on_dead_letter(Placed)
    async def page(letter: DeadLetter[Placed]) -> None:
        await dawdle.signal(OrderFailed(letter.event.number))
        await dawdle.current().idle()
        await dawdle.current().stop_listener()

    async with running() as app, running(Memory()):
        await app.signal(Placed(1))
        await app.idle()
    assert told == [1]


async def test_it_gets_the_context_and_finds_what_the_lifespan_yields(registry, queue, clock, told, failing):
    @registry.on_dead_letter(name="page")
    async def page(letter: DeadLetter, ctx: dawdle.Context) -> None:
        told.append((ctx, dawdle.current_context() is ctx, event_fields()))

    @registry.on_dead_letter(name="note")
    async def note(letter: DeadLetter) -> None:
        told.append((dawdle.current_context(), True, event_fields()))

    @asynccontextmanager
    async def lifespan(app):
        yield "the pager"

    async with Dawdle(queue, registry=registry, clock=clock, lifespan=lifespan) as app:
        event_id = await app.signal(Placed(1), headers={"tenant": "t-1"})
        await app.idle()
        assert dawdle.current_context() is None
    for context, is_same, fields in told:
        assert is_same
        assert context.state(str) == "the pager"
        assert context.headers == {"tenant": "t-1"}
        assert (context.event_id, context.event_type, context.queue) == (event_id, "Placed", "default")
        assert (context.attempt, context.max_attempts) == (1, 1)
        assert fields == {
            "dawdle_event_id": event_id,
            "dawdle_event_type": "Placed",
            "dawdle_handler": context.handler,
            "dawdle_attempt": 1,
            "dawdle_queue": "default",
        }
    assert {context.handler for context, *_ in told} == {"page", "note"}


async def test_it_has_what_the_event_carries(registry, queue, clock, told, failing):
    request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

    @registry.on_dead_letter
    async def page(letter: DeadLetter) -> None:
        told.append(request_id.get())

    async with Dawdle(queue, registry=registry, clock=clock, carry={"requestid": request_id}) as app:
        request_id.set("r-1")
        await app.signal(Placed(1))
        request_id.set("r-2")
        await app.idle()
    assert told == ["r-1"]


async def test_a_direct_event_and_one_that_expired_and_a_call_are_told_too(running, registry, told, failing, clock):
    @dawdle.event("short", expires=1, expired="dead")
    class Short(msgspec.Struct, frozen=True):
        number: int

    @registry.on_event(Short)
    async def short(event: Short) -> None: ...

    @registry.function(retry=Retry(max_attempts=1))
    async def resize(path: str) -> None:
        raise OSError("no disk")

    @registry.on_dead_letter
    async def page(letter: DeadLetter) -> None:
        told.append(letter.event_type.partition(":")[0])

    async with running(start_listener=False) as app:
        await app.signal(Placed(1), direct=True)
        await app.signal(Short(1))
        await app.call(resize, "a.png")
        await clock.advance(10)
        await app.start_listener()
        await app.idle()
    assert sorted(told) == ["Placed", "call", "short"]


async def test_where_a_slow_sibling_runs_the_letter_is_told_at_once(running, registry, clock, told):
    @registry.on_event(Placed, name="slow")
    async def slow(event: Placed) -> None:
        await clock.sleep_until(clock.monotonic() + 100)

    @registry.on_event(Placed, name="fails")
    async def fails(event: Placed) -> None:
        raise Reject("no")

    @registry.on_dead_letter
    async def page(letter: DeadLetter) -> None:
        told.append((letter.handler, clock.monotonic() - began))

    async with running() as app:
        began = clock.monotonic()
        await app.signal(Placed(1))
        await clock.advance(200)
    assert told == [("fails", 1)]


async def test_without_a_dead_letter_queue_there_is_no_letter_and_no_call(registry, clock, told, failing, caplog):
    @registry.on_dead_letter
    async def page(letter: DeadLetter) -> None:
        told.append(letter)

    async with Dawdle(Memory(clock=clock, dead_letters=False), registry=registry, clock=clock, grace=0) as app:
        await app.signal(Placed(1))
        await clock.advance(10)
    assert told == []
    assert "has no dead-letter queue: kept" in caplog.text


async def test_a_signed_letter_is_told_as_it_is_in_the_queue(registry, queue, clock, told, failing):
    @registry.on_dead_letter
    async def page(letter: DeadLetter) -> None:
        told.append(letter)

    async with Dawdle(queue, registry=registry, clock=clock, signing_keys={"k": "x" * 32}) as app:
        await app.signal(Placed(1))
        await app.idle()
        (letter,) = told
        assert letter.event == Placed(1)
        assert [each async for each in app.dead_letters()] == [letter]


async def test_handlers_of_an_included_registry_are_called_and_cleared_ones_are_not(running, registry, told, failing):
    inner = Registry()

    @inner.on_dead_letter
    async def page(letter: DeadLetter) -> None:
        told.append(letter.event.number)

    registry.include(inner)
    async with running() as app:
        await app.signal(Placed(1))
        await app.idle()
        inner.clear()
        await app.signal(Placed(2))
        await app.idle()
    assert told == [1]


async def test_one_that_is_cancelled_before_its_first_step_is_logged_too(registry, queue, clock, caplog, told, failing):
    @registry.on_dead_letter
    async def page(letter: DeadLetter) -> None:
        told.append(letter.event_id)

    def cancel_in_the_step_that_stored_a_letter(moment):
        if isinstance(moment, DeadLettered):
            for task in asyncio.all_tasks():
                if task.get_name() == "dawdle: a handler of dead letters":
                    task.cancel()

    hooks = [cancel_in_the_step_that_stored_a_letter]
    async with Dawdle(queue, registry=registry, clock=clock, hooks=hooks) as app:
        event_id = await app.signal(Placed(1))
        await app.idle()
    cut = [each.dawdle_event_id for each in caplog.records if each.name == "dawdle._flow.letter_notices"]
    assert (told, cut) == ([], [event_id])


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
async def test_under_eager_tasks_the_settling_goes_first(running, registry, queue, told, failing):
    @registry.on_dead_letter
    async def page(letter: DeadLetter) -> None:
        told.append(queue.messages())

    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)
    try:
        async with running() as app:
            await app.signal(Placed(1))
            await app.idle()
    finally:
        loop.set_task_factory(None)
    assert told == [[]], "the event is deleted"


async def test_a_stop_that_is_cancelled_in_its_flush_leaves_letters_to_be_told(running, registry, told):
    over = asyncio.Event()

    @registry.on_event
    async def stubborn(event: Placed):
        if event.number:
            raise Reject("no")
        while not over.is_set():
            with suppress(asyncio.CancelledError):
                await over.wait()

    @registry.on_dead_letter
    async def tell(letter: DeadLetter):
        told.append(letter.error)

    async with running() as app:
        await app.signal(Placed(0))
        await asyncio.sleep(0.01)
        stop = asyncio.create_task(app.stop_listener(grace=0))
        await asyncio.sleep(0.05)
        stop.cancel()
        await asyncio.wait([stop])
        over.set()
        await app.start_listener()
        await app.signal(Placed(1))
        await app.idle()
    assert told == ["Reject: no"]
