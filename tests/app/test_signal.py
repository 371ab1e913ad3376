"""Signaling: what is promised when it returns, what is refused before anything is stored."""

import asyncio
import math
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pydantic
import pytest

import dawdle
from dawdle import ConfigurationError, Context, EventError, EventTooLargeError, NoAppError, NotAnEventError, SignalError
from dawdle.abc import Fault
from dawdle.backends.memory import Memory
from dawdle.errors import BackendError
from dawdle.hooks import Signaled
from dawdle.testing import ManualClock
from tests.app.events import Cancelled, Placed

pytestmark = pytest.mark.anyio


class Anything(msgspec.Struct):
    value: object


@pytest.mark.parametrize(
    ("event", "options", "error", "match"),
    [
        ({"number": 1}, {}, NotAnEventError, "dict is not an event type"),
        ("text", {}, NotAnEventError, "str is not an event type.*: str`$"),
        ([Placed()], {}, NotAnEventError, r"list is not an event type.*; for several events write signal_many\(…\)$"),
        (Placed, {}, NotAnEventError, r"Placed is a class, not an event: signal an instance, Placed\(…\)"),
        (Anything(math.nan), {}, EventError, r"Anything\.value is nan"),
        (Anything([1.0, {"a": math.inf}]), {}, EventError, r"Anything\.value\[1\]\[\.\.\.\] is inf"),
        (Anything("\ud800"), {}, EventError, "lone surrogate"),
        (Anything(object()), {}, EventError, "cannot be encoded: there is no encoding for the type object"),
        (Anything("x" * 1_048_576), {}, EventTooLargeError, r"1,048,\d{3} bytes, and the queue takes 1,044,480"),
        (Placed(), {"delay": -1}, ConfigurationError, "delay is 0 to .*not -1"),
        (Placed(), {"delay": math.nan}, ConfigurationError, "not nan"),
        (Placed(), {"delay": math.inf}, ConfigurationError, "not inf"),
        (Placed(), {"delay": timedelta(seconds=-5)}, ConfigurationError, r"not timedelta\(seconds=-5\)"),
        (Placed(), {"delay": "5"}, ConfigurationError, "seconds, or a timedelta, not '5'"),
        (Placed(), {"delay": True}, ConfigurationError, "not True"),
        (Placed(), {"at": datetime(2030, 1, 1)}, ConfigurationError, "has no time zone"),  # noqa: DTZ001
        (Placed(), {"at": 17.0}, ConfigurationError, "an aware datetime, not 17.0"),
        (Placed(), {"at": datetime(2030, 1, 1, tzinfo=UTC), "delay": 1}, ConfigurationError, "not both"),
        (Placed(), {"direct": True, "delay": 1}, ConfigurationError, "remove it, or delay= and at="),
        (Placed(), {"direct": "no"}, ConfigurationError, "direct is True or False, not 'no'"),
        (Placed(), {"direct": 0}, ConfigurationError, "direct is True or False, not 0"),
        (Placed(), {"queue": "video"}, ConfigurationError, "there is no queue 'video'; this app has default"),
        (Placed(), {"headers": {"Trace-Id": "x"}}, ConfigurationError, "a header's name is 1 to 20 of a-z and 0-9"),
        (Placed(), {"headers": {"id": "x"}}, ConfigurationError, "'id' is taken"),
        (Placed(), {"headers": {"dawdleowed": "x"}}, ConfigurationError, "'dawdleowed' is taken"),
        (Placed(), {"headers": {"tenant": 7}}, ConfigurationError, "is text, not int"),
        (Placed(), {"headers": {"tenant": "\udfff"}}, EventError, "lone surrogate"),
        (Placed(), {"queue": ""}, ConfigurationError, "there is no queue ''; this app has default"),
        (
            Placed(),
            {"queue": ["default", "video"]},
            ConfigurationError,
            "there is no queue 'video'; this app has default",
        ),
        (Placed(), {"queue": []}, ConfigurationError, r"the name of a queue, or several names, not \[\]"),
        (Placed(), {"queue": 5}, ConfigurationError, "the name of a queue, or several names, not 5"),
        (Placed(), {"headers": "tenant"}, ConfigurationError, "a mapping of names to text, not 'tenant'"),
        (Placed(), {"headers": [("tenant", "one")]}, ConfigurationError, "a mapping of names to text, not "),
        (Placed(), {"group": 5}, ConfigurationError, r"group is text, 1 to 128 .*, not 5: write group=str\(…\)$"),
        (Placed(), {"group": ""}, ConfigurationError, "group is text, 1 to 128"),
        (Placed(), {"group": "x" * 129}, ConfigurationError, "group is text, 1 to 128"),
        (Placed(), {"group": "a b"}, ConfigurationError, "without a space, not 'a b'"),
        (Placed(), {"group": "é"}, ConfigurationError, "not 'é'"),
        (Placed(), {"group": b"x"}, ConfigurationError, "not b'x'"),
        (Placed(), {"group": "a b", "direct": True}, ConfigurationError, "group is text, 1 to 128"),
        (Placed(), {"id": "a b"}, ConfigurationError, "without a space, not 'a b'"),
        (Placed(), {"id": UUID(int=1)}, ConfigurationError, r"id is text, .*: write id=str\(…\)$"),
        (Placed(), {"expires": 0}, ConfigurationError, "expires is more than 0 and at most .* seconds.*, not 0"),
        (Placed(), {"id": ""}, ConfigurationError, "id is text, 1 to 128"),
    ],
)
async def test_bad_input_is_an_error_before_anything_is_stored(running, queue, event, options, error, match):
    async with running() as app:
        with pytest.raises(error, match=match):
            await app.signal(event, **options)
        if set(options) <= {"delay", "at", "headers", "queue", "group"}:
            with pytest.raises(error, match=match):
                await app.signal_many([Placed(), event], **options)
    assert queue.messages() == []


