"""The spans, by OpenTelemetry's conventions for messaging (1.44): what each moment begins, ends or notes.

    signal           send Q                 PRODUCER   its context travels with the event
    receive          receive Q              CLIENT     of receives that brought messages; links to their signals
    handler's run    process Q HANDLER      CONSUMER   current while the handler runs, so what it does is inside
    copy, letter     retry Q, dead_letter Q CLIENT     without length: what was stored, for whom, and for when
    settlement       settle Q               CLIENT

`send` is the parent of all that follows, or `receive` is, and each of them links to `send` (`consumer_spans`).
"""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar, Token
from functools import lru_cache
from time import time_ns
from typing import Final, Literal

from opentelemetry import context as contexts
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    NoOpTracer,
    ProxyTracer,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from dawdle import hooks
from dawdle.telemetry._metrics import DESTINATION, ERROR, HANDLER, MAX_CHARACTERS, OPERATION, signal_error
from dawdle.telemetry._queues import Queues
from dawdle.telemetry._receives import Receives

__all__ = ["ConsumerSpans", "Spans"]

ConsumerSpans = Literal["child", "linked"]

_OPERATION_TYPE: Final = "messaging.operation.type"
_MESSAGE_ID: Final = "messaging.message.id"
_EVENT_TYPE: Final = "cloudevents.event_type"

_trace: Final = TraceContextTextMapPropagator()
_baggage: Final = W3CBaggagePropagator()

MAX_TRACES: Final = 4096
"""Contexts of signals that are kept read: more than are in flight, as a rule."""

Attributes = dict[str, AttributeValue]
_Consumed = hooks.HandlerStarted | hooks.Forwarded | hooks.DeadLettered | hooks.Expired | hooks.Settled


class _Run:
    """The span of a handler's run, and what makes it current."""

    __slots__ = ("span", "token")

    def __init__(self, span: Span, token: "Token[Context]") -> None:
        self.span = span
        self.token = token


_run_here: ContextVar[_Run | None] = ContextVar("dawdle.telemetry.run", default=None)


