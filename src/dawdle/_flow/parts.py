"""Puts together what runs in a house: which part knows which. Runs nothing itself."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager

import msgspec

from dawdle._flow.alone import Alone
from dawdle._flow.aside import Aside
from dawdle._flow.batcher import Spawn
from dawdle._flow.calls import Calls
from dawdle._flow.carrier import Carrier
from dawdle._flow.dispatcher import Dispatcher
from dawdle._flow.failures import FailureLog
from dawdle._flow.handler_call import Caller
from dawdle._flow.handler_limits import HandlerLimits
from dawdle._flow.hands import Hands
from dawdle._flow.keeper import Keeper
from dawdle._flow.ledger import Ledger
from dawdle._flow.listener import Listener
from dawdle._flow.pulse import Pulse
from dawdle._flow.queue import Queue
from dawdle._flow.receiver import Receiver
from dawdle._flow.running import Running
from dawdle._flow.settler import Settler
from dawdle._flow.watch import Watch
from dawdle._rules.health import Health
from dawdle._rules.retry import Retry
from dawdle._rules.roster import Roster
from dawdle._rules.signing import Signer
from dawdle.abc import Backend, Clock, Codec, SystemClock

__all__ = ["Parts", "Plan"]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a house is built from."""

    app: object
    backends: Mapping[str, Backend]
    clock: Clock
    codecs: Mapping[str, Codec]
    watch: Watch
    roster: Roster
    retry: Retry
    timeout: float | None
    concurrency: int
    unclaimed: float
    signer: Signer
    lifespan: Callable[[], AbstractAsyncContextManager[object]]


class Parts:
    """The parts of one house, each made once the backends are open."""

    def __init__(
        self,
        plan: Plan,
        *,
        spawn: Spawn,
        start: Callable[[Coroutine[object, object, None]], object],
        listen: Callable[[Coroutine[object, object, None]], asyncio.Task[None]],
        hurry: asyncio.Event,
        state: Callable[[], object],
        dies: Callable[[], bool],
    ) -> None:
        self._plan = plan
        self._spawn = spawn
        self._start = start
        self.hands = Hands(plan.concurrency, plan.clock)
        self.limits = HandlerLimits(plan.clock, plan.concurrency)
        self.alone = Alone(self.hands, plan.clock)
        self.queues = {
            name: Queue(name, backend, spawn, plan.unclaimed, plan.signer, calls=Calls(plan.clock))
            for name, backend in plan.backends.items()
        }
        ledger = Ledger(plan.clock)
        self._settler = Settler(clock=plan.clock, watch=plan.watch, ledger=ledger)
        self.running = Running(plan.clock, at_first=self._start_aside)
        self._failures = FailureLog(plan.clock)
        caller = Caller(
            app=plan.app,
            clock=plan.clock,
            watch=plan.watch,
            timeout=plan.timeout,
            threads=plan.concurrency,
            state=state,
            running=self.running,
            failures=self._failures,
            dies=dies,
        )
        self.carrier = Carrier(
            clock=plan.clock,
            codecs=plan.codecs,
            signer=plan.signer,
            roster=plan.roster,
            dispatcher=Dispatcher(caller, clock=plan.clock, retry=plan.retry, limits=self.limits),
            settler=self._settler,
            hands=self.hands,
            alone=self.alone,
            ledger=ledger,
        )
        self._pulse = Pulse(self.hands, plan.clock, plan.watch)
        self._kept_aside: list[Keeper] = []
        self._aside = Aside(self._work_aside)
        spawn(self._aside.run())
        spawn(self._tell_regularly())
        both = [each for queue in self.queues.values() for each in (queue, queue.delayed) if each is not None]
        self._receivers = [self._receiver(queue) for queue in both]
        self.listener = Listener(
            self._receivers, hands=self.hands, limits=self.limits, clock=plan.clock, listen=listen, hurry=hurry
        )

    def facts(self) -> Health:
        """Return what health is judged by."""
        now = self._plan.clock.monotonic()
        oldest = min(self.hands, key=lambda hand: hand.since, default=None)
        return Health(
            healthy=True,
            listening=self.listener.receiving,
            in_hand=len(self.hands),
            oldest=None if oldest is None else now - oldest.since,
            oldest_handlers=() if oldest is None else oldest.handlers,
            dead_letters=self._settler.dead_letters,
            unclaimed=self._settler.unclaimed,
            long_running=self.running.long(),
            queues=tuple(receiver.health() for receiver in self._receivers),
            failing=tuple(failing for queue in self.queues.values() for failing in queue.calls.failing()),
        )

    def _receiver(self, queue: Queue) -> Receiver:
        plan = self._plan
        return Receiver(
            queue,
            clock=plan.clock,
            watch=plan.watch,
            hands=self.hands,
            alone=self.alone,
            carrier=self.carrier,
            keeper=None if queue.limits.lease is None else self._keeper(queue),
            start_carrier=self._start,
        )

    def _keeper(self, queue: Queue) -> Keeper:
        """Return what renews a queue's leases: aside, unless nobody else can have a message, or time is a test's."""
        plan = self._plan
        if not queue.limits.shared or not isinstance(plan.clock, SystemClock):
            return Keeper(queue, plan.clock, plan.watch, lambda keeper: self._spawn(keeper.run()))
        keeper = Keeper(queue, plan.clock, plan.watch, lambda _: self._aside.start())
        self._kept_aside.append(keeper)
        return keeper

    def _start_aside(self) -> None:
        """Start the thread that notices a blocked loop where no lease does; not on a clock of a test's."""
        if not self._kept_aside and isinstance(self._plan.clock, SystemClock):
            self._aside.start()

    async def _tell_regularly(self) -> None:
        """Tell the log what runs for long and what was only counted, at least once a minute until cancelled."""
        try:
            while True:
                self._failures.tell_counted()
                await self._plan.clock.sleep_until(self.running.tell())
        finally:
            self._failures.tell_counted(all_of_it=True)

    async def _work_aside(self) -> None:
        async with asyncio.TaskGroup() as group:
            for keeper in self._kept_aside:
                group.create_task(keeper.run(), name="dawdle: leases")
            group.create_task(self._pulse.run(), name="dawdle: pulse")
