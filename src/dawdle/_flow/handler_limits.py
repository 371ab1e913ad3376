"""Limits of single handlers (`concurrency=`): which events wait in memory until a run ends. Decides nothing.

What becomes of an event that enters (`dawdle._rules.pacing` decides):

    enter ──┬── Starts ─────► it runs ──► leave: the next waiter runs
            ├── Waits ──────► it waits in memory ──┬── its turn ──► it runs ──► leave
            │                                      └── a stop, or a lost lease ──► Interrupted
            └── ComesBack ──► AtLimit: a copy brings it back later
"""

import asyncio
import random
from collections import Counter

from dawdle._flow.in_flight_message import InFlightMessage
from dawdle._flow.slots import Slots
from dawdle._handlers.handler import Handler
from dawdle._rules.outcome import AtLimit, Interrupted
from dawdle._rules.pacing import ComesBack, ConcurrencyLimit, Starts, Waits
from dawdle.abc import Clock

__all__ = ["HandlerLimit", "HandlerLimits"]

_Waiter = asyncio.Future[float | None]
"""Resolves to the time when its run begins, or to None when the message is given back."""


class HandlerLimits:
    """The limits of an app's handlers, by the handler's name.

    A message that waits for a limit holds a slot of its queue. Limits may hold half of a queue's slots at most: the
    other handlers keep the rest. `slots`: those of the queue that has most.
    """

    def __init__(self, clock: Clock, slots: int) -> None:
        self._clock = clock
        self._slots = slots
        self._limits: dict[str, HandlerLimit] = {}
        self.waiting: Counter[Slots] = Counter()
        """How many messages of a queue, by its slots, wait in memory for a handler's limit."""

    def spare(self, slots: Slots) -> int:
        """Return how many more messages of a queue may wait."""
        return max(1, slots.total // 2) - self.waiting[slots]

    def waiting_by_handler(self) -> dict[str, int]:
        """Return how many events wait in memory for each handler that has a limit and was wanted yet."""
        return {name: limit.waiting for name, limit in self._limits.items()}

    def of(self, handler: Handler) -> "HandlerLimit | None":
        """Return the limit of a handler; None if it has none."""
        concurrency = handler.options.concurrency
        if concurrency is None:
            return None
        limit = self._limits.get(handler.name)
        if limit is None:
            limit = self._limits[handler.name] = HandlerLimit(self, self._clock, concurrency, self._slots)
        limit.resize(concurrency)  # a handler of the same name may have been registered anew, with another limit
        return limit

    def interrupt_waiting(self) -> None:
        """Give back the messages that wait. A direct event goes on waiting: no queue holds it yet."""
        for limit in self._limits.values():
            limit.interrupt_waiting()


class HandlerLimit:
    """One handler's limit: it lets an event run, now or later, or returns the outcome of not running it."""

    def __init__(self, limits: HandlerLimits, clock: Clock, concurrency: int, slots: int) -> None:
        self._limits = limits
        self._clock = clock
        self._pace = ConcurrencyLimit(concurrency, slots)
        self._waiters: dict[_Waiter, InFlightMessage] = {}

    @property
    def waiting(self) -> int:
        """How many events wait in memory."""
        return len(self._waiters)

    def resize(self, concurrency: int) -> None:
        """Let so many runs happen at once from now on."""
        if self._pace.limit != concurrency:
            self._pace.limit = concurrency
            self._start_next()

    async def enter(
        self, handler: str, message: InFlightMessage, counted: float | None, *, stays: bool = False
    ) -> float | AtLimit | Interrupted:
        """Return the time when the run begins, as soon as it may; or the outcome of not running.

        `counted`: the seconds by which an earlier copy of the event lengthened the line of waiting work; None for a new
        event. `stays`: it waits here if there is room, however long the line is. The returned time is the argument of
        `leave`.
        """
        if message.interrupted:
            return Interrupted()
        now = self._clock.monotonic()
        spare = self._limits.spare(message.queue.slots)
        place = self._pace.arrive(now, counted=counted, spare=spare, random=random.random(), stays=stays)
        match place:
            case Starts():
                return now
            case ComesBack():
                return AtLimit(place.seconds, place.step)
            case Waits():
                began = await self._wait(handler, message)
                return Interrupted() if began is None else began

    def leave(self, began: float) -> None:
        """End a run, and start the next."""
        self._pace.finish(began, self._clock.monotonic())
        self._start_next()

    def interrupt_waiting(self) -> None:
        """Give back all messages that wait, but no direct event."""
        for waiter, message in list(self._waiters.items()):
            if not message.is_direct:
                self._withdraw(waiter)
                if not waiter.done():
                    waiter.set_result(None)

    async def _wait(self, handler: str, message: InFlightMessage) -> float | None:
        """Return the time when the run begins; None if a stop or a lost lease ended the wait."""
        task = asyncio.current_task()
        assert task is not None, "a handler runs in a task"
        waiter: _Waiter = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = message
        self._limits.waiting[message.queue.slots] += 1
        message.begin(task, handler)  # registers the task, so that a stop or a lost lease can cancel the wait
        try:
            return await waiter
        except asyncio.CancelledError:
            self._forget(waiter)
            if not message.consume_cancellation(task):
                raise
            return None
        finally:
            message.end(task)

    def _forget(self, waiter: _Waiter) -> None:
        """Give up the place of a waiter whose task was cancelled, or the run that was about to begin."""
        # A future that was resolved and a task that is then cancelled, in one turn of the loop: the run is counted, but
        # the task never sees its result. Without this the limit would count a run that never ends.
        if waiter in self._waiters:
            self._withdraw(waiter)
        elif not waiter.cancelled() and (began := waiter.result()) is not None:
            self.leave(began)

    def _withdraw(self, waiter: _Waiter) -> None:
        self._take_out(waiter)
        self._pace.withdraw()

    def _start_next(self) -> None:
        """Start the runs that may start, in the order in which their events came."""
        now = self._clock.monotonic()
        # A cancelled task withdraws by itself, but only in its next step: here its waiter is still in the row.
        for waiter in [waiter for waiter in self._waiters if waiter.cancelled()]:
            self._withdraw(waiter)
        while self._pace.next(now):
            waiter = next(iter(self._waiters))
            self._take_out(waiter)
            waiter.set_result(now)

    def _take_out(self, waiter: _Waiter) -> None:
        message = self._waiters.pop(waiter)
        self._limits.waiting[message.queue.slots] -= 1
