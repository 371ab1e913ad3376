"""The nest of groups in which everything runs, and the one task that owns it.

    backends ⊃ house (batchers, keepers) ⊃ lifespan ⊃ work (carriers, listener) ⊃ polls (receivers)

Nesting is the stop order. Entering starts the owner and leaving stops and awaits it, so an app may be entered in one
task and left in another. If anything here dies, the owner dies with it, and everybody who waits is told.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from contextvars import Context, copy_context
from typing import cast

import msgspec

from dawdle._flow.batcher import Spawn
from dawdle._flow.carrier import Carrier
from dawdle._flow.dispatcher import Dispatcher
from dawdle._flow.hands import Hand, Hands
from dawdle._flow.inside import inside
from dawdle._flow.keeper import Keeper
from dawdle._flow.listener import FLUSH, Listener
from dawdle._flow.queue import Queue
from dawdle._flow.receiver import Receiver
from dawdle._flow.settler import Settler
from dawdle._flow.slots import Slots
from dawdle._flow.watch import Watch
from dawdle._rules.envelope import Envelope
from dawdle._rules.handler import Handler
from dawdle._rules.retry import Retry
from dawdle._rules.roster import Roster
from dawdle.abc import Backend, Clock, Codec, Deadline
from dawdle.errors import BackendError, ConfigurationError

__all__ = ["House", "Plan"]

CANCELLATIONS = 100
"""How often a handler is cancelled that ignores it, until the app is left without it."""

_log = logging.getLogger(__name__)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a house is built from."""

    app: object
    backends: Mapping[str, Backend]
    clock: Clock
    codecs: Mapping[str, Codec]
    watch: Watch
    roster: Roster
    retry: Retry
    concurrency: int
    unclaimed: float
    lifespan: Callable[[], AbstractAsyncContextManager[object]]


