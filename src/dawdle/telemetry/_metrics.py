"""The metrics: their names, labels and buckets, and what each moment adds to them. Knows no library that keeps them.

Names and labels are OpenTelemetry's, those of its messaging conventions where there is one (1.44), else `dawdle.…`.
Prometheus gets the same ones in the form into which OpenTelemetry's own exporter puts them, so that one dashboard
serves both.
"""

from collections.abc import Callable
from typing import Final, Literal, Protocol

import msgspec

from dawdle import hooks

__all__ = [
    "DESTINATION",
    "ERROR",
    "GAUGES",
    "HANDLER",
    "HEALTHY",
    "IN_FLIGHT",
    "MAX_CHARACTERS",
    "METRICS",
    "OLDEST",
    "OPERATION",
    "SLOTS",
    "SYSTEM",
    "Metric",
    "Recorder",
    "Sink",
    "signal_error",
]

SYSTEM: Final = "messaging.system"
DESTINATION: Final = "messaging.destination.name"
OPERATION: Final = "messaging.operation.name"
ERROR: Final = "error.type"
EVENT_TYPE: Final = "cloudevents.event_type"
HANDLER: Final = "dawdle.handler"

# The conventions give these bounds for durations, as advice.
_DURATIONS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_WAITS: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
_SHARES: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)

MAX_LABEL_SETS: Final = 2000
"""Sets of labels of all metrics that are kept apart. More come only from names that others write: they count together,
as `_OTHER`."""

MAX_CHARACTERS: Final = 200
"""Characters of a value that another program may have written."""

_OTHER: Final = "_OTHER"


class Metric(msgspec.Struct, frozen=True):
    """One metric. All have the labels `messaging.system` and `messaging.destination.name` beside their own."""

    name: str
    kind: Literal["counter", "histogram", "gauge"]
    unit: str
    text: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


SENT: Final = Metric(
    "messaging.client.sent.messages",
    "counter",
    "{message}",
    "Events that were signaled, stored or not",
    (OPERATION, EVENT_TYPE, ERROR),
)
CONSUMED: Final = Metric(
    "messaging.client.consumed.messages", "counter", "{message}", "Messages that were received", (OPERATION,)
)
OPERATIONS: Final = Metric(
    "messaging.client.operation.duration",
    "histogram",
    "s",
    "Duration of signals, receives, and settlements of messages",
    (OPERATION, ERROR),
    _DURATIONS,
)
PROCESSED: Final = Metric(
    "messaging.process.duration",
    "histogram",
    "s",
    "Duration of handler runs",
    (OPERATION, EVENT_TYPE, HANDLER, "dawdle.outcome", ERROR),
    _DURATIONS,
)
WAITED: Final = Metric(
    "dawdle.queue.latency",
    "histogram",
    "s",
    "Time from when an event was due in its queue until a handler of it started",
    (HANDLER,),
    _WAITS,
)
FORWARDED: Final = Metric(
    "dawdle.forwarded.messages",
    "counter",
    "{message}",
    "Copies that were stored: retries, hops of a delay, unclaimed events and others",
    (HANDLER, "dawdle.forwarded.why"),
)
DEAD_LETTERED: Final = Metric(
    "dawdle.dead_lettered.messages", "counter", "{message}", "Dead letters that were stored", (HANDLER,)
)
EXPIRED: Final = Metric(
    "dawdle.expired.messages", "counter", "{message}", "Events, and retries, that expired and were dropped", (HANDLER,)
)
REQUESTS: Final = Metric(
    "dawdle.request.duration", "histogram", "s", "Duration of requests to the queue", ("dawdle.call", ERROR), _DURATIONS
)
BATCHES: Final = Metric(
    "dawdle.batch.fill",
    "histogram",
    "",
    "Messages of a request, as a share of the most that it could have; receives that brought none do not count",
    ("dawdle.call",),
    _SHARES,
)
RECEIVE_FAILURES: Final = Metric("dawdle.receive.failures", "counter", "{request}", "Receives that failed", (ERROR,))
LEASES_LOST: Final = Metric("dawdle.leases.lost", "counter", "{message}", "Leases that ended while handlers ran")
BLOCKED: Final = Metric("dawdle.loop.blocked", "counter", "s", "Time for which the event loop was blocked", (HANDLER,))

IN_FLIGHT: Final = Metric("dawdle.messages.in_flight", "gauge", "{message}", "Messages in flight")
SLOTS: Final = Metric("dawdle.slots", "gauge", "{message}", "Messages that may be in flight at once")
OLDEST: Final = Metric("dawdle.oldest.age", "gauge", "s", "How long the oldest message in flight has been so")
HEALTHY: Final = Metric("dawdle.healthy", "gauge", "", "1 if app.health() says healthy, else 0")

METRICS: Final = (
    SENT,
    CONSUMED,
    OPERATIONS,
    PROCESSED,
    WAITED,
    FORWARDED,
    DEAD_LETTERED,
    EXPIRED,
    REQUESTS,
    BATCHES,
    RECEIVE_FAILURES,
    LEASES_LOST,
    BLOCKED,
)
GAUGES: Final = (IN_FLIGHT, SLOTS, OLDEST, HEALTHY)


class Sink(Protocol):
    """Where the figures go."""

    def child(self, metric: Metric, queue: str, values: tuple[str, ...], /) -> Callable[[float], object]:
        """Return what adds to a counter, or records in a histogram, under labels of these values. Empty: no label."""
        ...


