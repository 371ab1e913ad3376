"""One message, from its receive to its settling: a straight line that reads from top to bottom."""

import random
from collections.abc import Mapping

from dawdle._flow.alone import Alone
from dawdle._flow.dispatcher import Dispatcher, Work
from dawdle._flow.hands import Hand, Hands
from dawdle._flow.keeper import Keeper
from dawdle._flow.ledger import Ledger
from dawdle._flow.settler import Settler
from dawdle._flow.slots import Slots
from dawdle._log import Log
from dawdle._rules.bounds import require_size
from dawdle._rules.codec import open_event
from dawdle._rules.envelope import Envelope, open_envelope, seconds
from dawdle._rules.handler import Handler
from dawdle._rules.roster import Roster
from dawdle._rules.signing import Signer
from dawdle._rules.trial import put_off
from dawdle._rules.verdict import Release, Result, Run, Settlement, admit, settle, undecodable, unreadable
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
        slots: Slots,
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
        self._slots = slots
        self._hands = hands
        self._alone = alone
        self._ledger = ledger

    async def carry(self, hand: Hand, delivery: Delivery, keeper: Keeper | None) -> None:
        """Carry one message that is in hand and has a slot; when this returns it has neither."""
        try:
            envelope, settlement = self._ledger.recall(hand) or await self._decide(hand, delivery)
            if not hand.lost:
                await self._settler.settle(hand, envelope, settlement, keeper)
            if keeper is not None:
                keeper.drop(hand)
                await keeper.rest(hand)
        finally:
            if keeper is not None:
                keeper.drop(hand)
            self._hands.remove(hand)
            self._slots.end()

    async def carry_past(self, hand: Hand, handler: Handler, envelope: Envelope, body: bytes, event: object) -> None:
        """Run one handler of an event that is in no queue; when this returns its slot is free."""
        try:
            results = await self._dispatcher.run((handler,), Work(event, envelope, body, hand))
            terms, now = hand.home.terms, hand.now(self._clock)
            verdict = settle(body, envelope, results, now=now, terms=terms, roll=random.random, held=False)
            await self._settler.settle(hand, envelope, verdict)
        finally:
            self._hands.remove(hand)
            self._slots.end()

    async def _decide(self, hand: Hand, delivery: Delivery) -> tuple[Envelope | None, Settlement]:
        try:
            require_size(delivery.body, hand.queue.limits.max_body)
            body = self._signer.unsigned(delivery.body)
            envelope = open_envelope(body)
        except EventError as error:
            return None, undecodable(delivery.body, delivery.key, str(error), hand.now(self._clock), hand.home.terms)
        try:
            return envelope, await self._work(hand, delivery, envelope, body)
        except Exception:  # noqa: BLE001 - a mistake of ours must not end the app, nor lose the message
            _log.exception("could not carry %s; it comes back in %g s", envelope.label, AFTER_A_MISTAKE)
            return envelope, Release(AFTER_A_MISTAKE if hand.queue.limits.can_release_later else 0.0)

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
            receives=delivery.receives,
        )
        if not isinstance(verdict, Run):
            return verdict
        try:
            event = open_event(envelope, verdict.kind, self._codecs)
        except EventError as error:
            return unreadable(body, envelope, str(error), hand.now(self._clock), terms)
        results = await self._run(verdict, Work(event, envelope, body, hand))
        if results is None:
            now, soon = hand.now(self._clock), self._alone.wanted
            return put_off(body, envelope, now, terms, stopping=hand.interrupted, soon=soon, roll=random.random())
        return settle(body, envelope, results, now=hand.now(self._clock), terms=terms, roll=random.random)

    async def _run(self, run: Run, work: Work) -> list[Result] | None:
        """Run the handlers; None if they had to be alone and could not."""
        if not run.alone:
            return await self._dispatcher.run(run.handlers, work)
        with self._alone.alone() as alone:
            if not alone or work.hand.interrupted:
                return None
            _log.warning(
                "running %s with nothing else in hand, trial %d: it came often, and nobody said what became of it",
                work.envelope.label,
                work.envelope.trial,
            )
            return await self._dispatcher.run(run.handlers, work)


def _stored_at(delivery: Delivery, envelope: Envelope, hand: Hand) -> float:
    """Return when the queue stored a message; where it has no clock, when the event was signaled."""
    if delivery.stored_at is not None:
        return delivery.stored_at
    return hand.received_at if envelope.time is None else seconds(envelope.time)
