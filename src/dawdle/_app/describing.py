"""Describes an app: reads its handlers, types, queues and settings, and enters nothing."""

import inspect
from collections.abc import Iterable
from math import inf
from typing import Any, cast

from dawdle._app.queue_map import DEFAULT_CONCURRENCY, QueueMap
from dawdle._app.settings import DEFAULT_GRACE, DEFAULT_SOURCE, DEFAULT_UNCLAIMED, Settings
from dawdle._app.start_log import shown_backend
from dawdle._handlers.app_handlers import AppHandlers
from dawdle._handlers.handler import Handler
from dawdle._handlers.site import code_of
from dawdle._handlers.type_names import handled_types, with_subclasses
from dawdle._rules.codec import JSON
from dawdle._rules.described_fields import described_fields
from dawdle._rules.description import (
    AppDescription,
    EventTypeDescription,
    FunctionDescription,
    HandlerDescription,
    QueueDescription,
)
from dawdle._rules.lost_fields import faults_of
from dawdle._rules.retry import Retry
from dawdle.errors import ConfigurationError
from dawdle.events import declaration_of, declared_types, event_style, is_call, wire_name

__all__ = ["describe"]


def describe(settings: Settings, handlers: AppHandlers, queues: QueueMap) -> AppDescription:
    """Return what an app is made of."""
    every = handlers.handlers
    return AppDescription(
        queues=tuple(_queue(name, queues) for name in queues.backends),
        handlers=tuple(_handler(each, settings) for each in every if not each.is_function),
        functions=tuple(_function(each, settings) for each in every if each.is_function),
        event_types=tuple(
            sorted((_event_type(each, handlers, queues) for each in _types(every, queues)), key=lambda each: each.name)
        ),
        settings=_changed(settings, queues),
    )


def _queue(name: str, queues: QueueMap) -> QueueDescription:
    backend = queues.backends[name]
    return QueueDescription(
        name=name,
        backend=shown_backend(backend),
        listened=name in queues.listened,
        concurrency=queues.concurrency[name],
        shared=backend.limits.shared,
        durable=backend.limits.durable,
        ordered=backend.limits.ordered,
    )


def _handler(handler: Handler, settings: Settings) -> HandlerDescription:
    options = handler.options
    code = code_of(handler.function)
    return HandlerDescription(
        name=handler.name,
        aliases=options.aliases,
        events=tuple(wire_name(each) for each in handler.types),
        exclude=tuple(wire_name(each) for each in options.exclude),
        queue=options.queue,
        max_attempts=handler.max_attempts or settings.retry.max_attempts,
        timeout=_timeout(handler, settings),
        concurrency=options.concurrency,
        is_async=handler.is_async,
        function=_name_of(inspect.unwrap(handler.function)),
        file=None if code is None else code.co_filename,
        line=None if code is None else code.co_firstlineno,
    )


def _function(handler: Handler, settings: Settings) -> FunctionDescription:
    options = handler.options
    code = code_of(handler.function)
    return FunctionDescription(
        name=handler.name,
        aliases=options.aliases,
        parameters=described_fields(handler.types[0]),
        queue=options.queue,
        max_attempts=handler.max_attempts or settings.retry.max_attempts,
        timeout=_timeout(handler, settings),
        concurrency=options.concurrency,
        file=None if code is None else code.co_filename,
        line=None if code is None else code.co_firstlineno,
    )


def _timeout(handler: Handler, settings: Settings) -> float | None:
    seconds = settings.timeout if handler.options.timeout is None else handler.options.timeout
    return None if seconds is None or seconds == inf else seconds


def _types(handlers: Iterable[Handler], queues: QueueMap) -> list[type]:
    """Return the types of events that this app knows, each once."""
    every = [*handled_types(handlers), *queues.routes, *declared_types()]
    return [each for each in with_subclasses(dict.fromkeys(every)) if event_style(each) and not is_call(each)]


def _event_type(event_type: type, handlers: AppHandlers, queues: QueueMap) -> EventTypeDescription:
    declared = declaration_of(event_type)
    try:
        destinations = queues.destinations(event_type)
    except ConfigurationError:  # it has no route, and each signal must name a queue
        destinations = ()
    return EventTypeDescription(
        name=wire_name(event_type),
        aliases=() if declared is None else declared.aliases,
        version=1 if declared is None else declared.version,
        upcasters=() if declared is None else tuple(declared.upcasters),
        class_name=_name_of(event_type),
        style=event_style(event_type) or "",
        fields=described_fields(event_type),
        faults=faults_of(event_type),
        queues=destinations,
        handlers=tuple(each.name for each in handlers.handlers_for(event_type)),
        demanded=() if declared is None else declared.handlers,
        elsewhere=handlers.missing_for(event_type, None),
        expires=None if declared is None else declared.expires,
        unclaimed="retry" if declared is None else declared.unclaimed,
    )


def _changed(settings: Settings, queues: QueueMap) -> dict[str, str]:
    """Return the options that differ from their defaults. Headers and keys may be secret, so they are only counted."""
    concurrency = queues.concurrency
    texts: dict[str, tuple[bool, object]] = {
        "listen": (queues.listened != tuple(queues.backends), ", ".join(queues.listened) or "no queue"),
        "start_listener": (not settings.start_listener, False),
        "concurrency": (
            any(each != DEFAULT_CONCURRENCY for each in concurrency.values()),
            ", ".join(f"{name} {each}" if queues.is_named else str(each) for name, each in concurrency.items()),
        ),
        "retry": (settings.retry != Retry(), settings.retry),
        "timeout": (settings.timeout is not None, f"{settings.timeout} s"),
        "grace": (settings.grace != DEFAULT_GRACE, f"{settings.grace:g} s"),
        "unclaimed": (settings.unclaimed != DEFAULT_UNCLAIMED, f"{settings.unclaimed:g} s"),
        "source": (settings.source != DEFAULT_SOURCE, settings.source),
        "headers": (bool(settings.headers), "set"),
        "codec": (type(settings.codec) is not JSON, type(settings.codec).__qualname__),
        "hooks": (bool(settings.hooks), len(settings.hooks)),
        "lifespan": (settings.lifespan is not None, _name_of(settings.lifespan)),
        "around": (bool(settings.around), ", ".join(map(_name_of, settings.around))),
        "carry": (bool(settings.carry), ", ".join(settings.carry)),
        "signing_keys": (settings.signer.size > 0, "set"),
        "functions": (settings.functions is not None, "SignedPickle"),
        "telemetry": (settings.telemetry is not None, "set"),
        "clock": (type(settings.clock).__name__ != "SystemClock", type(settings.clock).__qualname__),
    }
    return {name: str(text) for name, (differs, text) in texts.items() if differs}


def _name_of(value: object) -> str:
    named = cast("Any", value if hasattr(value, "__qualname__") else type(value))
    return f"{named.__module__}.{named.__qualname__}"
