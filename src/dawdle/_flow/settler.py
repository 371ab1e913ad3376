"""Carries out a settlement: first stores all copies, then acks or releases the message. Decides nothing.

    Ack ──────► delete, tried again for a lease ──────────────────────────────────────────► acked
    Release ──► release, again with the newest receipt if it came back meanwhile ─────────► released
    Forward ──► store the copies ──┬── all are stored ──► Ack
                                   ├── some are not, and the queue can release later ─────► Release
                                   └── some are not, and it cannot ──► store them again, in place

If the queue fails, the message comes back when its lease ends: then `SettledCache` knows what is left to do.
"""

import asyncio
import random
from collections.abc import Coroutine, Sequence
from typing import Final, assert_never

from dawdle._flow.hook_calls import HookCaller
from dawdle._flow.in_flight_message import InFlightMessage
from dawdle._flow.settled_cache import SettledCache
from dawdle._flow.settlement_reports import SettlementReports, label_of
from dawdle._log import EventLog
from dawdle._rules.copies import Copy
from dawdle._rules.dedup import dedup_of, dedup_of_event
from dawdle._rules.envelope import Envelope
from dawdle._rules.settlement import Ack, Forward, Release, Settlement
from dawdle.abc import Clock, Outgoing
from dawdle.errors import BackendError, one_line
from dawdle.hooks import VerdictName

__all__ = ["Settler"]

_log = EventLog(__name__)

MIN_RETRY_SECONDS: Final = 0.2
MAX_RETRY_SECONDS: Final = 30.0
"""Seconds between two tries to delete a message or to store a copy, at first and at most: a random part of them."""

MIN_RELEASE_AGAIN_SECONDS: Final = 1.0
"""Seconds until a message is visible again if it was received again while it was being released."""

STOP_CHECK_SECONDS: Final = 1.0
"""Seconds between two looks at whether a stop ends a wait: well below the time that a stop leaves for settling."""


