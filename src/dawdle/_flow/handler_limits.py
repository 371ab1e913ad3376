"""The limits that handlers have of their own: who runs, and who waits in memory until a run ends. Decides nothing."""

import asyncio
import random

from dawdle._flow.in_flight_message import InFlightMessage
from dawdle._handlers.handler import Handler
from dawdle._rules.outcome import AtLimit, Interrupted
from dawdle._rules.pacing import ComesBack, ConcurrencyLimit, Starts, Waits
from dawdle.abc import Clock

__all__ = ["HandlerLimit", "HandlerLimits"]

_Waiter = asyncio.Future[float | None]
"""Is given the moment at which its run begins, or None when it is given back."""


class HandlerLimits:
    """The limits of all handlers of one app that have one, by the handler's name.

    What waits for one of them holds a slot of the app: no more than half of the slots are held so.
    """

    def __init__(self, clock: Clock, slots: int) -> None:
        self._clock = clock
        self._slots = slots
        self._limits: dict[str, HandlerLimit] = {}

    @property
    def waiting(self) -> int:
        """How many events wait in memory for a handler's limit."""
        return sum(limit.waiting for limit in self._limits.values())

    @property
    def spare(self) -> int:
        """How many events more may wait."""
        return max(1, self._slots // 2) - self.waiting

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
        limit.resize(concurrency)
        return limit

    def interrupt_waiting(self) -> None:
        """Give back the messages that wait. A direct event waits on: no queue has it to give it back."""
        for limit in self._limits.values():
            limit.interrupt_waiting()


class HandlerLimit:
    """One handler's limit: takes an event in, or says what becomes of it instead."""

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
        """Let so many run at once from now on."""
        if self._pace.limit != concurrency:
            self._pace.limit = concurrency
            self._start_next()

    async def enter(
        self, handler: str, message: InFlightMessage, counted: float | None
    ) -> float | AtLimit | Interrupted:
        """Return when the run began, once it may; or what the handler makes of the event without one.

        `counted`: what the event's copy says of the line. The moment that is returned is handed to `leave`.
        """
        if message.interrupted:
            return Interrupted()
        now = self._clock.monotonic()
        place = self._pace.arrive(now, counted=counted, spare=self._limits.spare, random=random.random())
        match place:
            case Starts():
                return now
            case ComesBack():
                return AtLimit(place.seconds, place.step)
            case Waits():
                began = await self._wait(handler, message)
                return Interrupted() if began is None else began

    def leave(self, began: float) -> None:
        """End a run, and begin the next."""
        self._pace.finish(began, self._clock.monotonic())
        self._start_next()

    def interrupt_waiting(self) -> None:
        """Let no message wait any more."""
        for waiter, message in list(self._waiters.items()):
            if not message.is_direct:
                self._withdraw(waiter)
                if not waiter.done():
                    waiter.set_result(None)

    async def _wait(self, handler: str, message: InFlightMessage) -> float | None:
        """Return when the run began; None where there is none, since a stop or a lost lease ended the wait."""
        task = asyncio.current_task()
        assert task is not None, "a handler runs in a task"
        waiter: _Waiter = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = message
        message.begin(task, handler)
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
        """Take back what a waiter has whose task was cancelled: its place, or the run that was to begin just now."""
        if waiter in self._waiters:
            self._withdraw(waiter)
        elif not waiter.cancelled() and (began := waiter.result()) is not None:
            self.leave(began)

    def _withdraw(self, waiter: _Waiter) -> None:
        del self._waiters[waiter]
        self._pace.withdraw()

    def _start_next(self) -> None:
        """Begin the runs that may begin, in the order in which their events came."""
        now = self._clock.monotonic()
        for waiter in [waiter for waiter in self._waiters if waiter.cancelled()]:
            self._withdraw(waiter)  # its task was cancelled in this very step, and takes its leave in the next
        while self._pace.next(now):
            waiter = next(iter(self._waiters))
            del self._waiters[waiter]
            waiter.set_result(now)
