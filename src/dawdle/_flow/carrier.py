"""One message or direct event, until it is settled: a straight line that reads from top to bottom."""

import random
from collections.abc import Mapping, Sequence

from dawdle._flow.alone import Alone
from dawdle._flow.dispatcher import Dispatcher
from dawdle._flow.hand import Hand
from dawdle._flow.hands import Hands
from dawdle._flow.ledger import Ledger
from dawdle._flow.settler import Settler
from dawdle._flow.work import Work
from dawdle._log import Log
from dawdle._rules.codec import open_event
from dawdle._rules.envelope import Envelope, seconds
from dawdle._rules.intake import Incomplete, Unreadable, open_message
from dawdle._rules.outcome import Done, Interrupted
from dawdle._rules.roster import Roster
from dawdle._rules.signing import Signer
from dawdle._rules.trial import TRIALS, put_off
from dawdle._rules.verdict import (
    Release,
    Result,
    Run,
    Settlement,
    admit,
    copy_for,
    put_off_for,
    settle,
    undecodable,
    unreadable,
)
from dawdle.abc import Clock, Codec, Delivery
from dawdle.errors import EventError

__all__ = ["Carrier"]

_log = Log(__name__)

AFTER_A_MISTAKE = 30.0
"""Seconds until a message comes back whose carrying failed by a mistake of ours."""


