"""The spans of signal, receive, handlers, copies and settlements, by the conventions for messaging."""

import asyncio
import gc
import logging
import weakref

import pytest
from opentelemetry.trace import SpanKind, StatusCode, get_current_span

from dawdle import Reject, Retry, RetryLater, SignalError
from dawdle.abc import Fault
from dawdle.backends.sqs import SQS
from dawdle.testing.sqs import SQSServer
from tests.telemetry.conftest import OrderPlaced, ParcelPacked

pytestmark = pytest.mark.anyio


def handler(registry, work=None, **options):
    options = {"name": "receipt", **options}

    @registry.on_event(**options)
    async def handle(event: OrderPlaced):
        if work is not None:
            work()

    return handle


def raising(error):
    def work():
        raise error

    return work


def id_of(span):
    return span.context.span_id


async def test_a_handler_s_span_is_in_the_trace_of_the_request_that_signaled(running, registry, trace):
    handler(registry)
    async with running() as app:
        with trace.tracer.start_as_current_span("POST /orders"):
            event_id = await app.signal(OrderPlaced("o-1"))
        await app.idle()
    request, send, process = trace.one("POST /orders"), trace.one("send default"), trace.one("process default receipt")
    settle, receive = trace.one("settle default"), trace.one("receive default")
    assert id_of(request) == send.parent.span_id
    assert id_of(send) == process.parent.span_id == settle.parent.span_id
    assert {span.context.trace_id for span in (request, send, process, settle)} == {request.context.trace_id}
    assert [send.kind, process.kind, settle.kind, receive.kind] == [
        SpanKind.PRODUCER,
        SpanKind.CONSUMER,
        SpanKind.CLIENT,
        SpanKind.CLIENT,
    ]
    assert [link.context.span_id for link in process.links] == [id_of(send)]
    assert receive.parent is None
    assert [(link.context.span_id, dict(link.attributes)) for link in receive.links] == [
        (id_of(send), {"messaging.message.id": event_id})
    ]
    assert dict(send.attributes) == {
        "messaging.system": "memory",
        "messaging.destination.name": "default",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.message.id": event_id,
        "cloudevents.event_type": "OrderPlaced",
    }
    assert dict(process.attributes) == {
        **send.attributes,
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "dawdle.handler": "receipt",
        "dawdle.attempt": 1,
        "dawdle.waited": 0.0,
        "dawdle.outcome": "done",
    }
    assert settle.attributes["messaging.operation.type"] == "settle"
    assert settle.attributes["dawdle.verdict"] == "acked"
    assert {span.status.status_code for span in trace.spans} == {StatusCode.UNSET}
    assert {span.instrumentation_scope.name for span in (send, process, settle, receive)} == {"dawdle"}


async def test_linked_spans_are_in_the_trace_of_the_receive(running, registry, trace):
    handler(registry)
    async with running(otel={"consumer_spans": "linked"}) as app:
        with trace.tracer.start_as_current_span("POST /orders"):
            await app.signal(OrderPlaced("o-1"))
        await app.idle()
    send, receive = trace.one("send default"), trace.one("receive default")
    assert send.context.trace_id != receive.context.trace_id
    for name in ("process default receipt", "settle default"):
        span = trace.one(name)
        assert span.parent.span_id == id_of(receive)
        assert [link.context.span_id for link in span.links] == [id_of(send)]


@pytest.mark.parametrize("kind", ["async", "def"])
async def test_spans_and_signals_in_a_handler_are_children_of_its_span(running, registry, trace, kind):
    if kind == "async":

        @registry.on_event(name="pack")
        async def pack(event: OrderPlaced):
            with trace.tracer.start_as_current_span("weigh"):
                await app.signal(ParcelPacked(event.order_id))

    else:

        @registry.on_event(name="pack")
        def pack(event: OrderPlaced):
            import dawdle

            with trace.tracer.start_as_current_span("weigh"):
                dawdle.from_thread.signal(ParcelPacked(event.order_id))

    @registry.on_event(name="label")
    async def label(event: ParcelPacked):
        pass

    async with running() as app:
        await app.signal(OrderPlaced("o-1"))
        await app.idle()
    first, second = sorted(trace.all("send default"), key=lambda span: span.start_time)
    pack_span, weigh = trace.one("process default pack"), trace.one("weigh")
    assert pack_span.parent.span_id == id_of(first)
    assert weigh.parent.span_id == id_of(pack_span)
    assert second.parent.span_id == id_of(weigh)
    assert trace.one("process default label").parent.span_id == id_of(second)


