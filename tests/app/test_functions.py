"""Functions: a call is stored, and a node that has the function runs it, as it runs a handler."""

import asyncio
import datetime as dt
import functools
import threading
from dataclasses import dataclass
from typing import Annotated, Any

import attrs
import msgspec
import pydantic
import pytest

import dawdle
from dawdle import ArgumentError, ConfigurationError, Context, EventError, EventTooLargeError, NotAnEventError, Retry
from dawdle.hooks import DeadLettered, HandlerFinished, Signaled
from tests.app.events import Placed

pytestmark = pytest.mark.anyio


@dataclass
class Size:
    width: int
    height: int = 0


@attrs.define
class Place:
    name: str


class Person(pydantic.BaseModel):
    name: str
    born: dt.date | None = None


@pytest.fixture
def ran():
    return []


@pytest.fixture
def resize(registry, ran):
    @registry.function(name="resize")
    async def resize(path: str, width: int = 64) -> None:
        ran.append((path, width))

    return resize


async def test_a_call_runs_its_function_with_its_arguments(running, resize, ran):
    async with running() as app:
        event_id = await app.call(resize, "a.png", width=8)
        await dawdle.call(resize, "b.png")
        await app.idle()
    assert ran == [("a.png", 8), ("b.png", 64)]
    assert len(event_id) == 32


async def test_a_plain_call_of_a_registered_function_runs_it_here_and_now(resize, ran):
    await resize("a.png")
    assert ran == [("a.png", 64)]
    assert resize.__name__ == "resize"
    assert repr(resize) == "<dawdle.Function resize>"


async def test_call_after_runs_it_when_the_time_has_come_and_not_before(running, resize, ran, clock):
    async with running() as app:
        await dawdle.call_after(5, resize, "a.png")
        await app.call_after(dt.timedelta(hours=2), resize, "b.png", 9)
        await clock.advance(4.9)
        assert ran == []
        await clock.advance(0.2)
        assert ran == [("a.png", 64)]
        await clock.advance(7200)
    assert ran == [("a.png", 64), ("b.png", 9)]


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((1, 2), {}),
        ((1,), {"b": 2}),
        ((1, 2, 3, 4), {}),
        ((1,), {"b": 2, "c": 3, "x": 5, "a": 6}),
        ((1, 2, 3), {"c": None, "self": 1, "call": 2}),
    ],
)
async def test_every_kind_of_parameter_arrives_as_python_passes_it(running, registry, ran, args, kwargs):
    def plain(a, /, b=9, *rest, c=3, **more):
        return (a, b, rest, c, more)

    @registry.function
    def every(a, /, b=9, *rest, c=3, **more):
        ran.append((a, b, rest, c, more))

    async with running() as app:
        await app.call(every, *args, **kwargs)
        await app.idle()
    assert ran == [plain(*args, **kwargs)]


async def test_arguments_of_all_event_styles_arrive_as_they_were(running, registry, ran):
    @registry.function
    async def keep(
        placed: Placed, size: Size, place: Place, person: Person, when: dt.datetime, tags: set[str], *more: Size
    ):
        ran.append((placed, size, place, person, when, tags, *more))

    now = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
    given = (Placed(3), Size(1, 2), Place("Bern"), Person(name="Ada", born=dt.date(1815, 12, 10)), now, {"a"}, Size(3))
    async with running() as app:
        await app.call(keep, *given)
        await app.idle()
    assert ran == [given]


async def test_a_default_is_that_of_the_node_that_runs_the_function_and_may_be_anything(running, registry, ran, queue):
    @registry.function(name="log")
    async def log(text: str, write: Any = ran.append):
        write(text)

    async with running(start_listener=False) as app:
        await app.call(log, "hello")
        (delivery,) = await queue.receive(1, 0)
        assert msgspec.json.decode(delivery.body)["data"] == {"text": "hello"}
        assert msgspec.json.decode(delivery.body)["type"] == "call:log"
        await queue.release([dawdle.abc.ReleaseEntry(delivery.receipt, 0)])
        await app.start_listener()
        await app.idle()
    assert ran == ["hello"]