class Carrier:
    """Carries messages. It never raises but for a cancellation: an error here would end the whole app."""

    def __init__(
        self,
        *,
        clock: Clock,
        codecs: Mapping[str, Codec],
        signer: Signer,
        roster: Roster,
        dispatcher: Dispatcher,
        settler: Settler,
        hands: Hands,
        alone: Alone,
        ledger: Ledger,
    ) -> None:
        self._clock = clock
        self._codecs = codecs
        self._signer = signer
        self._roster = roster
        self._dispatcher = dispatcher
        self._settler = settler
        self._hands = hands
        self._alone = alone
        self._ledger = ledger
        self._works: dict[Hand, Work] = {}
        """What has handlers that run now."""

    async def carry(self, hand: Hand, delivery: Delivery) -> None:
        """Carry one message that is in flight; when this returns it is not."""
        try:
            await self._hands.start(hand)
            envelope, settlement = self._ledger.recall(hand) or await self._decide(hand, delivery)
            if not hand.lost and not hand.abandoned:
                await self._settler.settle(hand, envelope, settlement)
            await hand.drop_lease()
        finally:
            if hand.keeper is not None:
                hand.keeper.drop(hand)
            self._hands.let_go(hand)

    async def carry_direct(self, work: Work, *, over_limit: bool) -> None:
        """Run the handlers of a direct event that is in flight; when this returns it is not.

        Whatever of it is unfinished then is stored. Only the end of the whole app can prevent that, and is told.
        """
        hand = work.hand
        try:
            await self._hands.start(hand, over_limit=over_limit)
            assert hand.begun is not None, "a direct event says when its handlers have started"
            if hand.started:
                hand.begun.set_result(True)
            try:
                settlement = self._verdict(work, await self._run_all(work))
            except Exception:  # noqa: BLE001 - a mistake of ours must not end the app, nor lose the event
                _log.exception("could not handle direct event %s; it is stored", work.envelope.label)
                settlement = self._verdict(work, self._results_so_far(work, at_most_done=True))
            if not hand.abandoned:
                await self._settler.settle(hand, work.envelope, settlement)
        except BaseException:
            if not hand.settled and not hand.abandoned:
                _log.error("lost direct event %s: the app ended before it was stored", work.envelope.label)
            raise
        finally:
            self._hands.let_go(hand)

    async def abandon(self, hand: Hand) -> None:
        """Settle what has handlers that nothing can end, without waiting for them: it runs again elsewhere."""
        work = self._works.get(hand)
        if work is None or hand.abandoned or hand.lost or hand.settling is not None:
            return
        hand.abandoned = True
        try:
            await self._settler.settle(hand, work.envelope, self._verdict(work, self._results_so_far(work)))
        finally:
            if hand.keeper is not None:  # what could not be settled comes back, however long the handler still takes
                hand.keeper.drop(hand)

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
            if work.hand.abandoned:
                return False
            now, terms = work.hand.now(self._clock), work.hand.home.terms
            held = not work.hand.is_direct
            copy = copy_for(work.body, work.envelope, result, now, terms, random.random, held=held)
            return await self._settler.keep(work.hand, work.envelope, copy)

        if work.missing and not work.hand.home.terms.shared:
            _warn_of_missing(work)
        self._works[work.hand] = work
        try:
            return await self._dispatcher.run(work, keep)
        finally:
            del self._works[work.hand]

    def _verdict(self, work: Work, results: Sequence[Result]) -> Settlement:
        hand = work.hand
        now, terms = hand.now(self._clock), hand.home.terms
        return settle(
            work.body,
            work.envelope,
            results,
            now=now,
            terms=terms,
            roll=random.random,
            held=not hand.is_direct,
            missing=work.missing,
        )

    async def _decide(self, hand: Hand, delivery: Delivery) -> tuple[Envelope | None, Settlement]:
        found = open_message(delivery.body, self._signer, hand.queue.limits.max_body)
        if isinstance(found, Unreadable):
            return None, undecodable(found.body, delivery.key, found.reason, hand.now(self._clock), hand.home.terms)
        body, envelope = found.body, found.envelope
        if isinstance(found, Incomplete):
            return envelope, unreadable(body, envelope, found.reason, hand.now(self._clock), hand.home.terms)
        try:
            return envelope, await self._work(hand, delivery, envelope, body)
        except Exception:  # noqa: BLE001 - a mistake of ours must not end the app, nor lose the message
            _log.exception(
                "could not handle %s: a mistake of dawdle; it comes back in %g s", envelope.label, AFTER_A_MISTAKE
            )
            if hand.queue.limits.can_release_later:
                return envelope, Release(AFTER_A_MISTAKE)
            return envelope, put_off_for(body, AFTER_A_MISTAKE, hand.now(self._clock), hand.home.terms)

    async def _work(self, hand: Hand, delivery: Delivery, envelope: Envelope, body: bytes) -> Settlement:
        """Admit, open, run, settle: the verdict on one message, whose `body` is without its signature."""
        terms = hand.home.terms
        verdict = admit(
            body,
            envelope,
            self._roster,
            self._codecs,
            stored_at=_stored_at(delivery, envelope, hand),
            now=hand.now(self._clock),
            terms=terms,
            roll=random.random,
            receives=delivery.receive_count,
        )
        if not isinstance(verdict, Run):
            return verdict
        try:
            event = open_event(envelope, verdict.kind, self._codecs)
        except EventError as error:
            return unreadable(body, envelope, str(error), hand.now(self._clock), terms)
        work = Work(event, envelope, body, hand, verdict.handlers, verdict.missing)
        results = await self._run(verdict, work)
        if results is None:
            now, soon = hand.now(self._clock), self._alone.wanted
            return put_off(body, envelope, now, terms, stopping=hand.interrupted, soon=soon, roll=random.random())
        return self._verdict(work, results)

    async def _run(self, run: Run, work: Work) -> list[Result] | None:
        """Run the handlers; None if they had to be alone and could not."""
        if not run.alone:
            return await self._run_all(work)
        with self._alone.alone() as alone:
            if not alone or work.hand.interrupted:
                return None
            _log.warning(
                "running suspected poison message %s in isolation, trial %d of %d: it was received often and never "
                "finished",
                work.envelope.label,
                work.envelope.trial,
                TRIALS,
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


def _stored_at(delivery: Delivery, envelope: Envelope, hand: Hand) -> float:
    """Return when the queue stored a message; where it has no clock, when the event was signaled, which is over."""
    if delivery.stored_at is not None:
        return delivery.stored_at
    return hand.received_at if envelope.time is None else min(hand.received_at, seconds(envelope.time))
