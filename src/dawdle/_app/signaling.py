"""Turns signaled events into messages and stores them. Runs no handler; `Dawdle` reads the arguments before."""

import re
from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, cast

from dawdle._app.event_ids import new_id
from dawdle._app.fan_out import NotInAll, Placed, SignalOptions, bodies_for, store_in_all, store_in_queue
from dawdle._app.settings import Settings
from dawdle._app.signal_report import SignalReport
from dawdle._flow.handler_scope import current_scope
from dawdle._flow.hook_calls import HookCaller
from dawdle._handlers.app_handlers import AppHandlers
from dawdle._rules.codec import seal
from dawdle._rules.dedup import dedup_of_event
from dawdle._rules.delay import delay_of, hop, to_ms
from dawdle._rules.expiry import expiry_attributes
from dawdle.abc import Outgoing
from dawdle.errors import BackendError, ConfigurationError, NotAnEventError, SignalError, may_have_been_done, shown
from dawdle.events import WITH_ATTRIBUTES, Declaration, declaration_of, event_style

if TYPE_CHECKING:  # as with the runtime, the first app loads it
    from dawdle._flow.queue_client import QueueClient

__all__ = ["Signaling", "event_id_of", "events_of", "not_signaled"]

_NAME: Final = re.compile(r"[!-~]{1,128}")
"""An id or a group, as SQS takes it (API reference, SendMessage, 2026). All queues have the same limit."""

_URI_REFERENCE: Final = re.compile(r"(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2}){1,1000}")
"""The characters of RFC 3986. How they are ordered is left to the reader of a source."""


class Signaling:
    """Turns events into messages of an app, and stores them."""

    def __init__(self, settings: Settings, handlers: AppHandlers) -> None:
        self._settings = settings
        self._handlers = handlers
        self.hooks = HookCaller()
        """What gets to know of each signal, from when the app is entered."""
        self._codecs = settings.codecs

    def options(
        self,
        delay: float | timedelta | None,
        at: datetime | None,
        expires: float | timedelta | None,
        group: str | None,
        headers: Mapping[str, str] | None,
        source: str | None,
        transaction: object | None,
        event_id: str | None = None,
    ) -> SignalOptions:
        """Read the options of a call that signals. `event_id` is the caller's own. Raises `ConfigurationError`."""
        seconds = 0.0 if delay is None and at is None else delay_of(delay, at, self._settings.clock.now())
        if group is not None:
            _require_name(group, "group")
        if source is not None:
            _require_source(source)
        dedup = None if event_id is None else dedup_of_event(event_id, source or self._settings.source)
        # In a transaction no hook gets to know: only the caller's commit stores them, and only the caller sees it.
        report = SignalReport(self.hooks, self._settings.clock) if self.hooks and transaction is None else None
        return SignalOptions(seconds, expires, group, headers, source, transaction, dedup, report)

    def seal(
        self,
        event: object,
        event_id: str,
        queues: "Sequence[QueueClient]",
        how: SignalOptions,
    ) -> bytes:
        """Return the message of an event. Raises `EventError` for one that cannot travel to each of its queues."""
        settings, where = self._settings, current_scope()
        if how.delay:
            _require_delays(queues)
        if isinstance(event, type):
            name = event.__qualname__
            raise NotAnEventError(f"{name} is a class, not an event: signal an instance, {name}(…)")
        name = self._handlers.learn(type(event))
        if how.report is not None:
            how.report.started(event_id, name, [queue.name for queue in queues])
        body = seal(
            event,
            codec=settings.codec,
            wire_name=name,
            event_id=event_id,
            source=settings.source if how.source is None else how.source,
            now=settings.clock.now(),
            headers=settings.all_headers(how.headers, where),
            delay_ms=to_ms(how.delay) if how.delay else 0,
            cause=None if where is None else where.event_id,
            more=_more_attributes(type(event), how) if how.expires is not None or name in WITH_ATTRIBUTES else None,
            max_body=_max_body_of(queues),
            codecs=self._codecs,
        )
        if how.report is not None:
            how.report.encoded(event_id, name, len(body))
        return body

    async def store(self, queue: "QueueClient", body: bytes, event_id: str, how: SignalOptions) -> None:
        """Store one message in one queue. Raises `SignalError`."""
        try:
            # The first copy waits for one hop at most. Its `dawdledelay` says how long the event waits in all.
            wait = hop(how.delay, queue.terms.max_hop)
            await queue.send(Outgoing(body, wait, how.group, how.dedup or event_id, how.dedup is None))
        except BackendError as error:
            raise not_signaled(event_id, error) from error
        if how.report is not None:
            how.report.stored(event_id, queue.name, how.delay)

    async def store_all(self, queue: "QueueClient", events: Iterable[object], how: SignalOptions) -> list[str]:
        """Store events in one queue, and return their ids. Raises `SignalError`."""
        # The usual case of `place_all` and `store_placed`, at three quarters of their CPU.
        queues, events = (queue,), events_of(events)
        ids = [new_id() for _ in events]
        # All bodies are made before the first is sent: an event that cannot travel must not leave half of them stored.
        bodies = [self.seal(event, event_id, queues, how) for event, event_id in zip(events, ids, strict=True)]
        wait, group = hop(how.delay, queue.terms.max_hop), how.group
        batch = [Outgoing(body, wait, group, event_id, True) for body, event_id in zip(bodies, ids, strict=True)]
        errors = await store_in_queue(queue, batch)
        if how.report is not None:
            for event_id, error in zip(ids, errors, strict=True):
                if error is None:
                    how.report.stored(event_id, queue.name, how.delay)
        if any(errors):
            failed = [NotInAll(each, (), error) for each, error in zip(ids, errors, strict=True) if error is not None]
            raise _signal_error(ids, failed)
        return ids

    def place_all(
        self, events: Iterable[object], destinations: "Callable[[object], Sequence[QueueClient]]", how: SignalOptions
    ) -> list[Placed]:
        """Return events with the messages that their queues store. Raises `EventError` for one that cannot travel."""
        placed: list[Placed] = []
        # All bodies are made before the first is sent: an event that cannot travel must not leave half of them stored.
        for event in events_of(events):
            queues, event_id = destinations(event), new_id()
            body = self.seal(event, event_id, queues, how)
            placed.append(Placed(event, event_id, bodies_for(body, queues)))
        return placed

    async def store_placed(self, placed: Sequence[Placed], how: SignalOptions) -> None:
        """Store events together, each in all of its queues. Raises `SignalError`."""
        report = how.report

        def stored(queue: "QueueClient", each: Placed) -> None:
            if report is not None:
                report.stored(each.event_id, queue.name, how.delay)

        failed = await store_in_all(placed, how, None if report is None else stored)
        if failed:
            raise _signal_error([each.event_id for each in placed], failed)


