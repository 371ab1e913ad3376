"""One message or direct event, until it is settled: a straight line that reads from top to bottom.

    message:  start ──► admit ──► run ──► settle ──► finish
    direct:   start ────────────► run ──► settle ──► finish

Everything that decides is elsewhere: the intake and the rules say what becomes of a message, the dispatcher runs
handlers, the settler stores and deletes.
"""

import random
from collections.abc import Coroutine, Sequence
from typing import Final

from dawdle._flow.dispatcher import Dispatcher
from dawdle._flow.in_flight import InFlight
from dawdle._flow.in_flight_message import InFlightMessage, Work, wait_for_renewal
from dawdle._flow.intake import Declined, Intake
from dawdle._flow.isolation import Isolation
from dawdle._flow.settled_cache import SettledCache
from dawdle._flow.settler import Settler
from dawdle._flow.watchers import Watchers
from dawdle._log import EventLog
from dawdle._rules.envelope import Envelope
from dawdle._rules.expiry import aged
from dawdle._rules.outcome import Done, Interrupted
from dawdle._rules.poison import MAX_TRIALS, put_off
from dawdle._rules.settlement import Release, Result, Settlement, copy_for, postponed, settle

__all__ = ["Processor"]

_log = EventLog(__name__)

INTERNAL_ERROR_DELAY_SECONDS: Final = 30.0
"""Seconds until a message comes back that could not be handled because of a bug in dawdle."""