async def test_the_span_of_one_handler_is_not_current_in_its_sibling_or_after_it(running, registry, trace):
    seen = {}

    for name in ("a", "b"):

        @registry.on_event(OrderPlaced, name=name)
        async def handle(event, name=name):
            await asyncio.sleep(0)
            seen[name] = get_current_span().get_span_context().span_id

        handle.__qualname__ = name

    async with running() as app:
        await app.signal(OrderPlaced("o-1"))
        await app.idle()
    assert seen == {name: id_of(trace.one(f"process default {name}")) for name in ("a", "b")}
    assert not get_current_span().get_span_context().is_valid


async def test_a_receipt_that_comes_an_hour_late_is_told_by_its_trace(running, registry, trace, clock):
    tries = []

    def work():
        tries.append(1)
        if len(tries) < 2:
            raise ConnectionError("the mail server is away")

    handler(registry, work, retry=Retry(initial=3600, jitter=0))
    async with running() as app:
        with trace.tracer.start_as_current_span("POST /orders"):
            await app.signal(OrderPlaced("o-1"))
        await app.idle()
        await clock.advance(3601)
        await app.idle()
    send = trace.one("send default")
    first, second = trace.all("process default receipt")
    # This queue delays for 15 minutes at most, so an hour is four hops, each of which the trace shows.
    (retry,), hops = trace.all("retry default"), trace.all("delayed default")
    assert [round(span.attributes["dawdle.delay"]) for span in hops] == [900, 900, 900]
    assert {span.parent.span_id for span in (first, second, retry, *hops)} == {id_of(send)}
    assert [(span.attributes["dawdle.attempt"], span.attributes["dawdle.outcome"]) for span in (first, second)] == [
        (1, "failed"),
        (2, "done"),
    ]
    assert (retry.attributes["dawdle.handler"], retry.attributes["messaging.operation.type"]) == ("receipt", "send")
    assert retry.attributes["dawdle.delay"] == 900
    assert first.status.status_code is StatusCode.ERROR
    assert first.status.description == "ConnectionError: the mail server is away"
    assert first.attributes["error.type"] == "ConnectionError"


async def test_an_exception_is_recorded_once_with_its_traceback(running, registry, trace):
    handler(registry, raising(ValueError("odd")), retry=Retry(max_attempts=1))
    async with running() as app:
        await app.signal(OrderPlaced("o-1"))
        await app.idle()
    events = [(span.name, event) for span in trace.spans for event in span.events]
    ((name, event),) = events
    assert name == "process default receipt"
    assert event.name == "exception"
    assert event.attributes["exception.type"] == "ValueError"
    assert "in work" in event.attributes["exception.stacktrace"]


async def test_a_dead_letter_names_its_handler_and_reason(running, registry, trace):
    handler(registry, raising(Reject("no such order")))
    async with running() as app:
        await app.signal(OrderPlaced("o-1"))
        await app.idle()
    letter = trace.one("dead_letter default (dead letters)")
    assert letter.attributes["dawdle.reason"] == "Reject: no such order"
    assert letter.attributes["dawdle.handler"] == "receipt"
    assert letter.parent.span_id == id_of(trace.one("send default"))
    assert trace.one("process default receipt").status.status_code is StatusCode.ERROR


async def test_a_redriven_letter_goes_on_in_its_trace(running, registry, trace):
    tries = []

    def work():
        tries.append(1)
        if len(tries) == 1:
            raise Reject("not yet known")

    handler(registry, work)
    async with running() as app:
        await app.signal(OrderPlaced("o-1"))
        await app.idle()
        await app.redrive()
        await app.idle()
    assert len(tries) == 2
    assert {span.parent.span_id for span in trace.all("process default receipt")} == {id_of(trace.one("send default"))}


async def test_what_comes_later_is_no_error(running, registry, trace):
    handler(registry, raising(RetryLater(10)))
    async with running() as app:
        await app.signal(OrderPlaced("o-1"))
        await app.idle()
        process = trace.one("process default receipt")
        assert process.attributes["dawdle.outcome"] == "later"
        assert process.status.status_code is StatusCode.UNSET
        assert trace.one("later default").attributes["dawdle.delay"] == 10


async def test_a_timeout_is_an_error_of_that_name(running, registry, trace, clock):
    @registry.on_event(name="receipt", timeout=5, retry=Retry(max_attempts=1))
    async def handle(event: OrderPlaced):
        await asyncio.Event().wait()

    async with running() as app:
        await app.signal(OrderPlaced("o-1"))
        await clock.advance(6)
        await app.idle()
    process = trace.one("process default receipt")
    assert process.attributes["error.type"] == "TimeoutError"
    assert process.status.description == "TimeoutError: it ran longer than its timeout of 5 s"