async def test_a_def_runs_in_a_thread_and_may_call_from_there(running, registry, resize, ran):
    @registry.function
    def work(path: str):
        ran.append(threading.current_thread() is threading.main_thread())
        dawdle.from_thread.call(resize, path)
        dawdle.from_thread.call_after(0, resize, path, width=2)

    async with running() as app:
        await app.call(work, "a")
        await app.idle()
    assert ran == [False, ("a", 64), ("a", 2)]


async def test_a_parameter_of_context_gets_it_and_no_caller_passes_it(running, registry, ran):
    @registry.function(name="work")
    async def work(number: int, *, ctx: Context | None = None):
        ran.append((number, ctx))

    async with running() as app:
        event_id = await app.call(work, 1)
        with pytest.raises(ArgumentError, match=r"an unexpected keyword argument 'ctx'. It is work\(number: int\)$"):
            await app.call(work, 1, ctx=None)
        await app.idle()
    ((number, ctx),) = ran
    assert (number, ctx.event_id, ctx.event_type, ctx.handler, ctx.attempt) == (1, event_id, "call:work", "work", 1)
    await work(2)
    assert ran[1] == (2, None)


async def test_a_call_is_retried_and_then_dead_lettered_as_an_event_is(running, registry, ran, moments, clock):
    @registry.function(name="fails", retry=Retry(max_attempts=3))
    async def fails(number: int, more: int = 0):
        ran.append(number)
        raise ValueError("no")

    async with running() as app:
        await app.call(fails, 1)
        await clock.advance(3600)
        (letter,) = [letter async for letter in app.dead_letters()]
    assert ran == [1, 1, 1]
    assert [each.outcome for each in moments if isinstance(each, HandlerFinished)] == ["failed"] * 3
    assert [each.event_type for each in moments if isinstance(each, (Signaled, DeadLettered))] == ["call:fails"] * 2
    assert (letter.event_type, letter.handler, letter.attempts) == ("call:fails", "fails", 3)
    assert repr(letter.event).endswith("fails(number=1)")


async def test_a_redriven_call_runs_again(running, registry, ran, clock):
    errors = [ValueError("no")]

    @registry.function(name="work", retry=Retry(max_attempts=1))
    async def work(number: int):
        ran.append(number)
        if errors:
            raise errors.pop()

    async with running() as app:
        await app.call(work, 7)
        await app.idle()
        assert await app.redrive("call:work") == 1
        await app.idle()
    assert ran == [7, 7]


async def test_a_timeout_and_a_concurrency_of_its_own_hold_for_a_function(running, registry, clock, moments):
    running_now, most = 0, 0

    @registry.function(name="slow", timeout=5, concurrency=2, retry=Retry(max_attempts=1))
    async def slow():
        nonlocal running_now, most
        running_now += 1
        most = max(most, running_now)
        try:
            await clock.sleep_until(clock.monotonic() + 60)
        finally:
            running_now -= 1

    async with running() as app:
        for _ in range(4):
            await app.call(slow)
        await clock.advance(60)
    errors = [each.error for each in moments if isinstance(each, HandlerFinished)]
    assert errors == ["TimeoutError: it ran longer than its timeout of 5 s"] * 4
    assert most == 2


async def test_handlers_of_every_event_get_no_calls_and_functions_do_not_count_as_handlers(
    running, registry, resize, ran
):
    events = []

    @registry.on_event()
    async def every(event: object):
        events.append(event)

    @registry.on_event(msgspec.Struct)
    async def structs(event: msgspec.Struct):
        events.append(event)

    async with running() as app:
        await app.call(resize, "a")
        await app.idle()
        assert app.handler_count() == 2
    assert (ran, events) == ([("a", 64)], [])


async def test_an_app_with_functions_alone_receives(running, resize, ran):
    async with running() as app:
        assert app.handler_count() == 0
        await app.call(resize, "a")
        await app.idle()
    assert ran == [("a", 64)]


