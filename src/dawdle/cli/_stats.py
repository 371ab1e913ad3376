"""Counts what an app does, for `/stats` of a worker and so for `dawdle top`: a hook. Decides nothing, asks no queue.

Memory is bounded: names are few, and what is recent is kept in rings of cells, each for a second or for ten.
"""

import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, Generic, TypeVar

import psutil

from dawdle import DawdleError, Health, hooks
from dawdle.abc import Backend, Described, Identified, Located
from dawdle.cli._snapshot import HandlerStats, QueueStats, WorkerStats, bucket_of, merged

__all__ = ["Stats"]

_HANDLER_CELLS: Final = 10
_HANDLER_CELL_SECONDS: Final = 1.0
_QUEUE_CELLS: Final = 6
_QUEUE_CELL_SECONDS: Final = 10.0
"""An idle worker polls three times in this minute. Over less time its requests would seem to come and go."""

_MAX_NAMES: Final = 500
"""Handlers that are counted apart. More can come only from messages, which may name any."""

_OTHERS: Final = "(others)"


class Stats:
    """A hook that counts: `Dawdle(hooks=[stats])`, and `stats.snapshot()` at any time, in any thread.

    - `app`: the app as the command line names it.
    - `health`: the app's own; it knows what is in flight.
    - `handlers`: returns the handlers that the app has now, with the wire names of the types that each takes. One
      without runs is shown too.
    - `queues`: the backends by name.
    - `clock`: seconds that only grow.
    """

    def __init__(
        self,
        app: str,
        *,
        health: Callable[[], Health] | None = None,
        handlers: Callable[[], Mapping[str, Sequence[str]]] | None = None,
        queues: Mapping[str, Backend] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._health = health
        self._known = handlers
        self._backends: Mapping[str, Backend] = {} if queues is None else queues
        self._clock = clock
        self._began = clock()
        self._handlers: dict[str, _Handler] = {}
        self._queues: dict[str, _Queue] = {}
        self._calls: dict[type, Callable[..., None]] = {
            hooks.HandlerStarted: self._started,
            hooks.HandlerFinished: self._finished,
            hooks.Forwarded: self._forwarded,
            hooks.DeadLettered: self._dead_lettered,
            hooks.Received: self._received,
            hooks.ReceiveFailed: self._receive_failed,
            hooks.Requested: self._requested,
            hooks.Settled: self._settled,
        }

    def __call__(self, moment: hooks.Moment) -> None:
        """Count a moment."""
        call = self._calls.get(type(moment))
        if call is not None:
            call(moment)

    def snapshot(self) -> WorkerStats:
        """Return the figures as they are now. They travel as JSON by `msgspec.json.encode`."""
        now = self._clock()
        uptime = now - self._began
        health = None if self._health is None else self._health()
        return WorkerStats(
            app=self._app,
            host=socket.gethostname(),
            pid=os.getpid(),
            uptime=uptime,
            rss=psutil.Process().memory_info().rss,
            cpu_seconds=time.process_time(),
            healthy=health is None or health.healthy,
            reasons=() if health is None else health.reasons,
            window=min(uptime, _window(now, _HANDLER_CELLS, _HANDLER_CELL_SECONDS)),
            queue_window=min(uptime, _window(now, _QUEUE_CELLS, _QUEUE_CELL_SECONDS)),
            handlers=self._handler_stats(now),
            queues=self._queue_stats(now, health),
        )

    # Moments

    def _started(self, moment: hooks.HandlerStarted) -> None:
        self._handler(moment.handler).running += 1

    def _finished(self, moment: hooks.HandlerFinished) -> None:
        handler, outcome = self._handler(moment.handler), moment.outcome
        handler.running -= 1
        if outcome in {"interrupted", "crowded"}:  # it comes again, and has not failed
            return
        cell = handler.recent.cell(self._clock())
        handler.runs += 1
        if outcome in {"failed", "rejected"}:
            handler.failures += 1
            cell.failures += 1
        bucket = bucket_of(moment.seconds)
        cell.durations[bucket] = cell.durations.get(bucket, 0) + 1

    def _forwarded(self, moment: hooks.Forwarded) -> None:
        now = self._clock()
        queue = self._queue(moment.queue)
        queue.copies += 1
        queue.recent.cell(now).copies += 1
        if moment.handler is not None and moment.why == "retry":
            handler = self._handler(moment.handler)
            handler.retries += 1
            handler.recent.cell(now).retries += 1

    def _dead_lettered(self, moment: hooks.DeadLettered) -> None:
        self._queue(moment.queue).dead_letters += 1
        if moment.handler is not None:
            self._handler(moment.handler).dead_letters += 1

    def _received(self, moment: hooks.Received) -> None:
        queue = self._queue(moment.queue)
        cell = queue.recent.cell(self._clock())
        queue.receives += 1
        cell.requests += 1
        queue.received += moment.messages
        if not moment.messages:
            queue.empty += 1
            cell.empty += 1

    def _receive_failed(self, moment: hooks.ReceiveFailed) -> None:
        queue = self._queue(moment.queue)
        queue.receives += 1
        queue.failed += 1
        queue.recent.cell(self._clock()).requests += 1

    def _requested(self, moment: hooks.Requested) -> None:
        queue = self._queue(moment.queue)
        queue.requests[moment.call] = queue.requests.get(moment.call, 0) + 1
        queue.recent.cell(self._clock()).requests += 1
        if moment.error is not None:
            queue.failed += 1

    def _settled(self, moment: hooks.Settled) -> None:
        if moment.verdict == "acked":
            queue = self._queue(moment.queue)
            queue.finished += 1
            queue.recent.cell(self._clock()).finished += 1

    def _handler(self, name: str) -> "_Handler":
        found = self._handlers.get(name)
        if found is None:
            if len(self._handlers) >= _MAX_NAMES:
                name = _OTHERS
            found = self._handlers.setdefault(name, _Handler())
        return found

    def _queue(self, name: str) -> "_Queue":
        found = self._queues.get(name)
        if found is None:
            # One for delayed events or dead letters belongs to its main queue: `default (delayed)`.
            found = self._queues[name] = self._queues.setdefault(_main(name), _Queue())
        return found

    # The snapshot

    def _handler_stats(self, now: float) -> tuple[HandlerStats, ...]:
        known: Mapping[str, Sequence[str]] = {} if self._known is None else self._known()
        counted = dict(self._handlers)  # a copy, since the event loop may add some meanwhile
        names = [*known, *(name for name in counted if name not in known)]
        return tuple(counted.get(name, _Handler()).stats(name, tuple(known.get(name, ())), now) for name in names)

    def _queue_stats(self, now: float, health: Health | None) -> tuple[QueueStats, ...]:
        counted = dict(self._queues)
        in_flight, slots = dict[str, int](), dict[str, int]()
        for each in () if health is None else health.queues:
            name = _main(each.queue)
            in_flight[name] = in_flight.get(name, 0) + each.in_hand
            slots[name] = max(slots.get(name, 0), each.slots)
        names = dict.fromkeys([*self._backends, *in_flight, *(_main(name) for name in counted)])
        return tuple(
            counted.get(name, _Queue()).stats(
                name, now, _facts(self._backends.get(name)), in_flight.get(name, 0), slots.get(name, 0)
            )
            for name in names
        )


class _Cell:
    """The counts of one stretch of time."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = -1
        self.reset()

    def reset(self) -> None:
        raise NotImplementedError


class _HandlerCell(_Cell):
    __slots__ = ("durations", "failures", "retries")

    def reset(self) -> None:
        self.failures = self.retries = 0
        self.durations: dict[int, int] = {}


class _QueueCell(_Cell):
    __slots__ = ("copies", "empty", "finished", "requests")

    def reset(self) -> None:
        self.requests = self.empty = self.finished = self.copies = 0


C = TypeVar("C", bound=_Cell)


class _Ring(Generic[C]):
    """Cells of equal time. One more than the window has, since the latest has only begun."""

    __slots__ = ("_cells", "_count", "_seconds")

    def __init__(self, make: Callable[[], C], count: int, seconds: float) -> None:
        self._cells = [make() for _ in range(count + 1)]
        self._count = count + 1
        self._seconds = seconds

    def cell(self, now: float) -> C:
        """Return the cell of this time, empty if its last turn is over."""
        number = int(now / self._seconds)
        cell = self._cells[number % self._count]
        if cell.number != number:
            cell.reset()
            cell.number = number
        return cell

    def recent(self, now: float) -> list[C]:
        """Return the cells of the window."""
        number = int(now / self._seconds)
        return [cell for cell in self._cells if number - self._count < cell.number <= number]


class _Handler:
    __slots__ = ("dead_letters", "failures", "recent", "retries", "running", "runs")

    def __init__(self) -> None:
        self.runs = self.failures = self.retries = self.dead_letters = self.running = 0
        self.recent = _Ring(_HandlerCell, _HANDLER_CELLS, _HANDLER_CELL_SECONDS)

    def stats(self, name: str, types: tuple[str, ...], now: float) -> HandlerStats:
        cells = self.recent.recent(now)
        durations = merged(dict(cell.durations) for cell in cells)
        return HandlerStats(
            name=name,
            types=types,
            runs=self.runs,
            failures=self.failures,
            retries=self.retries,
            dead_letters=self.dead_letters,
            running=self.running,
            recent_runs=sum(durations.values()),
            recent_failures=sum(cell.failures for cell in cells),
            recent_retries=sum(cell.retries for cell in cells),
            durations=durations,
        )


class _Queue:
    __slots__ = ("copies", "dead_letters", "empty", "failed", "finished", "received", "receives", "recent", "requests")

    def __init__(self) -> None:
        self.received = self.receives = self.empty = self.failed = self.finished = self.copies = self.dead_letters = 0
        self.requests: dict[str, int] = {}
        self.recent = _Ring(_QueueCell, _QUEUE_CELLS, _QUEUE_CELL_SECONDS)

    def stats(self, name: str, now: float, facts: tuple[str, str], in_flight: int, slots: int) -> QueueStats:
        cells = self.recent.recent(now)
        return QueueStats(
            name=name,
            system=facts[0],
            place=facts[1],
            received=self.received,
            in_flight=in_flight,
            slots=slots,
            finished=self.finished,
            copies=self.copies,
            dead_letters=self.dead_letters,
            requests={**self.requests, **({"receive": self.receives} if self.receives else {})},
            empty_receives=self.empty,
            failed_requests=self.failed,
            recent_requests=sum(cell.requests for cell in cells),
            recent_empty_receives=sum(cell.empty for cell in cells),
            recent_finished=sum(cell.finished for cell in cells),
            recent_copies=sum(cell.copies for cell in cells),
        )


def _main(name: str) -> str:
    """Return the name of the queue that one is attached to, or its own."""
    return name.partition(" (")[0]


def _window(now: float, cells: int, seconds: float) -> float:
    """Return the seconds that a window has: whole cells, and what has passed of the latest."""
    return cells * seconds + now % seconds


def _facts(backend: Backend | None) -> tuple[str, str]:
    """Return the sort of a queue, and the name by which it is the same one in every process."""
    system = str(backend.description.get("messaging.system", "")) if isinstance(backend, Described) else ""
    place = ""
    with suppress(DawdleError):  # some know it only while they are open
        if isinstance(backend, Identified):
            place = (
                backend.identity if not isinstance(backend, Located) else f"{backend.identity} at {backend.location}"
            )
    return system, place
