"""The nest of groups in which everything runs, and the one task that owns it.

    backends ⊃ runtime (batchers, lease renewers) ⊃ lifespan ⊃ work (processors, listener) ⊃ polls (receivers)

Nesting is the stop order. Entering starts the owner and leaving stops and awaits it, so an app may be entered in one
task and left in another. If anything here dies, the owner dies with it, and every caller that waits gets its error.
The states that it goes through are drawn in `_flow.state`.
"""

import asyncio
from collections.abc import Coroutine, Mapping
from contextlib import AsyncExitStack
from contextvars import copy_context
from typing import cast

import msgspec

from dawdle._flow.cancellation import wait_through_cancellation, wait_until_ended
from dawdle._flow.direct import DirectRunner
from dawdle._flow.handler_limits import HandlerLimits
from dawdle._flow.handler_scope import HandlerRun, clear_scope, current_scope
from dawdle._flow.in_flight import InFlight
from dawdle._flow.opening import open_backends
from dawdle._flow.queue_client import QueueClient
from dawdle._flow.shutdown import Shutdown, Tasks
from dawdle._flow.state import State
from dawdle._flow.watchers import Watchers
from dawdle._flow.wiring import Components, RuntimeConfig
from dawdle._log import EventLog
from dawdle._rules.health import Health, health_of
from dawdle.errors import BackendError, ConfigurationError

__all__ = ["Runtime"]

PROCESSOR_TASK = "dawdle: processor"
"""The name of a task that processes a message."""

_log = EventLog(__name__)


