"""What was given up is looked at, redriven and purged from code: nothing is lost, and nothing is hidden for long."""

import asyncio
import gc
import tracemalloc
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from dawdle import BackendError, ConfigurationError, Context, Registry, Reject, Retry
from dawdle.abc import Delivery, Fault, Outgoing
from dawdle.backends.memory import Memory
from tests.app.events import Cancelled, Placed

pytestmark = pytest.mark.anyio

NOW = datetime.fromtimestamp(1_750_000_000, UTC)


@pytest.fixture
def mended(registry):
    """Handlers that fail until they are mended, and who ran: (handler, number, attempt)."""

    class Mended:
        def __init__(self):
            self.yes = False
            self.runs = []

    state = Mended()

    @registry.on_event(Placed, name="receipt")
    async def receipt(event):
        state.runs.append(("receipt", event.number, 1))

    @registry.on_event(Placed, name="shipping", retry=Retry(max_attempts=2, initial=1, jitter=0))
    async def shipping(event, ctx: Context):
        state.runs.append(("shipping", event.number, ctx.attempt))
        if not state.yes:
            raise ConnectionError("no carrier")

    @registry.on_event(Cancelled, name="refund")
    async def refund(event, ctx: Context):
        state.runs.append(("refund", event.number, ctx.attempt))
        if not state.yes:
            raise Reject("closed")

    return state


async def looked_at(app, *types, **options):
    return [letter async for letter in app.dead_letters(*types, **options)]


def visible(queue):
    """How many letters another reader could receive now."""
    return len(queue.dead_letters._ready)


async def test_a_letter_is_decoded_and_says_all_that_is_known(running, queue, clock, mended):
    async with running() as app:
        event_id = await app.signal(Placed(7), headers={"tenant": "t-1"})
        await clock.advance(10)
        (letter,) = await looked_at(app)
        assert (letter.event_id, letter.event_type, letter.handler) == (event_id, "Placed", "shipping")
        assert (letter.error, letter.attempts, letter.event) == ("ConnectionError: no carrier", 2, Placed(7))
        assert (letter.signaled_at, letter.dead_at) == (NOW, NOW + timedelta(seconds=1))
        assert (letter.headers, letter.queue) == ({"tenant": "t-1"}, "default")
        assert letter.body == queue.dead_letters.messages()[0]
        assert await looked_at(app) == [letter], "looking takes nothing away"
        assert await looked_at(app, queue="default") == [letter]


async def test_redriven_only_the_handler_that_failed_runs_and_at_attempt_one(running, queue, clock, mended):
    async with running() as app:
        await app.signal_many([Placed(number) for number in range(250)])
        await clock.advance(10)
        mended.runs.clear()
        mended.yes = True
        assert await app.redrive() == 250
        await app.idle()
        assert queue.dead_letters.messages() == []
        assert sorted(mended.runs) == [("shipping", number, 1) for number in range(250)]
        assert await app.redrive() == 0


async def test_what_fails_again_at_once_is_a_letter_again_and_the_call_ends(running, queue, clock, registry):
    tries = []

    @registry.on_event(Placed, retry=Retry(max_attempts=1))
    async def never(event):
        tries.append(event.number)
        raise ValueError

    async with running(Memory(clock=clock, max_batch=1)) as app:
        await app.signal_many([Placed(number) for number in range(20)])
        await app.idle()
        async with asyncio.timeout(60):
            assert await app.redrive() == 20
        await app.idle()
        assert len(tries) == 40
        assert len(await looked_at(app)) == 20
        async with asyncio.timeout(60):
            assert await app.redrive() == 20


async def test_what_ran_all_handlers_and_fails_for_one_of_them_waits_for_the_next_call(running, clock, registry):
    tries = []

    for name in ("one", "other"):

        @registry.on_event(Placed, name=name, retry=Retry(max_attempts=1))
        async def never(event, ctx: Context):
            tries.append(ctx.handler)
            raise ValueError

    queue = Memory(clock=clock, max_batch=1)
    moved = {"specversion": "1.0", "source": "/shop", "type": "Placed", "data": {"number": 7}}
    await queue.dead_letters.send([Outgoing(msgspec.json.encode(moved | {"id": f"e-{n}"})) for n in range(20)])
    async with running(queue) as app:
        async with asyncio.timeout(60):
            assert await app.redrive() == 20
        await app.idle()
        assert sorted(tries) == ["one"] * 20 + ["other"] * 20
        assert len(await looked_at(app)) == 40