class Settler:
    """Settles messages. It stores before it acks: a crash between the two doubles a message and never loses one."""

    def __init__(
        self,
        *,
        clock: Clock,
        hooks: HookCaller,
        settled_cache: SettledCache,
        reports: SettlementReports,
    ) -> None:
        self._clock = clock
        self._hooks = hooks
        self._reports = reports
        self._settled_cache = settled_cache

    async def settle(self, message: InFlightMessage, envelope: Envelope | None, settlement: Settlement) -> None:
        """Carry out one settlement. If the queue fails, the message is received again later; nothing is lost.

        The lease is renewed until the message is deleted or about to be released. When a stop runs out of time, it ends
        this wait for the queue; the queue may still do what it was asked.
        """
        message.settling = asyncio.current_task()
        began = self._clock.monotonic() if self._hooks else 0.0
        try:
            verdict = await self._carry_out(message, envelope, settlement)
        except BackendError as error:
            _log.warning(
                "could not settle %s of %s; it is received again when its lease ends: %s",
                label_of(envelope),
                message.queue.name,
                error,
                about=message.about(envelope),
            )
            message.settling_failed, verdict = True, "kept"
        except asyncio.CancelledError:
            if not message.waits_no_longer:
                raise
            # A stop cancelled this task to end its wait for the queue. The task goes on: its processor has to clean up.
            _uncancel(message.settling)
            _log.warning(
                "closed before %s of %s was settled: the queue did not answer in time; the message is received again "
                "when its lease ends",
                label_of(envelope),
                message.queue.name,
                about=message.about(envelope),
            )
            message.settling_failed, verdict = True, "kept"
        finally:
            message.settling = None
        if self._hooks and verdict is not None:
            self._reports.is_settled(message, envelope, verdict, began)

    async def keep(self, message: InFlightMessage, envelope: Envelope, copy: Copy) -> bool:
        """Store one copy of a message whose other handlers still run, and return whether the queue has it."""
        stored = not await self._store(message, envelope, (copy,))
        if stored:
            self._reports.copy_stored(message, envelope, copy)
        return stored

    def _carry_out(
        self, message: InFlightMessage, envelope: Envelope | None, settlement: Settlement
    ) -> Coroutine[object, object, VerdictName | None]:
        """Begin a settlement. What it returns ends in the verdict; None of a direct event, and of one that was lost."""
        match settlement:
            case Ack():
                if settlement.reason is not None:
                    self._reports.is_dropped(message, envelope, settlement.reason)
                elif settlement.late is not None:
                    self._reports.has_expired(message, envelope, settlement.late)
                return self._ack(message)
            case Release():
                if settlement.why is not None:
                    message.released = settlement.why
                    self._reports.waits_in_place(message, envelope, settlement)
                return self._release(message, settlement.seconds)
            case Forward() if message.is_direct:
                return self._forward_direct(message, envelope, settlement)
            case Forward():
                return self._forward(message, envelope, settlement)
            case _:
                assert_never(settlement)

    async def _ack(self, message: InFlightMessage) -> VerdictName | None:
        """Delete a message that is done. While the queue fails, it is tried again for the length of a lease."""
        # A message that is done and not deleted runs again on some node: worth a wait, and its lease is renewed
        # meanwhile. But not for ever, since it holds a slot. It stays in flight: if this process receives it again, the
        # message is not run again and `receipt` becomes the newer one.
        message.settled = True
        if message.is_direct:
            return None
        self._settled_cache.note_settled(message)
        began, pause = self._clock.monotonic(), MIN_RETRY_SECONDS
        while True:
            receipt = message.receipt
            try:
                await message.queue.ack(receipt)
                if message.receipt == receipt:
                    break
                # It was received again during the call. SQS accepts an old receipt and deletes nothing, so the answer
                # means nothing: at once again, with the newer receipt.
                continue
            except BackendError as error:
                if error.kind == "lost" and message.receipt != receipt:  # as above, but an ordered queue says so
                    continue
                longest = message.queue.limits.lease or MAX_RETRY_SECONDS
                if not error.retryable or self._clock.monotonic() >= began + longest:
                    raise
            await self._pause(pause)  # a random part of it, so that the nodes do not all come back at once
            pause = min(pause * 2, MAX_RETRY_SECONDS)
        return "acked"

    async def _pause(self, longest: float) -> None:
        await self._clock.sleep_until(self._clock.monotonic() + longest * random.random())

    async def _release(self, message: InFlightMessage, seconds: float) -> VerdictName | None:
        if message.delivery is None:
            return None
        await message.end_lease()  # first: a renewal that reached the queue after the release would hide the message
        later, receipt = message.queue.limits.can_release_later, message.receipt
        await self._release_receipt(receipt, message, seconds)
        # Received again during the call, the message has a newer receipt, under which it is hidden for a whole lease:
        # so that one is released too. Not for at once: it could come again each time before the answer is here.
        while receipt != message.receipt:
            if not later:
                await self._clock.sleep_until(self._clock.monotonic() + MIN_RELEASE_AGAIN_SECONDS)
            receipt = message.receipt
            await self._release_receipt(receipt, message, max(seconds, MIN_RELEASE_AGAIN_SECONDS))
        return "released"

    async def _release_receipt(self, receipt: str, message: InFlightMessage, seconds: float) -> None:
        """Release by a receipt, for no longer than the queue can."""
        # A queue that cannot release for later is asked for 0 seconds: what needs a delay there has a delayed copy, or
        # has waited in flight (`_forward`).
        held = self._clock.monotonic() - message.held_since
        most = message.queue.limits.max_hold - held if message.queue.limits.can_release_later else 0.0
        await message.queue.release(receipt, max(0.0, min(seconds, most)))

    async def _forward(
        self, message: InFlightMessage, envelope: Envelope | None, forward: Forward
    ) -> VerdictName | None:
        """Store all copies, then ack. If a copy cannot be stored, release the message instead: it comes back later.

        If the queue cannot release for later, the message would come back at once, and again and again. There it stays
        in flight, and the copy is tried again.
        """
        unstored = await self._store(message, envelope, forward.copies)
        pause = MIN_RETRY_SECONDS
        while unstored and _stays_in_flight(message):
            await self._wait_unless_stopped(message, pause * random.random())
            pause = min(pause * 2, MAX_RETRY_SECONDS)
            unstored = await self._store(message, envelope, unstored)
        for copy in forward.copies:
            if copy not in unstored:
                self._reports.copy_stored(message, envelope, copy)
        if unstored and message.lease_lost:  # the node that has it now runs it and stores its own copies
            return None
        if unstored:
            self._settled_cache.note_owed(message, envelope, tuple(unstored), forward.release_after)
            return await self._release(message, forward.release_after)
        return await self._ack(message)

    async def _forward_direct(self, message: InFlightMessage, envelope: Envelope | None, forward: Forward) -> None:
        """Store all copies of a direct event, tried again until they are stored or the app closes.

        No queue holds the event yet. What is not stored when the app closes is lost, and the error in the log names it.
        """
        unstored: Sequence[Copy] = forward.copies
        pause = MIN_RETRY_SECONDS
        try:
            while unstored:
                asked, unstored = unstored, await self._store(message, envelope, unstored)
                for copy in asked:
                    if copy not in unstored:
                        self._reports.copy_stored(message, envelope, copy)
                if unstored:
                    await self._pause(pause)
                    pause = min(pause * 2, MAX_RETRY_SECONDS)
        except asyncio.CancelledError:
            if not message.waits_no_longer:
                raise
            _uncancel(message.settling)
            _log.error(
                "lost direct event %s for %s: the app closed before queue %s confirmed that it is stored",
                label_of(envelope),
                ", ".join(sorted({one_line(copy.handler or "all its handlers") for copy in unstored})),
                message.queue.name,
                about=message.about(envelope, unstored[0].handler if len(unstored) == 1 else None),
            )
        else:
            message.settled = True

    async def _wait_unless_stopped(self, message: InFlightMessage, seconds: float) -> None:
        until = self._clock.monotonic() + seconds
        while _stays_in_flight(message) and (now := self._clock.monotonic()) < until:
            await self._clock.sleep_until(min(until, now + STOP_CHECK_SECONDS))

    async def _store(self, message: InFlightMessage, envelope: Envelope | None, copies: Sequence[Copy]) -> list[Copy]:
        """Store copies, all at once, and return those that the queue did not confirm."""
        answers = await asyncio.gather(*(self._store_one(message, envelope, copy) for copy in copies))
        return [copy for copy, stored in zip(copies, answers, strict=True) if not stored]

    async def _store_one(self, message: InFlightMessage, envelope: Envelope | None, copy: Copy) -> bool:
        queue = message.main_queue.dead if copy.is_letter else message.main_queue
        assert queue is not None, "the rules make a letter only if there is a dead-letter queue"
        try:
            dedup = _dedup_of(message, envelope, copy)
            await queue.send(Outgoing(copy.body, copy.delay, message.group, dedup), unsigned=copy.unsigned)
        except BackendError as error:
            where = "the dead-letter queue of " if copy.is_letter else ""
            _log.warning(
                "could not store a copy of %s in %s%s; it is tried again: %s",
                label_of(envelope),
                where,
                message.queue.name,
                error,
                about=message.about(envelope, copy.handler),
            )
            return False
        return True


def _uncancel(task: "asyncio.Task[object] | None") -> None:
    """Take back the cancellation by which a stop ended the wait of this task."""
    while task is not None and task.cancelling():
        task.uncancel()


def _stays_in_flight(message: InFlightMessage) -> bool:
    """Whether a message stays in flight while its copies cannot be stored: its queue cannot release it for later."""
    return not (message.queue.limits.can_release_later or message.interrupted or message.lease_lost)


def _dedup_of(message: InFlightMessage, envelope: Envelope | None, copy: Copy) -> str:
    if copy.why == "due" and copy.handler is None and envelope is not None:
        return dedup_of_event(envelope.id, envelope.source)  # the event itself, as if it were signaled now
    # A queue that deduplicates, such as SQS FIFO, knows a copy by the message that it comes from: on every try its id
    # is the same. So a copy that was stored although the answer was lost is not stored twice.
    key = None if message.delivery is None else message.delivery.key
    return dedup_of("" if envelope is None else envelope.id, copy.handler, key=key, origin=message.queue.role)