async def test_errors_of_python_name_the_app_and_no_part_of_it(running):
    async with running() as app:
        with pytest.raises(TypeError, match=r"^Dawdle\.signal\(\) got an unexpected keyword argument 'dely'"):
            await app.signal(Placed(), dely=1)
    for call in (app.call, app.signal_many, app.wait_for, app.health, app.dead_letters):
        assert call.__qualname__ == f"Dawdle.{call.__name__}"


async def test_too_large_carries_both_numbers(running):
    async with running() as app:
        with pytest.raises(EventTooLargeError) as caught:
            await app.signal(Anything("x" * 1_048_576))
    assert caught.value.limit == 1_048_576 - 4096
    assert caught.value.size > 1_048_576


async def test_signal_returns_the_id_that_the_handler_sees_with_headers_and_time(running, registry, clock):
    seen = []

    @registry.on_event(Placed)
    async def handler(event, ctx: Context):
        seen.append(ctx)

    async with running(source="shop", headers={"tenant": "one", "region": "eu"}) as app:
        event_id = await app.signal(Placed(), headers={"tenant": "two", "traceparent": "00-1-2-01"})
        await app.idle()
    (ctx,) = seen
    assert ctx.event_id == event_id
    assert ctx.headers == {"tenant": "two", "region": "eu", "traceparent": "00-1-2-01"}
    assert (ctx.event_type, ctx.queue, ctx.attempt, ctx.max_attempts) == ("Placed", "default", 1, 12)
    assert ctx.signaled_at == datetime.fromtimestamp(clock.now(), UTC)


async def test_a_function_for_headers_that_returns_none_is_an_error_that_says_what_it_returns(running, queue):
    async with running(headers=lambda: None) as app:
        with pytest.raises(
            ConfigurationError, match="the function in headers= returns a mapping of names to text, not None"
        ):
            await app.signal(Placed())
    assert queue.messages() == []


async def test_one_callers_wrong_group_fails_that_caller_alone(running, queue):
    async with running() as app:
        answers = await asyncio.gather(
            *(app.signal(Placed(number), group="a b" if number == 3 else "a") for number in range(6)),
            return_exceptions=True,
        )
    assert [type(answer).__name__ for answer in answers] == ["str"] * 3 + ["ConfigurationError"] + ["str"] * 2
    assert len(queue.messages()) == 5


class SizedClock(ManualClock):
    """A clock that has a length as well, and it is 0: it is a clock all the same."""

    def __len__(self):
        return 0


class SizedCodec(dawdle.MessagePack):
    """The same of a codec."""

    def __len__(self):
        return 0