class Recorder:
    """Turns moments into figures."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._children: dict[tuple[str, str, tuple[str, ...]], Callable[[float], object]] = {}

    def record(self, metric: Metric, amount: float, queue: str, *values: str) -> None:
        """Add to a counter, or record a value in a histogram."""
        key = (metric.name, queue, values)
        child = self._children.get(key)
        if child is None:
            if len(self._children) >= MAX_LABEL_SETS:
                values = tuple(_OTHER for _ in values)
                child = self._children.get((metric.name, queue, values))
            if child is None:
                child = self._sink.child(metric, queue, values)
                self._children[metric.name, queue, values] = child
        child(amount)

    def signaled(self, moment: hooks.Signaled) -> None:
        """Record that a queue has stored an event."""
        self.record(SENT, 1, moment.queue, "send", moment.event_type, "")
        self.record(OPERATIONS, moment.seconds, moment.queue, "send", "")

    def signaled_direct(self, moment: hooks.SignaledDirect) -> None:
        """Record that the handlers of a direct event have started; nothing was sent."""
        self.record(OPERATIONS, moment.seconds, moment.queue, "send_direct", "")

    def signal_failed(self, moment: hooks.SignalFailed) -> None:
        """Record that an event was not stored, or may not be."""
        error = signal_error(moment)
        self.record(SENT, 1, moment.queue, "send", moment.event_type, error)
        self.record(OPERATIONS, moment.seconds, moment.queue, "send", error)

    def received(self, moment: hooks.Received) -> None:
        """Record a receive that came back."""
        if moment.messages:
            self.record(CONSUMED, moment.messages, moment.queue, "receive")
            if moment.limit:
                self.record(BATCHES, moment.messages / moment.limit, moment.queue, "receive")
        self.record(OPERATIONS, moment.seconds, moment.queue, "receive", "")
        self.record(REQUESTS, moment.seconds, moment.queue, "receive", "")

    def receive_failed(self, moment: hooks.ReceiveFailed) -> None:
        """Record a receive that failed."""
        self.record(RECEIVE_FAILURES, 1, moment.queue, moment.kind)

    def requested(self, moment: hooks.Requested) -> None:
        """Record a request that is no receive."""
        self.record(REQUESTS, moment.seconds, moment.queue, moment.call, moment.kind or "")
        if moment.limit:
            self.record(BATCHES, moment.entries / moment.limit, moment.queue, moment.call)

    def handler_started(self, moment: hooks.HandlerStarted) -> None:
        """Record how long an event has waited for a handler."""
        if moment.waited is not None:
            self.record(WAITED, moment.waited, moment.queue, moment.handler)

    def handler_finished(self, moment: hooks.HandlerFinished) -> None:
        """Record the run of a handler."""
        error = "" if moment.exception is None else type(moment.exception).__qualname__
        self.record(
            PROCESSED,
            moment.seconds,
            moment.queue,
            "process",
            moment.event_type,
            moment.handler,
            moment.outcome,
            error,
        )

    def forwarded(self, moment: hooks.Forwarded) -> None:
        """Record a copy that was stored."""
        self.record(FORWARDED, 1, moment.queue, _clipped(moment.handler), moment.why)

    def dead_lettered(self, moment: hooks.DeadLettered) -> None:
        """Record a dead letter."""
        self.record(DEAD_LETTERED, 1, moment.queue, _clipped(moment.handler))

    def expired(self, moment: hooks.Expired) -> None:
        """Record an event that was dropped."""
        self.record(EXPIRED, 1, moment.queue, _clipped(moment.handler))

    def settled(self, moment: hooks.Settled) -> None:
        """Record how a message was settled."""
        error = "not_settled" if moment.verdict == "kept" else ""
        self.record(OPERATIONS, moment.settling, moment.queue, "settle", error)

    def lease_lost(self, moment: hooks.LeaseLost) -> None:
        """Record a lease that ended too early."""
        self.record(LEASES_LOST, 1, moment.queue)

    def loop_blocked(self, moment: hooks.LoopBlocked) -> None:
        """Record a time for which the event loop did not run."""
        self.record(BLOCKED, moment.seconds, "", _clipped(moment.handler))

    def by_moment(self) -> dict[type[hooks.Moment], Callable[..., None]]:
        """Return which method records which moment."""
        return {
            hooks.Signaled: self.signaled,
            hooks.SignaledDirect: self.signaled_direct,
            hooks.SignalFailed: self.signal_failed,
            hooks.Received: self.received,
            hooks.ReceiveFailed: self.receive_failed,
            hooks.Requested: self.requested,
            hooks.HandlerStarted: self.handler_started,
            hooks.HandlerFinished: self.handler_finished,
            hooks.Forwarded: self.forwarded,
            hooks.DeadLettered: self.dead_lettered,
            hooks.Expired: self.expired,
            hooks.Settled: self.settled,
            hooks.LeaseLost: self.lease_lost,
            hooks.LoopBlocked: self.loop_blocked,
        }


def _clipped(handler: str | None) -> str:
    """Return a handler's name for a label. That of a copy may be what a stranger wrote."""
    return "" if handler is None else handler[:MAX_CHARACTERS]


def signal_error(moment: hooks.SignalFailed) -> str:
    """Return what sort of failure it was, in one word: there are few of them."""
    if moment.kind is not None:
        return moment.kind
    return "cancelled" if moment.uncertain else "not_an_event"
