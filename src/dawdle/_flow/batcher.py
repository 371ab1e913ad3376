"""Group commit: concurrent callers share requests on their own. Knows entries and answers, no queue.

Idle, an entry leaves at once. While a call is in flight the next entries gather, and leave together when it is back;
a second flight starts beside the first only with a full batch. So no entry waits for others, and there is no setting.
Only behind a call that hangs does an entry leave without a full batch.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Final, Generic, TypeVar

from dawdle._rules.outcome import told
from dawdle._rules.packer import pack
from dawdle.errors import BackendError

__all__ = ["Batcher", "Spawn"]

Entry = TypeVar("Entry")
Answer = TypeVar("Answer")
Spawn = Callable[[Coroutine[object, object, None]], object]

FLIGHTS: Final = 8
"""Calls of one kind to one queue at the same time."""

HANGS: Final = 2.0
"""Seconds that an entry waits at most for the answer to another: one call that hangs must not hold up all others."""

_LEFT_BEFORE_THE_ANSWER: Final = "the app was left before the queue answered"
_LEFT_BEFORE_SENT: Final = "the app was left before the request was sent"


class Batcher(Generic[Entry, Answer]):
    """Carries entries in batches, and each entry's own answer back to who submitted it.

    `tell` is called with what each call came back with: the answers, or the error of the whole call.
    """

    def __init__(
        self,
        carry: Callable[[list[Entry]], Awaitable[list[Answer]]],
        *,
        spawn: Spawn,
        max_count: int,
        max_bytes: int = 0,
        size: Callable[[Entry], int] | None = None,
        tell: Callable[[Sequence[Answer] | BackendError], None] | None = None,
    ) -> None:
        self._carry = carry
        self._spawn = spawn
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._size = size
        self._tell = tell
        self._waiting: deque[tuple[Entry, asyncio.Future[Answer]]] = deque()
        self._flying: list[list[tuple[Entry, asyncio.Future[Answer]]]] = []
        self._flights = 0
        self._boarding = 0
        self._idle: list[asyncio.Future[None]] = []
        self._hanging: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def busy(self) -> bool:
        """Whether anything was submitted and is not answered."""
        return self._flights > 0

    def submit(self, entry: Entry) -> "asyncio.Future[Answer]":
        """Take an entry and return the future of its answer.

        A whole call that fails gives its error to each of its entries, as a `BackendError` whatever it is. Cancelling
        the future changes nothing for the batch, nor for the entry: it is on its way. Raises `BackendError` once the
        batcher is closed.
        """
        if self._closed:
            raise BackendError("the app is being left: its queue takes nothing any more", uncertain=False)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, future))
        if self._flights == 0 or (
            self._flights < FLIGHTS and len(self._waiting) >= self._max_count * (self._boarding + 1)
        ):
            try:
                self._take_off()
            except BackendError:
                self._waiting.pop()
                raise
        elif self._hanging is None:
            self._expect()
        return future

    async def idle(self) -> None:
        """Return once everything that was submitted is answered."""
        while self.busy and not self._closed:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._idle.append(waiter)
            await waiter

    def close(self) -> None:
        """Take nothing any more, and tell whoever still waits that no answer will come."""
        self._closed = True
        if self._hanging is not None:
            self._hanging.cancel()
        for batch in self._flying:
            _fail(batch, BackendError(_LEFT_BEFORE_THE_ANSWER, uncertain=True))
        self._abandon_waiting()
        self._land()

    def _take_off(self) -> None:
        self._flights += 1
        self._boarding += 1
        try:
            self._spawn(self._fly())
        except BackendError:
            self._flights -= 1
            self._boarding -= 1
            raise

    def _expect(self) -> None:
        """See to it that who waits longest now does not wait for much longer."""
        (_, longest) = self._waiting[0]
        self._hanging = asyncio.get_running_loop().call_later(HANGS, self._overtake, longest)

    def _overtake(self, longest: "asyncio.Future[Answer]") -> None:
        """Start a flight beside those that are out if somebody still waits who did when this was asked for."""
        self._hanging = None
        if not self._waiting:
            return
        if self._waiting[0][1] is longest and self._flights < FLIGHTS:
            with suppress(BackendError):  # the app is ending
                self._take_off()
        self._expect()

    async def _fly(self) -> None:
        self._boarding -= 1
        try:
            while self._waiting:
                await self._carry_batch(self._board())
        finally:
            self._flights -= 1
            if not self._flights:
                self._land()

    def _board(self) -> "list[tuple[Entry, asyncio.Future[Answer]]]":
        count = min(len(self._waiting), self._max_count)
        if self._size is not None:
            sizes = [self._size(entry) for entry, _ in itertools.islice(self._waiting, count)]
            count = pack(sizes, count, self._max_bytes)
        return [self._waiting.popleft() for _ in range(count)]

    async def _carry_batch(self, batch: "list[tuple[Entry, asyncio.Future[Answer]]]") -> None:
        self._flying.append(batch)
        try:
            answers = await self._carry([entry for entry, _ in batch])
            if len(answers) != len(batch):
                raise BackendError(f"the queue answered {len(answers)} of {len(batch)} entries")  # noqa: TRY301 - a backend's mistake is its callers' error
        except Exception as error:  # noqa: BLE001 - whatever it is, it is its callers'
            failed = _as_backend_error(error)
            if self._tell is not None:
                self._tell(failed)
            _fail(batch, failed)
        except BaseException:
            _fail(batch, BackendError(_LEFT_BEFORE_THE_ANSWER, uncertain=True))
            self._abandon_waiting()
            raise
        else:
            if self._tell is not None:
                self._tell(answers)
            for (_, future), answer in zip(batch, answers, strict=True):
                if not future.done():
                    future.set_result(answer)
        finally:
            self._flying.remove(batch)

    def _abandon_waiting(self) -> None:
        """Tell the callers that wait for a next flight that there is none: of their entries nothing was sent."""
        _fail(self._waiting, BackendError(_LEFT_BEFORE_SENT, uncertain=False))
        self._waiting.clear()

    def _land(self) -> None:
        for waiter in self._idle:
            if not waiter.done():
                waiter.set_result(None)
        self._idle.clear()


def _fail(entries: "Iterable[tuple[Entry, asyncio.Future[Answer]]]", error: BackendError) -> None:
    for _, future in entries:
        if not future.done():
            future.set_exception(error)


def _as_backend_error(error: Exception) -> BackendError:
    """Return an error as one that callers know what to do with: whatever a backend lets out, its queue has failed."""
    if isinstance(error, BackendError):
        return error
    failed = BackendError(told(error))
    failed.__cause__ = error
    return failed
