"""Puts together what runs in an app: which component knows which. Decides nothing and runs nothing itself."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager

import msgspec

from dawdle._flow.batcher import Spawn
from dawdle._flow.call_state import CallState
from dawdle._flow.direct import DirectRunner
from dawdle._flow.dispatcher import Dispatcher
from dawdle._flow.failure_log import FailureLog
from dawdle._flow.handler_call import HandlerCaller
from dawdle._flow.handler_chain import carry_link
from dawdle._flow.handler_limits import HandlerLimits
from dawdle._flow.handler_run import HandlerRunner
from dawdle._flow.hook_calls import HookCaller
from dawdle._flow.in_flight import InFlight
from dawdle._flow.intake import Intake
from dawdle._flow.isolation import Isolation
from dawdle._flow.lease_renewer import LeaseRenewer
from dawdle._flow.letter_notices import LetterNotices
from dawdle._flow.listener import Listener
from dawdle._flow.loop_watchdog import LoopWatchdog
from dawdle._flow.ordered_processor import OrderedProcessor
from dawdle._flow.processor import Processor
from dawdle._flow.queue_client import QueueClient
from dawdle._flow.receiver import Receiver
from dawdle._flow.request_reports import RequestReports
from dawdle._flow.running_handlers import RunningHandlers
from dawdle._flow.settled_cache import SettledCache
from dawdle._flow.settlement_reports import SettlementReports
from dawdle._flow.settler import Settler
from dawdle._flow.side_thread import LoopThread
from dawdle._flow.slots import Slots
from dawdle._flow.watchers import Watchers
from dawdle._handlers.app_handlers import AppHandlers
from dawdle._handlers.carry import Carry
from dawdle._rules.health import Health
from dawdle._rules.retry import Retry
from dawdle._rules.signing import Signer
from dawdle.abc import Backend, Clock, Codec, SystemClock

__all__ = ["Components", "RuntimeConfig"]


class RuntimeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a runtime is built from."""

    app: object
    backends: Mapping[str, Backend]
    listened: Collection[str]
    """The queues that this app receives from."""
    is_named: bool
    """Whether handlers run on the queue that they name. If not, there is one queue, and they all run on it."""
    clock: Clock
    codecs: Mapping[str, Codec]
    hooks: HookCaller
    handlers: AppHandlers
    retry: Retry
    timeout: float | None
    concurrency: Mapping[str, int]
    unclaimed: float
    signer: Signer
    carry: Carry
    lifespan: Callable[[], AbstractAsyncContextManager[object]]


