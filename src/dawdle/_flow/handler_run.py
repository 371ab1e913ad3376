"""Runs the function of a handler, in this task or in a thread, within its timeout. What it raises goes through."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from math import inf
from typing import TYPE_CHECKING, TypeVar, cast

from dawdle._flow.handler_chain import Chains, Invocation, Link
from dawdle._flow.handler_scope import HandlerRun, this_task
from dawdle._flow.running_handlers import RunningHandlers
from dawdle._handlers.context import Context, Provided
from dawdle._handlers.handler import Handler
from dawdle._log import EventLog
from dawdle._rules.envelope import aware
from dawdle._rules.outcome import DONE, Outcome
from dawdle._rules.retry import Retry
from dawdle.abc import Clock, Deadline

__all__ = ["HandlerRunner"]

if TYPE_CHECKING:
    from anyio import CapacityLimiter

R = TypeVar("R")

_log = EventLog(__name__)


class HandlerRunner:
    """Runs the functions of one app's handlers."""

    def __init__(
        self,
        *,
        clock: Clock,
        timeout: float | None,
        threads: int,
        state: Callable[[], object],
        retry: Retry,
        running: RunningHandlers,
        links: Sequence[Link],
    ) -> None:
        self.links = links
        """What is about every handler of the app."""
        self._chains = Chains(links, self._end_chain)
        self._clock = clock
        self._timeout = timeout
        self._threads = threads
        self._limiter: CapacityLimiter | None = None
        self._state = state
        self._retry = retry
        self._running = running

    def call(self, run: HandlerRun, retry: Retry) -> Awaitable[object]:
        """Call an `async def` handler, and return what awaits it for no longer than its timeout."""
        function = cast("Callable[..., Awaitable[object]]", run.handler.function)  # is_async says so
        running, seconds = function(*self._arguments(run, retry)), self.timeout_of(run.handler)
        return running if seconds is None else self._within(run, running, self._deadline(seconds))

    async def run_in_chain(self, run: HandlerRun, retry: Retry) -> Outcome:
        """Run a handler with all links about it, and return the outcome that they give. Its timeout is for all."""
        seconds, provided = self.timeout_of(run.handler), Provided()
        deadline = None if seconds is None else self._deadline(seconds)
        context = self._context_of(run, retry, provided)
        running = self._chains.of(run.handler)(Invocation(run, retry, context, provided, deadline))
        self._running.begin(run)
        try:
            return await (running if deadline is None else self._within(run, running, deadline))
        finally:
            self._running.end(run)

    async def _end_chain(self, invocation: Invocation) -> Outcome:
        """Run the function: the end of every chain."""
        run, message = invocation.run, invocation.run.work.message
        arguments = self._arguments(run, invocation.retry, invocation.context)
        if run.handler.is_async:
            await cast("Awaitable[object]", run.handler.function(*arguments))
            return DONE
        # A thread cannot be ended, so no time is counted while it runs. Then the links have all of the timeout to end.
        if invocation.deadline is not None:
            invocation.deadline.move(inf)
        self._running.end(run)  # the thread counts itself
        try:
            await self._run_in_thread(run, arguments)
        finally:
            self._running.begin(run)
            seconds = self.timeout_of(run.handler)
            if invocation.deadline is not None and seconds is not None:
                invocation.deadline.move(self._clock.monotonic() + seconds)
        if message.lease_lost:  # the links may not commit: it runs again elsewhere
            this_task().cancel()
            await asyncio.sleep(0)
        return DONE

    def run_in_thread(self, run: HandlerRun, retry: Retry) -> Awaitable[None]:
        """Run a `def` handler in a thread."""
        return self._run_in_thread(run, self._arguments(run, retry))

    async def _run_in_thread(self, run: HandlerRun, arguments: tuple[object, ...]) -> None:
        """Run a `def` handler in a thread. If it returns an awaitable, await that in this task, within the timeout.

        A handler that does so is an `async def` behind a plain decorator, as a rule: the thread only makes the call.
        """
        from anyio import CapacityLimiter, to_thread  # noqa: PLC0415 - an app without such a handler need not load it

        # A limiter of its own: anyio's default has 40 threads, and a web framework in the same loop uses them too.
        if self._limiter is None:
            self._limiter = CapacityLimiter(self._threads)

        message, task = run.work.message, this_task()

        def call() -> tuple[object, BaseException | None]:
            # Counted in the thread and not by the task that waits for it: it may wait for a free thread first, and the
            # thread may run on when the wait is over.
            in_thread = self._again(run)
            self._running.begin(in_thread)
            try:
                return run.handler.function(*arguments), None
            except BaseException as error:  # noqa: BLE001 - returned, since a future cannot raise a StopIteration
                return None, error
            finally:
                self._running.end(in_thread)

        began = self._clock.monotonic()
        message.begin(task, run.handler.name, in_thread=True)
        try:
            result, error = await to_thread.run_sync(call, limiter=self._limiter, abandon_on_cancel=True)
        finally:  # from here on a cancellation helps
            message.begin(task, run.handler.name)
        if error is not None:
            raise error
        if inspect.isawaitable(result):
            timeout = self.timeout_of(run.handler)
            left = None if timeout is None else max(0.0, timeout - (self._clock.monotonic() - began))
            awaited = self._again(run)
            self._running.begin(awaited)
            try:
                await (result if left is None else self._within(run, result, self._deadline(left)))
            finally:
                self._running.end(awaited)
        self._warn_of_slow_thread(run, self._clock.monotonic() - began)

    def _warn_of_slow_thread(self, run: HandlerRun, elapsed: float) -> None:
        # Python cannot end a thread from outside. The run is over and has had its effects, so it counts as done: as a
        # failure it would only run a second time.
        timeout = self.timeout_of(run.handler)
        if timeout is not None and elapsed > timeout:
            _log.warning(
                "handler %s ran for %.3g s, longer than its timeout of %g s: it runs in a thread, which cannot be "
                "stopped, so its result counts; make it async def, or raise its timeout",
                run.handler.name,
                elapsed,
                timeout,
                about=run.work.about(run.handler.name),
            )

    def make_context(self, run: HandlerRun) -> Context:
        """Return a context for a run that needed none so far: its handler takes none, and nothing is about it."""
        return self._context_of(run, run.handler.options.retry or self._retry)

    def timeout_of(self, handler: Handler) -> float | None:
        """Return how many seconds a run of a handler may take: its own timeout, or else the app's."""
        return self._timeout if handler.options.timeout is None else handler.options.timeout

    def _deadline(self, seconds: float) -> Deadline:
        return Deadline(self._clock, self._clock.monotonic() + seconds)

    async def _within(self, run: HandlerRun, running: Awaitable[R], deadline: Deadline) -> R:
        """Await a handler for no longer than until a deadline, which is what is left of its timeout."""
        try:
            async with deadline:
                return await running
        except TimeoutError as error:
            if deadline.expired():  # else it is the handler's own, such as a socket's
                timeout = self.timeout_of(run.handler)
                raise TimeoutError(f"it ran longer than its timeout of {timeout:g} s") from error
            raise

    def _again(self, run: HandlerRun) -> HandlerRun:
        """Return a run that begins now, for a part of a run that is counted by itself."""
        return HandlerRun(run.app, run.handler, run.work, self._clock.monotonic())

    def _arguments(self, run: HandlerRun, retry: Retry, context: Context | None = None) -> tuple[object, ...]:
        if not run.handler.takes_context:
            return (run.work.event,)
        return run.work.event, self._context_of(run, retry) if context is None else context

    def _context_of(self, run: HandlerRun, retry: Retry, provided: Provided | None = None) -> Context:
        """Return the context of a run: always the same one, which is made when it is first asked for."""
        if run.context is not None:
            return run.context
        work, envelope = run.work, run.work.envelope
        run.context = Context(
            event_id=envelope.id,
            event_type=envelope.type,
            handler=run.handler.name,
            queue=work.message.queue.name,
            attempt=work.attempt,
            max_attempts=retry.max_attempts,
            signaled_at=None if envelope.time is None else aware(envelope.time),
            body=work.body,
            state=self._state(),
            provided=provided,
        )
        return run.context