async def test_bytes_that_are_no_event_fail_again_at_once_and_the_call_ends(running, clock, mended):
    queue = Memory(clock=clock, max_batch=1)
    async with running(queue) as app:
        await queue.send([Outgoing(b"garbage"), Outgoing(b"\xff\x00")])
        await app.idle()
        letters = await looked_at(app)
        assert {letter.event_type for letter in letters} == {"dawdle.undecodable"}
        async with asyncio.timeout(60):
            assert await app.redrive() == 2
        await app.idle()
        assert len(await looked_at(app)) == 2


async def test_bytes_that_are_no_event_come_back_as_they_were(make_app, clock, mended):
    queue = Memory(clock=clock)
    async with make_app(queue) as app:
        await queue.send([Outgoing(b"garbage"), Outgoing(b"\xff\x00")])
        await app.idle()
    async with make_app(queue, start_listener=False) as app:
        assert await app.redrive("dawdle.undecodable") == 2
        assert sorted(queue.messages()) == [b"garbage", b"\xff\x00"]


async def test_letters_are_chosen_by_type_handler_age_and_predicate(running, queue, clock, mended):
    async with running(start_listener=True) as app:
        await app.signal_many([Placed(number) for number in range(5)])
        await app.signal_many([Cancelled(number) for number in range(5)])
        await clock.advance(3600)
        await app.signal(Placed(100))
        await clock.advance(10)
        await app.stop_listener()
        assert len(await looked_at(app)) == 11
        assert await app.redrive("Unheard") == 0
        assert await app.redrive(Placed, handler="refund") == 0
        assert await app.redrive(Placed, older_than=3600, where=lambda letter: letter.event.number > 2) == 2
        assert await app.redrive(handler="refund", where=lambda letter: letter.event.number == 0) == 1
        assert await app.redrive(Placed, "Cancelled", older_than=timedelta(hours=2)) == 0
        assert await app.purge(Cancelled, older_than=timedelta(minutes=59)) == 4
        assert await app.purge(object, where=lambda letter: letter.event.number == 100) == 1
        left = await looked_at(app)
        assert sorted(letter.event.number for letter in left) == [0, 1, 2]
        assert await app.purge() == 3
        assert await looked_at(app) == []


async def test_letters_that_are_looked_at_are_chosen_by_the_same_conditions(running, queue, clock, mended):
    async with running() as app:
        await app.signal_many([Placed(number) for number in range(5)])
        await app.signal_many([Cancelled(number) for number in range(5)])
        await clock.advance(3600)
        await app.signal(Placed(100))
        await clock.advance(10)
        await app.stop_listener()

        async def numbers(*types, **options):
            return sorted(letter.event.number for letter in await looked_at(app, *types, **options))

        assert await numbers(Placed) == await numbers("Placed") == [0, 1, 2, 3, 4, 100]
        assert await numbers(Placed, handler="refund") == await numbers("Unheard") == []
        assert await numbers(Placed, Cancelled, older_than=3600) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
        assert await numbers(newer_than=timedelta(hours=1)) == [100]
        assert await numbers(older_than=3600, newer_than=3600) == []
        assert await numbers(Placed, where=lambda letter: letter.event.number > 3) == [4, 100]
        assert await app.purge(newer_than=60) == 1
        assert visible(queue) == 10, "what was left out is not hidden any more"


async def test_letters_without_their_event_are_named_when_a_condition_cannot_be_asked(make_app, clock, caplog):
    queue = Memory(clock=clock)
    letter = {"specversion": "1.0", "source": "/shop", "type": "Placed", "dawdledead": "2025-06-15T15:06:40Z"}
    bodies = [letter | {"id": "good", "data": {"number": 7}}, letter | {"id": "bad", "data": {"number": "x"}}]
    await queue.dead_letters.send([Outgoing(msgspec.json.encode(body)) for body in bodies])
    async with make_app(queue, start_listener=False) as app:
        assert [each.event for each in await looked_at(app, Placed)] == [Placed(7), None]
        assert not caplog.records
        (found,) = await looked_at(app, Placed, where=lambda letter: letter.event.number)
        assert found.event == Placed(7)
        assert "left 1 dead letters" in caplog.text