class Components:
    """The components of one runtime, made once the backends are open."""

    def __init__(
        self,
        config: RuntimeConfig,
        *,
        spawn: Spawn,
        start: Callable[[Coroutine[object, object, None]], asyncio.Task[None]],
        start_notice: Callable[[Coroutine[object, object, None]], asyncio.Task[None]],
        listen: Callable[[Coroutine[object, object, None]], asyncio.Task[None]],
        grace_ended: asyncio.Event,
        state: Callable[[], object],
        is_dying: Callable[[], bool],
    ) -> None:
        self._config = config
        self._spawn = spawn
        self._start = start
        reports = RequestReports(config.hooks, config.clock)
        self.in_flight = InFlight(config.clock)
        self.limits = HandlerLimits(config.clock, max(config.concurrency.values()))
        self.isolation = Isolation(self.in_flight, config.clock)
        self.queues = {
            name: QueueClient(
                name,
                backend,
                spawn,
                config.unclaimed,
                config.retry.max_attempts,
                config.signer,
                calls=CallState(config.clock),
                slots=Slots(config.concurrency[name], config.clock),
                reports=reports,
                is_one_of_several=len(config.backends) > 1,
            )
            for name, backend in config.backends.items()
        }
        self.watchers = Watchers()
        settled_cache = SettledCache(config.clock)
        self.running = RunningHandlers(config.clock, on_first_run=self._start_side_thread)
        self._failures = FailureLog(config.clock)
        self.notices = LetterNotices(
            app=config.app,
            handlers=config.handlers,
            codecs=config.codecs,
            signer=config.signer,
            carry=config.carry,
            clock=config.clock,
            failures=self._failures,
            state=state,
            start=start_notice,
            is_dying=is_dying,
        )
        self._reports = SettlementReports(clock=config.clock, hooks=config.hooks, letter_stored=self.notices.stored)
        self.processor = Processor(
            intake=Intake(
                codecs=config.codecs,
                signer=config.signer,
                handlers=config.handlers,
                queues=frozenset(config.backends) if config.is_named else None,
                hooks=config.hooks,
            ),
            dispatcher=self._dispatcher(state, is_dying),
            settler=Settler(clock=config.clock, hooks=config.hooks, settled_cache=settled_cache, reports=self._reports),
            in_flight=self.in_flight,
            isolation=self.isolation,
            settled_cache=settled_cache,
            watchers=self.watchers,
        )
        self.direct = DirectRunner(
            in_flight=self.in_flight, processor=self.processor, handlers=config.handlers, start=start
        )
        self._watchdog = LoopWatchdog(self.in_flight, config.clock, config.hooks)
        self._threaded_renewers: list[LeaseRenewer] = []
        self._side_thread = LoopThread(self._run_in_side_thread)
        spawn(self._side_thread.run())
        spawn(self._log_regularly())
        listened = [queue for name, queue in self.queues.items() if name in config.listened]
        both = [each for queue in listened for each in (queue, queue.delayed) if each is not None]
        self._receivers = [self._receiver(queue) for queue in both]
        self.listener = Listener(
            self._receivers,
            in_flight=self.in_flight,
            limits=self.limits,
            notices=self.notices,
            clock=config.clock,
            listen=listen,
            grace_ended=grace_ended,
        )

    def facts(self) -> Health:
        """Return what health is judged by."""
        now = self._config.clock.monotonic()
        in_flight = Counter(message.queue for message in self.in_flight)
        oldest = min(self.in_flight, key=lambda message: message.held_since, default=None)
        return Health(
            healthy=True,
            listening=self.listener.receiving,
            in_hand=len(self.in_flight),
            oldest=None if oldest is None else now - oldest.held_since,
            oldest_queue=None if oldest is None else oldest.queue.full_name,
            oldest_handlers=() if oldest is None else oldest.handlers,
            dead_letters=self._reports.dead_letters,
            unclaimed=self._reports.unclaimed,
            expired=self._reports.expired,
            long_running=self.running.long(),
            queues=tuple(receiver.health(in_flight[receiver.queue]) for receiver in self._receivers),
            failing=tuple(failing for queue in self.queues.values() for failing in queue.calls.failing()),
        )

    def _dispatcher(self, state: Callable[[], object], is_dying: Callable[[], bool]) -> Dispatcher:
        config = self._config
        runner = HandlerRunner(
            clock=config.clock,
            timeout=config.timeout,
            threads=sum(config.concurrency.values()),
            state=state,
            retry=config.retry,
            running=self.running,
            links=(carry_link(config.carry),) if config.carry else (),
        )
        caller = HandlerCaller(
            app=config.app,
            clock=config.clock,
            hooks=config.hooks,
            runner=runner,
            running=self.running,
            failures=self._failures,
            is_dying=is_dying,
        )
        return Dispatcher(caller, clock=config.clock, retry=config.retry, limits=self.limits)

    def _receiver(self, queue: QueueClient) -> Receiver:
        config = self._config
        return Receiver(
            queue,
            clock=config.clock,
            hooks=config.hooks,
            in_flight=self.in_flight,
            isolation=self.isolation,
            process=OrderedProcessor(self.processor, self.in_flight).process
            if queue.limits.ordered
            else self.processor.process,
            lease_renewer=None if queue.limits.lease is None else self._lease_renewer(queue),
            start_processor=self._start,
            spawn=self._spawn,
        )

    def _lease_renewer(self, queue: QueueClient) -> LeaseRenewer:
        """Return what renews a queue's leases: in the side thread, if others share the queue and time is real."""
        config = self._config
        if not queue.limits.shared or not isinstance(config.clock, SystemClock):
            return LeaseRenewer(queue, config.clock, config.hooks, lambda renewer: self._spawn(renewer.run()))
        renewer = LeaseRenewer(queue, config.clock, config.hooks, lambda _: self._side_thread.start())
        self._threaded_renewers.append(renewer)
        return renewer

    def _start_side_thread(self) -> None:
        """Start the side thread for its watchdog alone, where no lease has started it; not on a test's clock."""
        if not self._threaded_renewers and isinstance(self._config.clock, SystemClock):
            self._side_thread.start()

    async def _log_regularly(self) -> None:
        """Log what runs for long and which failures were only counted, at least once a minute until cancelled."""
        try:
            while True:
                self._failures.log_counted()
                await self._config.clock.sleep_until(self.running.warn_of_long_runs())
        finally:
            self._failures.log_counted(all_of_it=True)

    async def _run_in_side_thread(self) -> None:
        async with asyncio.TaskGroup() as group:
            for renewer in self._threaded_renewers:
                group.create_task(renewer.run(), name="dawdle: leases")
            group.create_task(self._watchdog.run(), name="dawdle: loop watchdog")
