"""dawdle: events for asyncio. Signal now or in a week; every handler runs until it is done.

An event is an object of a class that you define. `@dawdle.on_event` registers a function as its handler, `await
dawdle.signal(event)` stores the event in a queue, and every worker that is entered, `async with dawdle.Dawdle():`, runs
the handlers of the events that it receives.

This module holds the public names, and nothing else. The queues are `dawdle.backends.memory.Memory` and
`dawdle.backends.sqs.SQS`; tests take the clock `dawdle.testing.ManualClock` and the server of `dawdle.testing.sqs`.
"""

from types import FunctionType as _FunctionType

from dawdle import from_thread
from dawdle._app.app import Dawdle, default_registry
from dawdle._app.current import call, call_after, current, current_context, signal, signal_many, stream, wait_for
from dawdle._app.discovery import discover
from dawdle._app.event_stream import EventStream
from dawdle._app.telemetry import Telemetry
from dawdle._handlers.context import Context
from dawdle._handlers.function import Function
from dawdle._handlers.registry import Registry
from dawdle._handlers.signed_pickle import SignedPickle
from dawdle._rules.codec import JSON, MessagePack
from dawdle._rules.dead_letter import DeadLetter
from dawdle._rules.description import (
    AppDescription,
    EventTypeDescription,
    FieldDescription,
    FunctionDescription,
    HandlerDescription,
    QueueDescription,
)
from dawdle._rules.health import FailingCalls, Health, LongRunning, QueueHealth
from dawdle._rules.retry import Retry
from dawdle._rules.stored_event import StoredEvent
from dawdle.errors import (
    ArgumentError,
    BackendError,
    ConfigurationError,
    DawdleError,
    EventError,
    EventTooLargeError,
    NoAppError,
    NotAnEventError,
    Reject,
    RetryLater,
    SignalError,
)
from dawdle.events import event

__all__ = [
    "JSON",
    "AppDescription",
    "ArgumentError",
    "BackendError",
    "ConfigurationError",
    "Context",
    "Dawdle",
    "DawdleError",
    "DeadLetter",
    "EventError",
    "EventStream",
    "EventTooLargeError",
    "EventTypeDescription",
    "FailingCalls",
    "FieldDescription",
    "Function",
    "FunctionDescription",
    "HandlerDescription",
    "Health",
    "LongRunning",
    "MessagePack",
    "NoAppError",
    "NotAnEventError",
    "QueueDescription",
    "QueueHealth",
    "Registry",
    "Reject",
    "Retry",
    "RetryLater",
    "SignalError",
    "SignedPickle",
    "StoredEvent",
    "Telemetry",
    "call",
    "call_after",
    "current",
    "current_context",
    "default_registry",
    "discover",
    "event",
    "from_thread",
    "function",
    "on_dead_letter",
    "on_event",
    "signal",
    "signal_many",
    "stream",
    "wait_for",
]

__version__ = "0.1.0"

on_event = default_registry.on_event
on_dead_letter = default_registry.on_dead_letter
function = default_registry.function


def _show_public_names() -> None:
    """Let every public name say where it is imported from: `dawdle.Retry`, not the private module that defines it.

    `help(dawdle)`, tracebacks, reprs and pickles then show what a reader may write, and private modules can be renamed.
    Only `__module__` changes. Names on the wire are qualified names, and frames and functions keep their globals, by
    which a handler that is defined again is recognized.
    """
    for name in __all__:
        value = globals()[name]
        function = getattr(value, "__func__", value)  # that of the bound methods `on_event` and `function`
        if isinstance(function, (type, _FunctionType)):
            function.__module__ = __name__


_show_public_names()