async def test_the_age_of_what_the_queue_moved_by_itself_counts_from_when_it_was_stored(make_app, clock):
    queue = Memory(clock=clock)
    moved = {"specversion": "1.0", "id": "e-1", "source": "/shop", "type": "Placed", "data": {"number": 7}}
    async with make_app(queue, start_listener=False) as app:
        await queue.dead_letters.send([Outgoing(msgspec.json.encode(moved))])
        await clock.advance(60)
        (letter,) = await looked_at(app, older_than=60)
        assert (letter.dead_at, letter.since) == (None, NOW)
        assert await looked_at(app, newer_than=60) == []


async def test_it_works_without_a_listener_and_without_a_handler(make_app, clock, queue, mended):
    async with make_app() as app:
        await app.signal(Placed(7))
        await clock.advance(10)
    async with make_app(registry=Registry(), start_listener=False) as app:
        assert await app.redrive(Placed, where=lambda letter: letter.event == Placed(8)) == 0
        (letter,) = await looked_at(app)
        assert (letter.event_type, letter.event) == ("Placed", None), "this app does not know the type"
        assert await app.redrive(Placed, where=lambda letter: letter.event == Placed(7)) == 1
        (message,) = queue.messages()
        assert msgspec.json.decode(message)["dawdleowed"] == "shipping"


async def three_letters(app, clock):
    await app.signal_many([Placed(number) for number in range(3)])
    await clock.advance(10)
    await app.stop_listener()


async def test_what_is_looked_at_is_hidden_until_the_loop_ends_and_then_back_at_once(running, queue, clock, mended):
    async with running() as app:
        await three_letters(app, clock)
        async for letter in app.dead_letters():
            assert visible(queue) == 0
            assert await looked_at(app) == []
            assert await app.redrive() == await app.purge() == 0
        assert visible(queue) == 3
        assert letter.handler == "shipping"


async def test_a_loop_that_breaks_gives_back_at_once_inside_aclosing(running, queue, clock, mended):
    async with running() as app:
        await three_letters(app, clock)
        async with aclosing(app.dead_letters()) as letters:
            async for _ in letters:
                break
            assert visible(queue) == 0
        assert visible(queue) == 3


async def test_a_loop_that_breaks_gives_back_when_its_iterator_is_collected(running, queue, clock, mended):
    async with running() as app:
        await three_letters(app, clock)
        async for _ in app.dead_letters():
            break
        gc.collect()
        await clock.advance(0)
        assert visible(queue) == 3


async def test_a_loop_that_raises_or_is_cancelled_gives_back(running, queue, clock, mended):
    async with running() as app:
        await three_letters(app, clock)

        async def look(then):
            async with aclosing(app.dead_letters()) as letters:
                async for _ in letters:
                    await then()

        async def fail():
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await look(fail)
        assert visible(queue) == 3
        task = asyncio.create_task(look(asyncio.Event().wait))
        await clock.advance(0)
        assert visible(queue) == 0
        task.cancel()
        await asyncio.wait([task])
        assert visible(queue) == 3


async def test_a_loop_that_outlives_its_app_is_ended_without_an_error_and_hides_for_a_lease(
    make_app, queue, clock, mended
):
    async with make_app() as app:
        await three_letters(app, clock)
        letters = app.dead_letters()
        await anext(letters)
    await letters.aclose()
    assert visible(queue) == 0
    await clock.advance(61)
    async with make_app(start_listener=False) as app:
        assert len(await looked_at(app)) == 3


async def test_a_letter_whose_lease_ends_meanwhile_is_not_shown_twice(running, clock, mended):
    async with running(Memory(clock=clock, max_batch=2, lease=30)) as app:
        await three_letters(app, clock)
        shown = []
        async for letter in app.dead_letters():
            shown.append(letter.event.number)
            await clock.advance(31)
        assert sorted(shown) == [0, 1, 2]


