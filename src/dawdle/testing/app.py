"""`TestApp`: an app in memory, on a clock that the test moves. Beyond what `Dawdle` does it waits, and records."""

import asyncio
import warnings
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from datetime import timedelta
from itertools import chain
from math import inf
from types import TracebackType
from typing import Final, Protocol, Self, Unpack, cast, runtime_checkable
from weakref import WeakKeyDictionary

import msgspec

from dawdle import Context, Dawdle
from dawdle.abc import Backend
from dawdle.backends.memory import Memory
from dawdle.errors import ConfigurationError, to_seconds
from dawdle.hooks import HandlerFinished, Moment
from dawdle.testing.assertions import Assertions
from dawdle.testing.clock import ManualClock
from dawdle.testing.in_thread import NOT_ENTERED, InThread
from dawdle.testing.options import AppOptions, fields_of, like_in_memory, read_app
from dawdle.testing.recorded_app import RecordedApp
from dawdle.testing.recording import Recording

__all__ = ["TestApp"]

PATIENCE_SECONDS: Final = 5.0

HANDLER: Final = "handler "

# As they are, whatever stands in for other apps meanwhile.
_enter, _leave = Dawdle.__aenter__, Dawdle.__aexit__
_with_lifespan, _connected = Dawdle.with_lifespan, Dawdle.connected


