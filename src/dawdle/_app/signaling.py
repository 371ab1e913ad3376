"""Turns signaled events into messages and stores them. Runs no handler; `Dawdle` reads the arguments before."""

import re
from collections.abc import AsyncIterable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, cast

from dawdle._app.event_ids import new_id
from dawdle._app.settings import Settings
from dawdle._flow.handler_scope import current_scope
from dawdle._flow.hook_calls import HookCaller
from dawdle._handlers.app_handlers import AppHandlers
from dawdle._rules.codec import seal
from dawdle._rules.delay import delay_of, hop, to_ms
from dawdle.abc import Outgoing
from dawdle.errors import BackendError, ConfigurationError, NotAnEventError, SignalError, may_have_been_done, shown
from dawdle.events import event_style
from dawdle.hooks import Signaled

if TYPE_CHECKING:  # as with the runtime, the first app loads it
    from dawdle._flow.queue_client import QueueClient

__all__ = ["Signaling", "event_id_of", "events_of", "not_signaled", "require_group"]

_NAME: Final = re.compile(r"[!-~]{1,128}")
"""An id or a group, as SQS takes it (API reference, SendMessage, 2026). All queues have the same limit."""


class Signaling:
    """The half of an app that signals."""

    def __init__(self, settings: Settings, handlers: AppHandlers, hooks: HookCaller) -> None:
        self._settings = settings
        self._handlers = handlers
        self._hooks = hooks or None  # an app without hooks asks one `if` at each signal
        self._codecs = settings.codecs

    def delay(self, delay: float | timedelta | None, at: datetime | None) -> float:
        """Return the seconds of `delay` or `at`. Raises `ConfigurationError`."""
        return 0.0 if delay is None and at is None else delay_of(delay, at, self._settings.clock.now())

    def seal(
        self, event: object, event_id: str, queue: "QueueClient", delay: float, headers: Mapping[str, str] | None
    ) -> bytes:
        """Return the message of an event. Raises `EventError` for one that cannot travel."""
        settings, where = self._settings, current_scope()
        if isinstance(event, type):
            name = event.__qualname__
            raise NotAnEventError(f"{name} is a class, not an event: signal an instance, {name}(…)")
        return seal(
            event,
            codec=settings.codec,
            wire_name=self._handlers.learn(type(event)),
            event_id=event_id,
            source=settings.source,
            now=settings.clock.now(),
            headers=settings.all_headers(headers),
            delay_ms=to_ms(delay) if delay else 0,
            cause=None if where is None else where.event_id,
            max_body=queue.limits.max_body,
            codecs=self._codecs,
        )

    async def store(
        self, queue: "QueueClient", body: bytes, delay: float, event: object, event_id: str, group: str | None
    ) -> None:
        """Store one message. Raises `SignalError`."""
        try:
            # The first copy waits for one hop at most. Its `dawdledelay` says how long the event waits in all.
            await queue.send(Outgoing(body, hop(delay, queue.terms.max_hop), group, event_id, fresh=True))
        except BackendError as error:
            raise not_signaled(event_id, error) from error
        if self._hooks is not None:
            self._report(self._hooks, queue, event_id, event, delay)

    async def store_all(
        self,
        queue: "QueueClient",
        events: Iterable[object],
        delay: float,
        headers: Mapping[str, str] | None,
        group: str | None,
    ) -> list[str]:
        """Store events together, and return their ids. Raises `SignalError`."""
        require_group(group)
        events = events_of(events)
        ids = [new_id() for _ in events]
        # All bodies are made before the first is sent: an event that cannot travel must not leave half of them stored.
        bodies = [self.seal(event, each, queue, delay, headers) for event, each in zip(events, ids, strict=True)]
        first_hop = hop(delay, queue.terms.max_hop)
        batch = [
            Outgoing(body, first_hop, group, event_id, fresh=True) for body, event_id in zip(bodies, ids, strict=True)
        ]
        try:
            errors = await queue.send_many(batch)
        except BackendError as closing:  # none of them was taken
            errors = [closing] * len(batch)
        failed: dict[str, Exception] = {}
        for event, event_id, error in zip(events, ids, errors, strict=True):
            if error is not None:
                failed[event_id] = error
            elif self._hooks is not None:
                self._report(self._hooks, queue, event_id, event, delay)
        if failed:
            raise _signal_error(ids, failed)
        return ids

    def _report(self, hooks: HookCaller, queue: "QueueClient", event_id: str, event: object, delay: float) -> None:
        hooks(Signaled(queue.name, event_id, self._handlers.learn(type(event)), delay))


def not_signaled(event_id: str, error: BackendError) -> SignalError:
    """Return the error for one event that is not stored or handled, or may not be. Raise it from `error`."""
    text = f"event {event_id} may or may not be stored" if error.uncertain else f"could not store event {event_id}"
    return SignalError(f"{text}: {error}", ids=(event_id,), failed={event_id: error})


def event_id_of(given: str | None) -> str:
    """Return the given id, or a new one. Raises `ConfigurationError` for an id that cannot travel."""
    if given is None:
        return new_id()
    if not (isinstance(given, str) and _NAME.fullmatch(given)):
        raise ConfigurationError(f"id is 1 to 128 printable ASCII characters without a space, not {shown(given)}")
    return given


def require_group(given: object) -> None:
    """Raise `ConfigurationError` for a group that a queue may refuse, and other events of its batch with it."""
    if given is not None and not (isinstance(given, str) and _NAME.fullmatch(given)):
        raise ConfigurationError(f"group is 1 to 128 printable ASCII characters without a space, not {shown(given)}")


def events_of(given: object) -> list[object]:
    """Return the events of an iterable, in order. Raises `ConfigurationError` for an event, and for other values."""
    # A pydantic model is iterable too, and would be taken for a list of its fields.
    if not isinstance(given, type) and event_style(type(given)) is not None:
        name = type(given).__qualname__
        raise ConfigurationError(
            f"signal_many takes an iterable of events, not one event of the type {name}: write signal(event), or "
            f"signal_many([event])"
        )
    if isinstance(given, AsyncIterable):
        raise ConfigurationError(
            "signal_many takes an iterable of events, not an asynchronous one: write "
            "signal_many([event async for event in events])"
        )
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise ConfigurationError(f"signal_many takes an iterable of events, not {shown(given)}")
    return list(cast("Iterable[object]", given))


def _signal_error(ids: list[str], failed: dict[str, Exception]) -> SignalError:
    """Return the error for several events: how many are not stored, how many may be stored, and one cause."""
    unstored = [error for error in failed.values() if not may_have_been_done(error)]
    uncertain, total = len(failed) - len(unstored), len(ids)
    if not unstored:
        text = f"{uncertain} of {total} events may or may not be stored"
    elif not uncertain:
        text = f"could not store {len(unstored)} of {total} events"
    else:
        text = f"could not store {len(unstored)} of {total} events, and {uncertain} more may or may not be stored"
    first = unstored[0] if unstored else next(iter(failed.values()))
    error = SignalError(f"{text}: {first}", ids=ids, failed=failed)
    error.__cause__ = first
    return error
