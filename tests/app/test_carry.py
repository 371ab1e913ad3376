"""`carry=`: context variables travel as headers, and are set around the handlers, in threads too."""

import asyncio
import logging
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar

import msgspec
import pytest

import dawdle
from dawdle import ConfigurationError, Context, Retry
from dawdle.abc import Outgoing
from dawdle.hooks import HandlerFinished
from tests.app.events import Cancelled, Placed

pytestmark = pytest.mark.anyio

request_id: ContextVar[str] = ContextVar("request_id")
tenant: ContextVar[str | None] = ContextVar("tenant", default=None)
CARRY = {"requestid": request_id, "tenant": tenant}


@contextmanager
def holding(variable, value):
    token = variable.set(value)
    yield
    variable.reset(token)


def here():
    return request_id.get(None), tenant.get()


def signal_as(app, event, *, request=None, of=None, **options):
    """Signal in a task of its own, as a web request does."""

    async def signal():
        if request is not None:
            request_id.set(request)
        if of is not None:
            tenant.set(of)
        return await app.signal(event, **options)

    return asyncio.create_task(signal())


@pytest.fixture
def seen():
    return []


async def test_handlers_of_both_kinds_find_what_was_set_where_the_event_was_signaled(running, registry, seen):
    @registry.on_event(Placed)
    async def first(event, ctx: Context):
        seen.append((*here(), dict(ctx.headers)))

    @registry.on_event(Placed)
    def second(event):
        seen.append(here())

    async with running(carry=CARRY) as app:
        await signal_as(app, Placed(1), request="r-1", of="")
        await app.idle()
        assert sorted(seen, key=len) == [("r-1", ""), ("r-1", "", {"requestid": "r-1", "tenant": ""})]
    assert here() == (None, None)


async def test_what_is_not_set_does_not_travel_and_is_not_set(running, registry, queue, seen):
    @registry.on_event(Placed)
    async def handler(event):
        seen.append(here())

    async with running(carry=CARRY, concurrency=1, start_listener=False) as app:
        await signal_as(app, Placed(1), request="r-1")
        await signal_as(app, Placed(2), of="t-1")
        await signal_as(app, Placed(3))
        assert [msgspec.json.decode(body).keys() & CARRY for body in queue.messages()] == [
            {"requestid"},
            {"tenant"},
            set(),
        ]
        await app.start_listener()
        await app.idle()
    assert seen == [("r-1", None), (None, "t-1"), (None, None)]


async def test_what_a_handler_signals_carries_it_on_unless_the_handler_sets_another(running, registry, seen):
    @registry.on_event(Placed)
    async def first(event):
        if event.number:
            request_id.set("own")
        await dawdle.signal(Cancelled(event.number))

    @registry.on_event(Cancelled)
    async def second(event):
        seen.append(here())

    async with running(carry=CARRY) as app:
        await signal_as(app, Placed(0), request="r-1", of="t-1")
        await app.idle()
        await signal_as(app, Placed(1), request="r-1", of="t-1")
        await app.idle()
    assert seen == [("r-1", "t-1"), ("own", "t-1")]


async def test_what_a_thread_signals_carries_it_on(running, registry, seen):
    @registry.on_event(Placed)
    def first(event):
        dawdle.from_thread.signal(Cancelled(1))

    @registry.on_event(Cancelled)
    async def second(event):
        seen.append(here())

    async with running(carry=CARRY) as app:
        await signal_as(app, Placed(1), request="r-1")
        await app.idle()
    assert seen == [("r-1", None)]


async def test_a_call_of_a_function_carries_it_too(running, registry, seen):
    @registry.function
    async def work(number: int) -> None:
        seen.append((number, *here()))

    async with running(carry=CARRY) as app:
        with holding(request_id, "r-1"):
            await app.call(work, 5)
        await app.idle()
    assert seen == [(5, "r-1", None)]


async def test_a_retry_a_redriven_letter_and_a_direct_event_have_it_too(running, registry, clock, letters, seen):
    @registry.on_event(Placed, retry=Retry(max_attempts=2))
    async def handler(event, ctx: Context):
        seen.append((ctx.attempt, *here()))
        if len(seen) < 3:
            raise ValueError

    async with running(carry=CARRY) as app:
        await signal_as(app, Placed(1), request="r-1", direct=True)
        await app.idle()
        await clock.advance(900)
        await app.idle()
        (letter,) = letters()
        assert letter["requestid"] == "r-1"
        await app.redrive()
        await app.idle()
    assert seen == [(1, "r-1", None), (2, "r-1", None), (1, "r-1", None)]