class TestApp(Assertions, RecordedApp):
    """An app for tests: `async with TestApp() as app:`, or the fixture `dawdle_app`.

    It takes the options of `Dawdle`. By default its queue is in memory and its clock is a `ManualClock`, which its
    queues go by as well. It listens, also if the environment says otherwise.

    - `await app.idle()` returns when all is done that is due, and raises what a handler raised.
    - `await app.advance(hours=1)` lets time pass, and does all that becomes due, in order.
    - `app.signals` holds what was signaled, and `app.assert_handled(…)` and the like look at what has become of it.

    Handlers may await real input, such as a file, a thread or a server: `idle` and `advance` wait for it, up to
    `patience` seconds. A handler that waits for the clock is not waited for: only `advance` ends its wait.

    Entered again while it is entered, as a web app's lifespan inside a test does, it stays open until it was left as
    often. On leaving, handlers that do not wait for the clock may finish, for `patience` or `grace` seconds of real
    time, whichever is less.
    """

    __test__ = False  # pytest would take it for a class of tests

    patience: float = PATIENCE_SECONDS
    """Seconds of real time that `idle`, `advance` and leaving wait for a handler."""

    def __init__(self, queue: Backend | None = None, /, **options: Unpack[AppOptions]) -> None:
        if queue is not None:
            options["backend"] = queue
        self._set_up(self, None, options)

    def _set_up(self, principal: Dawdle, tested: Dawdle | None, options: AppOptions) -> None:
        """Make this app of some options, and of those that another app has. `principal`: the object that is entered."""
        clock: object = options.get("clock")
        if clock is not None and not isinstance(clock, ManualClock):
            raise ConfigurationError(
                f"the clock of a TestApp is a dawdle.testing.ManualClock(), not {clock!r}: it is moved by the test"
            )
        self._principal = principal
        self._is_named = tested is not None
        """The user has said which app this one is."""
        self._stands_in = False
        """It has the options of an app that it stands in for."""
        self._options = options
        self._clock = ManualClock() if clock is None else clock
        self._entries = 0
        self._was_entered = False
        self._recording = Recording()
        self._attached = ExitStack()
        self._host_values: list[list[object]] = []
        """What handlers find by their type beside what the app's own lifespan yields, of each host."""
        self._taken = Dawdle(Memory())
        """A plain app with the options and the handlers that this one has from elsewhere: what it is compared with."""
        self._become(tested)

    def _become(self, tested: Dawdle | None) -> None:
        """Take the options of another app, but for those that this one was given, and what a test needs its own way."""
        mine: Dawdle = read_app({"start_listener": True, **self._options, "clock": self._clock})
        settings = mine._settings
        if tested is not None:
            own = {name: getattr(settings, name) for name in ("start_listener", "clock", *fields_of(self._options))}
            queues = tested._settings.queues
            before = self._taken._settings.queues.backends
            in_memory: dict[str, Backend] = {
                name: like_in_memory(each, before.get(name)) for name, each in queues.backends.items()
            }
            own.setdefault(
                "queues", queues._replace(backends=in_memory, listened=tuple(in_memory), known=WeakKeyDictionary())
            )
            settings = msgspec.structs.replace(tested._settings, **own)
        self._finish_seconds = settings.grace

        def look_again(moment: Moment) -> None:
            # A handler has ended: what is left of its event may wait for the clock.
            if isinstance(moment, HandlerFinished) and self._runtime is not None:
                self._runtime.in_flight.look_again()

        around = (self._around, *settings.around)
        handlers = (mine if tested is None else tested)._handlers.copy(settings.registry, around)
        # What the test has registered before a web app enters its own app stays, and what its options bring.
        handlers.take_changes(self.__dict__.get("_handlers", mine._handlers), since=self._taken._handlers)
        mine._settings, mine._handlers = settings, (self._taken if tested is None else tested)._handlers
        self._taken = mine
        settings = msgspec.structs.replace(
            settings, hooks=[*settings.hooks, self._recording, look_again], around=around, grace=0.0
        )
        self._assemble(settings, handlers)

    # Entering and leaving

    async def __aenter__(self) -> Self:
        app = self._principal
        if self._entries and self.is_entered:
            if self._loop is not asyncio.get_running_loop():
                raise ConfigurationError(
                    f"{app!r} is entered in another event loop. Either an async fixture runs in another loop (with "
                    f"pytest-asyncio give it the loop_scope of the test), or a TestClient is entered inside an "
                    f"`async def` test (write `def`, or use httpx.AsyncClient), or an `async def` test without "
                    f"@pytest.mark.asyncio takes an async fixture that takes dawdle_app (write the marker)"
                )
            self._entries += 1
            return cast("Self", app)
        await _enter(app)
        self._entries, self._was_entered = 1, True
        self._attached.enter_context(self._clock.followed_by(self._settle))
        return cast("Self", app)

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._entries > 1:
            self._entries -= 1
            return
        try:
            await self._finish()
        finally:
            self._entries = 0
            self._attached.close()
            await _leave(self._principal, error_type, error, trace)

    async def _finish(self) -> None:
        """Receive no more, and let handlers end that do not wait for the clock."""
        runtime = self._runtime
        if runtime is None or not runtime.state.is_open or runtime.error is not None:
            return
        if self._loop is not asyncio.get_running_loop():
            return  # leaving says so
        runtime.begin_stop()
        ending = asyncio.gather(runtime.in_flight.wait_idle(), runtime.letters_told())
        await asyncio.wait([ending], timeout=min(self._finish_seconds, self.patience))
        ending.cancel()

    @asynccontextmanager
    async def with_lifespan(
        self, lifespan: Callable[[Self], AbstractAsyncContextManager[object]]
    ) -> AsyncGenerator[Self]:
        """Enter the app with one more lifespan, as the door of a web framework does; also while it is entered.

        It is left when the handlers have ended that do not wait for the clock.
        """
        if not self.is_entered:  # entered before the first handler runs, and left after the last one, as in a real app
            hosted: Callable[..., AbstractAsyncContextManager[object]] = lifespan
            async with _with_lifespan(self, hosted):
                yield cast("Self", self._principal)
            return
        async with self as app, lifespan(app) as value:
            values = list(cast("Mapping[str, object]", value).values()) if isinstance(value, Mapping) else [value]
            self._host_values.append(values)
            try:
                yield app
            finally:
                await self._wait_until_idle()
                self._host_values = [each for each in self._host_values if each is not values]

    @asynccontextmanager
    async def connected(self) -> AsyncGenerator[Self]:
        """Enter the app for its queues alone, as a tool does; while it is entered, it stays as it is."""
        async with self if self.is_entered else _connected(self):
            yield cast("Self", self._principal)

    def _lifespan(self) -> AbstractAsyncContextManager[object]:
        assert self._runtime is not None, "the runtime calls this"
        self._runtime.in_flight.clock_waits_are_idle = True
        return super()._lifespan()

    @property
    def is_entered(self) -> bool:
        """Whether it is entered, in a loop that is not closed."""
        return self._loop is not None and not self._loop.is_closed()

    def __repr__(self) -> str:
        return super().__repr__().replace("<Dawdle", "<TestApp", 1)

    # Time

    @property
    def clock(self) -> ManualClock:
        """The clock that the app and its queues go by."""
        return self._clock

    @property
    def from_thread(self) -> InThread:
        """`idle`, `advance` and `signal` for a test that is not async, with the app in another thread's loop.

        Such a loop is that of a web framework's `TestClient`, whose web app enters this app in its lifespan.
        """
        return InThread(self, lambda: self._loop)

    async def idle(self) -> None:
        """Return when all is done that is due, and raise what a handler raised in it.

        A delayed event, a retry that waits and a handler that waits for the clock are not due. Of each handler and
        event the last run counts, and each error is raised once: several as an `ExceptionGroup`. `RetryLater` is no
        error. Raises `TimeoutError` for a handler that still runs after `patience` seconds of real time.
        """
        __tracebackhide__ = True  # for pytest: the error is the handler's
        runtime = self._running()
        if runtime.run_here() is not None:  # in a handler it is as in any app
            await super().idle()
            return
        await self._clock.run_until_idle()
        late = await self._wait_until_idle()
        await self._clock.run_until_idle()  # what waited for the handlers, in the test's own tasks
        errors = list(self._recording.take_errors())
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise BaseExceptionGroup(f"{len(errors)} handlers failed", errors)
        if late:
            raise TimeoutError(
                f"{_names(late)} still runs after {self.patience:g} s of real time, so the app is not idle: end what "
                f"it waits for, let it wait by `await clock.sleep(…)` of this app's clock, or set app.patience"
            )

    async def advance(
        self, seconds: float | timedelta = 0, *, minutes: float = 0, hours: float = 0, days: float = 0
    ) -> None:
        """Let time pass: `advance(90)`, `advance(hours=1, minutes=30)`, `advance(timedelta(days=1))`.

        All that becomes due meanwhile is done at its time, in order: delays and their hops, retries, timeouts, leases.
        Before each step it waits for handlers that await real input. One that still runs after `patience` seconds of
        real time is not waited for any more: a warning names it, unless its timeout ends it. It raises no error of a
        handler: `idle` does. With 0 it does what is due now.
        """
        if self._running().run_here() is not None:
            raise ConfigurationError(
                "advance() waits for the handlers, so a handler cannot await it: await clock.sleep(…)"
            )
        total = to_seconds(seconds, "advance() takes") + 60 * minutes + 3600 * hours + 86400 * days
        await self._clock.advance(total)

    async def _settle(self) -> None:
        """Do all that is due, before the clock moves on. A handler that takes too long is left to itself."""
        ends = {each.name: each.options.timeout or self._settings.timeout or inf for each in self._handlers.handlers}
        late = [name for name in await self._wait_until_idle() if ends.get(name.removeprefix(HANDLER), inf) == inf]
        if late:
            warnings.warn(
                f"{_names(late)} still runs after {self.patience:g} s of real time, so time moves on without it: let "
                f"it wait by `await clock.sleep(…)` of this app's clock, or set app.patience",
                RuntimeWarning,
                stacklevel=2,
            )

    async def _wait_until_idle(self) -> list[str]:
        """Return when all is done that is due, and the names of the handlers that were not waited for any longer."""
        runtime = self._running()
        is_busy = len(runtime.in_flight) or runtime.tells_letters or any(each.busy for each in runtime.queues.values())
        if self._is_exact and not is_busy:
            return []
        idle = asyncio.ensure_future(super().idle())
        try:
            await asyncio.wait([idle], timeout=self.patience)
            if idle.done():
                idle.result()
                await self._parked()
                return []
        finally:
            idle.cancel()
            await asyncio.wait([idle])
        late = [message for message in runtime.in_flight if not message.idling]
        for message in late:
            message.idling += 1  # from now on it counts as one that waits for something else
        names = [f"{HANDLER}{name}" for message in late for name in message.handlers]
        return names or ["a handler of dead letters" if runtime.tells_letters else "a call to a queue"]

    async def _parked(self) -> None:
        """Return once each receive waits at a server that says when: until then no time may pass."""
        for backend in self._queues.backends.values():
            if isinstance(backend, Parking) and self.health().listening:
                await backend.parked()

    @property
    def _is_exact(self) -> bool:
        """Whether all that is due was received once the loop has nothing to do: no queue is outside of it."""
        return all(isinstance(each, Memory) for each in self._queues.backends.values())

    # What is claimed

    def _known_handlers(self) -> Sequence[tuple[str, Sequence[str], object]]:
        return [(each.name, each.names, each.function) for each in self._handlers.handlers]

    def _handles(self, event_type: type) -> bool:
        return self.handler_count(event_type) > 0

    def _require_was_entered(self) -> None:
        if not self._was_entered:
            raise ConfigurationError(NOT_ENTERED)

    @asynccontextmanager
    async def _around(self, ctx: Context) -> AsyncGenerator[None, None]:
        for value in chain.from_iterable(self._host_values):
            if value is not None:
                ctx.provide(value)
        try:
            yield
        except BaseException as error:
            self._recording.raised(ctx.event_id, ctx.handler, error)
            raise


@runtime_checkable
class Parking(Protocol):
    """A backend that knows when a receive has reached its server."""

    async def parked(self) -> None:
        """Return once one has."""


def _names(late: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(late))
