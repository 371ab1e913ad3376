"""Runs all handlers of one event, each on its own: a failure is an outcome, and cancels no other handler.

An only handler runs in the processor's task, each of several in a task of its own.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Final

import msgspec

from dawdle._flow.eager_tasks import start_eagerly, wait_for_all
from dawdle._flow.handler_call import HandlerCaller
from dawdle._flow.handler_limits import HandlerLimits
from dawdle._flow.handler_scope import this_task
from dawdle._flow.in_flight_message import Work
from dawdle._handlers.handler import Handler
from dawdle._log import EventLog
from dawdle._rules.outcome import DONE, AtLimit, Done, Failed, Interrupted, Outcome, error_text
from dawdle._rules.retry import Retry
from dawdle._rules.settlement import Result
from dawdle.abc import Clock, Deadline

__all__ = ["Dispatcher", "StoreCopy"]

_log = EventLog(__name__)

StoreCopy = Callable[[Work, Result], Awaitable[bool]]
"""Stores the copy by which one handler is tried again, and returns whether the queue has it."""

EARLY_COPY_SECONDS: Final = 1.0
"""Seconds for which the copy of a failed handler waits for its siblings: if they end, all copies share a request."""


class Dispatcher:
    """Runs the handlers of an event, within their limits, and returns their results."""

    def __init__(self, caller: HandlerCaller, *, clock: Clock, retry: Retry, limits: HandlerLimits) -> None:
        self._caller = caller
        self._clock = clock
        self._retry = retry
        self._limits = limits

    def run(self, work: Work, store_copy: StoreCopy) -> Coroutine[object, object, object]:
        """Run all handlers concurrently. When it returns, `work.results` has the result of each.

        `store_copy` stores the copy of a failed handler while a sibling still runs.
        """
        if len(work.handlers) == 1:  # the usual case, which needs no further task
            return self._run(work.handlers[0], work)
        return self._run_several(work, store_copy)

    async def _run_several(self, work: Work, store_copy: StoreCopy) -> None:
        siblings = _Siblings(len(work.handlers))
        tasks: list[asyncio.Task[None]] = []
        try:
            for handler in work.handlers:
                running = self._run_with_siblings(handler, work, siblings, store_copy)
                tasks.append(start_eagerly(running, f"dawdle: {handler.name}"))
        except BaseException:  # a KeyboardInterrupt in the first step of a handler comes out of its start
            for task in tasks:
                task.cancel()
            with suppress(asyncio.CancelledError):
                await wait_for_all(tasks)
            raise
        await wait_for_all(tasks)
        for task in tasks:
            task.result()  # raises what ended it: as a rule the end of the app

    def result_of(self, handler: Handler, work: Work, outcome: Outcome) -> Result:
        """Return the result of a handler that has ended just now, and note it in the work."""
        ended = None if outcome is DONE else work.message.now()
        result = Result(handler.name, handler.options.retry or self._retry, outcome, ended)
        work.results[handler.name] = result
        return result

    async def _run_with_siblings(
        self, handler: Handler, work: Work, siblings: "_Siblings", store_copy: StoreCopy
    ) -> None:
        """Run one of several handlers. Its retry does not wait for a slow sibling."""
        try:
            result = await self._run(handler, work)
        finally:
            siblings.end_one()
        message = work.message
        if isinstance(result.outcome, (Done, Interrupted)) or await siblings.end_within(
            self._clock, EARLY_COPY_SECONDS
        ):
            return
        # An interrupted message is settled right after this, with all its copies in one batch. Or its lease is lost,
        # and this process may store nothing for it any more.
        if message.interrupted:
            return
        task = this_task()
        message.begin(task, handler.name)  # registers the task, so that a stop can cancel this wait for the queue
        try:
            kept = await store_copy(work, result)
        except asyncio.CancelledError:
            if not message.consume_cancellation(task):
                raise
            kept = False  # whether it is stored or not: the settlement stores it again, twice rather than not at all
        finally:
            message.end(task)
        work.results[handler.name] = msgspec.structs.replace(result, kept=kept)

    async def _run(self, handler: Handler, work: Work) -> Result:
        retry = handler.options.retry or self._retry
        try:
            if handler.options.concurrency is None:  # as a rule
                outcome = await self._caller.call(handler, work, retry)
            else:
                outcome = await self._run_within_limit(handler, work, retry)
        except Exception as error:  # noqa: BLE001 - a bug in the call of one handler must not cancel its siblings
            _log_bug(handler, work)  # not here: the frame of this coroutine is a part of each message in flight
            outcome = Failed(error_text(error))
        return self.result_of(handler, work, outcome)

    async def _run_within_limit(self, handler: Handler, work: Work, retry: Retry) -> Outcome:
        """Call a handler when its own limit allows it, or return the outcome of not running it."""
        limit = self._limits.of(handler)
        if limit is None:
            return await self._caller.call(handler, work, retry)
        # On an ordered queue it stays if it can: there it comes back as a whole, and runs all of its handlers again.
        stays = work.message.main_queue.terms.ordered
        began = await limit.enter(handler.name, work.message, work.envelope.counted, stays=stays)
        if isinstance(began, (AtLimit, Interrupted)):
            return began
        try:
            return await self._caller.call(handler, work, retry)
        finally:
            limit.leave(began)


def _log_bug(handler: Handler, work: Work) -> None:
    _log.exception(
        "could not run handler %s on %s because of a bug in dawdle: the attempt counts as failed; report this "
        "traceback",
        handler.name,
        work.label,
        about=work.about(handler.name),
    )


class _Siblings:
    """How many handlers of one event still run."""

    def __init__(self, count: int) -> None:
        self._running = count
        self._ended: asyncio.Event | None = None  # made for the first failure that waits: as a rule there is none

    def end_one(self) -> None:
        """Note that one handler has ended."""
        self._running -= 1
        if not self._running and self._ended is not None:
            self._ended.set()

    async def end_within(self, clock: Clock, seconds: float) -> bool:
        """Return True as soon as the last handler has ended, and False when that takes more than so many seconds."""
        if self._running:
            self._ended = self._ended or asyncio.Event()
            try:
                async with Deadline(clock, clock.monotonic() + seconds):
                    await self._ended.wait()
            except TimeoutError:
                return False
        return True
