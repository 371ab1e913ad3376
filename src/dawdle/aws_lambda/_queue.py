"""One queue of an app under Lambda: receives are served from the records of the invocation, all else goes to SQS.

A record of one invocation:

    offered ──► handed out ──┬── acked ────► done        Lambda deletes it, or `delete_done` if the invocation is long
       │                     └── released ─► unfinished  it is reported, and SQS gives it again
       └── the time is over, or its group has failed ──► unfinished

Visibility is the event source's: there is no lease here and nothing to renew. What is released is made visible again by
SQS too, since a report alone leaves it hidden for the queue's whole visibility timeout.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from math import inf
from types import TracebackType
from typing import Final, Self

import msgspec

from dawdle._log import Log
from dawdle.abc import Counts, Delivery, Fault, Limits, Outgoing, ReleaseEntry, Renew
from dawdle.aws_lambda._records import Message
from dawdle.backends.sqs import SQS
from dawdle.errors import BackendError

__all__ = ["LambdaQueue", "Offer"]

_log = Log(__name__)

MAX_HELD_SECONDS: Final = 43_200.0 - 3600.0
"""Seconds from the receive here until SQS makes any message visible: its 12 hours, less what Lambda has held it for."""

_TRIAL: Final = b'"dawdletrial"'
"""The attribute of a copy that was suspected of killing its process: it runs alone."""


class Offer:
    """One SQS message of an invocation, in one part, or in several where it holds several events."""

    def __init__(self, message: Message, parts: Sequence[Delivery]) -> None:
        self.message = message
        self.parts = list(parts)
        self.running = 0
        self.released = False
        self.deleted = False

    @property
    def is_settled(self) -> bool:
        """Whether nothing of it is left to be done here."""
        return not self.running and (self.released or not self.parts)

    @property
    def is_done(self) -> bool:
        """Whether it is handled, so that it may be deleted."""
        return not self.running and not self.parts and not self.released


class LambdaQueue:
    """A backend about that of a queue. It serves one invocation at a time."""

    def __init__(self, inner: SQS) -> None:
        self.inner = inner
        self.failure: Exception | None = None
        """Why the queue cannot be used at all, such as that it does not exist."""
        self._delayed = None if inner.delayed is None else LambdaQueue(inner.delayed)
        self._offers: list[Offer] = []
        self._handed_out: dict[str, Offer] = {}
        self._groups: Counter[str] = Counter()
        """The groups of which a message is handed out, on an ordered queue."""
        self._until: float | None = None
        self._changed = asyncio.Event()
        self._wake = asyncio.Event()
        self._receives = False
        self._known: tuple[Limits, Limits] | None = None
        self._told_denied = False
        self.is_open = False

    def __repr__(self) -> str:
        return repr(self.inner)

    @property
    def identity(self) -> str:
        """Account and name of the queue."""
        return self.inner.identity

    @property
    def location(self) -> str:
        """Where the queue is."""
        return self.inner.location

    @property
    def limits(self) -> Limits:
        """Those of the queue, but for what the event source does instead."""
        inner = self.inner.limits  # it is replaced once the queue's attributes are known
        if self._known is None or self._known[0] is not inner:
            mine = msgspec.structs.replace(inner, lease=None, receive_cancellable=True, max_hold=MAX_HELD_SECONDS)
            self._known = inner, mine
        return self._known[1]

    @property
    def dead_letters(self) -> SQS | None:
        """The dead-letter queue itself: no function is invoked with its messages."""
        return self.inner.dead_letters

    @property
    def delayed(self) -> "LambdaQueue | None":
        """The second queue, for delayed events: it is an event source of the function too."""
        return self._delayed

    async def __aenter__(self) -> Self:
        await self.inner.__aenter__()
        self.is_open = True
        for queue in (self, self._delayed):
            if queue is not None:
                queue._changed = asyncio.Event()  # it belongs to an event loop, and this may be another one
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.is_open = False
        await self.inner.__aexit__(error_type, error, trace)

    async def prepare_receive(self) -> None:
        """Look up the dead-letter queue. What no later try can mend ends the invocation now, not at its timeout."""
        try:
            await self.inner.prepare_receive()
        except Exception as error:
            if not isinstance(error, BackendError) or error.kind not in {"throttled", "unavailable"}:
                self.failure = error
                self._tell()
            raise

    async def send(self, batch: Sequence[Outgoing]) -> list[Fault | None]:
        """Store messages in SQS."""
        return await self.inner.send(batch)

    async def receive(self, limit: int, wait: float) -> list[Delivery]:
        """Hand out records of the invocation, as soon as there are some that may run now."""
        # One receive waits, and any other comes back empty: while none is open, a suspected message can be isolated.
        if self._receives:
            return []
        self._receives = True
        try:
            async with asyncio.timeout(None if wait == inf else wait):
                while True:
                    found = await self._take(limit)
                    if found or wait <= 0:
                        return found
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return []
        finally:
            self._receives = False

    async def ack(self, receipts: Sequence[str]) -> list[Fault | None]:
        """Note what is done. A receipt of an earlier invocation, whose handler ran on, is deleted in SQS."""
        old = [receipt for receipt in receipts if receipt not in self._handed_out]
        for receipt in receipts:
            self._give_back(receipt)
        answers = iter(await self.inner.ack(old) if old else ())
        return [next(answers) if receipt in old else None for receipt in receipts]

    async def release(self, batch: Sequence[ReleaseEntry]) -> list[Fault | None]:
        """Note what is unfinished, and let SQS make it visible in so many seconds. Never fails: it is reported too."""
        entries: dict[str, ReleaseEntry] = {}
        for given, delay in batch:
            offer, receipt = self._give_back(given), given
            if offer is not None:
                self._leave_unfinished(offer)
                receipt = offer.message.receipt
            entries[receipt] = ReleaseEntry(receipt, delay)
        await self._make_visible(list(entries.values()))
        return [None] * len(batch)

    async def renew(self, receipts: Sequence[str]) -> list[Fault | None]:
        """Do nothing: there is no lease here."""
        return [None] * len(receipts)

    @asynccontextmanager
    async def renewer(self) -> AsyncGenerator[Renew]:
        """Yield what does nothing: there is no lease here."""
        yield self.renew

    async def count(self) -> Counts:
        """Return about how many messages the queue has."""
        return await self.inner.count()

    # What an invocation does.

    @property
    def is_settled(self) -> bool:
        """Whether nothing of what was offered is left to be done."""
        return all(offer.is_settled for offer in self._offers)

    @property
    def has_handed_out(self) -> bool:
        """Whether a message of this invocation is handed out, and neither acked nor released."""
        return bool(self._handed_out)

    @property
    def waiting(self) -> int:
        """How many messages were not handed out yet."""
        return sum(bool(offer.parts) for offer in self._offers)

    def has_arn(self, arn: str) -> bool:
        """Whether this is the queue with an ARN. The URLs of some emulators have no account."""
        account, _, name = arn.rpartition(":")
        own_account, _, own_name = self.identity.rpartition("/")
        return own_name == name and (not own_account.isdigit() or own_account == account.rpartition(":")[2])

    def offer(self, offers: Sequence[Offer], until: float | None, wake: asyncio.Event) -> None:
        """Begin an invocation. `until`: when handlers are cancelled, by the loop's time; None: never.

        `wake` is set whenever a message has come to its end, and when the queue cannot be used at all.
        """
        self._offers, self._until, self._wake = list(offers), until, wake
        self._handed_out.clear()
        self._groups.clear()
        self.failure = None
        self._changed.set()

    async def delete_done(self) -> None:
        """Delete in SQS what is done by now: should the invocation fail or be killed, it does not run again."""
        done = [offer for offer in self._offers if offer.is_done and not offer.deleted]
        for start in range(0, len(done), self.limits.max_batch):
            some = done[start : start + self.limits.max_batch]
            try:
                answers = await self.inner.ack([offer.message.receipt for offer in some])
            except BackendError as error:
                _log.warning("could not delete %d handled messages of %s early: %s", len(some), self.identity, error)
                return
            for offer, fault in zip(some, answers, strict=True):
                offer.deleted = fault is None

    async def give_back_rest(self) -> None:
        """Make visible what was never handed out, since the time or its group was over before its turn came."""
        rest = [offer.message.receipt for offer in self._offers if offer.parts and not offer.running]
        for start in range(0, len(rest), self.limits.max_batch):
            await self._make_visible([ReleaseEntry(each, 0.0) for each in rest[start : start + self.limits.max_batch]])

    def unfinished(self) -> list[Message]:
        """Return the messages that are not done."""
        return [offer.message for offer in self._offers if not offer.is_done]

    def end(self) -> None:
        """End the invocation. What it has handed out and not got back is of an earlier one from now on."""
        self._offers, self._until = [], None
        self._handed_out.clear()
        self._groups.clear()

    def _tell(self) -> None:
        self._changed.set()
        self._wake.set()

    async def _take(self, limit: int) -> list[Delivery]:
        """Return what may run now, at most so many."""
        found = self._take_ordered(limit) if self.inner.limits.ordered else self._take_unordered(limit)
        if not found and not self._handed_out and (found := self._waiting()[:1]):
            # Only suspects are left. Each runs alone and last, when all others are done and deleted: if it kills the
            # process, none of them runs again.
            await self.delete_done()
        hold = None if self._until is None else self._until - asyncio.get_running_loop().time()
        if hold is not None and hold <= 0:
            return []
        for offer, part in found:
            offer.parts.remove(part)
            offer.running += 1
            self._handed_out[part.receipt] = offer
            if part.group is not None:
                self._groups[part.group] += 1
        return [msgspec.structs.replace(part, max_hold=hold) for _, part in found]

    def _take_unordered(self, limit: int) -> list[tuple[Offer, Delivery]]:
        return [each for each in self._waiting() if _TRIAL not in each[1].body][:limit]

    def _take_ordered(self, limit: int) -> list[tuple[Offer, Delivery]]:
        """Return the first records of which no earlier receive has one of the same group in flight."""
        return [each for each in self._waiting() if each[1].group is None or not self._groups[each[1].group]][:limit]

    def _waiting(self) -> list[tuple[Offer, Delivery]]:
        """Return what was not handed out, and may be."""
        return [(offer, part) for offer in self._offers if not offer.released for part in offer.parts]

    def _give_back(self, receipt: str) -> Offer | None:
        """Take back what was handed out, in whatever state; None for a receipt that is none of this invocation."""
        offer = self._handed_out.pop(receipt, None)
        if offer is not None:
            offer.running -= 1
            group = offer.message.delivery.group
            if group is not None:
                self._groups[group] -= 1
            self._tell()
        return offer

    def _leave_unfinished(self, offer: Offer) -> None:
        """Note that a message comes again; on an ordered queue, all of its group that were not handed out do too."""
        offer.released = True
        group = offer.message.delivery.group
        if self.inner.limits.ordered and group is not None:
            for other in self._offers:
                if other.message.delivery.group == group and other.parts:
                    other.released = True

    async def _make_visible(self, entries: Sequence[ReleaseEntry]) -> None:
        try:
            faults = await self.inner.release(entries)
        except BackendError as error:
            faults = [Fault(error.kind, str(error))]
        bad = next((fault for fault in faults if fault is not None and fault.kind != "lost"), None)
        if bad is not None and not self._told_denied:
            self._told_denied = True
            _log.warning(
                "could not set when a message of %s is visible again: it comes again after the queue's own visibility "
                "timeout, not after its back-off; allow sqs:ChangeMessageVisibility: %s",
                self.identity,
                bad.reason,
            )
