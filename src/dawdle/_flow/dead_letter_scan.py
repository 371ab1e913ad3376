"""Walks through a dead-letter queue, and moves or deletes what is asked for. Which letters those are the rules decide.

A walk receives, batch by batch, what was there when it began. What it has received it holds until it ends, so that
nothing comes twice; what was neither moved nor deleted is then given back at once. So are the letters of other queues
that share the dead-letter queue: given back before, they would come again and again, and hide those behind them.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from itertools import islice, takewhile
from math import inf
from typing import Final, NamedTuple

from dawdle._flow.queue_client import QueueClient
from dawdle._handlers.letter_filter import Answer, LetterFilter
from dawdle._log import Log
from dawdle._rules.dead_letter import (
    DeadLetter,
    Found,
    Refused,
    lineage_of,
    read_letter,
    redriven,
    when_written,
)
from dawdle._rules.dedup import dedup_of
from dawdle._rules.signing import Signer
from dawdle.abc import Clock, Codec, Delivery, Outgoing
from dawdle.errors import BackendError, ConfigurationError

__all__ = ["DeadLetterScan"]

_log = Log(__name__)

MAX_WAIT_SECONDS: Final = 1.0
"""Seconds that a receive waits where a queue is shared: one that does not wait may miss what is there (SQS)."""

MAX_ROUNDS_WITHOUT_NEW: Final = 3
"""Receives in a row that bring nothing new, until a walk is over although the queue is not empty: what comes was
written after it began. And as many empty ones, where one alone may have missed some."""


MAX_RELEASES_AT_ONCE: Final = 1000
"""Letters that are given back side by side. Each takes a task meanwhile, and all that a walk held may be very many."""


class _Held(NamedTuple):
    """What a received letter is given back by, and until when that is of use, by the clock's `monotonic()`."""

    receipt: str
    until: float