@pytest.mark.parametrize(
    ("args", "kwargs", "text"),
    [
        ((), {}, "cannot call resize: missing a required argument: 'path'. It is resize(path: str, width: int = 64)"),
        (("a",), {"size": 1}, "cannot call resize: got an unexpected keyword argument 'size'. It is resize("),
        (("a", 1, 2), {}, "cannot call resize: too many positional arguments. It is resize("),
        (("a",), {"path": "b"}, "cannot call resize: multiple values for argument 'path'. It is resize("),
        ((5,), {}, "cannot call resize with path of the type int (it takes str): Expected `str`, got `int` - at "),
        (("a", "8"), {}, "cannot call resize with width of the type str (it takes int): Expected `int`, got `str` - "),
        (("a", True), {}, "cannot call resize with width of the type bool (it takes int): Expected `int`, got `bool`"),
        (
            ("a", None),
            {},
            "cannot call resize with width of the type NoneType (it takes int): Expected `int`, got `nul",
        ),
        (("a", object()), {}, "cannot call resize with width of the type object (it takes int): "),
        (("\ud800",), {}, "cannot call resize with path of the type str (it takes str): "),
    ],
)
async def test_arguments_that_do_not_fit_are_refused_before_anything_is_stored(
    running, resize, queue, args, kwargs, text
):
    async with running(start_listener=False) as app:
        with pytest.raises(ArgumentError) as caught:
            await app.call(resize, *args, **kwargs)
        assert str(caught.value).startswith(text)
        assert isinstance(caught.value, TypeError)
        assert await queue.receive(1, 0) == []


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ({"sizes": [Size(1), Size("2")]}, "sizes of the type list (it takes list[tests.app.test_functions.Size]): "),
        ({"sizes": [Size(1), Size("2")]}, "Expected `int`, got `str` - at `$.sizes[1].width`"),
        ({"when": "2026-01-01"}, "when of the type str (it takes datetime.date): "),
        ({"when": "2026-01-01"}, "holds a str, and a date would be read"),
        ({"other": (1, 2)}, "other of the type tuple (it takes any JSON value): "),
        (
            {"other": (1, 2)},
            "it holds a tuple, and a list would be read. Pass a list, or annotate the parameter with tuple",
        ),
        ({"other": object()}, "there is no encoding for the type object; pass text or a number instead"),
        ({"few": 11}, "Expected `int` <= 10 - at `$.few`"),
        ({"person": Placed()}, "person of the type Placed (it takes tests.app.test_functions.Person): "),
        ({"more": "x"}, "**more (it takes float): Expected `float`, got `str` - at `$.more[...]`"),
    ],
)
async def test_a_wrong_value_inside_an_argument_is_named_with_its_place(running, registry, argument, text):
    @registry.function(name="take")
    async def take(
        *,
        sizes: list[Size] = [],
        when: dt.date | None = None,
        other=None,
        few: Annotated[int, msgspec.Meta(le=10)] = 1,
        person: Person | None = None,
        **more: float,
    ): ...

    if "when" in argument:
        text = text.replace("takes datetime.date", "takes datetime.date | None")
    if "person" in argument:
        text = text.replace("Person)", "Person | None)")
    async with running() as app:
        with pytest.raises(ArgumentError) as caught:
            await app.call(take, **argument)
    assert "cannot call take with " in str(caught.value)
    assert text in str(caught.value)


async def test_a_call_that_is_too_large_says_so(running, resize):
    async with running() as app:
        with pytest.raises(EventTooLargeError, match="1,044,480"):
            await app.call(resize, "x" * 1_048_576)


def plain(): ...


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (lambda: 1, "<lambda> is a lambda: write a `def` or `async def` of its own"),
        (plain, "plain is a function without it: write a `def`"),
        (functools.partial(plain), "is a partial: write a `def`"),
        (Placed, "Placed is a class: write a `def`"),
        ([].append, "list.append is a function in C: write a `def`"),
        (Retry().backoff, "Retry.backoff is a method: write a `def`"),
        (Placed(), "not Placed(number=0); an event is stored by signal(…)"),
        ("resize", "not 'resize'; an event is stored by signal(…)"),
    ],
)
async def test_what_is_no_registered_function_is_refused_with_what_to_write(running, given, text):
    async with running() as app:
        for call in (app.call(given), app.call_after(5, given)):
            with pytest.raises(NotAnEventError) as caught:
                await call
            assert text in str(caught.value)


