"""One message or direct event, until it is settled: a straight line that reads from top to bottom."""

import random
from collections.abc import Mapping, Sequence

from dawdle._flow.dispatcher import Dispatcher
from dawdle._flow.in_flight import InFlight
from dawdle._flow.in_flight_message import InFlightMessage
from dawdle._flow.isolation import Isolation
from dawdle._flow.settled_cache import SettledCache
from dawdle._flow.settler import Settler
from dawdle._flow.work import Work
from dawdle._handlers.app_handlers import AppHandlers
from dawdle._handlers.handler import Handler
from dawdle._log import Log
from dawdle._rules.admission import Run, admit
from dawdle._rules.codec import open_event
from dawdle._rules.dead_lettering import undecodable, unreadable
from dawdle._rules.envelope import Envelope, to_epoch
from dawdle._rules.intake import Incomplete, Unreadable, open_message
from dawdle._rules.outcome import Done, Interrupted
from dawdle._rules.poison import MAX_TRIALS, put_off
from dawdle._rules.settlement import Release, Result, Settlement, copy_for, postponed, settle
from dawdle._rules.signing import Signer
from dawdle.abc import Clock, Codec, Delivery
from dawdle.errors import EventError

__all__ = ["Processor"]

_log = Log(__name__)

INTERNAL_ERROR_DELAY_SECONDS = 30.0
"""Seconds until a message comes back whose carrying failed by a mistake of ours."""


