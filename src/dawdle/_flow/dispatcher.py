"""Runs all handlers of one event, each on its own: a failure is an outcome, and cancels nobody.

One handler alone runs in the carrier's own task; several run in a group. A handler is the only thing here that is ever
cancelled by a stop, a deadline or a lost lease; its carrier goes on and settles.
"""

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final, cast

import msgspec

from dawdle._flow.hands import Hand
from dawdle._flow.inside import Inside, enter, leave
from dawdle._flow.slots import Slots
from dawdle._flow.watch import Watch
from dawdle._log import Log
from dawdle._rules.context import Context
from dawdle._rules.envelope import Envelope, aware
from dawdle._rules.handler import Handler
from dawdle._rules.outcome import Crowded, Done, Failed, Interrupted, Later, Outcome, Rejected, outcome_of, told
from dawdle._rules.retry import Retry
from dawdle._rules.verdict import Result
from dawdle.abc import Clock, Deadline
from dawdle.hooks import HandlerFinished, HandlerStarted, OutcomeName

__all__ = ["Dispatcher", "Keep", "Work"]

if TYPE_CHECKING:
    from anyio import CapacityLimiter

_log = Log(__name__)

Keep = Callable[[Result], Awaitable[bool]]
"""Stores the copy that one unfinished handler is tried again with; whether it did."""

CROWDED_AFTER = 1.0
"""Seconds that an event waits in hand for one handler's own concurrency."""


EARLY_COPY_AFTER: Final = 1.0
"""Seconds after a handler's failure for which its copy waits for its siblings; they share a request if they end."""


class Work(msgspec.Struct, frozen=True):
    """One event, decoded, the handlers that run on it, and the hand that holds it."""

    event: object
    envelope: Envelope
    body: bytes
    hand: Hand
    handlers: tuple[Handler, ...]
    results: dict[str, Result] = msgspec.field(default_factory=dict)
    """By handler's name: what has come of those that have ended."""

    def __repr__(self) -> str:
        return f"<Work on {self.envelope!r}>"