async def test_a_slow_loop_finds_all_letters_although_the_first_come_back_again_and_again(running, clock, mended):
    class Returning(Memory):
        """Letters that are visible again come before those that were never received."""

        def _update_visibility(self, now):
            before = len(self._ready)
            super()._update_visibility(now)
            self._ready.rotate(len(self._ready) - before)

    queue = Memory(clock=clock)
    queue._dead = Returning(clock=clock, dead_letters=False, max_batch=2, lease=30)
    async with running(queue) as app:
        await app.signal_many([Placed(number) for number in range(60)])
        await clock.advance(10)
        await app.stop_listener()
        shown = []
        async with asyncio.timeout(60):
            async for letter in app.dead_letters():
                shown.append(letter.event.number)
                await clock.advance(10)
        assert sorted(shown) == list(range(60))


async def test_a_loop_ends_although_letters_keep_coming(running, clock, mended):
    queue = Memory(clock=clock, max_batch=1)
    async with running(queue) as app:
        await three_letters(app, clock)
        body = queue.dead_letters.messages()[0]
        shown = 0
        async with asyncio.timeout(60):
            async for _ in app.dead_letters():
                shown += 1
                await clock.advance(1)
                await queue.dead_letters.send([Outgoing(body)] * 5)
        assert shown == 3
        assert visible(queue) == 18


async def test_a_call_ends_although_every_receive_brings_another_letter(running, clock, mended):
    class Busy(Memory):
        async def receive(self, limit, wait):
            got = await super().receive(limit, wait)
            await clock.advance(1)
            await self.send([Outgoing(delivery.body) for delivery in got])
            return got

    queue = Memory(clock=clock)
    queue._dead = Busy(clock=clock, dead_letters=False, max_batch=1)
    async with running(queue) as app:
        await three_letters(app, clock)
        async with asyncio.timeout(60):
            assert await app.redrive() == 3
        assert 3 <= visible(queue) <= 6


async def test_a_predicate_that_raises_stops_the_call_and_the_letter_is_given_back(running, clock, mended):
    queue = Memory(clock=clock, max_batch=2)
    async with running(queue) as app:
        await app.signal_many([Placed(number) for number in range(6)])
        await clock.advance(10)
        await app.stop_listener()
        with pytest.raises(ZeroDivisionError) as error:
            await app.redrive(where=lambda letter: 1 / (4 - letter.event.number))
        assert error.value.__notes__ == ["dead letters redriven before that: 4"]
        assert (len(queue.messages()), visible(queue)) == (4, 2)
        with pytest.raises(ZeroDivisionError) as error:
            await app.purge(where=lambda letter: 1 / (4 - letter.event.number))
        assert not hasattr(error.value, "__notes__")
        assert visible(queue) == 2


class Choosy(Memory):
    """A queue that says no to a kind of call, from an entry on."""

    def __init__(self, **options):
        super().__init__(**options)
        self.no: dict[str, Fault] = {}
        self.from_ = 0
        self.asked = 0

    def _answers(self, call, count):
        answers = []
        for _ in range(count):
            self.asked += 1
            answers.append(self.no.get(call) if self.asked > self.from_ else None)
        return answers

    async def send(self, batch):
        answers = self._answers("send", len(batch)) if "send" in self.no else [None] * len(batch)
        stored = [outgoing for outgoing, fault in zip(batch, answers, strict=True) if fault is None]
        await super().send(stored)
        return answers

    async def ack(self, receipts):
        answers = self._answers("ack", len(receipts)) if "ack" in self.no else [None] * len(receipts)
        await super().ack([each for each, fault in zip(receipts, answers, strict=True) if fault is None])
        return answers


class Behind(Choosy):
    """A queue whose dead letters are in a choosy one."""

    def __init__(self, dead, **options):
        super().__init__(**options)
        self._dead = dead


@pytest.fixture
def choosy(clock):
    return Behind(Choosy(clock=clock, dead_letters=False, max_batch=2), clock=clock)