async def test_a_clock_and_a_codec_that_are_empty_collections_too_are_used():
    clock = SizedClock(start=1_000_000_000)
    queue = Memory(clock=clock)
    async with dawdle.Dawdle(queue, registry=dawdle.Registry(), clock=clock, codec=SizedCodec()) as app:
        await app.signal(Placed())
    (body,) = (msgspec.json.decode(each) for each in queue.messages())
    assert body["datacontenttype"] == "application/msgpack"
    assert body["time"] == datetime.fromtimestamp(clock.now(), UTC).isoformat().replace("+00:00", "Z")


async def test_headers_may_be_a_function_that_is_asked_at_each_signal(running, queue):
    numbers = iter(range(10))
    async with running(headers=lambda: {"number": str(next(numbers))}) as app:
        await app.signal_many([Placed(), Placed()])
    assert [msgspec.json.decode(body)["number"] for body in queue.messages()] == ["0", "1"]


async def test_what_travels_is_a_cloud_event(running, queue, clock):
    async with running(source="https://shop.example") as app:
        await app.signal(Placed(7), id="order-7", delay=1.5)
    (body,) = queue.messages()
    assert msgspec.json.decode(body) == {
        "specversion": "1.0",
        "id": "order-7",
        "source": "https://shop.example",
        "type": "Placed",
        "time": datetime.fromtimestamp(clock.now(), UTC).isoformat().replace("+00:00", "Z"),
        "dawdledelay": "1500",
        "data": {"number": 7},
    }


async def test_an_event_signaled_by_a_handler_names_its_cause(running, registry, queue):
    @registry.on_event(Placed)
    async def handler(event):
        await dawdle.signal(Cancelled())

    async with running() as app:
        cause = await app.signal(Placed())
        await app.stop_listener()
        await app.idle()
    bodies = [msgspec.json.decode(body) for body in queue.messages()]
    assert [body.get("dawdlecause") for body in bodies if body["type"] == "Cancelled"] in ([cause], [])
    assert any(body["type"] in {"Cancelled", "Placed"} for body in bodies)


async def test_signal_many_returns_the_ids_in_order_in_few_calls(running, queue, monkeypatch, moments):
    batches = []
    send = Memory.send

    async def counted(self, batch):
        batches.append(len(batch))
        return await send(self, batch)

    monkeypatch.setattr(Memory, "send", counted)
    async with running() as app:
        ids = await app.signal_many([Placed(number) for number in range(250)])
        assert await app.signal_many([]) == []
    assert batches == [100, 100, 50]
    assert [msgspec.json.decode(body)["id"] for body in queue.messages()] == ids
    assert [moment.event_id for moment in moments if isinstance(moment, Signaled)] == ids


async def test_signal_many_of_very_many_makes_a_handful_of_tasks(running, queue):
    made = []

    def make_task(loop, coroutine, **options):
        made.append(coroutine)
        return asyncio.Task(coroutine, loop=loop, **options)

    async with running() as app:
        asyncio.get_running_loop().set_task_factory(make_task)
        ids = await app.signal_many([Placed(number) for number in range(10_000)])
        asyncio.get_running_loop().set_task_factory(None)
    assert [msgspec.json.decode(body)["id"] for body in queue.messages()] == ids
    assert len(made) <= 8


@pytest.mark.parametrize(
    "events",
    [
        lambda: (Placed(number) for number in range(3)),
        lambda: map(Placed, range(3)),
        {0: Placed(0), 1: Placed(1), 2: Placed(2)}.values,
        lambda: (Placed(0), Placed(1), Placed(2)),
    ],
    ids=["generator", "map", "dict view", "tuple"],
)
async def test_signal_many_takes_any_iterable_and_stores_all_of_it_in_order(running, queue, events):
    async with running() as app:
        ids = await app.signal_many(events())
    stored = [msgspec.json.decode(body) for body in queue.messages()]
    assert [(body["id"], body["data"]["number"]) for body in stored] == list(zip(ids, range(3), strict=True))


async def test_signal_many_takes_a_set(running, queue):
    async with running() as app:
        ids = await app.signal_many({Placed(0), Placed(1), Placed(2)})
    assert sorted(msgspec.json.decode(body)["id"] for body in queue.messages()) == sorted(ids)
    assert len(set(ids)) == 3