class Processor:
    """Carries messages. It never raises but for a cancellation: an error here would end the whole app."""

    def __init__(
        self,
        *,
        clock: Clock,
        codecs: Mapping[str, Codec],
        signer: Signer,
        handlers: AppHandlers,
        dispatcher: Dispatcher,
        settler: Settler,
        in_flight: InFlight,
        isolation: Isolation,
        settled_cache: SettledCache,
    ) -> None:
        self._clock = clock
        self._codecs = codecs
        self._signer = signer
        self._handlers = handlers
        self._dispatcher = dispatcher
        self._settler = settler
        self._in_flight = in_flight
        self._isolation = isolation
        self._settled_cache = settled_cache
        self._under_way: dict[InFlightMessage, Work] = {}
        """What has handlers that run now."""

    async def process(self, message: InFlightMessage, delivery: Delivery) -> None:
        """Carry one message that is in flight; when this returns it is not."""
        try:
            await self._in_flight.start(message)
            envelope, settlement = self._settled_cache.recall(message) or await self._decide(message, delivery)
            if not message.lease_lost and not message.abandoned:
                await self._settler.settle(message, envelope, settlement)
            await message.drop_lease()
        finally:
            if message.lease_holder is not None:
                message.lease_holder.drop(message)
            self._in_flight.finish(message)

    async def process_direct(self, work: Work, *, over_limit: bool) -> None:
        """Run the handlers of a direct event that is in flight; when this returns it is not.

        Whatever of it is unfinished then is stored. Only the end of the whole app can prevent that, and is told.
        """
        message = work.message
        try:
            await self._in_flight.start(message, over_limit=over_limit)
            assert message.handlers_started is not None, "a direct event says when its handlers have started"
            if message.started:
                message.handlers_started.set_result(True)
            try:
                settlement = self._settlement(work, await self._run_all(work))
            except Exception:  # noqa: BLE001 - a mistake of ours must not end the app, nor lose the event
                _log.exception("could not handle direct event %s; it is stored", work.envelope.label)
                settlement = self._settlement(work, self._results_so_far(work, at_most_done=True))
            if not message.abandoned:
                await self._settler.settle(message, work.envelope, settlement)
        except BaseException:
            if not message.settled and not message.abandoned:
                _log.error("lost direct event %s: the app ended before it was stored", work.envelope.label)
            raise
        finally:
            self._in_flight.finish(message)

    async def abandon(self, message: InFlightMessage) -> None:
        """Settle what has handlers that nothing can end, without waiting for them: it runs again elsewhere."""
        work = self._under_way.get(message)
        if work is None or message.abandoned or message.lease_lost or message.settling is not None:
            return
        message.abandoned = True
        try:
            await self._settler.settle(message, work.envelope, self._settlement(work, self._results_so_far(work)))
        finally:
            if (
                message.lease_holder is not None
            ):  # what could not be settled comes back, however long the handler still takes
                message.lease_holder.drop(message)

    def _results_so_far(self, work: Work, *, at_most_done: bool = False) -> list[Result]:
        """Return what has come of each handler; one that still runs counts as interrupted.

        `at_most_done`: and so does one that has ended in any other way than well, unless that is stored.
        """
        results: list[Result] = []
        for handler in work.handlers:
            result = work.results.get(handler.name)
            if result is None or (at_most_done and not isinstance(result.outcome, Done) and not result.kept):
                result = self._dispatcher.result_of(handler, work, Interrupted())
            results.append(result)
        return results

    async def _run_all(self, work: Work) -> list[Result]:
        """Run the handlers. The copy of one that failed is stored while a sibling takes its time."""

        async def keep(result: Result) -> bool:
            if work.message.abandoned:
                return False
            now, terms = work.message.now(self._clock), work.message.main_queue.terms
            held = not work.message.is_direct
            copy = copy_for(work.body, result, now, terms, random.random, attempt=work.attempt, held=held)
            return await self._settler.keep(work.message, work.envelope, copy)

        if work.missing and not work.message.main_queue.terms.shared:
            _warn_of_missing(work)
        self._under_way[work.message] = work
        try:
            return await self._dispatcher.run(work, keep)
        finally:
            del self._under_way[work.message]

    def _settlement(self, work: Work, results: Sequence[Result]) -> Settlement:
        message = work.message
        now, terms = message.now(self._clock), message.main_queue.terms
        return settle(
            work.body,
            work.envelope,
            results,
            now=now,
            terms=terms,
            random=random.random,
            attempt=work.attempt,
            held=not message.is_direct,
            missing=work.missing,
        )

    async def _decide(self, message: InFlightMessage, delivery: Delivery) -> tuple[Envelope | None, Settlement]:
        found = open_message(delivery.body, self._signer, message.queue.limits.max_body)
        if isinstance(found, Unreadable):
            return None, undecodable(
                found.body, delivery.key, found.reason, message.now(self._clock), message.main_queue.terms
            )
        body, envelope = found.body, found.envelope
        if isinstance(found, Incomplete):
            return envelope, unreadable(
                body, envelope, found.reason, message.now(self._clock), message.main_queue.terms
            )
        try:
            return envelope, await self._work(message, delivery, envelope, body)
        except Exception:  # noqa: BLE001 - a mistake of ours must not end the app, nor lose the message
            _log.exception(
                "could not handle %s: a mistake of dawdle; it comes back in %g s",
                envelope.label,
                INTERNAL_ERROR_DELAY_SECONDS,
            )
            if message.queue.limits.can_release_later:
                return envelope, Release(INTERNAL_ERROR_DELAY_SECONDS)
            return envelope, postponed(
                body, INTERNAL_ERROR_DELAY_SECONDS, message.now(self._clock), message.main_queue.terms
            )

    async def _work(self, message: InFlightMessage, delivery: Delivery, envelope: Envelope, body: bytes) -> Settlement:
        """Admit, open, run, settle: what becomes of one message, whose `body` is without its signature."""
        terms = message.main_queue.terms
        admitted = admit(
            body,
            envelope,
            self._handlers,
            self._codecs,
            stored_at=_stored_at(delivery, envelope, message),
            now=message.now(self._clock),
            terms=terms,
            random=random.random,
            receives=delivery.receive_count,
            queue=message.main_queue.name,
        )
        if not isinstance(admitted, Run):
            return admitted
        try:
            event = open_event(envelope, admitted.event_type, self._codecs)
        except EventError as error:
            return unreadable(body, envelope, str(error), message.now(self._clock), terms)
        work = Work(event, envelope, body, message, admitted.handlers, admitted.attempt, admitted.missing)
        results = await self._run(admitted, work)
        if results is None:
            now, soon = message.now(self._clock), self._isolation.is_wanted
            return put_off(body, envelope, now, terms, stopping=message.interrupted, soon=soon, random=random.random())
        return self._settlement(work, results)

    async def _run(self, run: Run[Handler], work: Work) -> list[Result] | None:
        """Run the handlers; None if they had to be alone and could not."""
        if not run.isolated:
            return await self._run_all(work)
        with self._isolation.isolate() as isolated:
            if not isolated or work.message.interrupted:
                return None
            _log.warning(
                "running suspected poison message %s in isolation, trial %d of %d: it was received often and never "
                "finished",
                work.envelope.label,
                work.envelope.trial,
                MAX_TRIALS,
            )
            return await self._run_all(work)


def _warn_of_missing(work: Work) -> None:
    """Say that handlers which a type names will not get an event: a queue in memory has no other consumer."""
    _log.warning(
        "dropped %s for %s: its type names this handler in handlers=, this app does not have it, and a queue in memory "
        "has no other consumer",
        work.envelope.label,
        ", ".join(work.missing),
    )


def _stored_at(delivery: Delivery, envelope: Envelope, message: InFlightMessage) -> float:
    """Return when the queue stored a message; where it has no clock, when the event was signaled, which is over."""
    if delivery.stored_at is not None:
        return delivery.stored_at
    return message.received_at if envelope.time is None else min(message.received_at, to_epoch(envelope.time))