class Dispatcher:
    """Runs handlers."""

    def __init__(
        self, *, app: object, clock: Clock, watch: Watch, retry: Retry, threads: int, state: Callable[[], object]
    ) -> None:
        self._app = app
        self._clock = clock
        self._watch = watch
        self._retry = retry
        self._threads = threads
        self._limiter: CapacityLimiter | None = None
        self._state = state
        self._room: dict[str, Slots] = {}
        self._running: list[str] = []

    def running(self) -> list[str]:
        """Return the names of the handlers that run, in tasks and in threads."""
        return list(self._running)

    async def run(self, work: Work, keep: Keep) -> list[Result]:
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
        retry = handler.options.retry or self._retry
        result = Result(handler.name, retry, outcome, ended=work.hand.now(self._clock))
        work.results[handler.name] = result
        return result

    async def _run_beside(self, handler: Handler, work: Work, siblings: "_Siblings", keep: Keep) -> Result:
        """Run one of several handlers. Its retry does not wait for a sibling that takes its time."""
        try:
            result = await self._run(handler, work)
        finally:
            siblings.end_one()
        hand = work.hand
        if isinstance(result.outcome, (Done, Interrupted)) or await siblings.end_within(self._clock, EARLY_COPY_AFTER):
            return result
        if hand.interrupted:  # lost, or about to be settled: then all its copies go in one batch
            return result
        task = _this_task()
        hand.begin(task, handler.name)  # so that a stop does not wait for this answer
        try:
            kept = await keep(result)
        except asyncio.CancelledError:
            if not hand.absorbs(task):
                raise
            kept = False
        finally:
            hand.end(task)
        result = work.results[handler.name] = msgspec.structs.replace(result, kept=kept)
        return result

    async def _run(self, handler: Handler, work: Work) -> Result:
        try:
            outcome = await self._run_in_room(handler, work)
        except Exception as error:  # noqa: BLE001 - a mistake of ours about one handler must not cancel its siblings
            _log.exception("handler %s could not be run on %s; it counts as failed", handler.name, work.envelope.label)
            outcome = Failed(told(error))
        return self.result_of(handler, work, outcome)

    async def _run_in_room(self, handler: Handler, work: Work) -> Outcome:
        room = self._room_of(handler)
        if room is not None and not await self._enter(room, handler, work):
            return Interrupted() if work.hand.interrupted else Crowded()
        try:
            return await self._watched(handler, work, handler.options.retry or self._retry)
        finally:
            if room is not None:
                room.give()

    def _room_of(self, handler: Handler) -> Slots | None:
        """Return the handler's own slots; None while it has no concurrency of its own."""
        concurrency = handler.options.concurrency
        if concurrency is None:
            return None
        room = self._room.get(handler.name)
        if room is None or room.total != concurrency:
            room = self._room[handler.name] = Slots(concurrency, self._clock)
        return room

    async def _enter(self, room: Slots, handler: Handler, work: Work) -> bool:
        """Take a slot of a handler's own; False when there is none in time, or a stop ends the wait."""
        task = _this_task()
        work.hand.begin(task, handler.name)
        try:
            async with Deadline(self._clock, self._clock.monotonic() + CROWDED_AFTER):
                await room.take(1)
        except TimeoutError:
            return False
        except asyncio.CancelledError:
            if not work.hand.absorbs(task):
                raise
            return False
        finally:
            work.hand.end(task)
        return True

    async def _watched(self, handler: Handler, work: Work, retry: Retry) -> Outcome:
        """Call the handler and tell the hooks and the log."""
        envelope, queue = work.envelope, work.hand.queue.name
        facts = (queue, envelope.id, envelope.type, handler.name, envelope.attempt)
        if self._watch:
            self._watch(HandlerStarted(*facts))
        started = self._clock.monotonic()
        outcome: Outcome = Interrupted()
        if not work.hand.interrupted:
            outcome = await self._call(handler, work, retry)
            await _absorb(work.hand, _this_task())
        elapsed = self._clock.monotonic() - started
        if not handler.is_async and handler.options.timeout is not None and elapsed > handler.options.timeout:
            _log.warning(
                "handler %s ran for %.3g s in its thread, over its timeout of %g s; a thread cannot be ended, and what "
                "it returned counts: make it async def, or raise the timeout",
                handler.name,
                elapsed,
                handler.options.timeout,
            )
        if self._watch:
            error = outcome.error if isinstance(outcome, (Failed, Rejected)) else None
            self._watch(HandlerFinished(*facts, _OUTCOMES[type(outcome)], error, elapsed))
        return outcome

    async def _call(self, handler: Handler, work: Work, retry: Retry) -> Outcome:
        """Call the handler and return what came of it. Only a real cancellation of this task gets out."""
        task = _this_task()
        hand = work.hand
        arguments = (work.event, self._context(handler, work, retry)) if handler.takes_context else (work.event,)
        where = Inside(self._app, hand, work.envelope.id)
        token = enter(where)
        hand.begin(task, handler.name, in_thread=not handler.is_async)
        try:
            if handler.is_async:
                await self._in_task(handler, arguments)
            else:
                await self._in_thread(handler, hand, arguments)
        except asyncio.CancelledError as error:
            if hand.absorbs(task):
                return self._not_done(handler, work, retry, _outlived(hand)) if hand.outlived else Interrupted()
            if task.cancelling():
                raise
            return self._not_done(handler, work, retry, error)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if isinstance(error, GeneratorExit) and not _is_running(task):
                raise  # this coroutine is being closed, since its loop has ended
            return self._not_done(handler, work, retry, error)
        finally:
            hand.end(task)
            leave(where, token)
        return Done()

    async def _in_task(self, handler: Handler, arguments: tuple[object, ...]) -> None:
        """Run an `async def` handler here, for no longer than its timeout."""
        function = cast("Callable[..., Awaitable[object]]", handler.function)  # is_async says so
        await self._in_time(handler, function(*arguments), handler.options.timeout)

    async def _in_time(self, handler: Handler, running: Awaitable[object], left: float | None) -> None:
        """Await a handler for no longer than what is left of its timeout."""
        self._running.append(handler.name)
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
                    raise TimeoutError(f"it ran longer than its timeout of {handler.options.timeout:g} s") from error
                raise
        finally:
            self._running.remove(handler.name)

    async def _in_thread(self, handler: Handler, hand: Hand, arguments: tuple[object, ...]) -> None:
        """Run a `def` handler in a thread of our own limiter. What it returns may still be awaited, here, in time.

        Such a one is an `async def` behind a plain decorator, as a rule: only the call of it is made in the thread.
        """
        from anyio import CapacityLimiter, to_thread  # noqa: PLC0415 - who has no such handler need not load it

        if self._limiter is None:
            self._limiter = CapacityLimiter(self._threads)

        def call() -> tuple[object, BaseException | None]:
            self._running.append(handler.name)  # here, and not where we wait: the thread may run for longer
            try:
                return handler.function(*arguments), None
            except BaseException as error:  # noqa: BLE001 - a future does not carry each error as it is: a StopIteration
                return None, error
            finally:
                self._running.remove(handler.name)

        began = self._clock.monotonic()
        result, error = await to_thread.run_sync(call, limiter=self._limiter, abandon_on_cancel=True)
        if error is not None:
            raise error
        if inspect.isawaitable(result):
            timeout = handler.options.timeout
            hand.begin(_this_task(), handler.name)
            left = None if timeout is None else max(0.0, timeout - (self._clock.monotonic() - began))
            await self._in_time(handler, result, left)

    def _context(self, handler: Handler, work: Work, retry: Retry) -> Context:
        envelope = work.envelope
        return Context(
            event_id=envelope.id,
            event_type=envelope.type,
            handler=handler.name,
            queue=work.hand.queue.name,
            attempt=envelope.attempt,
            max_attempts=retry.max_attempts,
            signaled_at=None if envelope.time is None else aware(envelope.time),
            body=work.body,
            state=self._state(),
        )

    def _not_done(self, handler: Handler, work: Work, retry: Retry, error: BaseException) -> Outcome:
        """Return what an error means, and log it."""
        outcome = outcome_of(error)
        match outcome:
            case Failed():
                self._log_failure(handler, work, retry, error, outcome.error)
            case Rejected():
                _log.warning("handler %s rejected %s: %s", handler.name, work.envelope.label, outcome.error)
            case Later():
                pass
        return outcome

    def _log_failure(self, handler: Handler, work: Work, retry: Retry, error: BaseException, reason: str) -> None:
        attempt = work.envelope.attempt
        last = attempt >= retry.max_attempts
        _log.failure(
            "handler %s failed on %s, attempt %d of %d: %s",
            handler.name,
            work.envelope.label,
            attempt,
            retry.max_attempts,
            reason,
            error=error,
            last=last,
        )


