"""Carries a verdict out: stores what must be kept, and only then lets go of the message. Decides nothing."""

import asyncio
import random
from collections.abc import Sequence
from typing import assert_never

from dawdle._flow.hand import Hand
from dawdle._flow.ledger import Ledger
from dawdle._flow.watch import Watch
from dawdle._log import Log
from dawdle._rules.dedup import dedup_of
from dawdle._rules.envelope import Envelope
from dawdle._rules.verdict import Ack, Copy, Forward, Release, Settlement
from dawdle.abc import Clock, Outgoing
from dawdle.errors import BackendError, in_line
from dawdle.hooks import DeadLettered, Forwarded, Settled, VerdictName

__all__ = ["Settler"]

_log = Log(__name__)

SHORTEST_PAUSE = 0.2
LONGEST_PAUSE = 30.0
"""Seconds between two tries to ack, or to store what no queue holds yet: at most, and left to chance below that."""

SHORTEST_AGAIN = 1.0
"""Seconds until a message is visible that came again while it was being released."""

GLANCE = 1.0
"""Seconds from one look to the next at whether a stop ends a wait: well below what it grants for the settling."""


class Settler:
    """Settles messages. Send before ack: a crash between the two doubles a message and never loses one."""

    def __init__(self, *, clock: Clock, watch: Watch, ledger: Ledger) -> None:
        self._clock = clock
        self._watch = watch
        self._ledger = ledger
        self.dead_letters = 0
        """Letters that were stored."""
        self.unclaimed = 0
        """Copies that were stored for another node."""

    async def settle(self, hand: Hand, envelope: Envelope | None, settlement: Settlement) -> None:
        """Carry one verdict out. A queue that does not answer changes nothing but the time: the message comes back.

        Its lease is renewed until it is deleted, or is about to be released. When the hand gives up, the wait for an
        answer ends; what was asked for may still be done.
        """
        hand.settling = asyncio.current_task()
        try:
            await self._carry_out(hand, envelope, settlement)
        except BackendError as error:
            _log.warning(
                "a message of %s could not be settled and comes back when its lease ends: %s", hand.queue.name, error
            )
            self._settled(hand, "kept")
        except asyncio.CancelledError:
            if not hand.gives_up:
                raise
            _stay(hand.settling)
            _log.warning(
                "a message of %s was not settled before the app was left, since its queue did not answer; it comes "
                "back when its lease ends",
                hand.queue.name,
            )
            self._settled(hand, "kept")
        finally:
            hand.settling = None

    async def keep(self, hand: Hand, envelope: Envelope, copy: Copy) -> bool:
        """Store one copy of a message whose other handlers still run, and return whether the queue has it."""
        stored = not await self._store(hand, envelope, (copy,))
        if stored:
            self._tell(hand, envelope, copy)
        return stored

    async def _carry_out(self, hand: Hand, envelope: Envelope | None, settlement: Settlement) -> None:
        match settlement:
            case Ack():
                if settlement.reason is not None:
                    _log.warning(
                        "dropped %s: %s", "a message" if envelope is None else envelope.label, settlement.reason
                    )
                await self._ack(hand)
            case Release():
                await self._release(hand, settlement.seconds)
            case Forward() if hand.is_direct:
                await self._forward_direct(hand, envelope, settlement)
            case Forward():
                await self._forward(hand, envelope, settlement)
            case _:
                assert_never(settlement)

    async def _ack(self, hand: Hand) -> None:
        """Delete a message that is done, again and again for a lease while the queue cannot be reached.

        It stays in hand meanwhile: should it come again to this process, it is not run, and its newer receipt is used.
        """
        hand.settled = True
        if hand.is_direct:
            return
        self._ledger.done(hand)
        end = self._clock.monotonic() + (hand.queue.limits.lease or LONGEST_PAUSE)
        pause = SHORTEST_PAUSE
        while True:
            receipt = hand.receipt
            try:
                await hand.queue.ack(receipt)
                if hand.receipt == receipt:
                    break
                continue  # it came again meanwhile, and an old receipt deletes nothing
            except BackendError as error:
                if not error.retryable or self._clock.monotonic() >= end:
                    raise
            await self._pause(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
        self._settled(hand, "acked")

    async def _pause(self, longest: float) -> None:
        await self._clock.sleep_until(self._clock.monotonic() + longest * random.random())

    async def _release(self, hand: Hand, seconds: float) -> None:
        if hand.delivery is None:
            return
        await hand.drop_lease()
        later, receipt = hand.queue.limits.can_release_later, hand.receipt
        await self._release_by(receipt, hand, seconds)
        # Where it has come again meanwhile, and was adopted, it would be hidden for a lease. Released at once, it could
        # come again and again before the answer does.
        while receipt != hand.receipt:
            if not later:
                await self._clock.sleep_until(self._clock.monotonic() + SHORTEST_AGAIN)
            receipt = hand.receipt
            await self._release_by(receipt, hand, max(seconds, SHORTEST_AGAIN))
        self._settled(hand, "released")

    async def _release_by(self, receipt: str, hand: Hand, seconds: float) -> None:
        """Release, and ask for 0 where the queue knows nothing else: who wanted more has waited, or stored a copy."""
        held = self._clock.monotonic() - hand.since
        most = hand.queue.limits.max_hold - held if hand.queue.limits.can_release_later else 0.0
        await hand.queue.release(receipt, max(0.0, min(seconds, most)))

    async def _forward(self, hand: Hand, envelope: Envelope | None, forward: Forward) -> None:
        """Store all copies, then ack; if one cannot be stored, the message itself comes back.

        Where it would come back at once, again and again, it is kept in flight instead, and the storing tried again.
        """
        unstored = await self._store(hand, envelope, forward.copies)
        pause = SHORTEST_PAUSE
        while unstored and _is_kept_here(hand):
            await self._wait_unless_stopped(hand, pause * random.random())
            pause = min(pause * 2, LONGEST_PAUSE)
            unstored = await self._store(hand, envelope, unstored)
        for copy in forward.copies:
            if copy not in unstored:
                self._tell(hand, envelope, copy)
        if unstored and hand.lost:
            return
        if unstored:
            self._ledger.owed(hand, envelope, tuple(unstored), forward.otherwise)
            await self._release(hand, forward.otherwise)
        else:
            await self._ack(hand)

    async def _forward_direct(self, hand: Hand, envelope: Envelope | None, forward: Forward) -> None:
        """Store all copies of what no queue holds, again and again until they are stored or the app is left.

        What cannot be stored until then is lost, and that is an error which names it.
        """
        unstored: Sequence[Copy] = forward.copies
        pause = SHORTEST_PAUSE
        try:
            while unstored:
                asked, unstored = unstored, await self._store(hand, envelope, unstored)
                for copy in asked:
                    if copy not in unstored:
                        self._tell(hand, envelope, copy)
                if unstored:
                    await self._pause(pause)
                    pause = min(pause * 2, LONGEST_PAUSE)
        except asyncio.CancelledError:
            if not hand.gives_up:
                raise
            _stay(hand.settling)
            _log.error(
                "direct event %s is lost for %s: queue %s did not say that it stored it before the app was left",
                "" if envelope is None else envelope.label,
                ", ".join(sorted({in_line(copy.handler or "all its handlers") for copy in unstored})),
                hand.queue.name,
            )
        else:
            hand.settled = True

    async def _wait_unless_stopped(self, hand: Hand, seconds: float) -> None:
        until = self._clock.monotonic() + seconds
        while _is_kept_here(hand) and (now := self._clock.monotonic()) < until:
            await self._clock.sleep_until(min(until, now + GLANCE))

    async def _store(self, hand: Hand, envelope: Envelope | None, copies: Sequence[Copy]) -> list[Copy]:
        """Store copies, all at once, and return those that the queue did not say it stored."""
        answers = await asyncio.gather(*(self._store_one(hand, envelope, copy) for copy in copies))
        return [copy for copy, stored in zip(copies, answers, strict=True) if not stored]

    async def _store_one(self, hand: Hand, envelope: Envelope | None, copy: Copy) -> bool:
        queue = hand.home.dead if copy.is_letter else hand.home
        assert queue is not None, "the rules write letters only where there is a queue for them"
        key, group = (None, None) if hand.delivery is None else (hand.delivery.key, hand.delivery.group)
        event_id, origin = "" if envelope is None else envelope.id, hand.queue.place
        dedup = dedup_of(event_id, copy.handler, key=key, origin=origin)
        try:
            await queue.send(Outgoing(copy.body, copy.delay, group, dedup), as_is=copy.as_is)
        except BackendError as error:
            where = "the dead-letter queue of " if copy.is_letter else ""
            _log.warning("a copy could not be stored in %s%s, and is tried again: %s", where, hand.queue.name, error)
            return False
        return True

    def _settled(self, hand: Hand, verdict: VerdictName) -> None:
        if self._watch:
            self._watch(Settled(hand.queue.name, verdict, self._clock.monotonic() - hand.since))

    def _tell(self, hand: Hand, envelope: Envelope | None, copy: Copy) -> None:
        """Count, log and report a copy that is stored."""
        event_id, event_type = ("", "") if envelope is None else (envelope.id, envelope.type)
        what = "a message" if envelope is None else envelope.label
        if copy.handler is not None:
            what = f"{what} for {in_line(copy.handler)}"
        if copy.why == "dead":
            self.dead_letters += 1
            _log.error("dead-lettered %s: %s", what, copy.reason)
        elif copy.why == "kept":
            _log.error(
                "cannot handle %s, and %s has no dead-letter queue: kept, and tried again in %.3g s",
                what,
                hand.queue.name,
                copy.delay,
            )
        elif copy.why == "unclaimed":
            self.unclaimed += 1
            _log.warning("unclaimed: %s; left to another node, back in %.3g s: %s", what, copy.delay, copy.reason)
        if not self._watch:
            return
        if copy.why == "dead":
            self._watch(DeadLettered(hand.queue.name, event_id, event_type, copy.handler, copy.reason or ""))
        else:
            self._watch(Forwarded(hand.queue.name, event_id, event_type, copy.handler, copy.why, copy.delay))


def _stay(task: "asyncio.Task[object] | None") -> None:
    """Take back the cancellation by which a hand that gives up ended the wait of this task."""
    while task is not None and task.cancelling():
        task.uncancel()


def _is_kept_here(hand: Hand) -> bool:
    """Whether what could not be stored is tried again from here, since its queue lets nothing go for later."""
    return not (hand.queue.limits.can_release_later or hand.interrupted or hand.lost)