class Processor:
    """Processes messages. It never raises but for a cancellation: an error here would end the whole app."""

    def __init__(
        self,
        *,
        intake: Intake,
        dispatcher: Dispatcher,
        settler: Settler,
        in_flight: InFlight,
        isolation: Isolation,
        settled_cache: SettledCache,
        watchers: Watchers,
    ) -> None:
        self._intake = intake
        self._dispatcher = dispatcher
        self._settler = settler
        self._in_flight = in_flight
        self._isolation = isolation
        self._settled_cache = settled_cache
        self._watchers = watchers

    async def process(self, message: InFlightMessage) -> None:
        """Process one message that is in flight; when this returns it is not."""
        try:
            if not self._in_flight.start(message):
                await self._in_flight.wait_to_start(message)
            # A message that came back although it was settled here is settled again, and no handler runs twice.
            envelope, settlement = self._settled_cache.recall(message) or self._admit(message)
            if isinstance(settlement, Work):
                work = settlement
                try:
                    if work.isolated:
                        settlement = await self._run_isolated(work)
                    else:
                        await self._run_all(work)
                        settlement = self._settlement(work, self._results_so_far(work))
                    if self._watchers.watching:
                        self._watchers.see(work, settlement)
                except Exception:  # noqa: BLE001 - a bug in dawdle must not end the app, nor lose the message
                    settlement = self._comes_back(message, work.envelope, work.body)
            message.work = None
            if not message.lease_lost and not message.abandoned:
                await self._settler.settle(message, envelope, settlement)
            renewal = message.drop_lease()
            if renewal is not None:
                await wait_for_renewal(renewal)
        finally:
            message.drop_lease()
            self._in_flight.finish(message)

    async def give_back(self, message: InFlightMessage) -> None:
        """Release a message that is in flight and not run, as one before it in its group is not done."""
        try:
            if not message.lease_lost:
                await self._settler.settle(message, None, Release(0.0))
        finally:
            message.drop_lease()
            self._in_flight.finish(message)

    async def process_direct(self, work: Work, *, over_limit: bool) -> None:
        """Run the handlers of a direct event that is in flight; when this returns it is not.

        What is unfinished then is stored. Only the end of the whole app can prevent that, and then an ERROR is logged.
        """
        message = work.message
        try:
            if not self._in_flight.start(message, over_limit=over_limit):
                await self._in_flight.wait_to_start(message)
            assert message.handlers_started is not None, "a direct event says when its handlers have started"
            if message.started:
                message.handlers_started.set_result(True)
            try:
                await self._run_all(work)
                settlement = self._settlement(work, self._results_so_far(work))
                if self._watchers.watching:
                    self._watchers.see(work, settlement)
            except Exception:  # noqa: BLE001 - a bug in dawdle must not end the app, nor lose the event
                _log.exception(
                    "could not handle direct event %s because of a bug in dawdle; it is stored in its queue instead",
                    work.label,
                    about=work.about(),
                )
                settlement = self._settlement(work, self._results_so_far(work, at_most_done=True))
            message.work = None
            if not message.abandoned:
                await self._settler.settle(message, work.envelope, settlement)
        except BaseException:
            if not message.settled and not message.abandoned:
                _log.error("lost direct event %s: the app ended before it was stored", work.label, about=work.about())
            raise
        finally:
            self._in_flight.finish(message)

    async def abandon(self, message: InFlightMessage) -> None:
        """Settle a message whose handlers ignore their cancellation, without waiting for them: it runs again elsewhere.

        Its unfinished handlers count as interrupted, so each of them is owed a copy, its attempt unchanged.
        """
        work = message.work
        if work is None or message.abandoned or message.lease_lost or message.settling is not None:
            return
        message.abandoned = True
        try:
            await self._settler.settle(message, work.envelope, self._settlement(work, self._results_so_far(work)))
        finally:
            # If it could not be settled, it must come back, however long its handler still takes.
            message.drop_lease()

    def _admit(self, message: InFlightMessage) -> tuple[Envelope | None, Work | Settlement]:
        """Open a message, and return the work on it, or what becomes of it without any."""
        delivery = message.delivery
        assert delivery is not None, "a direct event is admitted where it is signaled"
        opened = self._intake.open(message, delivery)
        if isinstance(opened, Declined):
            return opened
        try:
            return opened.envelope, self._intake.admit(message, delivery, opened)
        except Exception:  # noqa: BLE001 - as where the handlers run
            return opened.envelope, self._comes_back(message, opened.envelope, opened.body)

    async def _run_isolated(self, work: Work) -> Settlement:
        """Run the handlers of a suspected poison message, if nothing else is in flight; return what becomes of it."""
        if work.message.main_queue.terms.ordered:
            return await self._run_isolated_in_place(work)
        with self._isolation.isolate() as is_isolated:
            if is_isolated and not work.message.interrupted:
                _log.warning(
                    "running suspected poison message %s in isolation, trial %d of %d: it was received often and never "
                    "finished",
                    work.label,
                    work.envelope.trial,
                    MAX_TRIALS,
                    about=work.about(),
                )
                await self._run_all(work)
                return self._settlement(work, self._results_so_far(work))
        return put_off(
            work.body,
            work.envelope,
            work.message.now(),
            work.message.main_queue.terms,
            stopping=work.message.interrupted,
            soon=self._isolation.is_wanted,
            random=random.random(),
        )

    async def _run_isolated_in_place(self, work: Work) -> Settlement:
        """Run the handlers of a suspected poison message of an ordered queue, isolated if that can be."""
        async with self._isolation.isolate_in_place(work.message) as is_isolated:
            if is_isolated:
                _log.warning(
                    "running suspected poison message %s in isolation, attempt %d: it was received often, and this "
                    "process does not know of an outcome",
                    work.label,
                    work.attempt,
                    about=work.about(),
                )
            await self._run_all(work)
            return self._settlement(work, self._results_so_far(work))

    def _run_all(self, work: Work) -> Coroutine[object, object, object]:
        """Run the handlers; `work.results` says what came of them.

        A handler that failed has its copy stored early, while a slow sibling still runs.
        """
        if work.missing and not work.message.main_queue.terms.shared:
            _warn_of_missing(work)
        work.message.work = work
        return self._dispatcher.run(work, self._store_early)

    async def _store_early(self, work: Work, result: Result) -> bool:
        """Store the copy of a failed handler, and return whether the queue has it."""
        now, terms = work.message.now(), work.message.main_queue.terms
        held = not work.message.is_direct
        if work.message.abandoned or (terms.ordered and held):  # in its place the whole event is tried again
            return False
        body = aged(work.body, work.envelope, now)
        copy = copy_for(body, result, now, terms, random.random, attempt=work.attempt, held=held)
        return await self._settler.keep(work.message, work.envelope, copy)

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

    def _settlement(self, work: Work, results: Sequence[Result]) -> Settlement:
        message = work.message
        return settle(
            work.body,
            work.envelope,
            results,
            now=message.now(),
            terms=message.queue.main_queue.terms,
            random=random.random,
            attempt=work.attempt,
            held=not message.is_direct,
            missing=work.missing,
        )

    def _comes_back(self, message: InFlightMessage, envelope: Envelope, body: bytes) -> Settlement:
        """Log the error that is being handled, and return what brings back the message that it kept from running."""
        _log.exception(
            "could not handle %s because of a bug in dawdle; it comes back in %g s",
            envelope.label,
            INTERNAL_ERROR_DELAY_SECONDS,
            about=message.about(envelope),
        )
        if message.queue.limits.can_release_later:
            return Release(INTERNAL_ERROR_DELAY_SECONDS)
        return postponed(body, INTERNAL_ERROR_DELAY_SECONDS, message.now(), message.main_queue.terms)


def _warn_of_missing(work: Work) -> None:
    """Say that handlers which a type names will not get an event: a queue in memory has no other consumer."""
    _log.warning(
        "dropped %s for %s: its type names this handler in handlers=, this app does not have it, and a queue in memory "
        "has no other consumer",
        work.label,
        ", ".join(work.missing),
        about=work.about(),
    )
