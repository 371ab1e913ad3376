"""Calls one handler, in this task or in a thread, and returns what came of it: an outcome, whatever it raised.

A handler is the only thing that is ever cancelled by a stop, a deadline or a lost lease.
"""

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final, cast

from dawdle._flow.failure_log import FailureLog
from dawdle._flow.handler_scope import HandlerScope, enter_scope, leave_scope
from dawdle._flow.hook_calls import HookCaller
from dawdle._flow.in_flight_message import InFlightMessage
from dawdle._flow.running_handlers import RunningHandlers
from dawdle._flow.work import Work
from dawdle._handlers.context import Context
from dawdle._handlers.handler import Handler
from dawdle._log import Log
from dawdle._rules.envelope import aware
from dawdle._rules.outcome import AtLimit, Done, Failed, Interrupted, Outcome, Postponed, Rejected, outcome_of
from dawdle._rules.retry import Retry
from dawdle.abc import Clock, Deadline
from dawdle.hooks import HandlerFinished, HandlerStarted, OutcomeName

__all__ = ["HandlerCaller", "this_task"]

if TYPE_CHECKING:
    from anyio import CapacityLimiter

_log = Log(__name__)


class HandlerCaller:
    """Calls handlers."""

    def __init__(
        self,
        *,
        app: object,
        clock: Clock,
        hooks: HookCaller,
        timeout: float | None,
        threads: int,
        state: Callable[[], object],
        running: RunningHandlers,
        failures: FailureLog,
        is_dying: Callable[[], bool],
    ) -> None:
        self._app = app
        self._clock = clock
        self._hooks = hooks
        self._threads = threads
        self._limiter: CapacityLimiter | None = None
        self._state = state
        self._timeout = timeout
        self._running = running
        self._failures = failures
        self._dies = is_dying

    async def call(self, handler: Handler, work: Work, retry: Retry) -> Outcome:
        """Call the handler and tell the hooks and the log."""
        envelope, queue = work.envelope, work.message.queue.name
        facts = (queue, envelope.id, envelope.type, handler.name, work.attempt)
        if self._hooks:
            self._hooks(HandlerStarted(*facts))
        started = self._clock.monotonic()
        outcome: Outcome = Interrupted()
        if not work.message.interrupted:
            outcome = await self._call(handler, work, retry)
            await self._consume_cancellation(work.message, this_task())
        elapsed = self._clock.monotonic() - started
        timeout = None if handler.is_async else self._timeout_of(handler)
        if timeout is not None and elapsed > timeout and isinstance(outcome, Done):
            _log.warning(
                "handler %s ran for %.3g s in its thread, over its timeout of %g s; a thread cannot be ended, and what "
                "it returned counts: make it async def, or raise the timeout",
                handler.name,
                elapsed,
                timeout,
            )
        if self._hooks:
            error = outcome.error if isinstance(outcome, (Failed, Rejected)) else None
            self._hooks(HandlerFinished(*facts, _OUTCOMES[type(outcome)], error, elapsed))
        return outcome

    async def _call(self, handler: Handler, work: Work, retry: Retry) -> Outcome:
        """Call the handler and return what came of it. Only a cancellation by which the app ends gets out."""
        task = this_task()
        message = work.message
        arguments = (work.event, self._context(handler, work, retry)) if handler.takes_context else (work.event,)
        where = HandlerScope(self._app, message, work.envelope.id)
        token = enter_scope(where)
        message.begin(task, handler.name, in_thread=not handler.is_async)
        try:
            if handler.is_async:
                await self._in_task(handler, work, arguments)
            else:
                await self._in_thread(handler, work, arguments)
        except asyncio.CancelledError as error:
            if message.consume_cancellation(task):
                return (
                    self._not_done(handler, work, retry, _hold_expired(message))
                    if message.hold_expired
                    else Interrupted()
                )
            if task.cancelling() and self._dies():
                raise
            while task.cancelling():  # whoever it was, with this task it would end the other handlers of the event
                task.uncancel()
            return self._not_done(handler, work, retry, error)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if isinstance(error, GeneratorExit) and not _is_running(task):
                raise  # this coroutine is being closed, since its loop has ended
            return self._not_done(handler, work, retry, error)
        finally:
            message.end(task)
            leave_scope(where, token)
        return Done()

    async def _consume_cancellation(self, message: InFlightMessage, task: "asyncio.Task[object]") -> None:
        """Take back a cancellation that the handler never felt, swallowed, or turned into another error.

        It was ours, or any other by which the app does not end.
        """
        if task.cancelling() and (message.interrupted or not self._dies()):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
            while task.cancelling():
                task.uncancel()

    def _timeout_of(self, handler: Handler) -> float | None:
        """Return the seconds that one run of a handler may take: its own timeout, or else the app's."""
        return self._timeout if handler.options.timeout is None else handler.options.timeout

    async def _in_task(self, handler: Handler, work: Work, arguments: tuple[object, ...]) -> None:
        """Run an `async def` handler here, for no longer than its timeout."""
        function = cast("Callable[..., Awaitable[object]]", handler.function)  # is_async says so
        await self._in_time(handler, work, function(*arguments), self._timeout_of(handler))

    async def _in_time(self, handler: Handler, work: Work, running: Awaitable[object], left: float | None) -> None:
        """Await a handler for no longer than what is left of its timeout."""
        run = self._running.begin(handler, work.envelope, work.attempt)
        try:
            if left is None:
                await running
                return
            deadline = Deadline(self._clock, self._clock.monotonic() + left)
            try:
                async with deadline:
                    await running
            except TimeoutError as error:
                if deadline.expired():
                    raise TimeoutError(f"it ran longer than its timeout of {self._timeout_of(handler):g} s") from error
                raise
        finally:
            self._running.end(run)

    async def _in_thread(self, handler: Handler, work: Work, arguments: tuple[object, ...]) -> None:
        """Run a `def` handler in a thread of our own limiter. What it returns may still be awaited, here, in time.

        Such a one is an `async def` behind a plain decorator, as a rule: only the call of it is made in the thread.
        """
        from anyio import CapacityLimiter, to_thread  # noqa: PLC0415 - who has no such handler need not load it

        if self._limiter is None:
            self._limiter = CapacityLimiter(self._threads)

        def call() -> tuple[object, BaseException | None]:
            run = self._running.begin(
                handler, work.envelope, work.attempt
            )  # here, not where we wait: the thread may run for longer
            try:
                return handler.function(*arguments), None
            except BaseException as error:  # noqa: BLE001 - a future does not carry each error as it is: a StopIteration
                return None, error
            finally:
                self._running.end(run)

        began = self._clock.monotonic()
        result, error = await to_thread.run_sync(call, limiter=self._limiter, abandon_on_cancel=True)
        if error is not None:
            raise error
        if inspect.isawaitable(result):
            timeout = self._timeout_of(handler)
            work.message.begin(this_task(), handler.name)
            left = None if timeout is None else max(0.0, timeout - (self._clock.monotonic() - began))
            await self._in_time(handler, work, result, left)

    def _context(self, handler: Handler, work: Work, retry: Retry) -> Context:
        envelope = work.envelope
        return Context(
            event_id=envelope.id,
            event_type=envelope.type,
            handler=handler.name,
            queue=work.message.queue.name,
            attempt=work.attempt,
            max_attempts=retry.max_attempts,
            signaled_at=None if envelope.time is None else aware(envelope.time),
            body=work.body,
            state=self._state(),
        )

    def _not_done(self, handler: Handler, work: Work, retry: Retry, error: BaseException) -> Outcome:
        """Return what an error means, and log it."""
        outcome = outcome_of(error, retry.never)
        match outcome:
            case Failed():
                self._failures.log(handler.name, work.envelope, work.attempt, retry.max_attempts, outcome.error, error)
            case Rejected() if retry.never and not isinstance(outcome_of(error), Rejected):  # final, and not on purpose
                self._failures.log(
                    handler.name, work.envelope, work.attempt, retry.max_attempts, outcome.error, error, final=True
                )
            case Rejected():
                _log.warning("handler %s rejected %s: %s", handler.name, work.envelope.label, outcome.error)
            case Postponed():
                pass
        return outcome


_OUTCOMES: Final[Mapping[type[Outcome], OutcomeName]] = {
    Done: "done",
    Failed: "failed",
    Rejected: "rejected",
    Postponed: "later",
    AtLimit: "crowded",
    Interrupted: "interrupted",
}


def _hold_expired(message: InFlightMessage) -> TimeoutError:
    longest = message.queue.limits.max_hold
    return TimeoutError(f"it ran for {longest:g} s, and its queue keeps no message in flight for longer")


def _is_running(task: "asyncio.Task[object]") -> bool:
    """Whether this code runs as the task that it belongs to, and is not thrown out of it from outside."""
    try:
        return asyncio.current_task() is task
    except RuntimeError:  # no event loop runs
        return False


def this_task() -> "asyncio.Task[object]":
    """Return the task that this code runs in."""
    task = asyncio.current_task()
    assert task is not None, "a handler runs in a task"
    return task
