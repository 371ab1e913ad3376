"""Carries a verdict out: stores what must be kept, and only then lets go of the message. Decides nothing."""

import asyncio
import random
from collections.abc import Sequence
from typing import assert_never

from dawdle._flow.hook_calls import HookCaller
from dawdle._flow.in_flight_message import InFlightMessage
from dawdle._flow.settled_cache import SettledCache
from dawdle._log import Log
from dawdle._rules.copies import Copy
from dawdle._rules.dedup import dedup_of
from dawdle._rules.envelope import Envelope
from dawdle._rules.settlement import Ack, Forward, Release, Settlement
from dawdle.abc import Clock, Outgoing
from dawdle.errors import BackendError, in_line
from dawdle.hooks import DeadLettered, Forwarded, Settled, VerdictName

__all__ = ["Settler"]

_log = Log(__name__)

MIN_RETRY_SECONDS = 0.2
MAX_RETRY_SECONDS = 30.0
"""Seconds between two tries to ack, or to store what no queue holds yet: at most, and left to chance below that."""

MIN_RELEASE_AGAIN_SECONDS = 1.0
"""Seconds until a message is visible that came again while it was being released."""

STOP_CHECK_SECONDS = 1.0
"""Seconds from one look to the next at whether a stop ends a wait: well below what it grants for the settling."""