class Iterable(pydantic.BaseModel):
    """One event, though pydantic makes it an iterable of its fields."""

    number: int = 0


async def no_events():
    yield Placed()


@pytest.mark.parametrize(
    ("events", "match"),
    [
        (Placed(1), r"not one event of the type Placed: write signal\(event\), or signal_many\(\[event\]\)"),
        (Iterable(), "not one event of the type Iterable"),
        (no_events(), "not an asynchronous one: write signal_many"),
        (None, "signal_many takes an iterable of events, not None"),
        (Placed, "signal_many takes an iterable of events, not <class "),
        ("text", "signal_many takes an iterable of events, not 'text'"),
        (b"text", "signal_many takes an iterable of events, not b'text'"),
    ],
)
async def test_what_is_no_iterable_of_events_is_an_error_that_says_what_to_write(running, queue, events, match):
    async with running() as app:
        with pytest.raises(ConfigurationError, match=match):
            await app.signal_many(events)
    assert queue.messages() == []


async def test_an_iterable_that_raises_halfway_stores_nothing(running, queue):
    def events():
        yield Placed()
        raise LookupError("the file ends here")

    async with running() as app:
        with pytest.raises(LookupError, match="the file ends here"):
            await app.signal_many(events())
    assert queue.messages() == []


class Refusing(Memory):
    """Refuses every event with an odd number."""

    async def send(self, batch):
        odd = [msgspec.json.decode(each.body)["data"]["number"] % 2 for each in batch]
        await super().send([each for each, refused in zip(batch, odd, strict=True) if not refused])
        return [Fault("unavailable", "try again") if refused else None for refused in odd]


async def test_each_signal_of_a_batch_gets_its_own_answer(running, clock):
    async with running(Refusing(clock=clock)) as app:
        answers = await asyncio.gather(*(app.signal(Placed(number)) for number in range(6)), return_exceptions=True)
    assert [isinstance(answer, str) for answer in answers] == [True, False] * 3
    error = answers[1]
    assert isinstance(error, SignalError)
    assert len(error.failed) == 1
    assert str(error) == f"event {error.ids[0]} may or may not be stored: try again (the queue answered unavailable)"


class Saying(Memory):
    """Answers each event with what its number stands for; None stores it."""

    answers = (
        None,
        Fault("denied", "AccessDenied: not yours"),
        Fault("refused", "too large"),
        Fault("unavailable", "the response does not mention this entry"),
        Fault("throttled", "RequestThrottled", uncertain=True),
        Fault("unavailable", "no connection", uncertain=False),
    )

    async def send(self, batch):
        return [self.answers[msgspec.json.decode(each.body)["data"]["number"]] for each in batch]


async def test_signal_says_whether_the_event_is_not_stored_or_may_be_and_why_first(running, clock):
    async with running(Saying(clock=clock)) as app:
        for number, told in [
            (1, r"^could not store event mine: AccessDenied: not yours \(the queue answered denied\)$"),
            (2, r"^could not store event mine: too large \(the queue answered refused\)$"),
            (3, r"^event mine may or may not be stored: the response does not mention this entry \(the q"),
            (4, r"^event mine may or may not be stored: RequestThrottled"),
            (5, r"^could not store event mine: no connection"),
        ]:
            with pytest.raises(SignalError, match=told) as caught:
                await app.signal(Placed(number), id="mine")
            error = caught.value
            assert (error.stored, list(error.failed)) == ((), ["mine"])
            assert ((error.not_stored, error.uncertain) == (("mine",), ())) == str(error).startswith("could not store")


async def test_signal_many_counts_what_is_not_stored_and_what_may_be(running, clock):
    async with running(Saying(clock=clock)) as app:
        for numbers, told in [
            ((0, 1, 2), "^could not store 2 of 3 events: AccessDenied: not yours"),
            ((0, 3), "^1 of 2 events may or may not be stored: the response does not mention this entry"),
            ((3, 0, 4, 2), "^could not store 1 of 4 events, and 2 more may or may not be stored: too large"),
        ]:
            with pytest.raises(SignalError, match=told) as caught:
                await app.signal_many([Placed(number) for number in numbers])
            error = caught.value
            assert error.__cause__ is error.failed[(error.not_stored or error.uncertain)[0]]
            place = dict(zip(error.ids, numbers, strict=True))
            assert [place[each] for each in error.stored] == [each for each in numbers if each == 0]
            assert [place[each] for each in error.not_stored] == [each for each in numbers if each in {1, 2, 5}]
            assert [place[each] for each in error.uncertain] == [each for each in numbers if each in {3, 4}]


