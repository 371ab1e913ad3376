"""Calls one handler, and returns an outcome, whatever the handler raised.

Only handlers are cancelled by a stop, a timeout or a lost lease. But a handler runs in the task of a processor, which
still has to settle the message, and `Task.cancel()` says nothing about its reason. So each cancellation is read:

    the message is interrupted (stop, lost lease, held too long) ──► taken back (`uncancel`); the outcome tells which
    the app is dying, and cancels all of its tasks ────────────────► raised on
    anything else, such as a handler that cancels its own task ────► taken back; the handler has failed

Raised on, a cancellation would end the processor before it has settled the message. Swallowed without `uncancel`, it
stays counted in `Task.cancelling()`: a timeout or a task group that the task enters later may take it for its own.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping
from typing import Final

from dawdle._flow.failure_log import FailureLog
from dawdle._flow.handler_run import HandlerRunner
from dawdle._flow.handler_scope import HandlerRun, enter_scope, is_running, leave_scope, this_task
from dawdle._flow.hook_calls import HookCaller
from dawdle._flow.in_flight_message import InFlightMessage, Work
from dawdle._flow.running_handlers import RunningHandlers
from dawdle._handlers.handler import Handler
from dawdle._log import EventLog
from dawdle._rules.outcome import DONE, AtLimit, Done, Failed, Interrupted, Outcome, Postponed, Rejected, outcome_of
from dawdle._rules.retry import Retry
from dawdle._rules.waiting import waited
from dawdle.abc import Clock
from dawdle.hooks import HandlerFinished, HandlerStarted, OutcomeName

__all__ = ["HandlerCaller"]

_log = EventLog(__name__)


class HandlerCaller:
    """Calls the handlers of one app, within their timeouts, and reports each call to the hooks and the log."""

    def __init__(
        self,
        *,
        app: object,
        clock: Clock,
        hooks: HookCaller,
        runner: HandlerRunner,
        running: RunningHandlers,
        failures: FailureLog,
        is_dying: Callable[[], bool],
    ) -> None:
        self._app = app
        self._clock = clock
        self._hooks = hooks
        self._runner = runner
        self._make_context = runner.make_context
        self._running = running
        self._failures = failures
        self._is_dying = is_dying

    def call(self, handler: Handler, work: Work, retry: Retry) -> Coroutine[object, object, Outcome]:
        """Call the handler, and report the call to the hooks. Run at once, in the task that awaits it."""
        # A call of its own for what needs no report: each coroutine in between costs a message in flight 300 bytes.
        if self._hooks:
            return self._call_and_report(handler, work, retry)
        return self._call(handler, work, retry)

    async def _call_and_report(self, handler: Handler, work: Work, retry: Retry) -> Outcome:
        facts = (work.message.queue.name, work.envelope.id, work.envelope.type, handler.name, work.attempt)
        self._hooks(HandlerStarted(*facts, _waited(work), work.envelope.trace, work.message.message_id))
        started, raised = self._clock.monotonic(), list[BaseException]()
        outcome = await self._call(handler, work, retry, raised)
        elapsed = self._clock.monotonic() - started
        name, error = _OUTCOMES[type(outcome)], None
        if isinstance(outcome, (Failed, Rejected)):
            error = outcome.error
        else:
            raised.clear()
        self._hooks(HandlerFinished(*facts, name, error, elapsed, raised[0] if raised else None))
        # The traceback of an exception holds this frame. With the exception in one of its variables, a circle would
        # keep both until the garbage collector comes.
        raised.clear()
        return outcome

    async def _call(
        self, handler: Handler, work: Work, retry: Retry, raised: list[BaseException] | None = None
    ) -> Outcome:
        """Call the handler and return its outcome. Only a cancellation by which the app dies is raised.

        `raised`: takes the error that the outcome stands for.
        """
        message, task = work.message, this_task()
        if message.interrupted:
            return Interrupted()
        outcome: Outcome = DONE
        run = HandlerRun(self._app, handler, work, self._clock.monotonic(), self._make_context)
        enter_scope(run)
        message.begin(task, handler.name)
        try:
            if handler.around or self._runner.links:
                outcome = await self._runner.run_in_chain(run, retry)
            elif handler.is_async:
                self._running.begin(run)
                try:
                    await self._runner.call(run, retry)
                finally:
                    self._running.end(run)
            else:
                await self._runner.run_in_thread(run, retry)
        except asyncio.CancelledError as error:
            if task.cancelling() and not message.interrupted and self._is_dying():
                raise
            outcome = self._outcome_of_cancellation(run, task, retry, error, raised)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if isinstance(error, GeneratorExit) and not is_running(task):
                raise  # the coroutine is being closed: its loop has ended, and a coroutine may not go on then
            outcome = self._outcome_of_error(handler, work, retry, error, raised)
        finally:
            message.end(task)
            leave_scope(run)
        if task.cancelling():
            await self._clear_cancellation(message, task)
        return outcome

    def _outcome_of_cancellation(
        self,
        run: HandlerRun,
        task: "asyncio.Task[object]",
        retry: Retry,
        error: asyncio.CancelledError,
        raised: list[BaseException] | None,
    ) -> Outcome:
        """Return what a cancellation means that ended a handler, and take it back."""
        message = run.work.message
        if message.consume_cancellation(task):
            if message.hold_expired:
                return self._outcome_of_error(run.handler, run.work, retry, _hold_expired(message), raised)
            return Interrupted()
        # Not by the app: the handler, or a library that it uses, has cancelled this task. Or it has not: then the
        # handler awaited something that was cancelled, and the count is 0. Both are the handler's own failure.
        while task.cancelling():
            task.uncancel()
        return self._outcome_of_error(run.handler, run.work, retry, error, raised)

    async def _clear_cancellation(self, message: InFlightMessage, task: "asyncio.Task[object]") -> None:
        """Take back a cancellation that the handler did not notice, swallowed, or turned into another error."""
        if message.interrupted or not self._is_dying():
            # A cancellation that came in the handler's last step is not raised yet. It is due at the next await, which
            # would be the hooks' or the settler's: it is raised here instead, where it does no harm.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
            while task.cancelling():
                task.uncancel()

    def _outcome_of_error(
        self,
        handler: Handler,
        work: Work,
        retry: Retry,
        error: BaseException,
        raised: list[BaseException] | None,
    ) -> Outcome:
        """Return the outcome that an error means, and log it."""
        outcome = outcome_of(error, retry.never)
        if raised is not None:
            raised.append(error)
        match outcome:
            case Failed():
                self._failures.log(work, handler.name, retry.max_attempts, outcome.error, error)
            case Rejected() if retry.never and not isinstance(outcome_of(error), Rejected):  # final, and not on purpose
                self._failures.log(work, handler.name, retry.max_attempts, outcome.error, error, final=True)
            case Rejected():
                _log.warning(
                    "handler %s rejected %s: %s",
                    handler.name,
                    work.label,
                    outcome.error,
                    about=work.about(handler.name),
                )
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


def _waited(work: Work) -> float | None:
    """Return how long an event has waited for its handler; None if that is not known."""
    stored_at = None if work.message.delivery is None else work.message.delivery.stored_at
    return None if stored_at is None else waited(work.envelope, work.attempt, stored_at, work.message.now())


def _hold_expired(message: InFlightMessage) -> TimeoutError:
    own = None if message.delivery is None else message.delivery.max_hold
    if own is not None:
        return TimeoutError(f"it still ran when the {own:.3g} s were over that its message may be held here")
    longest = message.queue.limits.max_hold
    return TimeoutError(f"it ran for {longest:g} s, the longest that its queue keeps a message in flight")