class DeadLetterScan:
    """One look at the dead letters of one queue."""

    def __init__(
        self, queue: QueueClient, *, clock: Clock, codecs: Mapping[str, Codec], signer: Signer, choice: LetterFilter
    ) -> None:
        self._queue = queue
        self._clock = clock
        self._codecs = codecs
        self._signer = signer
        self._filter = choice
        both = (queue, queue.delayed)
        self._largest = max(each.limits.max_body for each in both if each is not None)
        self._dead: QueueClient
        self._began: float | None = None
        # A walk may come across a hundred thousand letters. So it remembers keys and lineages by their hashes, 64 bits
        # that no stranger can foresee: should two ever be the same, a letter waits for the next call.
        self._seen: set[int] = set()
        self._moved: set[int] = set()
        self._held: dict[int, _Held] = {}
        self._returning = 0
        self._count = 0
        self._answers: Counter[Answer] = Counter()

    async def found(self) -> AsyncGenerator[DeadLetter]:
        """Yield each letter. Closing it gives back what it holds."""
        async with aclosing(self._batches()) as batches:
            async for batch in batches:
                for found in batch:
                    if self._filter.shows(found, self._queue.identity):
                        yield found.letter

    async def redrive(self) -> int:
        """Put the chosen letters back into their queue and return how many. `BackendError` says how many, too."""
        return await self._for_chosen(self._move, "redriven")

    async def purge(self) -> int:
        """Delete the chosen letters and return how many. `BackendError` says how many, too."""
        return await self._for_chosen(self._delete, "deleted")

    async def _for_chosen(self, act: Callable[[Found], Awaitable[bool]], done: str) -> int:
        try:
            async with aclosing(self._batches()) as batches:
                async for batch in batches:
                    await self._act_on([found for found in batch if self._is_chosen(found)], act)
        except BackendError as error:
            raise BackendError(
                f"{error}; letters {done} before that: {self._count}, and every other one is where it was",
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
        """Say what was left that the caller may have meant: an answer of 0 would not tell it from an empty queue."""
        others, unknown = self._answers["of another queue"], self._answers["of no known queue"]
        eventless = self._answers["without its event"]
        if others:
            _log.info(
                "left %d dead letters where they are: they are of other queues than %s, which share its dead-letter "
                "queue; foreign=True takes them as well",
                others,
                self._queue.identity,
            )
        if unknown:
            _log.warning(
                "left %d dead letters where they are: they do not say which queue they are of, and this app does not "
                "know their types; if they are of %s, name their types or their handler, or say foreign=True",
                unknown,
                self._queue.identity,
            )
        if eventless:
            _log.warning(
                "left %d dead letters where they are: their data does not fit their type, so where= cannot be asked; "
                "name the type by its name on the wire, as text, and where= gets letters whose event is None",
                eventless,
            )

    async def _act_on(self, chosen: Sequence[Found], act: Callable[[Found], Awaitable[bool]]) -> None:
        """Act on the letters of a batch side by side, so that they share requests, and count what is done."""
        answers = await asyncio.gather(*map(act, chosen), return_exceptions=True)
        self._count += answers.count(True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer

    def _is_chosen(self, found: Found) -> bool:
        """Whether a letter is meant, and is not the answer to what this call has redriven."""
        now = found.delivery.received_at
        if self._moved and self._began is not None and when_written(found, self._began) == "unsure":
            source, event_id, handler = lineage_of(found)
            if not self._moved.isdisjoint({hash((source, event_id, handler)), hash((source, event_id, None))}):
                return False
        answer = self._filter.answer(found, self._queue.identity, self._clock.now() if now is None else now)
        self._answers[answer] += 1
        return answer == "taken"

    async def _move(self, found: Found) -> bool:
        """Send before ack: a crash between the two doubles a letter, and loses none."""
        letter, again = found.letter, redriven(found)
        if isinstance(again, Refused):
            _log.warning("the letter %r is left where it is: %s; purge it", letter.event_id, again.reason)
            return False
        dedup = dedup_of(letter.event_id, letter.handler, key=found.delivery.key, origin=self._dead.role)
        try:
            await self._queue.send(Outgoing(again.body, 0.0, found.delivery.group, dedup), unsigned=again.unsigned)
        except BackendError as error:
            if error.kind != "refused":
                raise
            _log.warning("the letter %r is left where it is: %s; purge it", letter.event_id, error)
            return False
        self._moved.add(hash(lineage_of(found)))  # it may fail again at once, and is then not for this call
        self._returning -= 1
        try:
            await self._dead.ack(self._take_receipt(found))
        except BackendError as error:
            _log.warning(
                "the letter %r is redriven, and could not be deleted; it may be redriven twice: %s",
                letter.event_id,
                error,
            )
        return True

    async def _delete(self, found: Found) -> bool:
        held = self._held.get(hash(found.delivery.key))
        await self._dead.ack(found.delivery.receipt if held is None else held.receipt)
        self._take_receipt(found)
        self._returning -= 1
        return True

    def _take_receipt(self, found: Found) -> str:
        """Hold a letter no longer, and return its latest receipt."""
        held = self._held.pop(hash(found.delivery.key), None)
        return found.delivery.receipt if held is None else held.receipt

    async def _batches(self) -> AsyncGenerator[list[Found]]:
        """Yield what was there when it began; at its end, whatever ends it, give back what is still held."""
        self._dead = await _dead_of(self._queue)
        limits = self._dead.limits
        wait = min(MAX_WAIT_SECONDS, limits.max_wait) if limits.shared else 0.0
        may_miss = limits.shared and not wait
        barren = empty = 0
        try:
            while barren < MAX_ROUNDS_WITHOUT_NEW + self._may_return() // limits.max_batch:
                deliveries = await self._dead.backend.receive(limits.max_batch, wait)
                batch = self._note_received(deliveries)
                empty = 0 if deliveries else empty + 1
                if empty == (MAX_ROUNDS_WITHOUT_NEW if may_miss else 1):
                    return
                if batch:
                    yield batch
                barren = 0 if batch else barren + 1
        finally:
            await self._give_back()

    def _note_received(self, deliveries: Sequence[Delivery]) -> list[Found]:
        """Hold what was received, and return the letters that were not seen, and not written after we began."""
        batch: list[Found] = []
        self._forget_stale()
        for delivery in deliveries:
            key = hash(delivery.key)
            self._hold(key, delivery.receipt)
            if key in self._seen:
                continue
            self._seen.add(key)
            if self._began is None:
                self._began = self._clock.now() if delivery.received_at is None else delivery.received_at
            found = read_letter(
                delivery, self._queue.name, self._filter.types, self._codecs, self._signer, largest=self._largest
            )
            if when_written(found, self._began) != "after":
                self._returning += 1
                batch.append(found)
        return batch

    def _hold(self, key: int, receipt: str) -> None:
        """Note what a letter is given back by; those whose lease ends first stay in front."""
        lease = self._dead.limits.lease
        until = inf if lease is None else self._clock.monotonic() + lease
        self._held.pop(key, None)
        self._held[key] = _Held(receipt, until)

    def _forget_stale(self) -> None:
        """Forget the receipts of what is visible again by itself, so that no more are kept than a lease covers."""
        now = self._clock.monotonic()
        for key in list(takewhile(lambda key: self._held[key].until <= now, self._held)):
            del self._held[key]

    def _may_return(self) -> int:
        """Return how many letters come again when their lease ends, and may do so before one that was never seen."""
        return self._returning

    async def _give_back(self) -> None:
        """Release all that is held, at once. What cannot be is visible again when its lease ends."""
        self._forget_stale()
        failed = 0
        last: BackendError | None = None
        while self._held:
            some = [self._held.pop(key).receipt for key in list(islice(self._held, MAX_RELEASES_AT_ONCE))]
            answers = await asyncio.gather(*(self._dead.release(each, 0.0) for each in some), return_exceptions=True)
            for each in answers:
                if isinstance(each, BackendError) and each.kind != "lost":
                    failed, last = failed + 1, each
        if last is not None:
            _log.warning(
                "dead letters of %s that are hidden until their lease ends, since they could not be given back: %d; %s",
                self._queue.name,
                failed,
                last,
            )


async def _dead_of(queue: QueueClient) -> QueueClient:
    """Return the queue behind this one that keeps its letters; a backend may have to look for it."""
    if queue.dead is None:
        await queue.prepare_receive()
    if queue.dead is None:
        raise ConfigurationError(
            f"the queue {queue.name!r} has no dead-letter queue, so there are no letters: give its backend one, on SQS "
            f"by a redrive policy that this app may read, or by dead_letter_url; in memory by dead_letters=True"
        )
    return queue.dead