class Spans:
    """Makes the spans of one app."""

    def __init__(self, queues: Queues, *, consumer_spans: ConsumerSpans, baggage: bool) -> None:
        self._tracer: Tracer = NoOpTracer()
        self._queues = queues
        self._child = consumer_spans == "child"
        self._baggage = baggage
        self._base: dict[tuple[str, str, str], tuple[str, Attributes]] = {}
        self._signals: dict[tuple[str, int], tuple[Span, set[str]]] = {}
        """By event and task: the span of a signal, and the queues that have not answered."""
        self._next: Span | None = None
        """The span of the signal whose headers are asked for next."""
        self._receives = Receives()

    def use(self, tracer: Tracer) -> None:
        """Make spans by this tracer from now on, of queues that may have become known."""
        self._tracer = tracer
        self._base.clear()

    @property
    def is_idle(self) -> bool:
        """Whether no provider makes spans."""
        return isinstance(self._tracer, (NoOpTracer, ProxyTracer))

    # Signals

    def signal_started(self, moment: hooks.SignalStarted) -> None:
        """Begin the span of a signal, in the context of its caller."""
        name, base = self._named("send", "send", moment.queues[0])
        attributes = {**base, _MESSAGE_ID: moment.event_id, _EVENT_TYPE: moment.event_type}
        span = self._tracer.start_span(name, kind=SpanKind.PRODUCER, attributes=attributes)
        self._signals[moment.event_id, _task()] = span, set(moment.queues)
        self._next = span

    def headers(self, handled: hooks.Trace | None) -> dict[str, str]:
        """Return the headers that carry the trace of the signal, or else of the calling code."""
        span, self._next = self._next, None
        context = contexts.get_current() if span is None else set_span_in_context(span)
        headers: dict[str, str] = {}
        if context:
            _trace.inject(headers, context)
            if self._baggage:
                _baggage.inject(headers, context)
        if not headers and handled is not None and self.is_idle:  # nothing was made current for the handler
            named = {"traceparent": handled.traceparent, "tracestate": handled.tracestate}
            if self._baggage:
                named["baggage"] = handled.baggage
            return {name: value for name, value in named.items() if value is not None}
        return headers

    def signaled(self, moment: hooks.Signaled | hooks.SignaledDirect) -> None:
        """Note that a queue has stored the event; the last one ends the span."""
        self._end_signal(moment.event_id, moment.queue, None)

    def signal_failed(self, moment: hooks.SignalFailed) -> None:
        """End the span of a signal as failed."""
        self._end_signal(moment.event_id, moment.queue, moment)

    def _end_signal(self, event_id: str, queue: str, failed: hooks.SignalFailed | None) -> None:
        key = event_id, _task()
        found = self._signals.get(key)
        if found is None:
            return
        span, missing = found
        missing.discard(queue)
        if failed is not None:
            # The caller gets the exception, and says what it means. So it is not recorded here a second time.
            span.set_attribute(ERROR, signal_error(failed))
            span.set_status(Status(StatusCode.ERROR, failed.error))
        if not missing:
            span.end()
            del self._signals[key]

    # Receives

    def received(self, moment: hooks.Received) -> None:
        """Make the span of a receive that brought messages."""
        if not moment.messages:
            return
        name, base = self._named("receive", "receive", moment.queue)
        now = time_ns()
        span = self._tracer.start_span(
            name,
            Context(),
            SpanKind.CLIENT,
            {**base, "messaging.batch.message_count": moment.messages},
            start_time=now - int(moment.seconds * 1e9),
        )
        self._receives.begin(span, now, moment.queue, moment.message_ids)

    def end_receives(self) -> None:
        """End the spans of receives that still wait for links: the app was left."""
        self._receives.end_all()

    # Handlers

    def handler_started(self, moment: hooks.HandlerStarted) -> None:
        """Begin the span of a handler's run, and make it current in this task."""
        context, links = self._origin(moment)
        name, base = self._named("process", "process", moment.queue)
        attributes: Attributes = {
            **base,
            **_about(moment),
            HANDLER: moment.handler,
            "dawdle.attempt": moment.attempt,
        }
        if moment.waited is not None:
            attributes["dawdle.waited"] = moment.waited
        span = self._tracer.start_span(f"{name} {moment.handler}", context, SpanKind.CONSUMER, attributes, links)
        if self._baggage and moment.trace is not None and moment.trace.baggage is not None:
            context = _baggage.extract({"baggage": moment.trace.baggage}, context)
        _run_here.set(_Run(span, contexts.attach(set_span_in_context(span, context))))

    def handler_finished(self, moment: hooks.HandlerFinished) -> None:
        """End the span of a handler's run."""
        run = _run_here.get()
        if run is None:
            return
        _run_here.set(None)
        contexts.detach(run.token)
        span = run.span
        try:
            if span.is_recording():
                span.set_attribute("dawdle.outcome", moment.outcome)
                if moment.error is not None:
                    span.set_status(Status(StatusCode.ERROR, moment.error))
                if moment.exception is not None:
                    span.set_attribute(ERROR, type(moment.exception).__qualname__)
                    span.record_exception(moment.exception)  # it asks the exception for its text, which may raise
        finally:
            span.end()

    # Copies, letters, settlements

    def forwarded(self, moment: hooks.Forwarded) -> None:
        """Note a copy that was stored."""
        self._note(moment.why, "send", moment, {"dawdle.delay": moment.delay})

    def dead_lettered(self, moment: hooks.DeadLettered) -> None:
        """Note a dead letter that was stored."""
        self._note("dead_letter", "send", moment, {"dawdle.reason": moment.reason})

    def expired(self, moment: hooks.Expired) -> None:
        """Note that an event was dropped."""
        self._note("expire", "settle", moment, {"dawdle.late": moment.late})

    def _note(
        self,
        operation: str,
        operation_type: str,
        moment: hooks.Forwarded | hooks.DeadLettered | hooks.Expired,
        more: Attributes,
    ) -> None:
        context, links = self._origin(moment)
        queue = f"{moment.queue} (dead letters)" if operation == "dead_letter" else moment.queue
        name, base = self._named(operation, operation_type, queue)
        attributes = {**base, **_about(moment), **more}
        if moment.handler is not None:
            attributes[HANDLER] = moment.handler[:MAX_CHARACTERS]
        now = time_ns()
        self._tracer.start_span(name, context, SpanKind.CLIENT, attributes, links, start_time=now).end(now)

    def settled(self, moment: hooks.Settled) -> None:
        """Make the span of a settlement, which has just ended."""
        context, links = self._origin(moment)
        name, base = self._named("settle", "settle", moment.queue)
        attributes: Attributes = {**base, "dawdle.verdict": moment.verdict, "dawdle.held": moment.seconds}
        if moment.event_id:
            attributes |= _about(moment)
        now = time_ns()
        span = self._tracer.start_span(
            name, context, SpanKind.CLIENT, attributes, links, start_time=now - int(moment.settling * 1e9)
        )
        if moment.verdict == "kept":
            span.set_attribute(ERROR, "not_settled")
            span.set_status(Status(StatusCode.ERROR, "the queue did not confirm it"))
        span.end(now)
        self._receives.forget(moment.queue, moment.message_id)

    # What they share

    def _origin(self, moment: _Consumed) -> tuple[Context, list[Link]]:
        """Return the context in which a span of a received event begins, and its links.

        The context in which the app was entered says nothing of the event, so it is not looked at.
        """
        trace = moment.trace
        created = None if trace is None or trace.traceparent is None else _read(trace.traceparent, trace.tracestate)
        link = None if created is None else Link(created[1], {_MESSAGE_ID: moment.event_id[:MAX_CHARACTERS]})
        receive = self._receives.link(moment.queue, moment.message_id, link)
        if created is not None and self._child:
            return created[0], [Link(created[1])]
        return receive or Context(), [] if created is None else [Link(created[1])]

    def _named(self, operation: str, operation_type: str, queue: str) -> tuple[str, Attributes]:
        """Return the name of a span, and the attributes that all of its kind have."""
        key = operation, operation_type, queue
        found = self._base.get(key)
        if found is None:
            facts = self._queues.of(queue)
            attributes: Attributes = {**facts, OPERATION: operation, _OPERATION_TYPE: operation_type}
            found = f"{operation} {facts[DESTINATION]}", attributes
            self._base[key] = found
        return found

    def by_moment(self) -> dict[type[hooks.Moment], Callable[..., None]]:
        """Return which method is for which moment."""
        return {
            hooks.SignalStarted: self.signal_started,
            hooks.Signaled: self.signaled,
            hooks.SignaledDirect: self.signaled,
            hooks.SignalFailed: self.signal_failed,
            hooks.Received: self.received,
            hooks.HandlerStarted: self.handler_started,
            hooks.HandlerFinished: self.handler_finished,
            hooks.Forwarded: self.forwarded,
            hooks.DeadLettered: self.dead_lettered,
            hooks.Expired: self.expired,
            hooks.Settled: self.settled,
        }


def _about(moment: _Consumed) -> Attributes:
    """Return what names an event. Another program may have written it, and at any length."""
    return {_MESSAGE_ID: moment.event_id[:MAX_CHARACTERS], _EVENT_TYPE: moment.event_type[:MAX_CHARACTERS]}


@lru_cache(MAX_TRACES)  # asked for the start of each handler and for each settlement, and 6 µs
def _read(traceparent: str, tracestate: str | None) -> tuple[Context, SpanContext] | None:
    """Return the context of the span that signaled an event; None if that is nonsense."""
    headers = {"traceparent": traceparent}
    if tracestate is not None:
        headers["tracestate"] = tracestate
    context = _trace.extract(headers, Context())
    created = get_current_span(context).get_span_context()
    return (context, created) if created.is_valid else None


def _task() -> int:
    return id(asyncio.current_task())