class _Siblings:
    """How many handlers of one event still run."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._ended = asyncio.Event()

    def end_one(self) -> None:
        """Note that one has ended."""
        self._left -= 1
        if not self._left:
            self._ended.set()

    async def end_within(self, clock: Clock, seconds: float) -> bool:
        """Return whether the last one has ended in so many seconds, as soon as that is known."""
        if self._left:
            try:
                async with Deadline(clock, clock.monotonic() + seconds):
                    await self._ended.wait()
            except TimeoutError:
                return False
        return True


_OUTCOMES: Final[Mapping[type[Outcome], OutcomeName]] = {
    Done: "done",
    Failed: "failed",
    Rejected: "rejected",
    Later: "later",
    Crowded: "crowded",
    Interrupted: "interrupted",
}


def _outlived(hand: Hand) -> TimeoutError:
    longest = hand.queue.limits.max_hold
    return TimeoutError(f"it ran for {longest:g} s, and the queue lets nobody hold a message for longer")


def _is_running(task: "asyncio.Task[object]") -> bool:
    """Whether this code runs as the task that it belongs to, and is not thrown out of it from outside."""
    try:
        return asyncio.current_task() is task
    except RuntimeError:  # no event loop runs
        return False


def _this_task() -> "asyncio.Task[object]":
    task = asyncio.current_task()
    assert task is not None, "a handler runs in a task"
    return task


async def _absorb(hand: Hand, task: "asyncio.Task[object]") -> None:
    """Take back a cancellation of ours that the handler never felt, swallowed, or turned into another error."""
    if hand.interrupted and task.cancelling():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
        while task.cancelling():
            task.uncancel()