async def test_a_queue_that_stores_no_more_ends_the_call_which_says_how_far_it_came(running, choosy, clock, mended):
    async with running(choosy) as app:
        await app.signal_many([Placed(number) for number in range(8)])
        await clock.advance(10)
        await app.stop_listener()
        choosy.no, choosy.from_, choosy.asked = {"send": Fault("throttled", "slow down")}, 5, 0
        with pytest.raises(BackendError) as error:
            await app.redrive()
        assert "slow down (the queue answered throttled); letters redriven before that: 5" in str(error.value)
        assert (error.value.kind, error.value.retryable) == ("throttled", True)
        assert (len(choosy.messages()), visible(choosy)) == (5, 3)
        choosy.no = {}
        assert await app.redrive() == 3


async def test_a_purge_that_is_not_answered_says_how_far_it_came_and_gives_back(running, choosy, clock, mended):
    async with running(choosy) as app:
        await app.signal_many([Placed(number) for number in range(8)])
        await clock.advance(10)
        await app.stop_listener()
        dead = choosy.dead_letters
        dead.no, dead.from_, dead.asked = {"ack": Fault("unavailable", "gone")}, 3, 0
        with pytest.raises(BackendError, match="deleted before that: 3; all others are still in the dead-letter queue"):
            await app.purge()
        assert visible(choosy) == 5


async def test_a_call_that_is_cancelled_gives_back_what_it_has_not_stored(running, clock, mended):
    class Slow(Memory):
        answers = asyncio.Event()
        answers.set()

        async def send(self, batch):
            await self.answers.wait()
            return await super().send(batch)

    queue = Slow(clock=clock)
    async with running(queue) as app:
        await three_letters(app, clock)
        queue.answers.clear()
        call = asyncio.create_task(app.redrive())
        await clock.advance(0)
        assert visible(queue) == 0
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
        assert (len(queue.messages()), visible(queue)) == (0, 3)
        queue.answers.set()


async def test_a_letter_that_cannot_be_deleted_is_redriven_with_a_warning(running, choosy, clock, mended, caplog):
    async with running(choosy) as app:
        await three_letters(app, clock)
        choosy.dead_letters.no = {"ack": Fault("unavailable", "gone")}
        caplog.clear()
        assert await app.redrive() == 3
        assert len(choosy.messages()) == 3
        assert visible(choosy) == 0, "it is not given back, or it would be redriven twice at once"
        assert caplog.text.count("a later call may redrive it again: gone (the queue answered unavailable)") == 3


async def test_a_letter_that_the_queue_will_never_take_stops_nobody(running, choosy, clock, mended, caplog):
    async with running(choosy) as app:
        await three_letters(app, clock)
        choosy.no, choosy.from_, choosy.asked = {"send": Fault("refused", "a forbidden character")}, 1, 0
        caplog.clear()
        assert await app.redrive() == 1
        assert caplog.text.count(": a forbidden character (the queue answered refused); it stays in the dead-l") == 2
        assert visible(choosy) == 2


async def test_half_a_message_is_left_in_place_with_a_warning(running, clock, registry, caplog):
    @registry.on_event(Placed)
    async def handler(event): ...

    queue = Memory(clock=clock, max_body=2000)
    async with running(queue) as app:
        await queue.send([Outgoing(b"\xff" * 2000)])
        await app.idle()
        caplog.clear()
        assert await app.redrive() == 0
        assert "did not fit into the letter and are lost; it stays in the dead-letter queue, purge it" in caplog.text
        assert (queue.messages(), visible(queue)) == ([], 1)
        assert await app.purge() == 1


async def test_without_a_dead_letter_queue_the_error_says_how_to_get_one(running, clock, mended):
    async with running(Memory(clock=clock, dead_letters=False)) as app:
        for use in (lambda: looked_at(app), app.redrive, app.purge):
            with pytest.raises(ConfigurationError) as error:
                await use()
            assert "the queue 'default' has no dead-letter queue" in str(error.value)
            assert "dead_letter_url" in str(error.value)