class Runtime:
    """Everything of one app that runs, from entering to leaving."""

    def __init__(self, config: RuntimeConfig) -> None:
        self._config = config
        self._closing = asyncio.Event()
        self._grace_ended = asyncio.Event()
        self._grace = 0.0
        self._state = State.OPENING
        self._lifespan: object = None
        self._loop = asyncio.get_running_loop()
        self._entered: asyncio.Future[None] = self._loop.create_future()
        self._context = copy_context()
        self._context.run(clear_scope)
        self._owner: asyncio.Task[None] | None = None
        self._tasks = Tasks()
        self._components: Components
        self._work: asyncio.TaskGroup

    @property
    def state(self) -> State:
        """Where the app is between its entering and its end."""
        return self._state

    @property
    def queues(self) -> Mapping[str, QueueClient]:
        """The queues, by name."""
        return self._components.queues

    @property
    def in_flight(self) -> InFlight:
        """What is in flight, and the slots."""
        return self._components.in_flight

    @property
    def direct(self) -> DirectRunner:
        """What runs handlers past the queue."""
        return self._components.direct

    @property
    def watchers(self) -> Watchers:
        """Those who watch the events that are handled."""
        return self._components.watchers

    @property
    def in_notice(self) -> bool:
        """Whether the calling code is in one of the app's handlers of dead letters."""
        return self._components.notices.is_here

    @property
    def tells_letters(self) -> bool:
        """Whether a handler of dead letters runs, or waits until it may."""
        return self._components.notices.busy

    async def letters_told(self) -> None:
        """Return once no handler of dead letters runs or waits."""
        await self._components.notices.wait_quiet()

    @property
    def limits(self) -> HandlerLimits:
        """The limits that handlers have of their own."""
        return self._components.limits

    @property
    def accepts_direct(self) -> bool:
        """Whether the handlers of a direct event may start now."""
        return self._state.may_run_handlers and self.in_flight.accepts_direct

    @property
    def error(self) -> BaseException | None:
        """What the owner died of; None while it lives."""
        if self._owner is None or not self._owner.done() or self._owner.cancelled():
            return None
        return _single(self._owner.exception())

    async def enter(self) -> None:
        """Build everything and return when it runs. Raises what opening a backend or the lifespan raised."""
        self._owner = self._loop.create_task(self._own(), name="dawdle: owner", context=self._context)
        try:
            await asyncio.wait([self._owner, self._entered], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._closing.set()  # for a lifespan that is entered although it was cancelled: it is left at once
            self._owner.cancel()
            await wait_until_ended(self._owner)
            raise
        if self._owner.done():
            self._entered.cancel()
            await self._owner_result()

    async def leave(self, grace: float) -> None:
        """Stop everything, in at most `grace` seconds and a flush; a cancellation of this call ends the grace.

        Raises what the owner died of, if it did.
        """
        assert self._owner is not None, "it was entered"
        self._grace = grace
        if self._state is State.RUNNING:
            self._state = State.LEAVING
        self._closing.set()
        cancelled: asyncio.CancelledError | None = None
        ends = [self._owner, self._tasks.any_abandoned]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError as error:
            cancelled = error
            self.end_grace()
            await wait_through_cancellation(ends, self.end_grace)
        if self._owner.done():
            await self._owner_result()
        else:
            names = ", ".join(self.unfinished())
            _log.error("closed while %s is still running: it ignores cancellation", names, about=None)
            if self._state is State.DYING:
                raise BackendError(f"the app has died, and {names} ignores its cancellation")
        if cancelled is not None:
            raise cancelled

    def end_grace(self) -> None:
        """End the grace now."""
        self._grace_ended.set()

    def changed(self) -> None:
        """Take note of a handler that was registered, from any thread."""
        if self._owner is not None and not self._owner.done() and self._config.handlers.handlers:
            self._loop.call_soon_threadsafe(self._components.listener.handler_added)

    async def start_listener(self) -> None:
        """Begin to receive, as soon as there is a handler. Not while its lifespan is entered."""
        if self._state is State.ENTERING:
            raise ConfigurationError(
                "the lifespan of the app is still being entered, and no handler runs before it is: the app listens by "
                "itself after that, or call start_listener() then"
            )
        await self._components.listener.start()

    async def stop_listener(self, grace: float) -> None:
        """Receive no more, and return when nothing is in flight."""
        await self._components.listener.stop(grace)

    def begin_stop(self) -> None:
        """Receive no more, and do not wait for what is in flight."""
        self._components.listener.begin_stop()

    async def ended(self) -> None:
        """Return when everything here is over, but for what nothing can end."""
        assert self._owner is not None, "it was entered"
        await asyncio.wait([self._owner, self._tasks.any_abandoned], return_when=asyncio.FIRST_COMPLETED)

    async def over(self) -> None:
        """Return when nothing here runs any more, not even what ignored its cancellation for a while."""
        assert self._owner is not None, "it was entered"
        await asyncio.wait([self._owner])

    def running_handlers(self) -> list[str]:
        """Return the names of the handlers that run now; after leaving, of those that ignore cancellation."""
        return self._components.running.names() if self._state.is_open else []

    def unfinished(self) -> list[str]:
        """Return what still runs after leaving: handlers that ignore cancellation, and calls to a queue."""
        names = [
            task.get_name().removeprefix("dawdle: ")
            for task in self._tasks.abandoned
            if task.get_name() != PROCESSOR_TASK
        ]
        return [*self.running_handlers(), *names]

    def health(self) -> Health:
        """Return how everything here fares at this moment."""
        error = self.error
        died_of = None if error is None else f"{type(error).__qualname__}: {error}"
        state = "died" if error is not None else self._state.shown
        return health_of(msgspec.structs.replace(self._components.facts(), state=state), died_of)

    async def ping(self) -> None:
        """Ask each queue once whether it answers, all at the same time. Raises the error of the first that does not."""
        answers = await asyncio.gather(*(queue.ping() for queue in self.queues.values()), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, asyncio.CancelledError):  # by the backend: this call's own does not come here
                raise BackendError("a queue cancelled its own ping", uncertain=False) from answer
            if answer is not None:
                raise answer

    async def idle(self) -> None:
        """Return when nothing that is due is left; called by a handler, but for the event that it handles."""
        where = self.run_here()
        if where is not None:
            with self.in_flight.idling(where.message):
                await self._idle()
        else:
            await self._idle()

    def run_here(self) -> HandlerRun | None:
        """Return the run of a handler of this app that the calling code is in; None outside of them."""
        where = current_scope()
        return where if where is not None and where.app is self._config.app else None

    async def _idle(self) -> None:
        await asyncio.sleep(0)  # a handler that was registered just now is known in the next turn of the loop
        while True:
            for queue in self.queues.values():
                await queue.flush()
            await self._components.listener.idle()
            is_idle = self.in_flight.is_idle and self._components.notices.is_idle
            if is_idle and not any(queue.busy for queue in self.queues.values()):
                return

    async def _owner_result(self) -> None:
        assert self._owner is not None, "it was entered"
        if self._owner.cancelled():
            raise BackendError("the app's own task was cancelled from outside, and everything in it with it")
        error = self.error
        if error is not None:
            raise error

    async def _own(self) -> None:
        """Hold everything that the app has, one in the other, from its first moment to its last."""
        await asyncio.sleep(0)  # an eager task runs before its creator knows it
        try:
            await self._open_and_run()
        finally:
            self._state = State.OVER if self._state.is_open else State.FAILED

    async def _open_and_run(self) -> None:
        config = self._config
        async with open_backends(config.backends), AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            self._components = components = self._build(group)
            stack.callback(self._close)
            ending = Shutdown(
                self._tasks,
                in_flight=components.in_flight,
                processor=components.processor,
                queues=components.queues.values(),
                clock=config.clock,
            )
            self._state = State.ENTERING
            async with config.lifespan() as self._lifespan, asyncio.TaskGroup() as self._work:
                config.handlers.observe(self)
                self.changed()
                self._state = State.RUNNING
                self._entered.set_result(None)
                try:
                    await self._closing.wait()
                    await self._components.listener.close(self._grace)
                except asyncio.CancelledError:
                    self._state = State.DYING  # of what, the group says when all in it has ended
                    await self._end_work(ending)
                    raise
                await self._end_work(ending)
            await ending.flush()
            await ending.end_calls()
            self._close_queues()

    async def _end_work(self, ending: Shutdown) -> None:
        """End what handles events, then those who watch it: the lifespan that is left next may wait for one of them."""
        try:
            await ending.end_work()
        finally:
            self._end_watchers()

    def _end_watchers(self) -> None:
        died = self._state is State.DYING
        self.watchers.end(
            BackendError("the app has died, and handles no more events", uncertain=False) if died else None
        )

    def _build(self, group: asyncio.TaskGroup) -> Components:
        """Put the components together; what runs for as long as the runtime is started in its group."""

        def spawn(coroutine: Coroutine[object, object, None]) -> None:
            try:
                task = group.create_task(coroutine, name="dawdle: a call to a queue", context=self._context.copy())
            except RuntimeError as error:  # the group is ending
                coroutine.close()
                raise BackendError(
                    "the app is closing: it sends no more requests to its queue", uncertain=False
                ) from error
            self._tasks.calls.add(task)
            task.add_done_callback(self._tasks.calls.discard)

        return Components(
            self._config,
            spawn=spawn,
            start=self._start,
            start_notice=self._start_notice,
            listen=self._listen,
            grace_ended=self._grace_ended,
            state=lambda: self._lifespan,
            is_dying=self._is_dying,
        )

    def _start(self, coroutine: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Process a message or a direct event. A stop never cancels this task, only its handlers: it settles."""
        return self._start_in(self._tasks.processors, coroutine, PROCESSOR_TASK)

    def _start_notice(self, coroutine: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Start what calls handlers of a dead letter; a stop may cancel it."""
        return self._start_in(self._tasks.notices, coroutine, "dawdle: a handler of dead letters")

    def start_part(self, coroutine: Coroutine[object, object, None]) -> None:
        """Start what the whole app dies of if it raises."""
        self._start_in(set(), coroutine, "dawdle: a part")

    def _listen(self, coroutine: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Start what receives; a stop may cancel it."""
        return self._start_in(self._tasks.receives, coroutine, "dawdle: the listener")

    def _start_in(
        self, tasks: set[asyncio.Task[None]], coroutine: Coroutine[object, object, None], name: str
    ) -> asyncio.Task[None]:
        try:
            task = self._work.create_task(coroutine, name=name, context=self._context.copy())
        except RuntimeError:  # the group is ending
            coroutine.close()
            raise
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return task

    def _is_dying(self) -> bool:
        """Whether a cancellation from outside ends the app: then its owner is cancelled too, or was."""
        return self._state is State.DYING or self._owner is None or self._owner.done() or self._owner.cancelling() > 0

    def _close(self) -> None:
        self._close_queues()
        self._end_watchers()
        self.in_flight.finish_all()

    def _close_queues(self) -> None:
        for queue in self.queues.values():
            queue.close()


def _single(error: BaseException | None) -> BaseException | None:
    """Return the one error in a group of one, however deep."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    group = cast("BaseExceptionGroup[BaseException]", error)
    return _single(group.exceptions[0]) if len(group.exceptions) == 1 else group
