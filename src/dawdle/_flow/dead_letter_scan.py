"""Scans a dead-letter queue, and shows, redrives or deletes letters. Which letters are meant the rules decide.

    receive ──► seen before? ──► a new letter ──► chosen? ──┬── yes ──► redriven or deleted
       ▲                                                    └── no ───► held, and released when the scan ends
       └── until the queue is empty, or brings nothing new any more

A queue has no cursor: a scan can only receive. So it holds what it has received until it ends. A letter that it
released before would come again and again, in front of the letters that it has not seen. That goes for letters of other
queues that share the dead-letter queue too.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Final

from dawdle._flow.held_letters import HeldLetters
from dawdle._flow.queue_client import QueueClient
from dawdle._handlers.letter_filter import Answer, LetterFilter
from dawdle._log import About, EventLog
from dawdle._rules.dead_letter import DeadLetter, Found, read_letter
from dawdle._rules.dedup import dedup_of
from dawdle._rules.redrive import Refused, lineage_of, redriven, when_written
from dawdle._rules.signing import Signer
from dawdle.abc import Clock, Codec, Delivery, Outgoing
from dawdle.errors import BackendError, ConfigurationError

__all__ = ["DeadLetterScan", "queues_with_letters"]

_log = EventLog(__name__)

MAX_WAIT_SECONDS: Final = 1.0
"""Seconds that a receive from a shared queue waits: on SQS, a receive that does not wait may miss messages."""

MAX_ROUNDS_WITHOUT_NEW: Final = 3
"""Receives in a row without a new letter that end a scan of a queue that is not empty: all that comes was written after
the scan began. And empty receives in a row that end it, if a single one may have missed letters."""


class DeadLetterScan:
    """One scan of the dead letters of one queue, which `queues_with_letters` has found."""

    def __init__(
        self, queue: QueueClient, *, clock: Clock, codecs: Mapping[str, Codec], signer: Signer, choice: LetterFilter
    ) -> None:
        self._queue = queue
        self._clock = clock
        self._codecs = codecs
        self._signer = signer
        self._filter = choice
        assert queue.dead is not None, "only a queue with dead letters is scanned"
        self._dead = queue.dead
        self._began: float | None = None
        # A scan may see a hundred thousand letters. So it remembers keys and lineages by their hashes: 64 bits that a
        # sender cannot foresee. If two were ever the same, a letter would wait for the next call.
        self._seen: set[int] = set()
        self._moved: set[int] = set()
        self._held = HeldLetters(self._dead, queue.name, clock)
        self._returning = 0  # letters that were seen, and neither moved nor deleted: they may come again
        self._count = 0
        self._answers: Counter[Answer] = Counter()

    async def found(self) -> AsyncGenerator[DeadLetter]:
        """Yield each chosen letter. Closing the generator releases the letters that it holds."""
        async with aclosing(self._batches()) as batches:
            async for batch in batches:
                for found in batch:
                    if self._is_chosen(found):
                        yield found.letter
        self._log_eventless()

    async def redrive(self) -> int:
        """Put the chosen letters back into their queue, and return how many. A `BackendError` says how many, too."""
        return await self._for_chosen(self._move, "redriven")

    async def purge(self) -> int:
        """Delete the chosen letters, and return how many. A `BackendError` says how many, too."""
        return await self._for_chosen(self._delete, "deleted")

    async def _for_chosen(self, act: Callable[[Found], Awaitable[bool]], done: str) -> int:
        try:
            async with aclosing(self._batches()) as batches:
                async for batch in batches:
                    await self._act_on([found for found in batch if self._is_chosen(found)], act)
        except BackendError as error:
            raise BackendError(
                f"{error}; letters {done} before that: {self._count}; all others are still in the dead-letter queue",
                kind=error.kind,
                uncertain=error.uncertain,
            ) from error
        except Exception as error:
            if self._count:
                error.add_note(f"dead letters {done} before that: {self._count}")
            raise
        self._log_left()
        return self._count

    def _log_left(self) -> None:
        """Log the letters that were left and may have been meant: a result of 0 looks like an empty queue."""
        others, unknown = self._answers["of another queue"], self._answers["of no known queue"]
        if others:
            _log.info(
                "left %d dead letters in the dead-letter queue: they come from other queues than %s that share it; "
                "pass foreign=True to include them",
                others,
                self._queue.identity,
                about=None,
            )
        if unknown:
            _log.warning(
                "left %d dead letters in the dead-letter queue: they do not name their queue, and this app does not "
                "know their types; if they come from %s, pass their types, their handler or foreign=True",
                unknown,
                self._queue.identity,
                about=None,
            )
        self._log_eventless()

    def _log_eventless(self) -> None:
        """Log the letters that `where` was not asked about."""
        eventless = self._answers["without its event"]
        if eventless:
            _log.warning(
                "left %d dead letters in the dead-letter queue: their data does not fit their type, so where= cannot "
                "be applied; pass the type by its wire name, as text, and where= gets letters whose event is None",
                eventless,
                about=None,
            )

    async def _act_on(self, chosen: Sequence[Found], act: Callable[[Found], Awaitable[bool]]) -> None:
        """Act on the letters of a batch at the same time, so that they share requests, and count the done ones."""
        answers = await asyncio.gather(*map(act, chosen), return_exceptions=True)
        self._count += answers.count(True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer

    def _is_chosen(self, found: Found) -> bool:
        """Whether a letter is meant, and is not the new failure of an event that this call has redriven."""
        # A handler that is still broken fails again at once, and its new letter comes into this same scan: redriven
        # over and over, it would never end. Where times cannot tell the two letters apart, their lineage does.
        now = found.delivery.received_at
        if self._moved and self._began is not None and when_written(found, self._began) == "unsure":
            source, event_id, handler = lineage_of(found)
            if not self._moved.isdisjoint({hash((source, event_id, handler)), hash((source, event_id, None))}):
                return False
        answer = self._filter.answer(found, self._queue.identity, self._clock.now() if now is None else now)
        self._answers[answer] += 1
        return answer == "taken"

    async def _move(self, found: Found) -> bool:
        """Store the event in its queue, then delete the letter: a crash between the two doubles it, and loses none."""
        letter, again = found.letter, redriven(found)
        if isinstance(again, Refused):
            _warn_not_redriven(letter, again.reason)
            return False
        dedup = dedup_of(letter.event_id, letter.handler, key=found.delivery.key, origin=self._dead.role)
        try:
            await self._queue.send(Outgoing(again.body, 0.0, found.delivery.group, dedup), unsigned=again.unsigned)
        except BackendError as error:
            if error.kind != "refused":
                raise
            _warn_not_redriven(letter, error)
            return False
        self._moved.add(hash(lineage_of(found)))  # before the ack, which may fail: the event is stored by now
        self._returning -= 1
        try:
            await self._dead.ack(self._held.take_receipt(found.delivery))
        except BackendError as error:
            _log.warning(
                "redrove dead letter %r and could not delete it, so a later call may redrive it again: %s",
                letter.event_id,
                error,
                about=_about(letter),
            )
        return True

    async def _delete(self, found: Found) -> bool:
        await self._dead.ack(self._held.receipt_of(found.delivery))
        # After the ack: if that fails, the letter is held, and released at the end.
        self._held.take_receipt(found.delivery)
        self._returning -= 1
        return True

    async def _batches(self) -> AsyncGenerator[list[Found]]:
        """Yield the letters that were there when it began. However it ends, release those that are still held."""
        limits = self._dead.limits
        wait = min(MAX_WAIT_SECONDS, limits.max_wait) if limits.shared else 0.0
        may_miss = limits.shared and not wait
        without_new = empty = 0
        try:
            # A lease that ends during a long scan brings its letter again. Such letters may fill whole batches before a
            # new one comes: the more of them there are, the more rounds without a new one are allowed.
            while without_new < MAX_ROUNDS_WITHOUT_NEW + self._returning // limits.max_batch:
                deliveries = await self._dead.backend.receive(limits.max_batch, wait)
                batch = self._note_received(deliveries)
                empty = 0 if deliveries else empty + 1
                if empty == (MAX_ROUNDS_WITHOUT_NEW if may_miss else 1):
                    return
                if batch:
                    yield batch
                without_new = 0 if batch else without_new + 1
        finally:
            await self._held.release()

    def _note_received(self, deliveries: Sequence[Delivery]) -> list[Found]:
        """Hold what was received, and return the letters that are new here and were written before the scan began."""
        batch: list[Found] = []
        self._held.forget_stale()
        for delivery in deliveries:
            key = hash(delivery.key)
            self._held.hold(delivery)
            if key in self._seen:
                continue
            self._seen.add(key)
            if self._began is None:
                self._began = self._clock.now() if delivery.received_at is None else delivery.received_at
            found = read_letter(delivery, self._queue.name, self._filter.types, self._codecs, self._signer)
            if when_written(found, self._began) != "after":
                self._returning += 1
                batch.append(found)
        return batch


async def queues_with_letters(queues: Sequence[QueueClient]) -> list[QueueClient]:
    """Return those of some queues that have a dead-letter queue; their backends may have to look it up.

    Raises `ConfigurationError` if none has.
    """
    for queue in queues:
        if queue.dead is None:
            await queue.prepare_receive()
    found = [queue for queue in queues if queue.dead is not None]
    if not found:
        names = " and ".join(repr(queue.name) for queue in queues)
        raise ConfigurationError(
            f"the queue {names} has no dead-letter queue, so there are no letters: give it one; on SQS by a "
            f"redrive policy that this app may read, or by dead_letter_url=; in memory by dead_letters=True"
        )
    return found


def _warn_not_redriven(letter: DeadLetter, reason: object) -> None:
    _log.warning(
        "could not redrive dead letter %r: %s; it stays in the dead-letter queue, purge it there",
        letter.event_id,
        reason,
        about=_about(letter),
    )


def _about(letter: DeadLetter) -> About:
    return About(letter.event_id, letter.event_type, letter.handler, letter.attempts, letter.queue)