async def test_headers_of_the_signal_win_and_those_of_the_app_are_beside_it(running, registry, seen):
    @registry.on_event(Placed)
    async def handler(event, ctx: Context):
        seen.append((request_id.get(), dict(ctx.headers)))

    async with running(carry={"requestid": request_id}, headers={"region": "eu"}) as app:
        await signal_as(app, Placed(1), request="r-1", headers={"requestid": "given"})
        await app.idle()
    assert seen == [("given", {"requestid": "given", "region": "eu"})]


async def test_a_header_of_another_producer_is_set_as_text(running, registry, queue, seen):
    @registry.on_event(Placed)
    async def handler(event):
        seen.append(here())

    body = {"specversion": "1.0", "id": "f-1", "source": "/x", "type": "Placed", "data": {}, "requestid": 7}
    async with running(carry=CARRY) as app:
        await queue.send([Outgoing(msgspec.json.encode({**body, "tenant": None}))])
        await app.idle()
    assert seen == [("7", None)]


async def test_an_around_a_hook_and_the_log_of_a_failure_have_it(running, registry, seen, caplog):
    class WithRequest(logging.Filter):
        def filter(self, record):
            record.request = request_id.get(None)
            return True

    @asynccontextmanager
    async def around(ctx):
        seen.append(("around", request_id.get()))
        yield

    def hook(moment):
        if isinstance(moment, HandlerFinished):
            seen.append(("hook", request_id.get(None)))

    @registry.on_event(Placed, retry=Retry(max_attempts=1))
    async def handler(event):
        raise ValueError("no stock")

    caplog.handler.addFilter(WithRequest())
    async with running(carry=CARRY, around=around, hooks=[hook]) as app:
        await signal_as(app, Placed(1), request="r-1")
        await app.idle()
    (failure,) = [record for record in caplog.records if record.name == "dawdle._flow.failure_log"]
    assert failure.request == "r-1"
    assert seen == [("around", "r-1"), ("hook", "r-1")]


async def test_each_of_many_events_carries_it(running, registry, queue):
    async with running(carry=CARRY, start_listener=False) as app:
        with holding(request_id, "r-1"):
            await app.signal_many([Placed(1), Placed(2)])
    assert [msgspec.json.decode(body)["requestid"] for body in queue.messages()] == ["r-1", "r-1"]


# Mistakes


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"carry": [request_id]}, "carry is a mapping of header names to context variables"),
        ({"carry": {"requestid": "request_id"}}, "carry: 'requestid' is a contextvars.ContextVar, not 'request_id'"),
        ({"carry": {"request_id": request_id}}, "a header's name is 1 to 20 of a-z and 0-9, not 'request_id'"),
        ({"carry": {"x" * 21: request_id}}, "a header's name is 1 to 20"),
        ({"carry": {1: request_id}}, "a header's name is 1 to 20"),
        ({"carry": {"dawdleowed": request_id}}, "the header 'dawdleowed' is taken"),
        ({"carry": {"source": request_id}}, "the header 'source' is taken"),
        (
            {"carry": {"tenant": tenant}, "headers": {"tenant": "t-1"}},
            "tenant: in carry= and in headers= of the app; name a header in one only",
        ),
    ],
)
async def test_a_mistake_is_told_where_it_is_written(make_app, options, told):
    with pytest.raises(ConfigurationError) as caught:
        make_app(**options)
    assert told in str(caught.value)


async def test_a_function_of_headers_that_names_one_too_is_told_at_the_signal(running):
    async with running(carry=CARRY, headers=lambda: {"tenant": "t-1"}) as app:
        with pytest.raises(ConfigurationError, match="tenant: in carry= and in headers= of the app"):
            await app.signal(Placed(1))


async def test_a_value_that_is_not_text_is_refused_at_the_signal_and_nothing_is_stored(running, queue):
    async with running(carry=CARRY, start_listener=False) as app:
        with holding(request_id, 7), pytest.raises(ConfigurationError) as caught:
            await app.signal(Placed(1))
        assert str(caught.value) == (
            "carry: the variable of 'requestid' holds 7, and only text travels: let it hold text, or carry another "
            "variable that holds the same as text"
        )
        with holding(request_id, "7"), holding(tenant, None):
            await app.signal(Placed(1))
    assert len(queue.messages()) == 1


async def test_an_app_without_it_takes_the_header_for_a_header(running, registry, seen):
    @registry.on_event(Placed)
    async def handler(event, ctx: Context):
        seen.append((*here(), ctx.headers["requestid"]))

    async with running() as app:
        with holding(request_id, "r-1"):
            await app.signal(Placed(1), headers={"requestid": "given"})
        await app.idle()
    assert seen == [(None, None, "given")]