async def test_what_makes_no_sense_is_told_before_anything_is_received(running, make_app, clock, mended):
    async with running() as app:
        for use in (app.redrive, app.purge):
            for options in ({"handler": 7}, {"older_than": -1}, {"where": 7}, {"queue": "video"}):
                with pytest.raises(ConfigurationError):
                    await use(**options)
            with pytest.raises(ConfigurationError):
                await use(7)
        with pytest.raises(ConfigurationError, match="there is no queue 'video'"):
            app.dead_letters(queue="video")
    with pytest.raises(ConfigurationError, match="async with app"):
        app.dead_letters()
    with pytest.raises(ConfigurationError, match="async with app"):
        await make_app().redrive()


async def test_a_handler_may_redrive(running, queue, clock, registry, mended):
    @registry.on_event(Cancelled, name="sweeper")
    async def sweep(event):
        mended.yes = True
        mended.runs.append(("swept", await app.redrive(Placed), 1))

    async with running() as app:
        await app.signal(Placed(7))
        await clock.advance(10)
        mended.runs.clear()
        await app.signal(Cancelled())
        await clock.advance(10)
        assert ("swept", 1, 1) in mended.runs
        assert ("shipping", 7, 1) in mended.runs


async def test_ten_thousand_letters_are_moved_in_batches(running, clock, mended, queue):
    calls = []

    class Counting(Memory):
        async def send(self, batch):
            calls.append("send")
            return await super().send(batch)

        async def ack(self, receipts):
            calls.append("ack")
            return await super().ack(receipts)

    counting, dead = Counting(clock=clock), Counting(clock=clock, dead_letters=False)
    counting._dead = dead
    async with running() as app:
        await app.signal(Placed(7))
        await clock.advance(10)
        (body,) = queue.dead_letters.messages()
    await dead.send([Outgoing(body)] * 10_000)
    calls.clear()
    async with running(counting, start_listener=False) as app:
        await clock.advance(5)
        assert await app.redrive() == 10_000
    assert len(counting.messages()) == 10_000
    assert len(calls) <= 220


KEYS = {"2026-11": "k" * 32}


async def test_a_signed_letter_is_redriven_signed_and_runs(running, queue, clock, mended):
    async with running(signing_keys=KEYS) as app:
        await app.signal(Placed(7), headers={"tenant": "t-1"})
        await clock.advance(10)
        (letter,) = await looked_at(app)
        assert (letter.handler, letter.event, letter.headers) == ("shipping", Placed(7), {"tenant": "t-1"})
        assert b'"dawdlesignature":"2026-11:' in letter.body
        mended.runs.clear()
        mended.yes = True
        assert await app.redrive() == 1
        await app.idle()
        assert mended.runs == [("shipping", 7, 1)]
        assert queue.dead_letters.messages() == []


async def test_a_stranger_gets_nothing_run_or_signed_by_way_of_the_dead_letters(running, queue, clock, mended):
    mended.yes = True
    event = {"specversion": "1.0", "id": "e-1", "source": "/x", "type": "Placed", "data": {"number": 7}}
    marked = event | {"dawdledead": "2025-06-15T15:06:40Z", "dawdleerror": "x", "dawdleowed": "shipping"}
    wrapper = {**marked, "type": "dawdle.undecodable", "data_base64": "Z2FyYmFnZQ=="}
    async with running(signing_keys=KEYS) as app:
        for each in (event, marked, wrapper):
            await queue.send([Outgoing(msgspec.json.encode(each))])
            await queue.dead_letters.send([Outgoing(msgspec.json.encode(each))])
        await app.idle()
        letters = await looked_at(app)
        assert [letter.event_type for letter in letters] == ["dawdle.undecodable"] * 6
        assert [letter.event for letter in letters] == [None] * 6
        assert all("the message is not signed" in letter.error for letter in letters)
        await app.stop_listener()
        assert await app.redrive() == 6
        assert sorted(queue.messages()) == sorted(msgspec.json.encode(each) for each in (event, marked, wrapper) * 2)
        await app.start_listener()
        await app.idle()
        assert mended.runs == []
        assert len(await looked_at(app)) == 6


class Named(Memory):
    """A queue that says what it is called everywhere."""

    identity: object = "shop/orders"


