"""Dawdle: the app. Checks what it is given, and puts the rooms together; the work is done in `_flow`.

An app that is entered has a `Runtime`, whose states `_flow.state` draws. After it was left it may be entered again, and
gets another one.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from types import FunctionType, TracebackType
from typing import TYPE_CHECKING, Final, Self, Unpack, cast

from dawdle._app import loops as _loops
from dawdle._app.browsing import BrowseCalls
from dawdle._app.dead_letters import DeadLetterCalls
from dawdle._app.environment import backend_from_environment, start_listener_from_environment
from dawdle._app.function_calls import FunctionCalls
from dawdle._app.hosting import HostingCalls
from dawdle._app.lifespans import lifespan_of
from dawdle._app.queue_map import DEFAULT_CONCURRENCY, read_queue_map
from dawdle._app.settings import DEFAULT_GRACE, DEFAULT_SOURCE, DEFAULT_UNCLAIMED, Headers, Settings
from dawdle._app.signal_calls import SignalCalls
from dawdle._app.signaling import Signaling
from dawdle._app.start_log import StartLog
from dawdle._app.telemetry import Telemetry, TelemetryCaller, read_telemetry
from dawdle._app.watching import WatchCalls
from dawdle._flow.handler_scope import current_scope
from dawdle._flow.hook_calls import HookCaller
from dawdle._flow.state import State
from dawdle._handlers.app_handlers import AppHandlers
from dawdle._handlers.around import Around, read_around
from dawdle._handlers.carry import Carry, read_carry
from dawdle._handlers.registry import HandlerOptions, Registry
from dawdle._handlers.signed_pickle import SignedPickle
from dawdle._rules.codec import JSON
from dawdle._rules.retry import Retry
from dawdle._rules.signing import Signer
from dawdle.abc import Backend, Clock, Codec, SystemClock
from dawdle.errors import ConfigurationError, shown, to_seconds
from dawdle.hooks import Hook

__all__ = ["Dawdle", "default_registry"]

if TYPE_CHECKING:
    from dawdle._flow.runtime import Runtime

default_registry: Final = Registry()
"""The registry that `dawdle.on_event` and `dawdle.function` write to, and that an app without `registry=` uses."""


class Dawdle(FunctionCalls, WatchCalls, DeadLetterCalls, BrowseCalls, HostingCalls):
    """An app: a queue, the handlers that it runs, and everything in between.

    `async with Dawdle() as app:` opens the queue and, unless `start_listener=False`, handles its events. It may be
    entered in one task and left in another, and entered again after it was left.

    - `backend`: the queue, if there is one. Default: what `DAWDLE_BACKEND` says, else SQS if `DAWDLE_SQS_QUEUE_URL` is
      set, `SQLite` if `DAWDLE_SQLITE_PATH` is, else `Memory()`.
    - `queues`: the queues by name, of any kinds, instead of `backend`: `{"default": SQS(...), "audit": SQLite(...)}`. A
      name is 1 to 64 of a-z, 0-9, `.`, `_` and `-`.
    - `routes`: maps event classes to the name of a queue, or to several names. It holds for subclasses too, the nearest
      class wins, and an event without a route goes to `default`. Of several queues the first stores the event, and each
      other a copy for the handlers that are bound to it.
    - `listen`: the names of the queues that this process works on; `()` for none. Default: all.
    - `registry`: the handlers. Default: those of `dawdle.on_event`.
    - `start_listener`: whether to handle events. Default: what `DAWDLE_START_LISTENER` says, else true. An app without
      any handler does not receive.
    - `concurrency`: how many messages of each queue may be in flight at once, or a mapping by queue; one that is not
      in it has 100.
    - `retry`: for handlers that have none of their own.
    - `timeout`: seconds after which a run of a handler fails that has no timeout of its own; None: no limit. A `def`
      handler runs in a thread, which cannot be ended: there a warning is logged.
    - `grace`: seconds to let running handlers finish on shutdown. Then they are cancelled, and what they have not
      finished goes back to the queue: at once, or in 7 s at most where the queue does not answer.
    - `unclaimed`: seconds after which an event is dead-lettered for which no node has a handler. In memory there is no
      other node, so it is dropped at once, with a warning.
    - `source`: the `source` attribute of the CloudEvents that are sent.
    - `headers`: text attributes of every event, or a function that returns them at each signal.
    - `codec`: how the data of events is written. Default: JSON.
    - `hooks`: functions that are called with each of the moments in `dawdle.hooks`.
    - `lifespan`: a function that takes the app and returns an async context manager. It is entered after the queue was
      opened, and left after the last handler has ended. Handlers get what it yields from `Context.state(…)`.
    - `around`: a function that takes the `Context` of a run and returns an async context manager, or several,
      outermost first: each run of a handler is inside it. A registry's and a handler's own are further in.
    - `carry`: context variables by header name, such as `{"requestid": request_id}`. The value that one has where an
      event is signaled travels with the event, and is set around its handlers, in threads too. Only text travels.
    - `signing_keys`: the keys that sign messages, by id; the first one signs, all are accepted. A message that is not
      signed with one of them is dead-lettered and never run.
    - `functions`: `dawdle.SignedPickle(key)` lets `call` take any callable, lambdas too. Read its risk first.
    - `telemetry`: `dawdle.telemetry.OpenTelemetry()`, `dawdle.telemetry.prometheus()`, or a list of such objects.
    - `clock`: where time comes from, such as `dawdle.testing.ManualClock()`.

    Durations are seconds or a `timedelta`. Raises `ConfigurationError` for an option that cannot work.
    """

    def __init__(
        self,
        backend: Backend | None = None,
        *,
        queues: Mapping[str, Backend] | None = None,
        routes: Mapping[type, str | Sequence[str]] | None = None,
        listen: Collection[str] | None = None,
        registry: Registry | None = None,
        start_listener: bool | None = None,
        concurrency: int | Mapping[str, int] = DEFAULT_CONCURRENCY,
        retry: Retry | None = None,
        timeout: float | timedelta | None = None,
        grace: float | timedelta = DEFAULT_GRACE,
        unclaimed: float | timedelta = DEFAULT_UNCLAIMED,
        source: str = DEFAULT_SOURCE,
        headers: Headers | None = None,
        codec: Codec | None = None,
        hooks: Sequence[Hook] = (),
        lifespan: Callable[["Dawdle"], AbstractAsyncContextManager[object]] | None = None,
        around: Around | Sequence[Around] = (),
        carry: Carry | None = None,
        clock: Clock | None = None,
        signing_keys: Mapping[str, bytes | str] | None = None,
        functions: SignedPickle | None = None,
        telemetry: Telemetry | Sequence[Telemetry] | None = None,
    ) -> None:
        parts = read_telemetry(telemetry)
        clock = SystemClock() if clock is None else clock
        settings = Settings(
            queues=read_queue_map(
                backend,
                lambda: backend_from_environment(clock),
                queues=queues,
                routes=routes,
                listen=listen,
                concurrency=concurrency,
            ),
            clock=clock,
            registry=default_registry if registry is None else registry,
            start_listener=start_listener_from_environment() if start_listener is None else start_listener,
            retry=Retry() if retry is None else retry,
            timeout=cast("float | None", timeout),
            grace=cast("float", grace),
            unclaimed=cast("float", unclaimed),
            source=source,
            headers={} if headers is None else headers,
            codec=JSON() if codec is None else codec,
            hooks=hooks,
            lifespan=lifespan,
            around=read_around(around),
            carry=read_carry(carry),
            signer=Signer(signing_keys),
            functions=functions,
            telemetry=TelemetryCaller(parts) if parts else None,
        )
        handlers = AppHandlers(settings.registry, settings.around)
        if functions is not None:
            handlers.add(functions.handler())
        self._assemble(settings, handlers)

    def _assemble(self, settings: Settings, handlers: AppHandlers) -> None:
        """Put the app together of its options and its handlers; it is not entered."""
        self._settings = settings
        self._handlers = handlers
        self._queues = settings.queues
        self._signaling = Signaling(settings, handlers)
        self._start_log = StartLog(handlers, self._queues, has_lifespan=settings.lifespan is not None)
        self._runtime: Runtime | None = None
        self._loop: asyncio.AbstractEventLoop | None = None  # where it is entered; None while it is not

    def __repr__(self) -> str:
        state = "not entered" if self._loop is None else "entered" if self._is_open else "being entered"
        return f"<Dawdle on {self._queues} at {id(self):#x}, {state}>"

    async def __aenter__(self) -> Self:
        # A third of what `import dawdle` would cost, and nothing where events and handlers are only declared.
        from dawdle._flow.runtime import Runtime  # noqa: PLC0415
        from dawdle._flow.wiring import RuntimeConfig  # noqa: PLC0415

        # All mistakes of the code are found before the queue is opened, so that an app that cannot work asks no server.
        _loops.require_not_entered(self, self._loop)
        self.validate()
        self._queues.share_clock(self._settings.clock)
        self._start_log.entering()
        settings = self._settings
        watching = () if settings.telemetry is None else settings.telemetry.entered(self._queues.backends, self.health)
        hooks = self._signaling.hooks = HookCaller((*settings.hooks, *watching))
        runtime = Runtime(
            RuntimeConfig(
                app=self,
                backends=settings.queues.backends,
                listened=settings.queues.listened,
                is_named=settings.queues.is_named,
                clock=settings.clock,
                codecs=settings.codecs,
                hooks=hooks,
                handlers=self._handlers,
                retry=settings.retry,
                timeout=settings.timeout,
                concurrency=settings.queues.concurrency,
                unclaimed=settings.unclaimed,
                signer=settings.signer,
                carry=settings.carry,
                lifespan=self._lifespan,
            )
        )
        # The runtime first: a thread that asks for the health meanwhile must not get that of the last time.
        self._runtime, self._loop = runtime, asyncio.get_running_loop()
        try:
            await runtime.enter()
        except BaseException:  # a cancellation too: the app is as it was, and may be entered again
            self._end_entry()
            raise
        if settings.start_listener and settings.queues.listened and not self._queues_only:
            self._start_log.listens()
            await runtime.start_listener()
        self._start_log.entered()
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runtime is None or self._loop is None:
            raise ConfigurationError(f"{self!r} cannot be left: enter it first")
        _loops.require_loop(self, self._loop)
        try:
            await self._runtime.leave(self._settings.grace)
        finally:  # whatever leaving raises, the runtime has ended, and the app may be entered again
            self._end_entry()

    def run(
        self,
        *,
        lifespan: Callable[[Self], AbstractAsyncContextManager[object]] | None = None,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    ) -> None:
        """Run a worker: enter the app, work until SIGTERM or SIGINT, leave it. Not async; only in the main thread.

        - `lifespan`: one more lifespan, that of the host, as `with_lifespan` takes it.
        - `loop_factory`: makes the event loop, such as `uvloop.new_event_loop`. Default: asyncio's own.

        Raises the error of which the app died, and `ConfigurationError` in another thread or in a running event loop. A
        signal during the start cancels the start. A second signal ends the grace.
        """
        from dawdle._app.worker import work_until_signal  # noqa: PLC0415 - only a worker's main needs it

        self._host_lifespan = lifespan
        try:
            work_until_signal(self, self._settings.grace, self._start_log.worker_entered, loop_factory)
        finally:
            self._host_lifespan = None

    def register(self, handler: Callable[..., object], *types: type, **options: Unpack[HandlerOptions]) -> None:
        """Add a handler to this app only: a function, a bound method, any callable that takes an event.

        The options are those of `on_event`; without `types` they come from the first parameter's annotation.
        """
        made = self._handlers.read(handler, types, options)
        # Before it is added, so that what raises registers nothing. An app that is not entered yet checks all of its
        # handlers' queues when it is.
        if self._loop is not None and made.options.queue is not None:
            self._queues.require_reachable([self._handlers.merged(made)])
        self._handlers.add(made)

    def unregister(self, handler: Callable[..., object]) -> None:
        """Remove a handler from this app only, wherever it was registered.

        Raises `ConfigurationError` for a function that is no handler of the app.
        """
        self._handlers.unregister(handler)

    def handler_count(self, kind: type | None = None) -> int:
        """Return how many handlers of events there are, or how many take events of a type. Functions do not count."""
        if kind is not None and not isinstance(cast("object", kind), type):
            raise ConfigurationError(f"handler_count() takes an event class, not {shown(kind)}")
        if kind is not None:
            return len(self._handlers.handlers_for(kind))
        return sum(not handler.is_function for handler in self._handlers.handlers)

    async def start_listener(self) -> None:
        """Start to handle events. Does nothing if the listener runs already."""
        runtime = self._running()
        if self._queues_only:
            raise ConfigurationError(
                "this app was entered by connected(), without the lifespan that its handlers need: enter it by "
                "`async with app:` to handle events"
            )
        if not self._queues.listened:
            raise ConfigurationError("this app listens to no queue, since it was made with listen=(): name a queue")
        self._start_log.listens()
        await runtime.start_listener()

    async def stop_listener(self, *, grace: float | timedelta | None = None) -> None:
        """Receive no more, and return when all messages in flight are settled, after `grace` at the latest.

        `grace`: seconds, or a timedelta, to let running handlers finish; None: the app's own. In one of the app's own
        handlers it returns at once, since it would wait for that handler.
        """
        runtime = self._running()
        seconds = self._settings.grace if grace is None else to_seconds(grace, "grace is")
        where = current_scope()
        if runtime.in_notice or (where is not None and where.app is self):
            runtime.begin_stop()
        else:
            await runtime.stop_listener(seconds)

    async def idle(self) -> None:
        """Return when no event is due.

        In memory that is exact. On other queues it means that no message was in flight here, and then a receive came
        back empty. A delayed event, a retry that waits, and a copy for a handler at its `concurrency` are not due.
        """
        await self._running().idle()

    def _end_entry(self) -> None:
        """Note that the app is not entered any more."""
        self._loop = None
        _loops.left(self)
        if self._settings.telemetry is not None:
            self._settings.telemetry.left()

    def _lifespan(self) -> AbstractAsyncContextManager[object]:
        """Return the app's lifespan. The runtime calls this when the queue is open, in the task that enters it.

        From here on `dawdle.signal` means this app. In its lifespan it does so even if other apps are entered.
        """
        _loops.entered(self)
        own = None if self._queues_only else self._settings.lifespan
        return lifespan_of(self, own, self._host_lifespan)

    def _running(self, *, anywhere: bool = False) -> "Runtime":
        """Return the runtime of an app that is entered, or raise what keeps it from being used.

        Without `anywhere` only the app's own event loop may ask.
        """
        runtime, loop = self._runtime, self._loop
        if runtime is None or loop is None:
            raise ConfigurationError(f"{self!r}: write `async with app:` around the code that uses it")
        if not runtime.state.is_open:
            raise ConfigurationError(f"{self!r}: {State.OPENING.value}")
        if not anywhere and _loops.loop_here() is not loop:
            _loops.require_loop(self, loop)
        if runtime.error is not None:
            raise runtime.error
        return runtime


# Python's own errors name a method by its class: "SignalCalls.signal() got an unexpected keyword argument 'dely'".
for _part in (FunctionCalls, SignalCalls, WatchCalls, DeadLetterCalls, BrowseCalls, HostingCalls):
    for _name, _method in vars(_part).items():
        if isinstance(_method, FunctionType):
            _method.__qualname__ = f"{Dawdle.__qualname__}.{_name}"
