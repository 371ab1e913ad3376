"""Runs all handlers of one event, each on its own: a failure is an outcome, and cancels nobody.

One handler alone runs in the carrier's own task; several run in a group. A handler is the only thing here that is ever
cancelled by a stop, a deadline or a lost lease; its carrier goes on and settles.
"""

import asyncio
import contextlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from dawdle._flow.hands import Hand
from dawdle._flow.inside import Inside, inside
from dawdle._flow.slots import Slots
from dawdle._flow.watch import Watch
from dawdle._log import Log
from dawdle._rules.context import Context
from dawdle._rules.envelope import Envelope, aware
from dawdle._rules.handler import Handler
from dawdle._rules.outcome import Crowded, Done, Failed, Interrupted, Later, Outcome, Rejected
from dawdle._rules.retry import Retry
from dawdle._rules.verdict import Result
from dawdle.abc import Clock, Deadline
from dawdle.errors import Reject, RetryLater
from dawdle.hooks import HandlerFinished, HandlerStarted, OutcomeName

__all__ = ["Dispatcher", "Work"]

if TYPE_CHECKING:
    from anyio import CapacityLimiter

_log = Log(__name__)

CROWDED_AFTER = 1.0
"""Seconds that an event waits in hand for one handler's own concurrency."""


class Work(msgspec.Struct, frozen=True):
    """One event, decoded, and the hand that holds it."""

    event: object
    envelope: Envelope
    body: bytes
    hand: Hand

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

    async def run(self, handlers: Sequence[Handler], work: Work) -> list[Result]:
        """Run all handlers concurrently and return each one's result, in their order."""
        if len(handlers) == 1:
            return [await self._run(handlers[0], work)]
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._run(handler, work), name=f"dawdle: {handler.name}") for handler in handlers
            ]
        return [task.result() for task in tasks]

    async def _run(self, handler: Handler, work: Work) -> Result:
        retry = handler.options.retry or self._retry
        room = self._room_of(handler)
        if room is not None and not await self._enter(room, handler, work):
            return Result(handler.name, retry, Interrupted() if work.hand.interrupted else Crowded())
        try:
            outcome = await self._watched(handler, work, retry)
        finally:
            if room is not None:
                room.give()
        return Result(handler.name, retry, outcome)

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
        token = inside.set(Inside(self._app, work.envelope.id))
        hand.begin(task, handler.name, in_thread=not handler.is_async)
        try:
            if handler.is_async:
                await self._in_task(handler, arguments)
            else:
                await self._in_thread(handler, arguments)
        except asyncio.CancelledError as error:
            if hand.absorbs(task):
                return self._failed(handler, work, retry, _outlived(hand)) if hand.outlived else Interrupted()
            if task.cancelling():
                raise
            return self._failed(handler, work, retry, error)
        except Reject as reason:
            _log.warning("handler %s rejected %s", handler.name, work.envelope.label)
            return Rejected(f"Reject: {reason}")
        except RetryLater as later:
            return Later(later.seconds)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001 - SystemExit of one handler must not end its siblings
            return self._failed(handler, work, retry, error)
        finally:
            hand.end(task)
            inside.reset(token)
        return Done()

    async def _in_task(self, handler: Handler, arguments: tuple[object, ...]) -> None:
        """Run an `async def` handler here, for no longer than its timeout."""
        timeout = handler.options.timeout
        self._running.append(handler.name)
        try:
            if timeout is None:
                await handler.function(*arguments)  # type: ignore[misc]  # is_async says that it is a coroutine function
                return
            deadline = Deadline(self._clock, self._clock.monotonic() + timeout)
            try:
                async with deadline:
                    await handler.function(*arguments)  # type: ignore[misc]  # is_async says that it is a coroutine function
            except TimeoutError as error:
                if deadline.expired():
                    raise TimeoutError(f"it ran longer than its timeout of {timeout:g} s") from error
                raise
        finally:
            self._running.remove(handler.name)

    async def _in_thread(self, handler: Handler, arguments: tuple[object, ...]) -> None:
        """Run a `def` handler in a thread of our own limiter; what it returns may still be awaited."""
        from anyio import CapacityLimiter, to_thread  # noqa: PLC0415 - who has no such handler need not load it

        if self._limiter is None:
            self._limiter = CapacityLimiter(self._threads)

        def call() -> object:
            self._running.append(handler.name)  # here, and not where we wait: the thread may run for longer
            try:
                return handler.function(*arguments)
            finally:
                self._running.remove(handler.name)

        result = await to_thread.run_sync(call, limiter=self._limiter, abandon_on_cancel=True)
        if inspect.isawaitable(result):
            await result

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

    def _failed(self, handler: Handler, work: Work, retry: Retry, error: BaseException) -> Failed:
        told, attempt = _told(error), work.envelope.attempt
        last = attempt >= retry.max_attempts
        _log.failure(
            "handler %s failed on %s, attempt %d of %d: %s",
            handler.name,
            work.envelope.label,
            attempt,
            retry.max_attempts,
            told,
            error=error,
            last=last,
        )
        return Failed(told)


_OUTCOMES: Final[Mapping[type[Outcome], OutcomeName]] = {
    Done: "done",
    Failed: "failed",
    Rejected: "rejected",
    Later: "later",
    Crowded: "crowded",
    Interrupted: "interrupted",
}


def _told(error: BaseException) -> str:
    """Return an error's type and message, whatever its `__str__` does."""
    try:
        text = str(error)
    except Exception as second:  # noqa: BLE001 - it is the user's code
        text = f"(its message cannot be shown: {type(second).__name__})"
    return f"{type(error).__qualname__}: {text}" if text else type(error).__qualname__


def _outlived(hand: Hand) -> TimeoutError:
    longest = hand.queue.limits.max_hold
    return TimeoutError(f"it ran for {longest:g} s, and the queue lets nobody hold a message for longer")


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
