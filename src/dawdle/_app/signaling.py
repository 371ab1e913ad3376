"""What `signal` and `signal_many` do below their arguments: an event becomes a message, and the queue has stored it."""

import asyncio
import re
import uuid
from collections.abc import AsyncIterable, Generator, Iterable, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final, cast

from dawdle._app.settings import Settings
from dawdle._flow.handler_scope import current_scope
from dawdle._flow.hook_calls import HookCaller
from dawdle._flow.queue_client import QueueClient
from dawdle._handlers.app_handlers import AppHandlers
from dawdle._rules.codec import seal
from dawdle._rules.delay import delay_of, hop, to_ms
from dawdle.abc import Outgoing
from dawdle.errors import BackendError, ConfigurationError, NotAnEventError, SignalError, may_be_done, shown
from dawdle.events import event_style
from dawdle.hooks import Signaled

__all__ = ["Signaling", "event_id_of", "events_of", "failing_for", "require_group"]

_NAME: Final = re.compile(r"[!-~]{1,128}")
"""An id or a group: what SQS takes as one (API reference, SendMessage, 2026), so that all queues take the same."""


class Signaling:
    """The half of an app that signals."""

    def __init__(self, settings: Settings, handlers: AppHandlers, hooks: HookCaller) -> None:
        self._settings = settings
        self._handlers = handlers
        self._hooks = hooks
        self._codecs = settings.codecs

    def delay(self, delay: float | timedelta | None, at: datetime | None) -> float:
        """Return the seconds that either means. Raises `ConfigurationError`."""
        return delay_of(delay, at, self._settings.clock.now())

    def seal(
        self, event: object, event_id: str, queue: QueueClient, delay: float, headers: Mapping[str, str] | None
    ) -> bytes:
        """Return the message of an event. Raises what an event that cannot travel raises."""
        settings, where = self._settings, current_scope()
        if isinstance(event, type):
            name = event.__qualname__
            raise NotAnEventError(f"{name} is a class and no event: signal an instance, {name}(…)")
        return seal(
            event,
            codec=settings.codec,
            wire_name=self._handlers.learn(type(event)),
            event_id=event_id,
            source=settings.source,
            now=settings.clock.now(),
            headers=settings.all_headers(headers),
            delay_ms=to_ms(delay),
            cause=None if where is None else where.event_id,
            max_body=queue.limits.max_body,
            codecs=self._codecs,
        )

    async def store(
        self, queue: QueueClient, body: bytes, delay: float, event: object, event_id: str, group: str | None
    ) -> None:
        """Store one message. Raises `SignalError`."""
        with failing_for(event_id):
            await self._send(queue, body, delay, event, event_id, group)

    async def store_all(
        self,
        queue: QueueClient,
        events: Iterable[object],
        delay: float,
        headers: Mapping[str, str] | None,
        group: str | None,
    ) -> list[str]:
        """Store an event each, side by side, and return their ids. Raises `SignalError`."""
        require_group(group)
        events = events_of(events)
        ids = [event_id_of(None) for _ in events]
        bodies = [self.seal(event, each, queue, delay, headers) for event, each in zip(events, ids, strict=True)]
        answers = await asyncio.gather(
            *(
                self._send(queue, body, delay, event, event_id, group)
                for body, event, event_id in zip(bodies, events, ids, strict=True)
            ),
            return_exceptions=True,
        )
        failed = {each: answer for each, answer in zip(ids, answers, strict=True) if isinstance(answer, Exception)}
        if failed:
            raise _signal_error(ids, failed)
        return ids

    async def _send(
        self, queue: QueueClient, body: bytes, delay: float, event: object, event_id: str, group: str | None
    ) -> None:
        await queue.send(Outgoing(body, hop(delay, queue.terms.max_hop), group, event_id))
        if self._hooks:
            self._hooks(Signaled(queue.name, event_id, self._handlers.learn(type(event)), delay))


@contextmanager
def failing_for(event_id: str) -> Generator[None]:
    """Raise the `BackendError` of a block that stores one event, or handles it, as a `SignalError`."""
    try:
        yield
    except BackendError as error:
        text = f"event {event_id} may or may not be stored" if error.uncertain else f"could not store event {event_id}"
        raise SignalError(f"{text}: {error}", ids=(event_id,), failed={event_id: error}) from error


def event_id_of(given: str | None) -> str:
    """Return a new id, or the one that is given. Raises `ConfigurationError` for one that cannot travel."""
    if given is None:
        return uuid.uuid4().hex
    if not (isinstance(given, str) and _NAME.fullmatch(given)):
        raise ConfigurationError(f"id is 1 to 128 printable ASCII characters without a space, not {shown(given)}")
    return given


def require_group(given: object) -> None:
    """Raise `ConfigurationError` for a group that a queue may refuse: the others of its batch must not fail with it."""
    if given is not None and not (isinstance(given, str) and _NAME.fullmatch(given)):
        raise ConfigurationError(f"group is 1 to 128 printable ASCII characters without a space, not {shown(given)}")


def events_of(given: object) -> list[object]:
    """Return the events of an iterable, in its order. Raises `ConfigurationError` for one event and for no iterable."""
    if not isinstance(given, type) and event_style(type(given)) is not None:
        name = type(given).__qualname__
        raise ConfigurationError(
            f"signal_many takes an iterable of events, and got one event, of the type {name}: write signal(event), or "
            f"signal_many([event])"
        )
    if isinstance(given, AsyncIterable):
        raise ConfigurationError(
            "signal_many takes an iterable of events, and got an asynchronous one: write "
            "signal_many([event async for event in events])"
        )
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise ConfigurationError(f"signal_many takes an iterable of events, not {shown(given)}")
    return list(cast("Iterable[object]", given))


def _signal_error(ids: list[str], failed: dict[str, Exception]) -> SignalError:
    """Return the error for several events: how many are known not to be stored, how many may be, and one cause."""
    unstored = [error for error in failed.values() if not may_be_done(error)]
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