class Settler:
    """Settles messages. Send before ack: a crash between the two doubles a message and never loses one."""

    def __init__(self, *, clock: Clock, hooks: HookCaller, settled_cache: SettledCache) -> None:
        self._clock = clock
        self._hooks = hooks
        self._settled_cache = settled_cache
        self.dead_letters = 0
        """Letters that were stored."""
        self.unclaimed = 0
        """Copies that were stored for another node."""

    async def settle(self, message: InFlightMessage, envelope: Envelope | None, settlement: Settlement) -> None:
        """Carry one verdict out. A queue that does not answer changes nothing but the time: the message comes back.

        Its lease is renewed until it is deleted, or is about to be released. When the hand gives up, the wait for an
        answer ends; what was asked for may still be done.
        """
        message.settling = asyncio.current_task()
        try:
            await self._carry_out(message, envelope, settlement)
        except BackendError as error:
            _log.warning(
                "a message of %s could not be settled and comes back when its lease ends: %s", message.queue.name, error
            )
            self._settled(message, "kept")
        except asyncio.CancelledError:
            if not message.waits_no_longer:
                raise
            _stay(message.settling)
            _log.warning(
                "a message of %s was not settled before the app was left, since its queue did not answer; it comes "
                "back when its lease ends",
                message.queue.name,
            )
            self._settled(message, "kept")
        finally:
            message.settling = None

    async def keep(self, message: InFlightMessage, envelope: Envelope, copy: Copy) -> bool:
        """Store one copy of a message whose other handlers still run, and return whether the queue has it."""
        stored = not await self._store(message, envelope, (copy,))
        if stored:
            self._report_copy(message, envelope, copy)
        return stored

    async def _carry_out(self, message: InFlightMessage, envelope: Envelope | None, settlement: Settlement) -> None:
        match settlement:
            case Ack():
                if settlement.reason is not None:
                    _log.warning(
                        "dropped %s: %s", "a message" if envelope is None else envelope.label, settlement.reason
                    )
                await self._ack(message)
            case Release():
                await self._release(message, settlement.seconds)
            case Forward() if message.is_direct:
                await self._forward_direct(message, envelope, settlement)
            case Forward():
                await self._forward(message, envelope, settlement)
            case _:
                assert_never(settlement)

    async def _ack(self, message: InFlightMessage) -> None:
        """Delete a message that is done, again and again for a lease while the queue cannot be reached.

        It stays in flight meanwhile: if this process receives it again, it is not run, and its newer receipt is used.
        """
        message.settled = True
        if message.is_direct:
            return
        self._settled_cache.note_settled(message)
        end = self._clock.monotonic() + (message.queue.limits.lease or MAX_RETRY_SECONDS)
        pause = MIN_RETRY_SECONDS
        while True:
            receipt = message.receipt
            try:
                await message.queue.ack(receipt)
                if message.receipt == receipt:
                    break
                continue  # it came again meanwhile, and an old receipt deletes nothing
            except BackendError as error:
                if not error.retryable or self._clock.monotonic() >= end:
                    raise
            await self._pause(pause)
            pause = min(pause * 2, MAX_RETRY_SECONDS)
        self._settled(message, "acked")

    async def _pause(self, longest: float) -> None:
        await self._clock.sleep_until(self._clock.monotonic() + longest * random.random())

    async def _release(self, message: InFlightMessage, seconds: float) -> None:
        if message.delivery is None:
            return
        await message.drop_lease()
        later, receipt = message.queue.limits.can_release_later, message.receipt
        await self._release_by(receipt, message, seconds)
        # Where it has come again meanwhile, and was adopted, it would be hidden for a lease. Released at once, it could
        # come again and again before the answer does.
        while receipt != message.receipt:
            if not later:
                await self._clock.sleep_until(self._clock.monotonic() + MIN_RELEASE_AGAIN_SECONDS)
            receipt = message.receipt
            await self._release_by(receipt, message, max(seconds, MIN_RELEASE_AGAIN_SECONDS))
        self._settled(message, "released")

    async def _release_by(self, receipt: str, message: InFlightMessage, seconds: float) -> None:
        """Release, and ask for 0 where the queue knows nothing else: who wanted more has waited, or stored a copy."""
        held = self._clock.monotonic() - message.held_since
        most = message.queue.limits.max_hold - held if message.queue.limits.can_release_later else 0.0
        await message.queue.release(receipt, max(0.0, min(seconds, most)))

    async def _forward(self, message: InFlightMessage, envelope: Envelope | None, forward: Forward) -> None:
        """Store all copies, then ack; if one cannot be stored, the message itself comes back.

        Where it would come back at once, again and again, it is kept in flight instead, and the storing tried again.
        """
        unstored = await self._store(message, envelope, forward.copies)
        pause = MIN_RETRY_SECONDS
        while unstored and _is_kept_here(message):
            await self._wait_unless_stopped(message, pause * random.random())
            pause = min(pause * 2, MAX_RETRY_SECONDS)
            unstored = await self._store(message, envelope, unstored)
        for copy in forward.copies:
            if copy not in unstored:
                self._report_copy(message, envelope, copy)
        if unstored and message.lease_lost:
            return
        if unstored:
            self._settled_cache.note_owed(message, envelope, tuple(unstored), forward.release_after)
            await self._release(message, forward.release_after)
        else:
            await self._ack(message)

    async def _forward_direct(self, message: InFlightMessage, envelope: Envelope | None, forward: Forward) -> None:
        """Store all copies of what no queue holds, again and again until they are stored or the app is left.

        What cannot be stored until then is lost, and that is an error which names it.
        """
        unstored: Sequence[Copy] = forward.copies
        pause = MIN_RETRY_SECONDS
        try:
            while unstored:
                asked, unstored = unstored, await self._store(message, envelope, unstored)
                for copy in asked:
                    if copy not in unstored:
                        self._report_copy(message, envelope, copy)
                if unstored:
                    await self._pause(pause)
                    pause = min(pause * 2, MAX_RETRY_SECONDS)
        except asyncio.CancelledError:
            if not message.waits_no_longer:
                raise
            _stay(message.settling)
            _log.error(
                "direct event %s is lost for %s: queue %s did not say that it stored it before the app was left",
                "" if envelope is None else envelope.label,
                ", ".join(sorted({in_line(copy.handler or "all its handlers") for copy in unstored})),
                message.queue.name,
            )
        else:
            message.settled = True

    async def _wait_unless_stopped(self, message: InFlightMessage, seconds: float) -> None:
        until = self._clock.monotonic() + seconds
        while _is_kept_here(message) and (now := self._clock.monotonic()) < until:
            await self._clock.sleep_until(min(until, now + STOP_CHECK_SECONDS))

    async def _store(self, message: InFlightMessage, envelope: Envelope | None, copies: Sequence[Copy]) -> list[Copy]:
        """Store copies, all at once, and return those that the queue did not say it stored."""
        answers = await asyncio.gather(*(self._store_one(message, envelope, copy) for copy in copies))
        return [copy for copy, stored in zip(copies, answers, strict=True) if not stored]

    async def _store_one(self, message: InFlightMessage, envelope: Envelope | None, copy: Copy) -> bool:
        queue = message.main_queue.dead if copy.is_letter else message.main_queue
        assert queue is not None, "the rules write letters only where there is a queue for them"
        key, group = (None, None) if message.delivery is None else (message.delivery.key, message.delivery.group)
        event_id, origin = "" if envelope is None else envelope.id, message.queue.role
        dedup = dedup_of(event_id, copy.handler, key=key, origin=origin)
        try:
            await queue.send(Outgoing(copy.body, copy.delay, group, dedup), unsigned=copy.unsigned)
        except BackendError as error:
            where = "the dead-letter queue of " if copy.is_letter else ""
            _log.warning("a copy could not be stored in %s%s, and is tried again: %s", where, message.queue.name, error)
            return False
        return True

    def _settled(self, message: InFlightMessage, verdict: VerdictName) -> None:
        if self._hooks:
            self._hooks(Settled(message.queue.name, verdict, self._clock.monotonic() - message.held_since))

    def _report_copy(self, message: InFlightMessage, envelope: Envelope | None, copy: Copy) -> None:
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
                message.queue.name,
                copy.delay,
            )
        elif copy.why == "unclaimed":
            self.unclaimed += 1
            _log.warning("unclaimed: %s; left to another node, back in %.3g s: %s", what, copy.delay, copy.reason)
        if not self._hooks:
            return
        if copy.why == "dead":
            self._hooks(DeadLettered(message.queue.name, event_id, event_type, copy.handler, copy.reason or ""))
        else:
            self._hooks(Forwarded(message.queue.name, event_id, event_type, copy.handler, copy.why, copy.delay))


def _stay(task: "asyncio.Task[object] | None") -> None:
    """Take back the cancellation by which a hand that gives up ended the wait of this task."""
    while task is not None and task.cancelling():
        task.uncancel()


def _is_kept_here(message: InFlightMessage) -> bool:
    """Whether what could not be stored is tried again from here, since its queue lets nothing go for later."""
    return not (message.queue.limits.can_release_later or message.interrupted or message.lease_lost)
