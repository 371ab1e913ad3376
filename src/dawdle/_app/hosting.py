"""What an app offers to the code that runs it: a worker's main, a web framework, a test. Starts and stops nothing.

A host enters the app, waits for `ended()`, may cut the shutdown short, and asks afterwards what is still running. A
handler or a signal needs none of this.
"""

import asyncio
import warnings
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Self

import msgspec

from dawdle._app import loops as _loops
from dawdle._app.lifespans import Lifespan
from dawdle._app.queue_map import QueueMap, require_backend
from dawdle._app.settings import Settings
from dawdle._app.telemetry import Telemetry, TelemetryCaller, read_telemetry
from dawdle._flow.state import State
from dawdle._handlers.app_handlers import AppHandlers
from dawdle._handlers.type_names import require_named_apart
from dawdle._rules.description import AppDescription
from dawdle._rules.health import Health
from dawdle.abc import Backend
from dawdle.errors import ConfigurationError
from dawdle.hooks import Hook

__all__ = ["HostingCalls"]

if TYPE_CHECKING:
    from dawdle._flow.runtime import Runtime


class HostingCalls:
    """The half of an app that its host uses."""

    if TYPE_CHECKING:  # `typing.get_type_hints(Dawdle)` must not need what is not loaded
        _runtime: Runtime | None
    _settings: Settings
    _handlers: AppHandlers
    _queues: QueueMap
    _loop: asyncio.AbstractEventLoop | None
    """The event loop in which the app is entered; None while it is not."""
    _host_lifespan: Lifespan | None = None
    """What `with_lifespan` was given."""
    _queues_only = False
    """It is entered by `connected`."""

    def _assemble(self, settings: Settings, handlers: AppHandlers) -> None:
        """Put the app together of its options and its handlers."""
        raise NotImplementedError

    async def __aenter__(self) -> object:
        """Enter the app."""
        raise NotImplementedError

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave it, after its grace at the latest."""
        raise NotImplementedError

    def wrap_queues(self, wrap: Callable[[str, Backend], Backend]) -> None:
        """Put a backend of the host's own about each queue: the app uses what `wrap` returns when it is entered next.

        `wrap` is called here, once for each queue, with its name and its backend, and may return that backend as it is.
        Raises `ConfigurationError` while the app is entered, and for what is no backend. If `wrap` raises, all queues
        stay as they were.
        """
        if self._loop is not None:
            raise ConfigurationError("wrap_queues() changes the queues of an app that is not entered: call it before")
        queues = self._queues.backends
        queues.update({name: require_backend(wrap(name, each), f"queue {name!r}") for name, each in queues.items()})

    def health(self) -> Health:
        """Return how the app is at this moment; never raises, and makes no request.

        The app is unhealthy when it has died or is not entered; when credentials, a permission or the queue are
        missing; when no receive has completed for 60 s although one was wanted and there was room; and when sends,
        deletes, releases or lease renewals have failed for 60 s. It is healthy again with the first of these calls that
        succeeds, or when the app has made no such call for 5 minutes.
        """
        if self._runtime is None or self._loop is None:
            return Health(healthy=False, reasons=("the app is not entered",), state="not entered")
        if not self._is_open:
            reason = f"the app is being entered: {State.OPENING.value}"
            return Health(healthy=False, reasons=(reason,), state="opening")
        return self._runtime.health()

    async def ping(self) -> None:
        """Ask every queue of this app once whether it answers; return when all have.

        On SQS that is a request to each. A policy that allows nothing but sending is an answer too, so a ping proves
        that the queue can be reached with these credentials, and not that it takes an event. Raises `BackendError` for
        the first queue that does not answer: its `kind` says why, `denied`, `missing` or `unavailable`. May be
        cancelled; on SQS it may take 30 seconds.
        """
        await self._running().ping()

    @asynccontextmanager
    async def with_lifespan(
        self, lifespan: Callable[[Self], AbstractAsyncContextManager[object]]
    ) -> AsyncGenerator[Self]:
        """Enter the app with one more lifespan, that of its host: `async with app.with_lifespan(resources):`.

        `lifespan` takes the app, as `Dawdle(lifespan=…)` does. It is entered inside the app's own: when the queue is
        open, so it may signal, and before the first handler runs. It is left when the last handler has ended. Handlers
        get what it yields by `ctx.state(Type)`, after what the app's own yields. Raises as `async with app` does.
        """
        _loops.require_not_entered(self, self._loop)  # before the line below, which is for the next entering
        self._host_lifespan = lifespan
        try:
            async with self:
                yield self
        finally:
            self._host_lifespan = None

    @asynccontextmanager
    async def connected(self) -> AsyncGenerator[Self]:
        """Enter the app for its queues alone, as a tool does that signals, or looks at dead letters.

        It does not listen, whatever `start_listener` says, and its lifespan is not entered. No handler runs: what is
        signaled with `direct=True` goes to the queue. Raises as `async with app` does.
        """
        _loops.require_not_entered(self, self._loop)
        self._queues_only = True
        try:
            async with self:
                yield self
        finally:
            self._queues_only = False

    def configure(
        self,
        *,
        listen: Collection[str] | None = None,
        concurrency: int | Mapping[str, int] | None = None,
        hooks: Sequence[Hook] = (),
        telemetry: Telemetry | Sequence[Telemetry] | None = None,
    ) -> None:
        """Change options of an app that is not entered, as the options of a worker's command line do.

        None leaves an option as it is; the options are those of `Dawdle(…)`. `hooks` and `telemetry` are added to those
        that the app has. Raises `ConfigurationError` while the app is entered, for a queue that it does not have, and
        for what `Dawdle(…)` refuses; then nothing is changed.
        """
        if self._loop is not None:
            raise ConfigurationError("configure() changes an app that is not entered: call it before")
        settings = self._settings
        parts = read_telemetry([*self.telemetry, *read_telemetry(telemetry)])
        changed = msgspec.structs.replace(
            settings,
            queues=self._queues.changed(listen=listen, concurrency=concurrency),
            hooks=[*settings.hooks, *hooks] if isinstance(hooks, Collection) else hooks,
            telemetry=TelemetryCaller(parts) if parts else None,
        )
        self._assemble(changed, self._handlers)

    @property
    def telemetry(self) -> tuple[Telemetry, ...]:
        """What watches the app: the objects of `Dawdle(telemetry=…)` and of `configure(telemetry=…)`."""
        return () if self._settings.telemetry is None else self._settings.telemetry.parts

    @property
    def grace(self) -> float:
        """Seconds to let running handlers finish on shutdown."""
        return self._settings.grace

    def describe(self) -> AppDescription:
        """Return what the app is made of: its queues, handlers, functions, event types and settings. Makes no request.

        It may be called at any time. All of it are texts and numbers, so it can be written as JSON; credentials, keys
        and headers are not in it.
        """
        from dawdle._app.describing import describe  # noqa: PLC0415 - tools ask for it, and nothing else does

        return describe(self._settings, self._handlers, self._queues)

    def validate(self) -> None:
        """Look for mistakes of the code, as entering does before it opens a queue. Opens none.

        Raises `ConfigurationError` for a handler that no event can reach by the queues and routes of the app, and for a
        name that means two types.
        """
        self._queues.require_reachable(self._handlers.handlers)
        require_named_apart(self._handlers.handlers)

    def event_type(self, name: str) -> type | None:
        """Return the class of the events that have a name on the wire, or an alias; None if the app knows none."""
        return self._handlers.resolve_type(name)

    @property
    def backends(self) -> Mapping[str, Backend]:
        """The app's queues by name; `default` is the name of one that has none. For tools that look at a queue.

        They are open while the app is entered. A tool may enter one itself instead, while the app is not.
        """
        return MappingProxyType(self._queues.backends)

    async def ended(self) -> None:
        """Return when the app has died or was left."""
        await self._running().ended()

    def end_grace(self) -> None:
        """End the grace of a shutdown now: cancel the handlers that still run. Safe from any thread."""
        # A second signal or another thread may call this at any time, also before the start and after the end.
        if self._runtime is not None and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._runtime.end_grace)

    def running_handlers(self) -> list[str]:
        """Return the names of the handlers that run now; after a shutdown, of those that ignore cancellation."""
        return [] if self._runtime is None else self._runtime.running_handlers()

    def unfinished(self) -> list[str]:
        """Return what still runs after a shutdown: handlers that ignore cancellation, and calls to a queue."""
        return [] if self._runtime is None else self._runtime.unfinished()

    def handlers_that_run(self) -> list[str]:
        """Return what `running_handlers` does. Deprecated since 0.1.0."""
        _warn_of_old_name("handlers_that_run", "running_handlers")
        return self.running_handlers()

    def left_behind(self) -> list[str]:
        """Return what `unfinished` does. Deprecated since 0.1.0."""
        _warn_of_old_name("left_behind", "unfinished")
        return self.unfinished()

    def hurry(self) -> None:
        """Do what `end_grace` does. Deprecated since 0.1.0."""
        _warn_of_old_name("hurry", "end_grace")
        self.end_grace()

    @property
    def _is_open(self) -> bool:
        """Whether there are queues and handlers to ask about. There are none while the queue is being opened."""
        return self._runtime is not None and self._runtime.state.is_open

    def _running(self, *, anywhere: bool = False) -> "Runtime":
        """Return the runtime of an app that is entered, or raise what keeps it from being used."""
        raise NotImplementedError


def _warn_of_old_name(old: str, new: str) -> None:
    """Point the caller of an old name to the new one, at the line that calls it."""
    warnings.warn(
        f"app.{old}() is now app.{new}(); the old name goes in dawdle 0.3.0", DeprecationWarning, stacklevel=3
    )
