"""An app's calls that signal. They read their arguments, and choose the queue or the handlers; `Signaling` stores."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from dawdle._app.fan_out import Placed, SignalOptions, bodies_for
from dawdle._app.queue_map import DEFAULT, QueueMap
from dawdle._app.signaling import Signaling, event_id_of, events_of, not_signaled
from dawdle._app.start_log import StartLog
from dawdle._handlers.app_handlers import AppHandlers
from dawdle._rules.envelope import open_envelope
from dawdle.errors import BackendError, ConfigurationError, require_bool

__all__ = ["SignalCalls"]

if TYPE_CHECKING:
    from dawdle._flow.queue_client import QueueClient
    from dawdle._flow.runtime import Runtime


class SignalCalls:
    """The half of an app that signals."""

    _handlers: AppHandlers
    _signaling: Signaling
    _start_log: StartLog
    _queues: QueueMap
    _queues_only: bool
    """No handler may run here; see `HostingCalls.connected`."""

    async def signal(
        self,
        event: object,
        *,
        delay: float | timedelta | None = None,
        at: datetime | None = None,
        expires: float | timedelta | None = None,
        direct: bool = False,
        id: str | None = None,  # noqa: A002 - the word that CloudEvents has for it
        group: str | None = None,
        headers: Mapping[str, str] | None = None,
        source: str | None = None,
        queue: str | Sequence[str] | None = None,
        transaction: object | None = None,
    ) -> str:
        """Signal an event and return its id when the queue has stored it.

        - `delay`: seconds or a timedelta until it is handled, of any length; `at`: an aware datetime instead.
        - `expires`: seconds or a timedelta, more than 0, after which the event is not handled any more: it is deleted,
          or dead-lettered if its type says `expired="dead"`. They count from when the event is due, by the queue's
          clock, so with `delay` from its end. It is looked at whenever a worker receives the event, for each retry
          too; a handler that runs is not ended. The default is what the type says in `@dawdle.event(expires=...)`.
        - `direct`: start the matching handlers here and now, past the queue, and return when they have started. It
          waits for a slot, except when a handler signals. A handler that fails goes to the queue and is retried there,
          and so does one that the type names in `handlers=` and this app lacks. The event goes to the queue if this app
          has no handler for it, or starts none any more. It is owed from the call on: if the call is cancelled, its
          handlers run all the same, and if the app is left, it stores what is unfinished.
        - `id`: your own instead of a new one, 1 to 128 printable ASCII characters without a space. It names the event.
          A queue that removes duplicates stores it once; other queues store it again, as a second event.
        - `group`: an ordered queue, such as a FIFO queue of SQS, handles the events of one group one after another, and
          those without a group in any order; other queues may use it to be fair. It is 1 to 128 printable ASCII
          characters without a space.
        - `headers`: text attributes, named `[a-z0-9]{1,20}`.
        - `source`: where the event comes from, a URI-reference such as `/shop/checkout`, instead of the app's `source`.
        - `queue`: the name of the queue to store it in, or several names; default: the route of its type, else
          `default`. Of several queues, the first stores the event and each other a copy for its own handlers.
        - `transaction`: your own open transaction in the queue's database, as the backend takes it: the event is stored
          if and only if you commit it. Signal from the thread that uses it. Only a queue whose backend is
          `dawdle.abc.Transactional` can do that. No hook gets to know of the event, and not together with `direct`.

        Raises `ConfigurationError`, `NotAnEventError`, `EventError` or `EventTooLargeError` before anything is stored,
        and `SignalError` when the event is not stored, or may or may not be: `not_stored` and `uncertain` say which. An
        event of several queues that only some of them have stored is uncertain, and `stored_in` names these.
        Cancelled, the event may be stored.
        """
        queues = self._destinations(event, queue)
        event_id = event_id_of(id)
        how = self._signaling.options(delay, at, expires, group, headers, source, transaction, id)
        if direct is not False and require_bool(direct, "direct is"):
            _refuse_with_direct(delay, at, transaction)
            if group is not None and any(each.limits.ordered for each in queues):
                raise ConfigurationError(
                    "direct=True runs the handlers past the order of a group: remove it, or group="
                )
        if transaction is not None:
            _require_transactional(queues, how)
        try:
            # The event is sealed even if it is handled here: one that cannot travel could not be retried either.
            body = self._signaling.seal(event, event_id, queues, how)
            if direct and await self._run_direct(event, event_id, body, queues, how):
                return event_id
            if len(queues) == 1 and transaction is None:
                await self._signaling.store(queues[0], body, event_id, how)
            else:
                await self._signaling.store_placed([Placed(event, event_id, bodies_for(body, queues))], how)
        except BaseException as error:
            if how.report is not None:
                how.report.failed(error)
            raise
        if self._start_log.waits_for_signal:
            self._start_log.signaled(queues[0])
        if self._start_log.has_ordered and group is None:
            self._start_log.ungrouped(type(event), queues)
        return event_id

    async def signal_many(
        self,
        events: Iterable[object],
        *,
        delay: float | timedelta | None = None,
        at: datetime | None = None,
        expires: float | timedelta | None = None,
        group: str | None = None,
        headers: Mapping[str, str] | None = None,
        source: str | None = None,
        queue: str | Sequence[str] | None = None,
        transaction: object | None = None,
    ) -> list[str]:
        """Signal events in as few requests as the queue allows, and return their ids in order.

        `events` is any iterable: a list, a generator, a set, the values of a dict. All events are in memory at once.
        The options are those of `signal` without `id` and `direct`, and apply to all events. If one cannot travel, none
        is stored. `SignalError` says which events are stored, which are not, and which may or may not be.
        """
        self._running()  # also without any event, an app that cannot be used is an error
        how = self._signaling.options(delay, at, expires, group, headers, source, transaction)
        try:
            return await self._signal_all(events, queue, how)
        except BaseException as error:
            if how.report is not None:
                how.report.failed(error)
            raise

    async def _signal_all(
        self, events: Iterable[object], queue: str | Sequence[str] | None, how: SignalOptions
    ) -> list[str]:
        """Store events, and return their ids."""
        # Without routes all events go to the same queues, which are looked up once.
        same = None if queue is None and self._queues.routes else self._destinations(None, queue)
        if same is not None and len(same) == 1 and how.transaction is None:
            if self._start_log.has_ordered:
                events = events_of(events)  # they are looked at twice
            ids = await self._signaling.store_all(same[0], events, how)
            if self._start_log.has_ordered and how.group is None:
                for each in events:
                    self._start_log.ungrouped(type(each), same)
            if ids and self._start_log.waits_for_signal:
                self._start_log.signaled(same[0])
            return ids
        placed = self._signaling.place_all(
            events, lambda event: self._destinations(event, None) if same is None else same, how
        )
        if how.transaction is not None:
            _require_transactional({used for each in placed for used, _ in each.bodies}, how)
        await self._signaling.store_placed(placed, how)
        if placed and self._start_log.waits_for_signal:
            self._start_log.signaled(placed[0].bodies[0][0])
        if self._start_log.has_ordered and how.group is None:
            for one in placed:
                self._start_log.ungrouped(type(one.event), [used for used, _ in one.bodies])
        return [each.event_id for each in placed]

    async def _run_direct(
        self, event: object, event_id: str, body: bytes, queues: "Sequence[QueueClient]", how: SignalOptions
    ) -> bool:
        """Start the handlers of a sealed event, and return whether this app has any. Raises `SignalError`."""
        runtime, target = self._running(), queues[0]
        handlers = self._handlers.handlers_for(type(event), self._queues.of_handler(target.name))
        if not runtime.accepts_direct or not handlers or self._queues_only:
            return False
        if len(queues) > 1:  # before a handler starts: if one of these queues fails, nothing has run
            await self._signaling.store_placed([Placed(event, event_id, bodies_for(body, queues)[1:])], how)
        try:
            await runtime.direct.run(target, handlers, open_envelope(body), body, event, how.group)
        except BackendError as error:
            raise not_signaled(event_id, error, [queue.name for queue in queues[1:]]) from error
        if how.report is not None:
            how.report.ran_direct(event_id, target.name)
        return True

    def _destinations(self, event: object, queue: str | Sequence[str] | None) -> "Sequence[QueueClient]":
        """Return the queues that store an event: those that the call names, else those of its route."""
        queues, known = self._running().queues, self._queues
        if queue is None and not known.routes:
            return (queues[DEFAULT],)
        names = known.destinations(type(event)) if queue is None else known.named(queue)
        return [queues[name] for name in names]

    def _running(self, *, anywhere: bool = False) -> "Runtime":
        """Return the runtime of an app that is entered, or raise what keeps it from being used."""
        raise NotImplementedError


def _refuse_with_direct(delay: object, at: object, transaction: object) -> None:
    """Raise `ConfigurationError` for an option that says that the handlers run later."""
    if delay is not None or at is not None:
        raise ConfigurationError("direct=True runs the handlers now: remove it, or delay= and at=")
    if transaction is not None:
        raise ConfigurationError("direct=True runs the handlers before you commit: remove it, or transaction=")


def _require_transactional(queues: "Iterable[QueueClient]", how: SignalOptions) -> None:
    """Raise `ConfigurationError` for a queue that cannot store in the caller's transaction."""
    for queue in queues:
        queue.transactional(how.delay)