async def test_a_direct_event_has_its_handlers_in_the_trace(running, registry, trace):
    handler(registry)
    async with running() as app:
        with trace.tracer.start_as_current_span("POST /orders"):
            await app.signal(OrderPlaced("o-1"), direct=True)
        await app.idle()
    assert trace.names == ["POST /orders", "process default receipt", "send default"]
    assert trace.one("process default receipt").parent.span_id == id_of(trace.one("send default"))


async def test_signal_many_has_a_span_for_each_event(running, registry, trace):
    handler(registry)
    async with running() as app:
        ids = await app.signal_many([OrderPlaced("o-1"), OrderPlaced("o-2")])
        await app.idle()
    sends = trace.all("send default")
    assert sorted(span.attributes["messaging.message.id"] for span in sends) == sorted(ids)
    by_id = {span.attributes["messaging.message.id"]: id_of(span) for span in sends}
    for process in trace.all("process default receipt"):
        assert process.parent.span_id == by_id[process.attributes["messaging.message.id"]]


async def test_a_signal_that_fails_has_an_error_and_no_second_record_of_it(
    running, registry, trace, queue, monkeypatch
):
    handler(registry)

    async def refuse(batch):
        return [Fault("refused", "too odd") for _ in batch]

    monkeypatch.setattr(queue, "send", refuse)
    async with running() as app:
        with pytest.raises(SignalError):
            await app.signal(OrderPlaced("o-1"))
    send = trace.one("send default")
    assert send.status.status_code is StatusCode.ERROR
    assert send.attributes["error.type"] == "refused"
    assert not send.events


async def test_a_traceparent_of_the_user_s_own_wins(running, registry, trace):
    handler(registry)
    mine = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with running() as app:
        await app.signal(OrderPlaced("o-1"), headers={"traceparent": mine})
        await app.idle()
    process = trace.one("process default receipt")
    assert f"{process.parent.span_id:016x}" == "b7ad6b7169203331"
    assert process.parent.is_remote


@pytest.mark.parametrize("nonsense", ["", "x", "00-0-0-01", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "ü" * 500])
async def test_a_traceparent_of_nonsense_changes_nothing(running, registry, trace, nonsense):
    handler(registry)
    async with running() as app:
        await app.signal(OrderPlaced("o-1"), headers={"traceparent": nonsense})
        await app.idle()
    assert trace.one("process default receipt").attributes["dawdle.outcome"] == "done"


async def test_the_context_in_which_an_app_is_entered_is_not_that_of_its_events(running, registry, trace):
    handler(registry)
    with trace.tracer.start_as_current_span("start"):
        async with running() as app:
            await asyncio.create_task(app.signal(OrderPlaced("o-1"), headers={"traceparent": ""}))
            await app.idle()
    start = trace.one("start").context
    assert trace.one("process default receipt").context.trace_id != start.trace_id
    assert trace.one("receive default").context.trace_id != start.trace_id


class UnshowableError(Exception):
    def __str__(self):
        raise KeyError("no text")


async def test_the_span_of_an_exception_that_cannot_be_shown_ends_all_the_same(running, registry, trace):
    handler(registry, raising(UnshowableError()), retry=Retry(max_attempts=1))
    async with running() as app:
        await app.signal(OrderPlaced("o-1"))
        await app.idle()
    assert trace.one("process default receipt").attributes["error.type"] == "UnshowableError"


async def test_a_failed_run_leaves_nothing_for_the_garbage_collector(running, registry, caplog):
    seen = []

    class Marked(Exception):
        def __init__(self):
            seen.append(weakref.ref(self))

    def work():
        raise Marked

    handler(registry, work, retry=Retry(max_attempts=1))
    caplog.set_level(logging.CRITICAL, "dawdle")  # pytest keeps each record with its exception
    async with running() as app:
        gc.disable()
        try:
            await app.signal(OrderPlaced("o-1"))
            await app.idle()
            assert [ref() for ref in seen] == [None]
        finally:
            gc.enable()


async def test_on_sqs_spans_are_named_after_the_queue_there(running, registry, trace, clock, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    handler(registry, raising(Reject("no such order")))
    async with SQSServer(clock=clock) as server:
        server.create_queue("orders-dlq")
        server.create_queue("orders", dead_letter="orders-dlq", max_receives=1000)
        url = server.queue_url("orders")
        async with running(SQS(url, wait=0)) as app:
            await app.signal(OrderPlaced("o-1"))
            await app.idle()
    assert trace.names == [
        "dead_letter orders-dlq",
        "process orders receipt",
        "receive orders",
        "send orders",
        "settle orders",
    ]
    process = trace.one("process orders receipt").attributes
    assert process["messaging.system"] == "aws_sqs"
    assert process["aws.sqs.queue.url"] == url
    assert process["server.address"] == "127.0.0.1"
