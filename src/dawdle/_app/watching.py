"""The calls that await events: `wait_for` and `stream`. They read their arguments; `_flow.watchers` sees the events."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, TypeVar, cast, overload

from dawdle._app.event_stream import EventStream
from dawdle._app.settings import Settings
from dawdle._flow.watchers import Watcher, Watchers
from dawdle._handlers.app_handlers import AppHandlers
from dawdle._handlers.handler import Handler
from dawdle._handlers.signature import is_async, require_event_class
from dawdle.abc import Clock, Deadline
from dawdle.errors import BackendError, ConfigurationError, shown, to_seconds
from dawdle.events import event_style

__all__ = ["WatchCalls"]

if TYPE_CHECKING:
    from dawdle._flow.runtime import Runtime

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
F = TypeVar("F")

Seconds = float | timedelta


class WatchCalls:
    """The half of an app that awaits events."""

    _handlers: AppHandlers
    _settings: Settings

    @overload
    async def wait_for(
        self, *, where: Callable[[object], bool] | None = None, timeout: Seconds | None = None
    ) -> object: ...
    @overload
    async def wait_for(
        self, a: type[A], /, *, where: Callable[[A], bool] | None = None, timeout: Seconds | None = None
    ) -> A: ...
    @overload
    async def wait_for(
        self, a: type[A], b: type[B], /, *, where: Callable[[A | B], bool] | None = None, timeout: Seconds | None = None
    ) -> A | B: ...
    @overload
    async def wait_for(
        self,
        a: type[A],
        b: type[B],
        c: type[C],
        /,
        *,
        where: Callable[[A | B | C], bool] | None = None,
        timeout: Seconds | None = None,
    ) -> A | B | C: ...
    @overload
    async def wait_for(
        self,
        a: type[A],
        b: type[B],
        c: type[C],
        d: type[D],
        /,
        *,
        where: Callable[[A | B | C | D], bool] | None = None,
        timeout: Seconds | None = None,
    ) -> A | B | C | D: ...
    @overload
    async def wait_for(
        self,
        a: type[A],
        b: type[B],
        c: type[C],
        d: type[D],
        e: type[E],
        /,
        *,
        where: Callable[[A | B | C | D | E], bool] | None = None,
        timeout: Seconds | None = None,
    ) -> A | B | C | D | E: ...
    @overload
    async def wait_for(
        self,
        a: type[A],
        b: type[B],
        c: type[C],
        d: type[D],
        e: type[E],
        f: type[F],
        /,
        *,
        where: Callable[[A | B | C | D | E | F], bool] | None = None,
        timeout: Seconds | None = None,
    ) -> A | B | C | D | E | F: ...
    async def wait_for(
        self, *event_types: type, where: Callable[..., bool] | None = None, timeout: Seconds | None = None
    ) -> object:
        """Return the next event that this process handles: with several processes on one queue each sees its share.

        An event is seen here once, when its handlers have ended, however they ended; its retries are not seen again. A
        handler that is at its limit or raises `RetryLater` has not ended. A direct event is seen too. To wait changes
        nothing: the event is stored, handled and deleted as without it. What was handled before the call is not seen:
        to signal something and await the answer, open a `stream` first.

        - types: one or several, base classes too; none means every event. This app needs a handler for each of them, as
          it handles no other events.
        - `where`: a plain function of the event, which is true for the one that is meant. It is called in the event
          loop for each event of these types, so let it be quick, and change nothing. What it raises is raised here.
        - `timeout`: seconds, or a timedelta, by the app's clock; then `TimeoutError`. The default is no limit.

        In a handler it works as anywhere else: the handler keeps its slot meanwhile, and the event needs another one.

        Raises `ConfigurationError` for a type without a handler here, or of whose queues this process listens to none,
        and for wrong arguments, and `BackendError` when the app is left or dies. It may be cancelled at any time.
        """
        app = self._watched()
        seconds = None if timeout is None else to_seconds(timeout, "timeout is", above=True)
        _require_watchable("wait_for", event_types, where)
        watchers = app._watchers("wait_for", event_types)
        watcher: Watcher[object] = Watcher(event_types, where, size=1, once=True)
        what = f"{_names(event_types)}{'' if where is None else ' for which where= is true'}"
        with watchers.watch(watcher):
            event = await _next_within(watcher, seconds, app._settings.clock, what)
        if event is None:
            raise BackendError(f"the app was left before it handled {what}", uncertain=False)
        return event

    @overload
    def stream(self, *, where: Callable[[object], bool] | None = None, buffer: int = 1000) -> "EventStream[object]": ...
    @overload
    def stream(
        self, a: type[A], /, *, where: Callable[[A], bool] | None = None, buffer: int = 1000
    ) -> "EventStream[A]": ...
    @overload
    def stream(
        self, a: type[A], b: type[B], /, *, where: Callable[[A | B], bool] | None = None, buffer: int = 1000
    ) -> "EventStream[A | B]": ...
    @overload
    def stream(
        self,
        a: type[A],
        b: type[B],
        c: type[C],
        /,
        *,
        where: Callable[[A | B | C], bool] | None = None,
        buffer: int = 1000,
    ) -> "EventStream[A | B | C]": ...
    @overload
    def stream(
        self,
        a: type[A],
        b: type[B],
        c: type[C],
        d: type[D],
        /,
        *,
        where: Callable[[A | B | C | D], bool] | None = None,
        buffer: int = 1000,
    ) -> "EventStream[A | B | C | D]": ...
    @overload
    def stream(
        self,
        a: type[A],
        b: type[B],
        c: type[C],
        d: type[D],
        e: type[E],
        /,
        *,
        where: Callable[[A | B | C | D | E], bool] | None = None,
        buffer: int = 1000,
    ) -> "EventStream[A | B | C | D | E]": ...
    @overload
    def stream(
        self,
        a: type[A],
        b: type[B],
        c: type[C],
        d: type[D],
        e: type[E],
        f: type[F],
        /,
        *,
        where: Callable[[A | B | C | D | E | F], bool] | None = None,
        buffer: int = 1000,
    ) -> "EventStream[A | B | C | D | E | F]": ...
    def stream(
        self, *event_types: type, where: Callable[..., bool] | None = None, buffer: int = 1000
    ) -> "EventStream[object]":
        """Watch the events that this process handles: with several processes on one queue each sees its share.

        `async with app.stream(OrderPaid) as events:` opens it, and `async for event in events:` reads it. What is seen,
        the types and `where` are as in `wait_for`.

        - `buffer`: events that wait for a slow reader. One more drops the oldest, and `events.dropped` counts: no
          handler waits for a reader.

        The loop ends when the app is left, after the events that were seen until then. It raises what `where` raised,
        which ends the stream, and `BackendError` when the app has died. Raises `ConfigurationError` for wrong arguments
        at once. When it is opened, it raises it for a type without a handler here, or of whose queues this process
        listens to none.
        """
        _require_watchable("stream", event_types, where)
        if isinstance(cast("object", buffer), bool) or not isinstance(cast("object", buffer), int) or buffer < 1:
            raise ConfigurationError(
                f"buffer is how many events may wait for their reader, 1 or more, not {shown(buffer)}"
            )
        app = self._watched()
        watcher: Watcher[object] = Watcher(event_types, where, buffer)
        return EventStream(watcher, lambda: app._watchers("stream", event_types), _names(event_types))

    def _watched(self) -> "WatchCalls":
        """Return the app whose events are meant."""
        return self

    def _watchers(self, call: str, event_types: tuple[type, ...]) -> Watchers:
        """Return who watches the app. Raises `ConfigurationError` if it is not entered, or gets no such events."""
        watchers, queues = self._running().watchers, self._settings.queues
        for event_type in event_types or (object,):
            handlers = [handler for handler in self._handlers.handlers if _may_take(handler, event_type)]
            if not handlers:
                raise ConfigurationError(
                    f"{call}() would wait for ever: this app has no handler for {_name(event_type)}, so it never "
                    f"handles one. Register a handler, if only one that does nothing"
                )
            # A direct event may come all the same. It is rare, and to wait in silence for all others is worse.
            if not any(queues.is_received(handler, event_type) for handler in handlers):
                listened = ", ".join(queues.listened) or "no queue"
                raise ConfigurationError(
                    f"{call}() would wait for ever: this process listens to {listened}, and receives "
                    f"{_name(event_type)} from none of its queues. Name a queue of such events in listen=, and for "
                    f"direct events alone write start_listener=False instead of listen=()"
                )
        return watchers

    def _running(self, *, anywhere: bool = False) -> "Runtime":
        """Return the runtime of an app that is entered, or raise what keeps it from being used."""
        raise NotImplementedError


async def _next_within(watcher: Watcher[object], seconds: float | None, clock: Clock, what: str) -> object | None:
    """Return the event of `wait_for`; None if the app was left. Raises `TimeoutError`."""
    if seconds is None:
        return await watcher.next()
    deadline = Deadline(clock, clock.monotonic() + seconds)
    try:
        async with deadline:
            return await watcher.next()
    except TimeoutError as error:
        if not deadline.expired():  # else `where` raised it
            raise
        event = watcher.take()  # it may have come in the same turn of the loop
        if event is None:
            raise TimeoutError(f"no {what} was handled here within {seconds:g} s") from error
        return event


def _require_watchable(call: str, event_types: Sequence[type], where: object) -> None:
    """Raise `ConfigurationError` for types and functions by which no event can be chosen."""
    for event_type in event_types:
        _require_class(call, event_type)
    if where is not None and not callable(where):
        raise ConfigurationError(f"where is a function that takes an event, not {shown(where)}")
    if where is not None and is_async(where):
        raise ConfigurationError(f"where is not awaited, and {shown(where)} is async: make it a def function")


def _require_class(call: str, given: object) -> None:
    if isinstance(given, (list, tuple, set)):
        kind = type(cast("object", given)).__name__
        raise ConfigurationError(f"{call}() takes each type by itself: write {call}(A, B), not a {kind}")
    if isinstance(given, FunctionType | MethodType):
        raise ConfigurationError(f"{call}() takes types, and got a function: write where=…")
    if not isinstance(given, type) and event_style(type(given)) is not None:
        raise ConfigurationError(f"{call}() takes types, and got an event: name its class, {type(given).__qualname__}")
    require_event_class(given, f"{call}()")


def _may_take(handler: Handler, event_type: type) -> bool:
    """Whether a handler takes events that are instances of a type: of a base of it, or of some of its subclasses."""
    if handler.is_function:
        return False
    return handler.matches(event_type) or any(issubclass(each, event_type) for each in handler.types)


def _names(event_types: Sequence[type]) -> str:
    return " or ".join(map(_name, event_types)) or "event"


def _name(event_type: type) -> str:
    return "any event" if event_type is object else event_type.__qualname__