async def test_a_coroutine_is_refused_and_closed_and_says_how_to_write_the_call(running, resize, ran):
    async with running() as app:
        coroutine = resize("a.png")
        with pytest.raises(NotAnEventError, match=r"write `call\(resize, …\)` instead of `call\(resize\(…\)\)`"):
            await app.call(coroutine)
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            await coroutine
    assert ran == []


async def test_options_are_those_of_signal(running, resize, ran, clock, queue):
    async with running(start_listener=False) as app:
        event_id = await app.call(resize.options(id="mine", headers={"tenant": "one"}, group="g"), "a")
        (delivery,) = await queue.receive(1, 0)
        body = msgspec.json.decode(delivery.body)
        assert (event_id, body["id"], body["tenant"], delivery.group) == ("mine", "mine", "one", "g")
        await queue.ack([delivery.receipt])
    async with running() as app:
        await app.call(resize.options(delay=60).options(headers={"a": "b"}), "later")
        await app.call(resize.options(direct=True), "now")
        assert ran == [("now", 64)]
        await app.call(resize.options(at=dt.datetime.fromtimestamp(clock.now() + 30, dt.UTC)), "at")
        await clock.advance(31)
        assert ran == [("now", 64), ("at", 64)]
        await clock.advance(30)
        assert ran == [("now", 64), ("at", 64), ("later", 64)]


async def test_a_call_that_has_expired_is_not_run(running, resize, ran, clock):
    async with running(start_listener=False) as app:
        await app.call(resize.options(expires=5), "a")
        await app.call(resize.options(expires=50), "b")
        await clock.advance(10)
        await app.start_listener()
        await app.idle()
    assert ran == [("b", 64)]


async def test_options_that_cannot_work_are_refused(running, registry, resize):
    @registry.function(queue="default")
    async def bound(): ...

    with pytest.raises(
        ConfigurationError, match="a call has no option dely; its options are delay, at, expires, direct, id"
    ):
        resize.options(dely=5)
    with pytest.raises(ConfigurationError, match="runs on the queue 'default', so a call on 'video' would never run"):
        bound.options(queue="video")
    with pytest.raises(ConfigurationError, match=r"a call is stored in one queue: queue is its name, not \['a', 'b'\]"):
        resize.options(queue=["a", "b"])
    async with running() as app:
        with pytest.raises(EventError, match=r"^text holds a lone surrogate"):
            await app.call(resize.options(headers={"tenant": "\udfff"}), "a")
        with pytest.raises(ConfigurationError, match=r"so does options\(delay=…\): write call\(\), or remove"):
            await app.call_after(5, resize.options(delay=3), "a")
        with pytest.raises(ConfigurationError, match="there is no queue 'video'"):
            await app.call(resize.options(queue="video"), "a")
        with pytest.raises(ConfigurationError, match="delay is 0 to .*not -1"):
            await app.call_after(-1, resize, "a")


async def test_unregister_takes_a_function_from_one_app_alone(make_app, resize, ran):
    app, other = make_app(), make_app()
    app.unregister(resize)
    with pytest.raises(ConfigurationError, match="is not a handler of this app"):
        app.unregister(resize)
    async with app:
        await app.call(resize, "a")
        await app.idle()
        assert ran == []
    async with other:
        await other.idle()
    assert ran == [("a", 64)]


async def test_calls_run_at_the_same_time(running, registry):
    here, all_here = [], asyncio.Event()

    @registry.function
    async def meet(number: int):
        here.append(number)
        if len(here) == 3:
            all_here.set()
        await all_here.wait()

    async with running() as app:
        await asyncio.gather(*(app.call(meet, number) for number in range(3)))
        await app.idle()
    assert sorted(here) == [0, 1, 2]
