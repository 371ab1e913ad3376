"""Runs all handlers of one event, each on its own: a failure is an outcome, and cancels nobody.

One handler alone runs in the carrier's own task; several run in a group.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from dawdle._flow.handler_call import HandlerCaller, this_task
from dawdle._flow.handler_limits import HandlerLimits
from dawdle._flow.work import Work
from dawdle._handlers.handler import Handler
from dawdle._log import Log
from dawdle._rules.outcome import AtLimit, Done, Failed, Interrupted, Outcome, error_text
from dawdle._rules.retry import Retry
from dawdle._rules.settlement import Result
from dawdle.abc import Clock, Deadline

__all__ = ["Dispatcher", "StoreCopy"]

_log = Log(__name__)

StoreCopy = Callable[[Result], Awaitable[bool]]
"""Stores the copy that one unfinished handler is tried again with; whether it did."""

EARLY_COPY_SECONDS: Final = 1.0
"""Seconds after a handler's failure for which its copy waits for its siblings; they share a request if they end."""


class Dispatcher:
    """Runs handlers."""

    def __init__(self, caller: HandlerCaller, *, clock: Clock, retry: Retry, limits: HandlerLimits) -> None:
        self._caller = caller
        self._clock = clock
        self._retry = retry
        self._limits = limits

    async def run(self, work: Work, keep: StoreCopy) -> list[Result]:
        """Run all handlers concurrently and return each one's result, in their order.

        `keep` stores the copy of one that is to be tried again while a sibling still runs; it says whether it did.
        """
        if len(work.handlers) == 1:
            return [await self._run(work.handlers[0], work)]
        siblings = _Siblings(len(work.handlers))
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._run_beside(handler, work, siblings, keep), name=f"dawdle: {handler.name}")
                for handler in work.handlers
            ]
        return [task.result() for task in tasks]

    def result_of(self, handler: Handler, work: Work, outcome: Outcome) -> Result:
        """Return, and note in the work, what has come of a handler just now."""
        result = Result(handler.name, self._retry_of(handler), outcome, ended=work.message.now(self._clock))
        work.results[handler.name] = result
        return result

    def _retry_of(self, handler: Handler) -> Retry:
        return handler.options.retry or self._retry

    async def _run_beside(self, handler: Handler, work: Work, siblings: "_Siblings", keep: StoreCopy) -> Result:
        """Run one of several handlers. Its retry does not wait for a sibling that takes its time."""
        try:
            result = await self._run(handler, work)
        finally:
            siblings.end_one()
        message = work.message
        if isinstance(result.outcome, (Done, Interrupted)) or await siblings.end_within(
            self._clock, EARLY_COPY_SECONDS
        ):
            return result
        if message.interrupted:  # lost, or about to be settled: then all its copies go in one batch
            return result
        task = this_task()
        message.begin(task, handler.name)  # so that a stop does not wait for this answer
        try:
            kept = await keep(result)
        except asyncio.CancelledError:
            if not message.consume_cancellation(task):
                raise
            kept = False
        finally:
            message.end(task)
        result = work.results[handler.name] = msgspec.structs.replace(result, kept=kept)
        return result

    async def _run(self, handler: Handler, work: Work) -> Result:
        try:
            outcome = await self._run_within_limit(handler, work)
        except Exception as error:  # noqa: BLE001 - a mistake of ours about one handler must not cancel its siblings
            _log.exception("handler %s could not be run on %s; it counts as failed", handler.name, work.envelope.label)
            outcome = Failed(error_text(error))
        return self.result_of(handler, work, outcome)

    async def _run_within_limit(self, handler: Handler, work: Work) -> Outcome:
        """Call a handler once its own limit allows it, or return what becomes of it instead."""
        retry = self._retry_of(handler)
        limit = self._limits.of(handler)
        if limit is None:
            return await self._caller.call(handler, work, retry)
        began = await limit.enter(handler.name, work.message, work.envelope.counted)
        if isinstance(began, (AtLimit, Interrupted)):
            return began
        try:
            return await self._caller.call(handler, work, retry)
        finally:
            limit.leave(began)


class _Siblings:
    """How many handlers of one event still run."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._ended: asyncio.Event | None = None  # made for the first that waits: as a rule there is none

    def end_one(self) -> None:
        """Note that one has ended."""
        self._left -= 1
        if not self._left and self._ended is not None:
            self._ended.set()

    async def end_within(self, clock: Clock, seconds: float) -> bool:
        """Return whether the last one has ended in so many seconds, as soon as that is known."""
        if self._left:
            self._ended = self._ended or asyncio.Event()
            try:
                async with Deadline(clock, clock.monotonic() + seconds):
                    await self._ended.wait()
            except TimeoutError:
                return False
        return True
