"""Counts what an app does, for `/stats` of a worker and so for `dawdle top`: a hook. Decides nothing, asks no queue.

Memory is bounded: names are few, and `_counters` keeps what is recent in rings.
"""

import os
import secrets
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import psutil

from dawdle import Health, hooks
from dawdle.abc import Backend
from dawdle.cli._counters import REQUEST_SECONDS, RUN_SECONDS, HandlerCounts, QueueCounts
from dawdle.cli._queue_facts import facts_of
from dawdle.cli._snapshot import HandlerStats, QueueStats, WorkerStats, bucket_of

__all__ = ["Stats"]

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
        self._id = secrets.token_hex(8)
        self._health = health
        self._known = handlers
        self._backends: Mapping[str, Backend] = {} if queues is None else queues
        self._clock = clock
        self._began = clock()
        self._handlers: dict[str, HandlerCounts] = {}
        self._queues: dict[str, QueueCounts] = {}
        self._calls: dict[type, Callable[..., None]] = {
            hooks.Signaled: self._signaled,
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
            id=self._id,
            app=self._app,
            host=socket.gethostname(),
            pid=os.getpid(),
            uptime=uptime,
            rss=psutil.Process().memory_info().rss,
            cpu_seconds=time.process_time(),
            healthy=health is None or health.healthy,
            reasons=() if health is None else health.reasons,
            window=min(uptime, RUN_SECONDS + now % 1),  # whole seconds, and what has passed of the latest
            queue_window=min(uptime, REQUEST_SECONDS + now % 1),
            handlers=self._handler_stats(now),
            queues=self._queue_stats(now, health),
        )

    # Moments

    def _signaled(self, moment: hooks.Signaled) -> None:
        queue = self._queue(moment.queue)
        queue.signaled += 1
        queue.recent.cell(self._clock()).signaled += 1

    def _started(self, moment: hooks.HandlerStarted) -> None:
        handler, waited = self._handler(moment.handler), moment.waited
        handler.running += 1
        if waited is not None:
            cell = handler.recent.cell(self._clock())
            if cell.waited is None or waited > cell.waited:
                cell.waited = waited

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
        cell.received += moment.messages
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

    def _handler(self, name: str) -> HandlerCounts:
        found = self._handlers.get(name)
        if found is None:
            if len(self._handlers) >= _MAX_NAMES:
                name = _OTHERS
            found = self._handlers.setdefault(name, HandlerCounts())
        return found

    def _queue(self, name: str) -> QueueCounts:
        found = self._queues.get(name)
        if found is None:
            # One for delayed events or dead letters belongs to its main queue: `default (delayed)`.
            found = self._queues[name] = self._queues.setdefault(_main(name), QueueCounts())
        return found

    # The snapshot

    def _handler_stats(self, now: float) -> tuple[HandlerStats, ...]:
        known: Mapping[str, Sequence[str]] = {} if self._known is None else self._known()
        counted = dict(self._handlers)  # a copy, since the event loop may add some meanwhile
        names = [*known, *(name for name in counted if name not in known)]
        return tuple(counted.get(name, HandlerCounts()).stats(name, tuple(known.get(name, ())), now) for name in names)

    def _queue_stats(self, now: float, health: Health | None) -> tuple[QueueStats, ...]:
        counted = dict(self._queues)
        in_flight, slots = dict[str, int](), dict[str, int]()
        for each in () if health is None else health.queues:
            name = _main(each.queue)
            in_flight[name] = in_flight.get(name, 0) + each.in_hand
            slots[name] = max(slots.get(name, 0), each.slots)
        names = dict.fromkeys([*self._backends, *in_flight, *(_main(name) for name in counted)])
        return tuple(
            counted.get(name, QueueCounts()).stats(
                name, now, facts_of(self._backends.get(name)), in_flight.get(name, 0), slots.get(name, 0)
            )
            for name in names
        )


def _main(name: str) -> str:
    """Return the name of the queue that one is attached to, or its own."""
    return name.partition(" (")[0]