def _require_delays(queues: "Sequence[QueueClient]") -> None:
    """Raise `ConfigurationError` for a queue that cannot delay an event."""
    for queue in queues:
        if queue.limits.ordered and queue.delayed is None:
            raise ConfigurationError(
                f"the queue {queue.name!r} is ordered and has no delay queue, so it cannot delay an event: give its "
                f"backend one (on SQS delay_queue_url, a standard queue), or remove delay= and at="
            )


def not_signaled(event_id: str, error: BackendError, stored_in: Sequence[str] = ()) -> SignalError:
    """Return the error for one event that is not stored or handled, or may not be. Raise it from `error`.

    `stored_in`: the queues that have a copy of it. Signaled again they would have two, so it counts as uncertain.
    """
    if stored_in:
        text = f"event {event_id} is stored in {', '.join(stored_in)}, and not handled here"
        failed = BackendError(f"{error}", kind=error.kind, uncertain=True)
        return SignalError(
            f"{text}: {error}", ids=(event_id,), failed={event_id: failed}, stored_in={event_id: stored_in}
        )
    text = f"event {event_id} may or may not be stored" if error.uncertain else f"could not store event {event_id}"
    return SignalError(f"{text}: {error}", ids=(event_id,), failed={event_id: error})


def event_id_of(given: str | None) -> str:
    """Return the given id, or a new one. Raises `ConfigurationError` for an id that cannot travel."""
    if given is None:
        return new_id()
    _require_name(given, "id")
    return given


def _require_name(given: object, what: str) -> None:
    """Raise `ConfigurationError` for an id or a group that a queue may refuse, and its whole batch with it."""
    if not (isinstance(given, str) and _NAME.fullmatch(given)):
        raise ConfigurationError(
            f"{what} is text, 1 to 128 printable ASCII characters without a space, not {shown(given)}"
            f"{'' if isinstance(given, str) else f': write {what}=str(…)'}"
        )


def _require_source(given: object) -> None:
    """Raise `ConfigurationError` for a source that CloudEvents does not allow: it is a URI-reference."""
    if not (isinstance(given, str) and _URI_REFERENCE.fullmatch(given)):
        raise ConfigurationError(
            f"source is a URI-reference of 1 to 1,000 characters, such as '/shop/checkout' or 'https://shop.example/', "
            f"with every other character than letters, digits and -._~:/?#[]@!$&'()*+,;= as %XX, not {shown(given)}"
        )


def _more_attributes(event_type: type, how: SignalOptions) -> Mapping[str, object]:
    """Return the attributes of an event that few have: by which it expires, and the version of its data above 1."""
    declared = declaration_of(event_type)
    more: dict[str, object] = {**_expiry_of(declared, how)}
    if declared is not None and declared.version > 1:
        more["dawdleversion"] = declared.version
    return more


def _expiry_of(declared: Declaration | None, how: SignalOptions) -> Mapping[str, str]:
    """Return the attributes by which an event expires: as the signal says, else its type; none if neither does."""
    expires = how.expires
    if expires is None:
        expires = None if declared is None else declared.expires
    if expires is None:
        return {}
    return expiry_attributes(expires, how.delay, "drop" if declared is None else declared.expired)


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


def _max_body_of(queues: "Sequence[QueueClient]") -> int:
    """Return the bytes of the largest message that all of some queues take."""
    return queues[0].limits.max_body if len(queues) == 1 else min(queue.limits.max_body for queue in queues)


def _signal_error(ids: list[str], not_in_all: Sequence[NotInAll]) -> SignalError:
    """Return the error for several events: how many are not stored, how many may be stored, and one cause."""
    failed = {each.event_id: each.error for each in not_in_all}
    stored_in = {each.event_id: each.stored_in for each in not_in_all if each.stored_in}
    unstored = [error for error in failed.values() if not may_have_been_done(error)]
    uncertain, total = len(failed) - len(unstored), len(ids)
    if total == 1 and stored_in:
        text = f"event {ids[0]} is not in all of its queues"
    elif not unstored:
        text = f"{uncertain} of {total} events may or may not be stored"
    elif not uncertain:
        text = f"could not store {len(unstored)} of {total} events"
    else:
        text = f"could not store {len(unstored)} of {total} events, and {uncertain} more may or may not be stored"
    first = unstored[0] if unstored else next(iter(failed.values()))
    error = SignalError(f"{text}: {first}", ids=ids, failed=failed, stored_in=stored_in)
    error.__cause__ = first
    return error
