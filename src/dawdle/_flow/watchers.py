"""Shows the events that are handled in an app to those who watch: `wait_for` and `stream`. Owes nothing, acks nothing.

    handlers of an event have ended ──► see ──► offered to each watcher of its type ──► where= is true ──► its buffer

An event is seen once, when all of its handlers have ended here. A retry is not seen again. While a handler is at its
limit, asked for later or was interrupted, the event is not seen: its copy that owes that handler is, when it has ended.
So an event that several of its handlers put off is seen once for each of them, as no copy knows of the others. A
message that goes back as it was, since a stop interrupted it or its lease was lost, is not seen: it comes again, here
or elsewhere. An event in several queues is seen once for each that is received from here. All of it happens in one
step, so nothing here can be cancelled or keep an event waiting.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from dawdle._rules.envelope import Envelope
from dawdle._rules.outcome import AtLimit, Interrupted, Postponed
from dawdle._rules.settlement import Release, Settlement
from dawdle.errors import BackendError
from dawdle.events import is_call

if TYPE_CHECKING:  # `import dawdle` needs this module, and none of what runs
    from dawdle._flow.in_flight_message import Work

__all__ = ["Watcher", "Watchers"]

E = TypeVar("E")


class Watcher(Generic[E]):
    """One who watches: its events wait in a buffer of at most `size`, from which the oldest is dropped.

    `once`: it takes the first event, and no other.
    """

    def __init__(
        self, event_types: tuple[type, ...], where: Callable[[E], object] | None, size: int, *, once: bool = False
    ) -> None:
        self._types = event_types or (object,)
        self._where = where
        self._once = once
        self._buffer: deque[E] = deque(maxlen=size)
        self._changed = asyncio.Event()
        self._error: BaseException | None = None
        self._ended = False
        self.dropped = 0
        """Events that were dropped from the buffer, since its reader was slow."""

    def offer(self, event: E) -> None:
        """Take an event if it is one that is watched for. Raises no error of `where`: its reader gets it."""
        try:
            if not issubclass(type(event), self._types) or (self._where is not None and not self._where(event)):
                return
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001 - a SystemExit of `where` is its own failure, no more
            self.end(error)
            return
        self.dropped += len(self._buffer) == self._buffer.maxlen
        self._buffer.append(event)
        self._changed.set()
        if self._once:
            self.end()

    def end(self, error: BaseException | None = None) -> None:
        """Take no more: its reader gets what the buffer holds, then the error or the end. Only the first end counts."""
        if not self._ended:
            self._ended, self._error = True, error
            self._changed.set()

    @property
    def ended(self) -> bool:
        """Whether it takes no more."""
        return self._ended

    def take(self) -> E | None:
        """Return the oldest event of the buffer; None: it is empty."""
        return self._buffer.popleft() if self._buffer else None

    async def next(self) -> E | None:
        """Return the next event, None at the end. Raises the error that ended it."""
        while not self._buffer:
            if self._error is not None:
                raise self._error
            if self._ended:
                return None
            self._changed.clear()
            await self._changed.wait()
        return self.take()


class Watchers:
    """All who watch one app."""

    def __init__(self) -> None:
        self.watching: dict[Watcher[Any], None] = {}
        """A set in order. It is empty as a rule, and who handles an event asks only that."""
        self._ended = False
        self._error: BackendError | None = None

    @contextmanager
    def watch(self, watcher: Watcher[Any]) -> Generator[None]:
        """Let it see events within the block. One that comes when the app is over has ended at once."""
        if self._ended:
            watcher.end(self._error)
        self.watching[watcher] = None
        try:
            yield
        finally:
            self.watching.pop(watcher, None)
            watcher.end()

    def see(self, work: "Work", settlement: Settlement) -> None:
        """Show an event whose handlers have ended, unless it was shown before, or comes back for one of them.

        A call of a function is no event of its caller's, so it is not shown either.
        """
        again = isinstance(settlement, Release) or work.message.lease_lost or not work.results
        if again or _has_failed(work.envelope) or is_call(type(work.event)):
            return
        if any(isinstance(result.outcome, (AtLimit, Postponed, Interrupted)) for result in work.results.values()):
            return
        for watcher in tuple(self.watching):
            if not watcher.ended:
                watcher.offer(work.event)

    def end(self, error: BackendError | None) -> None:
        """End all who watch, now and later: no event is handled any more. `error`: what the app died of, in words."""
        if not self._ended:
            self._ended, self._error = True, error
            for watcher in tuple(self.watching):
                watcher.end(error)


def _has_failed(envelope: Envelope) -> bool:
    """Whether it is the copy of an event for a handler that has failed on it, so that the event was shown then."""
    # A copy that is kept for want of a dead-letter queue has an error, and its attempt is not counted.
    return envelope.owed is not None and (envelope.attempt > 1 or envelope.error is not None)