async def test_a_backend_that_has_an_identity_gives_it_to_its_letters(running, clock, mended):
    queue = Named(clock=clock)
    async with running(queue) as app:
        await app.signal(Placed(7))
        await queue.send([Outgoing(b"garbage")])
        await clock.advance(10)
        assert [letter.origin for letter in await looked_at(app)] == ["shop/orders"] * 2
        assert all(b'"dawdlequeue":"shop/orders"' in body for body in queue.dead_letters.messages())
        queue.identity = "shop/mails"
    async with running(queue, start_listener=False) as app:
        assert await looked_at(app) == []
        assert await app.redrive() == await app.purge() == 0
        assert visible(queue) == 2
        assert len(await looked_at(app, foreign=True)) == 2
        assert await app.redrive(foreign=True) == 2


@pytest.mark.parametrize("identity", ["", "x" * 201, "ä", "a\nb", 7, None])
async def test_an_identity_that_no_letter_can_carry_is_told_at_the_start(running, clock, identity):
    queue = Named(clock=clock)
    queue.identity = identity
    with pytest.raises(ConfigurationError, match="the backend of the queue 'default' has the identity"):
        async with running(queue):
            pass


async def test_letters_whose_data_does_not_fit_are_left_with_a_warning_and_chosen_by_their_wire_name(
    running, queue, clock, mended, caplog
):
    async with running() as app:
        await queue.send(
            [Outgoing(b'{"specversion":"1.0","id":"e","source":"/x","type":"Placed","data":{"number":"x"}}')]
        )
        await app.signal(Placed(7))
        await clock.advance(10)
        await app.stop_listener()
        assert len(await looked_at(app)) == 2
        caplog.clear()
        assert await app.redrive(Placed, where=lambda letter: letter.event.number > 0) == 1
        assert "left 1 dead letters in the dead-letter queue: their data does not fit their type" in caplog.text
        assert visible(queue) == 1
        caplog.clear()
        assert await app.purge("Placed", where=lambda letter: letter.event is None) == 1
        assert caplog.text == ""


class Endless(Memory):
    """A dead-letter queue of letters that take no memory themselves: each is made when it is received."""

    def __init__(self, count, **options):
        super().__init__(dead_letters=False, max_batch=10, **options)
        self.left = count
        self.tasks = 0
        self.released = 0

    async def receive(self, limit, wait):
        count = min(limit, self.left)
        self.left -= count
        return [self.letter(self.left + number) for number in range(count)]

    def letter(self, number):
        body = (
            b'{"specversion":"1.0","id":"%d","source":"/x","type":"Placed","dawdledead":"2025-06-15T15:06:40Z"}'
            % number
        )
        return Delivery("r" * 400 + str(number), f"key-{number}", body)

    async def release(self, batch):
        self.tasks = max(self.tasks, len(asyncio.all_tasks()))
        self.released += len(batch)
        return [None] * len(batch)

    async def ack(self, receipts):
        return [None] * len(receipts)


class Nowhere(Memory):
    async def send(self, batch):
        return [None] * len(batch)


@pytest.mark.slow
async def test_a_walk_takes_little_memory_for_each_letter_and_few_tasks_for_all(running, clock, mended):
    queue = Nowhere(clock=clock)
    for use, most in ((looked_at_one_by_one, 1300), (lambda app: app.redrive(), 400), (lambda app: app.purge(), 250)):
        queue._dead = dead = Endless(5_000, clock=clock)
        async with running(queue, start_listener=False) as app:
            gc.collect()
            tracemalloc.start()
            try:
                assert await use(app) == 5_000
                (_, peak) = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
        assert peak / 5_000 < most, "bytes a letter"
        assert dead.tasks < 1100


async def looked_at_one_by_one(app):
    count = 0
    async for _ in app.dead_letters():
        count += 1
    return count


async def test_a_walk_gives_back_no_more_than_what_a_lease_covers(running, clock, mended):
    queue = Memory(clock=clock)
    queue._dead = dead = Endless(100, clock=clock, lease=30)
    async with running(queue, start_listener=False) as app:
        count = 0
        async for _ in app.dead_letters():
            count += 1
            await clock.advance(1)
    assert count == 100
    assert 20 <= dead.released <= 40, "the others were visible again by themselves"
