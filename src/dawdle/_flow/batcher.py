"""Group commit: concurrent callers share requests on their own. Knows entries and answers, no queue.

    no call open ──► submit starts a call at once
    calls open ────► entries gather, and go out ──┬── as soon as they fill a whole batch
                                                  ├── together, when the youngest call is answered
                                                  └── in a further call, when the open calls stall

So an entry never waits on an idle queue, a busy queue gets full batches, and there is nothing to tune. Where a whole
batch comes together in less time than a call takes, an entry waits for that at most; elsewhere one call is open as a
rule, and it waits for that one.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from math import inf
from typing import Final, Generic, TypeVar

from dawdle._rules.batch_size import entries_that_fit
from dawdle._rules.outcome import error_text
from dawdle.errors import BackendError, ConfigurationError

__all__ = ["MAX_CALLS", "Batcher", "Spawn"]

Entry = TypeVar("Entry")
Answer = TypeVar("Answer")
Spawn = Callable[[Coroutine[object, object, None]], object]

MAX_CALLS: Final = 8
"""Calls of one kind to one queue at the same time, at most."""

STALL_SECONDS: Final = 2.0
"""Seconds that an entry waits for the calls before it, until a call is made beside them."""

_CLOSED_BEFORE_ANSWER: Final = "the app closed before the queue answered"
_CLOSED_BEFORE_REQUEST: Final = "the app closed before the request was sent"


class _Group(Generic[Answer]):
    """Entries that were submitted together. Their caller gets all answers at once, by one future for all of them."""

    __slots__ = ("answers", "future", "unanswered")

    def __init__(self, count: int, future: "asyncio.Future[list[Answer | BackendError]]") -> None:
        self.answers: list[Answer | BackendError] = [_UNANSWERED] * count
        self.unanswered = count
        self.future = future

    def answer(self, index: int, answer: Answer | BackendError) -> None:
        """Note the answer to one entry, or the error of its call, unless it was answered before."""
        if self.answers[index] is _UNANSWERED:
            self.answers[index] = answer
            self.unanswered -= 1
            if not self.unanswered and not self.future.done():
                self.future.set_result(self.answers)


_UNANSWERED: Final = BackendError("not answered")
_Waiting = tuple[Entry, int, asyncio.Future[Answer] | _Group[Answer], int]
"""An entry, its size in bytes, who waits for its answer, and its index in a group."""


class Batcher(Generic[Entry, Answer]):
    """Sends entries in batches, and returns to each caller the answer to its own entry.

    `report` is called with the result of each call: the answers, or the error of the whole call.
    """

    def __init__(
        self,
        call: Callable[[list[Entry]], Awaitable[list[Answer]]],
        *,
        spawn: Spawn,
        max_count: int,
        max_bytes: float = inf,
        size: Callable[[Entry], int] | None = None,
        max_calls: int = MAX_CALLS,
        report: Callable[[Sequence[Answer] | BackendError], None] | None = None,
    ) -> None:
        self._call = call
        self._spawn = spawn
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._size = size
        self._max_calls = max_calls
        self._report = report
        self._waiting: deque[_Waiting[Entry, Answer]] = deque()
        self._waiting_bytes = 0
        self._batches_under_way: dict[int, list[_Waiting[Entry, Answer]]] = {}
        self._calls = 0
        self._calls_starting = 0
        self._idle_waiters: list[asyncio.Future[None]] = []
        self._watched: _Waiting[Entry, Answer] | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def busy(self) -> bool:
        """Whether an entry was submitted and is not answered."""
        return self._calls > 0

    def submit(self, entry: Entry) -> "asyncio.Future[Answer]":
        """Take an entry and return the future of its answer.

        When a whole call fails, each of its entries gets the error, always as a `BackendError`. Cancelling the future
        does not take the entry back: it is sent all the same. Raises `BackendError` once the batcher is closed.
        """
        if self._closed:
            raise _closing()
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        size = 0 if self._size is None else self._size(entry)
        self._waiting.append((entry, size, future, 0))
        self._waiting_bytes += size
        self._start_calls(1)
        return future

    def submit_many(self, entries: Sequence[Entry]) -> "asyncio.Future[list[Answer | BackendError]]":
        """Take entries and return the future of all their answers, in order; of an entry that failed, its error.

        They are sent as if each was submitted alone, but have one future for all of them. Cancelling it takes none of
        them back. Raises `BackendError` once the batcher is closed.
        """
        if self._closed:
            raise _closing()
        future: asyncio.Future[list[Answer | BackendError]] = asyncio.get_running_loop().create_future()
        if not entries:
            future.set_result([])
            return future
        group = _Group(len(entries), future)
        sizes = itertools.repeat(0, len(entries)) if self._size is None else list(map(self._size, entries))
        self._waiting.extend(zip(entries, sizes, itertools.repeat(group), itertools.count()))
        self._waiting_bytes += sum(sizes)
        self._start_calls(len(entries))
        return future

    def _start_calls(self, added: int) -> None:
        """Start the calls that so many new entries need; if not even one can start, take them back and raise."""
        # A further call starts only with a full batch of its own: many small calls cost a queue more than a few full
        # ones. A call that was just started takes its batch in its next turn of the loop. Until then its entries wait
        # here, and are not the further call's.
        while self._waiting and (
            self._calls == 0 or (self._calls < self._max_calls and self._fills(batches=self._calls_starting + 1))
        ):
            try:
                self._start_call()
            except BackendError:
                if self._calls:  # those that are open take the entries, or fail them
                    return
                for _ in range(added):  # the caller gets the error at once, not through the future
                    self._waiting_bytes -= self._waiting.pop()[1]
                raise
        if self._stall_timer is None and len(self._waiting) > self._calls_starting:
            self._watch_for_stall()

    def _fills(self, batches: int = 1) -> bool:
        """Whether what waits fills so many batches, by its number or by its bytes."""
        return len(self._waiting) >= self._max_count * batches or self._waiting_bytes >= self._max_bytes * batches

    async def idle(self) -> None:
        """Return once everything that was submitted is answered."""
        while self.busy and not self._closed:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._idle_waiters.append(waiter)
            await waiter

    def close(self) -> None:
        """Take no more entries, and fail those without an answer: each error says whether its entry was sent."""
        self._closed = True
        if self._stall_timer is not None:
            self._stall_timer.cancel()
        for batch in self._batches_under_way.values():
            _fail(batch, BackendError(_CLOSED_BEFORE_ANSWER, uncertain=True))
        self._abandon_waiting()
        self._wake_idle()

    def _start_call(self, *, full: bool = True) -> None:
        self._calls += 1
        self._calls_starting += 1
        try:
            self._spawn(self._make_calls(full=full))
        except BackendError:
            self._calls -= 1
            self._calls_starting -= 1
            raise

    def _watch_for_stall(self) -> None:
        """Arm the timer for the entry that has waited longest."""
        # Not an argument of the callback: asyncio's debug log would show it, and an entry may be a receipt.
        self._watched = self._waiting[0]
        self._stall_timer = asyncio.get_running_loop().call_later(STALL_SECONDS, self._call_beside_stalled)

    def _call_beside_stalled(self) -> None:
        """Start a call beside the open ones if the watched entry still waits: none was answered in all that time."""
        self._stall_timer = None
        longest, self._watched = self._watched, None
        if not self._waiting:
            return
        # A call that hangs may do so until its client's own timeout. Where entries are few they would all wait for it,
        # although the queue may answer the next request at once.
        if self._waiting[0] is longest and self._calls < self._max_calls:
            with suppress(BackendError):  # the app is closing, and close() fails what waits
                self._start_call(full=False)
        self._watch_for_stall()

    async def _make_calls(self, *, full: bool) -> None:
        """Make calls while entries wait: with full batches only while a younger one is open, unless `full` is False."""
        # The youngest call takes what there is, so nothing waits for entries that may never come, nor for an older call
        # that hangs. If each call took what waits when it is answered, there would soon be eight calls of five entries
        # each, and none of ten.
        self._calls_starting -= 1
        try:
            while self._waiting and (self._calls == 1 or not full or self._fills()):
                full = await self._call_with(self._next_batch())
        finally:
            self._calls -= 1
            if not self._calls:
                self._wake_idle()

    def _next_batch(self) -> list[_Waiting[Entry, Answer]]:
        count = min(len(self._waiting), self._max_count)
        if self._size is not None:
            sizes = [size for _, size, _, _ in itertools.islice(self._waiting, count)]
            count = entries_that_fit(sizes, count, self._max_bytes)
            self._waiting_bytes -= sum(sizes[:count])
        return [self._waiting.popleft() for _ in range(count)]

    async def _call_with(self, batch: list[_Waiting[Entry, Answer]]) -> bool:
        """Send one batch, and return whether a younger one is still under way: what waits may leave after that."""
        self._batches_under_way[id(batch)] = batch
        try:
            answers = await self._call([entry for entry, _, _, _ in batch])
            if len(answers) != len(batch):
                raise BackendError(  # noqa: TRY301 - handled below as any failed call
                    f"the backend returned {len(answers)} answers for {len(batch)} entries: each entry needs one"
                )
        except Exception as error:  # noqa: BLE001 - each error of a call goes to the callers
            failed = _as_backend_error(error)
            if self._report is not None:
                self._report(failed)
            _fail(batch, failed)
        except BaseException:  # cancelled with the app: what was sent may be stored, what waits was never sent
            _fail(batch, BackendError(_CLOSED_BEFORE_ANSWER, uncertain=True))
            self._abandon_waiting()
            raise
        else:
            if self._report is not None:
                self._report(answers)
            for (_, _, waiter, index), answer in zip(batch, answers, strict=True):
                if isinstance(waiter, _Group):
                    waiter.answer(index, answer)
                elif not waiter.done():
                    waiter.set_result(answer)
        finally:
            has_younger = next(reversed(self._batches_under_way)) != id(batch)
            del self._batches_under_way[id(batch)]
        return has_younger

    def _abandon_waiting(self) -> None:
        """Fail the entries that wait for a call: none of them was sent."""
        _fail(self._waiting, BackendError(_CLOSED_BEFORE_REQUEST, uncertain=False))
        self._waiting.clear()
        self._waiting_bytes = 0

    def _wake_idle(self) -> None:
        for waiter in self._idle_waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._idle_waiters.clear()


def _fail(entries: Iterable[_Waiting[Entry, Answer]], error: BackendError) -> None:
    for _, _, waiter, index in entries:
        if isinstance(waiter, _Group):
            waiter.answer(index, error)
        elif not waiter.done():
            waiter.set_exception(error)


def _closing() -> BackendError:
    return BackendError("the app is closing: it sends no more requests to its queue", uncertain=False)


def _as_backend_error(error: Exception) -> BackendError:
    """Return a `BackendError` for whatever a backend raised: callers handle no other error."""
    if isinstance(error, BackendError):
        return error
    if isinstance(error, ConfigurationError):  # the backend's own word, before it did anything
        failed = BackendError(str(error), kind="refused", uncertain=False)
    else:
        failed = BackendError(error_text(error))
    failed.__cause__ = error
    return failed