class House:
    """Everything of one app that runs, from entering to leaving."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._hands = Hands()
        self._slots = Slots(plan.concurrency, plan.clock)
        self._closing = asyncio.Event()
        self._hurry = asyncio.Event()
        self._grace = 0.0
        self._state: object = None
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._stuck: asyncio.Future[None] = self._loop.create_future()
        self._context = copy_context()
        self._context.run(inside.set, None)
        self._owner: asyncio.Task[None] | None = None
        self._carriers: set[asyncio.Task[None]] = set()
        self._background: set[asyncio.Task[None]] = set()
        self.queues: dict[str, Queue] = {}
        self._listener: Listener
        self._dispatcher: Dispatcher
        self._carrier: Carrier
        self._work: asyncio.TaskGroup

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
            await asyncio.wait([self._owner, self._ready], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._owner.cancel()
            await _settled(self._owner)
            raise
        if self._owner.done():
            self._ready.cancel()
            await self._owner_result()

    async def leave(self, grace: float) -> None:
        """Stop everything, in at most `grace` seconds and a flush; a cancellation of this call ends the grace.

        Raises what the owner died of, if it did.
        """
        assert self._owner is not None, "it was entered"
        self._grace = grace
        self._closing.set()
        cancelled: asyncio.CancelledError | None = None
        while not self._owner.done() and not self._stuck.done():
            try:
                await asyncio.wait([self._owner, self._stuck], return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError as error:
                cancelled = error
                self.hurry()
        if self._owner.done():
            await self._owner_result()
        else:
            _log.error("left although %s ignores its cancellation", ", ".join(self.handlers_that_run()))
        if cancelled is not None:
            raise cancelled

    def hurry(self) -> None:
        """End the grace now."""
        self._hurry.set()

    def changed(self) -> None:
        """Take note of a handler that was registered, from any thread."""
        if self._owner is not None and not self._owner.done() and self._plan.roster.handlers:
            self._loop.call_soon_threadsafe(self._listener.want)

    async def start_listener(self) -> None:
        """Begin to receive, as soon as there is a handler."""
        await self._listener.start()

    async def stop_listener(self, grace: float) -> None:
        """Receive no more, and return when nothing is in hand."""
        await self._listener.stop(grace)

    def begin_stop(self) -> None:
        """Receive no more, and do not wait for what is in hand."""
        self._listener.begin_stop()

    async def ended(self) -> None:
        """Return when everything here is over."""
        assert self._owner is not None, "it was entered"
        await asyncio.wait([self._owner])

    def handlers_that_run(self) -> list[str]:
        """Return the names of the handlers that run now; after leaving, those that nothing could end."""
        return self._dispatcher.running()

    async def idle(self) -> None:
        """Return when nothing that is due is left."""
        while True:
            for queue in self.queues.values():
                await queue.flush()
            await self._listener.idle()
            if not any(queue.busy for queue in self.queues.values()) and not len(self._hands):
                return

    async def run_past(
        self, queue: Queue, handlers: tuple[Handler, ...], envelope: Envelope, body: bytes, event: object, *, wait: bool
    ) -> None:
        """Start handlers of an event that is in no queue, each with a slot, and return when they have started.

        Without `wait` they start also when as much is in hand as may be.
        """
        for handler in handlers:
            if wait:
                await self._slots.begin()
            else:
                self._slots.begin_anyway()
            self._slots.force()
            hand = Hand(queue, None, self._plan.clock)
            self._hands.add(hand)
            carrying = self._carrier.carry_past(hand, handler, envelope, body, event)
            self._start_carrier(carrying, context=self._context.copy())
        await asyncio.sleep(0)

    async def _owner_result(self) -> None:
        assert self._owner is not None, "it was entered"
        if self._owner.cancelled():
            raise BackendError("the app's own task was cancelled from outside, and everything in it with it")
        error = self.error
        if error is not None:
            raise error

    async def _own(self) -> None:
        plan = self._plan
        async with AsyncExitStack() as stack:
            for name, backend in plan.backends.items():
                await _open(stack, name, backend)
            stack.callback(self._close_queues)
            async with asyncio.TaskGroup() as house:
                self._build(house)
                async with plan.lifespan() as self._state, asyncio.TaskGroup() as self._work:
                    plan.roster.observe(self)
                    self.changed()
                    self._ready.set_result(None)
                    await self._closing.wait()
                    await self._listener.stop(self._grace)
                    await self._end_carriers()
                await self._flush()
                for task in self._background:
                    task.cancel()

    def _build(self, house: asyncio.TaskGroup) -> None:
        """Put the parts together; what runs for as long as the house is started in its group."""
        plan = self._plan

        def spawn(coroutine: Coroutine[object, object, None]) -> None:
            try:
                task = house.create_task(coroutine, name="dawdle: flight or keeper", context=self._context)
            except RuntimeError as error:  # the group is ending
                coroutine.close()
                raise BackendError("the app is ending: its queue takes nothing any more") from error
            self._background.add(task)
            task.add_done_callback(self._background.discard)

        self.queues = {name: Queue(name, backend, spawn, plan.unclaimed) for name, backend in plan.backends.items()}
        self._dispatcher = Dispatcher(
            app=plan.app,
            clock=plan.clock,
            watch=plan.watch,
            retry=plan.retry,
            threads=plan.concurrency,
            state=lambda: self._state,
        )
        self._carrier = Carrier(
            clock=plan.clock,
            codecs=plan.codecs,
            roster=plan.roster,
            dispatcher=self._dispatcher,
            settler=Settler(clock=plan.clock, watch=plan.watch),
            slots=self._slots,
            hands=self._hands,
        )
        receivers = [
            self._receiver(each, spawn)
            for queue in self.queues.values()
            for each in (queue, queue.delayed)
            if each is not None
        ]
        self._listener = Listener(
            receivers, hands=self._hands, clock=plan.clock, start=self._start_in_work, hurry=self._hurry
        )

    def _receiver(self, queue: Queue, spawn: Spawn) -> Receiver:
        plan = self._plan
        keeper = None
        if queue.limits.lease is not None:
            keeper = Keeper(queue, plan.clock, plan.watch)
            spawn(keeper.run())
        return Receiver(
            queue,
            clock=plan.clock,
            watch=plan.watch,
            slots=self._slots,
            hands=self._hands,
            carrier=self._carrier,
            keeper=keeper,
            start_carrier=self._start_carrier,
        )

    def _start_in_work(self, coroutine: Coroutine[object, object, None], *, name: str) -> asyncio.Task[None]:
        return self._work.create_task(coroutine, name=name, context=self._context.copy())

    def _start_carrier(self, coroutine: Coroutine[object, object, None], context: Context | None = None) -> None:
        task = self._work.create_task(coroutine, name="dawdle: carrier", context=context)
        self._carriers.add(task)
        task.add_done_callback(self._carriers.discard)

    async def _end_carriers(self) -> None:
        """Cancel what did not end in grace and flush, again and again for a while: some code swallows cancellations."""
        for _ in range(CANCELLATIONS):
            if not self._carriers:
                return
            for carrier in self._carriers:
                carrier.cancel()
            await asyncio.wait(self._carriers, timeout=0.01)
        if self._carriers:
            self._stuck.set_result(None)

    async def _flush(self) -> None:
        """Let every call that was asked for be answered, for as long as a flush may take."""
        try:
            async with Deadline(self._plan.clock, self._plan.clock.monotonic() + FLUSH):
                for queue in self.queues.values():
                    await queue.flush()
        except TimeoutError:
            _log.warning("a queue has not answered for %g s and is left; what it was asked for may be done", FLUSH)

    def _close_queues(self) -> None:
        for queue in self.queues.values():
            queue.close()


async def _open(stack: AsyncExitStack, name: str, backend: Backend) -> None:
    """Open a backend. Raises `ConfigurationError` for one that cannot make a message wait."""
    await stack.enter_async_context(backend)
    limits = backend.limits
    if not limits.max_delay > 0 and not limits.can_release_later and backend.delayed is None:
        raise ConfigurationError(
            f"the queue {name!r} can neither delay a message nor release one for later, so no retry could wait: "
            f"give it a second queue that can (delayed)"
        )


async def _settled(task: "asyncio.Task[None]") -> None:
    """Wait for a task to end, however often we are cancelled meanwhile; what it ended with is not asked."""
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            task.cancel()
    if not task.cancelled():
        task.exception()


def _single(error: BaseException | None) -> BaseException | None:
    """Return the one error in a group of one, however deep."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    group = cast("BaseExceptionGroup[BaseException]", error)
    return _single(group.exceptions[0]) if len(group.exceptions) == 1 else group
