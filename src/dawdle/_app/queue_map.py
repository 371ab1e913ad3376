"""The queues of an app: where each type of event goes, and which queues this process works on. Checked; opens none.

A route is looked up as a handler is: for the class of the event, then for its base classes, the nearest first. An event
without a route goes to the queue `default`. A call of a function goes there too, unless it or its function names a
queue: routes are for events.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping, Sequence
from typing import Final, NamedTuple, cast
from weakref import WeakKeyDictionary

from dawdle._handlers.handler import Handler
from dawdle._handlers.signature import require_event_class
from dawdle.abc import Backend, Clock, Clocked, SystemClock
from dawdle.errors import ConfigurationError, one_line, shown
from dawdle.events import CALL_PREFIX, QUEUE_NAME, declaration_of, is_call, wire_name

__all__ = ["DEFAULT", "DEFAULT_CONCURRENCY", "QueueMap", "read_queue_map", "require_backend"]

DEFAULT: Final = "default"
"""The queue of `Dawdle(backend)`, and of every event that has no route."""

DEFAULT_CONCURRENCY: Final = 100
"""Messages of one queue that may be in flight at once."""


class QueueMap(NamedTuple):
    """The queues of one app, by name, and what goes where."""

    backends: dict[str, Backend]
    routes: dict[type, tuple[str, ...]]
    listened: tuple[str, ...]
    """The queues that this process works on, while it listens."""
    concurrency: dict[str, int]
    """How many messages may be in flight at once, by queue."""
    is_named: bool
    """The app has given its queues names. If not, it has one, and every handler is for that one."""
    known: MutableMapping[type, tuple[str, ...]]
    """A cache of `destinations`, which keeps no class alive."""

    def __repr__(self) -> str:
        kinds = [(name, type(backend).__name__) for name, backend in self.backends.items()]
        return ", ".join(f"{name}: {kind}" for name, kind in kinds) if self.is_named else kinds[0][1]

    def destinations(self, event_type: type) -> tuple[str, ...]:
        """Return the queues of a type: the event itself goes to the first, a copy to each other.

        Raises `ConfigurationError` for a type without a route in an app without the queue `default`.
        """
        found = self.known.get(event_type)
        if found is None:
            found = self.known[event_type] = self._routed(event_type) or (DEFAULT,)
        if found[0] not in self.backends:
            raise ConfigurationError(
                _no_queue(event_type) if is_call(event_type) else self._no_default(event_type.__qualname__)
            )
        return found

    def named(self, queue: str | Sequence[str]) -> tuple[str, ...]:
        """Return the names that `signal(queue=…)` gives. Raises `ConfigurationError` for one that is no queue here."""
        return self.checked(_one_or_several(queue, "queue"))

    def changed(self, *, listen: Collection[str] | None, concurrency: int | Mapping[str, int] | None) -> "QueueMap":
        """Return these queues with other options; None leaves one as it is. Raises `ConfigurationError`."""
        return self._replace(
            listened=self.listened if listen is None else _read_listen(listen, self),
            concurrency=self.concurrency if concurrency is None else _read_concurrency(concurrency, self),
        )

    def of_handler(self, queue: str) -> str | None:
        """Return the name by which the handlers of a queue are looked up; None: all handlers are for it."""
        return queue if self.is_named else None

    def require_reachable(self, handlers: Iterable[Handler]) -> None:
        """Raise `ConfigurationError` for a handler that no event can reach, since routes and queues do not fit it."""
        for handler in handlers:
            queue = handler.options.queue
            if queue is None:
                if not handler.is_function:  # its call may name a queue
                    self._require_routes(handler)
                continue
            if queue not in self.backends:
                what = "function" if handler.is_function else "handler"
                raise ConfigurationError(
                    f"{what} {handler.name} runs on the queue {queue!r}, and this app has {', '.join(self.backends)}: "
                    f"{self._instead_of(queue, f'remove queue= from the {what}')}"
                )
            if self.is_named and not handler.is_function and not self._reaches(queue, handler):
                types = [each.__qualname__ for each in handler.types] or ["…"]
                raise ConfigurationError(
                    f"handler {handler.name} runs on the queue {queue!r}, and no event that it takes goes there: "
                    f"write routes={{{types[0]}: {queue!r}}}, or remove queue= from the handler"
                )
            if self.is_named:
                self._require_named_with_queue(handler, queue)

    def share_clock(self, clock: Clock) -> None:
        """Let each queue that was given no clock go by the app's.

        Raises `ConfigurationError` for one that goes by another clock than a test's app: nothing would ever be due.
        """
        mine = getattr(clock, "moved_by", None)
        for name, backend in self.backends.items():
            if isinstance(backend, Clocked):
                backend.use_clock(clock)
            its_clock = getattr(backend, "clock", None)
            other = getattr(its_clock, "moved_by", None)
            if mine is not None and isinstance(its_clock, SystemClock):
                raise ConfigurationError(
                    f"the app has a ManualClock, and its queue {name!r} goes by the machine's clock: give the queue "
                    f"the same ManualClock, or, if it holds messages already, use a new one"
                )
            if mine is not None and other is not None and other is not mine:
                raise ConfigurationError(
                    f"the app and its queue {name!r} have two ManualClocks: give both the same one, or, for a machine "
                    f"whose time is wrong, its clock.skewed(…)"
                )

    def never_reached(self, handlers: Iterable[Handler]) -> list[str]:
        """Return the names of the handlers that are bound to a queue on which this process does not work."""
        return [
            handler.name
            for handler in handlers
            if handler.options.queue is not None and handler.options.queue not in self.listened
        ]

    def is_received(self, handler: Handler, event_type: type) -> bool:
        """Whether this process, when it listens, gets events of a type or of its subclasses for a handler."""
        bound = handler.options.queue
        if bound is not None or not self.is_named:
            return bound in self.listened if self.is_named else bool(self.listened)
        types = {each for each in (event_type, *handler.types, *self.routes) if issubclass(each, event_type)}
        # Events without a route go to the default queue, or where each signal says: to any queue.
        return any(
            name in self.listened
            for each in types
            if handler.matches(each)
            for name in self._routed(each) or self.listened
        )

    def without_handler_on_first(self, handlers: Iterable[Handler]) -> list[tuple[type, str]]:
        """Return the routed types that are handled here, and not on the first of their queues, with that queue."""
        found: list[tuple[type, str]] = []
        for event_type, (first, *_) in self.routes.items():
            taking = {each.options.queue for each in handlers if each.matches(event_type)}
            if first in self.listened and taking and not taking & {None, first}:
                found.append((event_type, first))
        return found

    def _require_named_with_queue(self, handler: Handler, queue: str) -> None:
        """Raise `ConfigurationError` if a type names a handler of one of its later queues as one of the first."""
        for event_type in handler.types:
            declared = declaration_of(event_type)
            first = (self._routed(event_type) or (DEFAULT,))[0]
            for name in handler.names if declared is not None and queue != first else ():
                if declared is not None and name in declared.handlers:
                    raise ConfigurationError(
                        f"{event_type.__qualname__} names the handler {name!r} in handlers=, which is bound to the "
                        f"queue {queue!r}, and its events go to {first!r} first: write handlers=('{name}@{queue}',)"
                    )

    def _require_routes(self, handler: Handler) -> None:
        """Raise `ConfigurationError` for a type of a handler that has no route where there is no default queue."""
        if DEFAULT in self.backends:
            return
        for event_type in handler.types:
            if self._routed(event_type) is None and not any(issubclass(each, event_type) for each in self.routes):
                raise ConfigurationError(f"handler {handler.name}: {self._no_default(event_type.__qualname__)}")

    def _reaches(self, queue: str, handler: Handler) -> bool:
        """Whether an event that the handler takes may go to a queue."""
        if any(handler.matches(event_type) and queue in names for event_type, names in self.routes.items()):
            return True
        # A subclass that is defined later goes where the route of its base class says.
        return any(queue in (self._routed(each) or (DEFAULT,)) for each in handler.types or (object,))

    def _routed(self, event_type: type) -> tuple[str, ...] | None:
        if not self.routes or is_call(event_type):
            return None
        for base in event_type.__mro__:
            if base in self.routes:
                return self.routes[base]
        # An abstract base class may have virtual subclasses, which do not name it among their bases.
        return next((names for base, names in self.routes.items() if issubclass(event_type, base)), None)

    def _no_default(self, name: str) -> str:
        return (
            f"{name} has no route, and this app has no queue 'default': write routes={{{name}: …}}, or add the queue, "
            f"queues={{'default': …}}"
        )

    def checked(self, names: Iterable[object], what: str = "") -> tuple[str, ...]:
        """Return names of queues, each once. Raises `ConfigurationError` for one that this app does not have."""
        for name in names:
            if not isinstance(name, str) or name not in self.backends:
                advice = f": {self._instead_of(name)}" if isinstance(name, str) and QUEUE_NAME.fullmatch(name) else ""
                raise ConfigurationError(
                    f"{what}there is no queue {shown(name)}; this app has {', '.join(self.backends)}{advice}"
                )
        return tuple(dict.fromkeys(cast("Iterable[str]", names)))

    def _instead_of(self, name: str, other: str = "") -> str:
        """Return what to write instead of a name that is no queue here."""
        from difflib import get_close_matches  # noqa: PLC0415 - only a mistake needs it

        near = get_close_matches(name, self.backends, 1)
        if near:
            return f"did you mean {near[0]!r}?"
        queues = ", ".join(f"{each!r}: …" for each in (*self.backends, name))
        return f"write Dawdle(queues={{{queues}}}){other and ', or '}{other}"


def _no_queue(call_type: type) -> str:
    """Return the error text for a call that names no queue, in an app without the queue `default`."""
    return (
        f"this call of {wire_name(call_type).removeprefix(CALL_PREFIX)} names no queue, and this app has no queue "
        f"'default': write @dawdle.function(queue=…) or f.options(queue=…), or add the queue, queues={{'default': …}}"
    )


def read_queue_map(
    backend: Backend | None,
    from_environment: Callable[[], Backend],
    *,
    queues: Mapping[str, Backend] | None,
    routes: Mapping[type, str | Sequence[str]] | None,
    listen: Collection[str] | None,
    concurrency: int | Mapping[str, int],
) -> QueueMap:
    """Return the queues of an app as `Dawdle(…)` was given them. Raises `ConfigurationError` for every mistake."""
    if queues is None:
        backends = {DEFAULT: require_backend(from_environment() if backend is None else backend, "backend")}
    else:
        if backend is not None:
            raise ConfigurationError(
                "Dawdle() takes a backend or queues=, not both: write queues={'default': backend, …}"
            )
        backends = _read_backends(queues)
    made = QueueMap(backends, {}, tuple(backends), {}, queues is not None, WeakKeyDictionary())
    if routes is not None:
        made.routes.update(_read_routes(routes, made))
    if queues is not None and DEFAULT not in backends and not made.routes:
        raise ConfigurationError(
            f"this app has the queues {', '.join(backends)}, and no event goes to any of them: write routes={{…}}, or "
            f"add the queue 'default', which gets every event without a route"
        )
    return made.changed(listen=listen, concurrency=concurrency)


def _read_backends(queues: Mapping[str, Backend]) -> dict[str, Backend]:
    if not isinstance(cast("object", queues), Mapping) or not queues:
        raise ConfigurationError(
            f"queues is a mapping of names to backends, such as {{'default': SQS(…), 'video': SQS(…)}}, not "
            f"{shown(queues)}"
        )
    found: dict[str, Backend] = {}
    for name, backend in cast("Mapping[object, object]", queues).items():
        if not isinstance(name, str) or not QUEUE_NAME.fullmatch(name):
            raise ConfigurationError(f"the name of a queue is 1 to 64 of a-z, 0-9, '.', '_' and '-', not {shown(name)}")
        for other, known in found.items():
            if known is backend:
                raise ConfigurationError(
                    f"queues= gives one backend object the names {other!r} and {name!r}: one object is one queue, so "
                    f"remove a name, or make a second object for another queue"
                )
        found[name] = require_backend(backend, f"queues[{name!r}]")
    return found


def _one_or_several(given: str | Sequence[str], what: str) -> Sequence[str]:
    if isinstance(given, str):
        return (given,)
    if not isinstance(cast("object", given), Sequence) or not given:
        raise ConfigurationError(f"{what} is the name of a queue, or several names, not {shown(given)}")
    return given


def require_backend(value: object, what: str) -> Backend:
    """Return a backend. Raises `ConfigurationError` for anything else, and says what to write instead."""
    # A class that was not called has the same methods.
    if isinstance(value, Backend) and not isinstance(value, type):
        return value
    if isinstance(value, type) and hasattr(value, "receive"):
        name = value.__name__
        raise ConfigurationError(f"{what} is a dawdle.abc.Backend, not its class: write {name}(…), not {name}")
    advice = f": write {_backend_for(value)}" if isinstance(value, str) and value.isprintable() else ""
    raise ConfigurationError(
        f"{what} is a dawdle.abc.Backend, such as Memory(), SQLite('app.db') or SQS(…), not {shown(value)}{advice}"
    )


def _backend_for(text: str) -> str:
    """Return the backend that a text means: by its name, by the URL of its queue, or by its file."""
    if text in {"memory", "local"}:
        return "Memory()"
    if text == "sqs" or "://" in text:
        return "SQS(…)" if text == "sqs" or text.startswith("http") else "SQLite('app.db')"
    return "SQLite('app.db')" if text in {"", "sqlite"} else f"SQLite({one_line(text)!r})"


def _read_routes(routes: Mapping[type, str | Sequence[str]], made: QueueMap) -> dict[type, tuple[str, ...]]:
    if not isinstance(cast("object", routes), Mapping):
        raise ConfigurationError(
            f"routes is a mapping of event classes to names of queues, such as {{VideoUploaded: 'video'}}, not "
            f"{shown(routes)}"
        )
    found: dict[type, tuple[str, ...]] = {}
    for event_type, given in routes.items():
        require_event_class(event_type, "routes=")
        what = f"routes[{event_type.__qualname__}]"
        found[event_type] = made.checked(_one_or_several(given, what), f"{what}: ")
    return found


def _read_listen(listen: Collection[str], made: QueueMap) -> tuple[str, ...]:
    if isinstance(listen, str):
        raise ConfigurationError(
            f"listen is the names of the queues that this process works on, not {shown(listen)}: write "
            f"listen=({shown(listen)},)"
        )
    if not isinstance(cast("object", listen), Collection):
        raise ConfigurationError(
            f"listen is the names of the queues that this process works on, such as ('video',), or () for none, not "
            f"{shown(listen)}"
        )
    return made.checked(listen, "listen=: ")


def _read_concurrency(given: object, made: QueueMap) -> dict[str, int]:
    if not isinstance(given, Mapping):
        return dict.fromkeys(made.backends, _messages(given, "concurrency is"))
    named = cast("Mapping[object, object]", given)
    made.checked(named, "concurrency=: ")
    found = dict.fromkeys(made.backends, DEFAULT_CONCURRENCY) | made.concurrency  # those of an app that is changed
    return found | {cast("str", name): _messages(each, f"concurrency[{name!r}] is") for name, each in named.items()}


def _messages(value: object, what: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise ConfigurationError(
        f"{what} how many messages of a queue may be in flight at once, 1 or more, not {shown(value)}"
    )