async def test_signal_many_tells_what_is_stored_and_what_failed(running, clock):
    queue, events = Refusing(clock=clock), [Placed(number) for number in range(6)]
    async with running(queue) as app:
        with pytest.raises(SignalError, match="3 of 6 events may or may not be stored") as caught:
            await app.signal_many(events)
    stored = [msgspec.json.decode(body)["id"] for body in queue.messages()]
    assert list(caught.value.stored) == stored
    assert len(caught.value.failed) == 3
    assert all(isinstance(error, BackendError) for error in caught.value.failed.values())
    named = dict(zip(caught.value.ids, events, strict=True))
    assert [named[each].number for each in caught.value.stored] == [0, 2, 4]
    assert [named[each].number for each in caught.value.failed] == [1, 3, 5]


async def test_cancelling_a_signal_does_not_cancel_the_others_in_its_batch(running, queue, monkeypatch):
    gate = asyncio.Event()
    send = Memory.send

    async def slow(self, batch):
        await gate.wait()
        return await send(self, batch)

    monkeypatch.setattr(Memory, "send", slow)
    async with running() as app:
        signals = [asyncio.create_task(app.signal(Placed(number))) for number in range(3)]
        await asyncio.sleep(0.01)
        signals[1].cancel()
        gate.set()
        answers = await asyncio.gather(*signals, return_exceptions=True)
    assert [type(answer).__name__ for answer in answers] == ["str", "CancelledError", "str"]
    assert len(queue.messages()) == 3


async def test_without_an_app_signal_says_what_to_write():
    with pytest.raises(NoAppError, match="write `async with dawdle.Dawdle"):
        await dawdle.signal(Placed())
    with pytest.raises(NoAppError, match="write `async with dawdle.Dawdle"):
        dawdle.current()


async def test_outside_an_event_loop_current_says_so():
    with pytest.raises(NoAppError, match="no event loop runs here"):
        await asyncio.to_thread(dawdle.current)


async def test_with_two_apps_signal_names_both_and_each_means_itself_in_its_handlers(running, registry, clock):
    seen = []

    async def first(event: Placed):
        seen.append(("first", dawdle.current()))

    async def second(event: Placed):
        seen.append(("second", dawdle.current()))

    async with running(Memory(clock=clock)) as one, running(Memory(clock=clock)) as two:
        one.register(first)
        two.register(second)
        with pytest.raises(NoAppError) as caught:
            await dawdle.signal(Placed())
        assert repr(one) in str(caught.value)
        assert repr(two) in str(caught.value)
        await one.signal(Placed())
        await two.signal(Placed())
        await one.idle()
        await two.idle()
    assert seen == [("first", one), ("second", two)]


async def test_apps_may_be_left_in_any_order(make_app, clock):
    one, two = make_app(Memory(clock=clock)), make_app(Memory(clock=clock))
    await one.__aenter__()
    await two.__aenter__()
    await one.__aexit__(None, None, None)
    assert dawdle.current() is two
    await two.__aexit__(None, None, None)
    with pytest.raises(NoAppError):
        dawdle.current()


async def test_a_web_requests_context_need_not_descend_from_the_lifespans(running, queue):
    import contextvars

    async with running() as app:
        fresh = contextvars.Context()
        await asyncio.create_task(dawdle.signal(Placed()), context=fresh)
        assert await asyncio.create_task(dawdle.signal_many([Placed()]), context=fresh)
        assert len(queue.messages()) == 2
        assert dawdle.current() is app


async def test_a_wire_name_that_another_type_has_here_is_an_error(running, registry):
    namespace = type("Elsewhere", (), {})
    other = msgspec.defstruct("Placed", [("text", str)], module="billing.events")
    assert namespace

    @registry.on_event(Placed)
    async def handler(event): ...

    async with running() as app:
        with pytest.raises(ConfigurationError, match=r"two event types are named 'Placed'.*billing\.events\.Placed"):
            await app.signal(other("x"))
