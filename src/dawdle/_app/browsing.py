"""An app's calls that look into a queue without receiving from it, and that give one handler what they found there."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from datetime import datetime
from math import inf
from typing import TYPE_CHECKING, TypeVar, cast, overload

from dawdle._app.event_ids import new_id
from dawdle._app.queue_map import QueueMap
from dawdle._app.settings import Settings
from dawdle._handlers.app_handlers import AppHandlers
from dawdle._handlers.handler import Handler
from dawdle._handlers.letter_types import LetterTypes
from dawdle._handlers.signature import require_event_class
from dawdle._rules.stored_event import StoredEvent, read_stored, replayed
from dawdle.abc import Browsable, Outgoing, Stored
from dawdle.errors import ConfigurationError, EventError, shown

__all__ = ["BrowseCalls"]

if TYPE_CHECKING:
    from dawdle._flow.queue_client import QueueClient
    from dawdle._flow.runtime import Runtime

A = TypeVar("A")
B = TypeVar("B")


class BrowseCalls:
    """The half of an app that looks into its queues, and replays what they keep."""

    _handlers: AppHandlers
    _queues: QueueMap
    _settings: Settings

    # The overloads for one and for two types give the events their type. Data that does not fit it is None.
    @overload
    def browse(
        self, event_type: type[A], /, *, queue: str, since: datetime | None = None, until: datetime | None = None
    ) -> AsyncGenerator[StoredEvent[A | None]]: ...

    @overload
    def browse(
        self,
        event_type: type[A],
        other: type[B],
        /,
        *,
        queue: str,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> AsyncGenerator[StoredEvent[A | B | None]]: ...

    @overload
    def browse(
        self, *types: type | str, queue: str, since: datetime | None = None, until: datetime | None = None
    ) -> AsyncGenerator[StoredEvent]: ...

    def browse(
        self, *types: type | str, queue: str, since: datetime | None = None, until: datetime | None = None
    ) -> AsyncGenerator[StoredEvent]:
        """Look at the events that a queue holds, in the order in which they were stored: `async for event in …:`.

        It changes nothing: no event is received, hidden or deleted, and no listener is needed. Events that wait, are in
        flight and are delayed are all in it; those that are stored after the loop began are not.

        - `types`: event classes, each with its subclasses, or names on the wire, each with the others of its type;
          none means every event.
        - `queue`: the name of the queue, such as one that keeps a copy of each event by `routes`.
        - `since`, `until`: aware datetimes. Only events that were stored at `since` or later, and before `until`.

        Raises `ConfigurationError` for a queue that cannot be read without receiving: SQS is one, `SQLite` and `Memory`
        are not. The loop raises `BackendError` if the queue does not answer. It may be left at any time.
        """
        for each in types:
            if not (isinstance(each, str) and each):
                require_event_class(each, "browse()")
        from_, to = _epoch_of("since", since), _epoch_of("until", until)
        # A mistake in the call is raised by the call, not by the loop.
        (name,) = self._queues.named(queue)
        _require_browsable(self._running(anywhere=True).queues[name])
        return self._browse(name, LetterTypes(self._handlers, types), from_, to, any_type=not types)

    async def replay(self, event: StoredEvent, *, handler: str) -> None:
        """Give one handler of this app an event again that `browse` found: return when a copy of it is stored.

        The copy goes into the handler's queue, at attempt 1, for this handler alone, without a delay and without an
        expiry. The event keeps its id and its headers, and gets the header `replayed`: when that was. The stored event
        stays where it is. Many calls at once share requests: gather some of them.

        - `handler`: its name or an alias. It must take the event's type.

        Raises `ConfigurationError` if this app has no such handler, if it does not take the event, and if its queue is
        the one that holds the event; `EventError` for an event that is None; `BackendError` if the copy is not stored,
        or may not be. If the call is cancelled, the copy may be stored all the same.
        """
        if not isinstance(cast("object", event), StoredEvent):
            raise ConfigurationError(f"replay() takes what app.browse(…) yields, not {shown(event)}")
        runtime = self._running()
        found = self._handler_for(event, handler)
        bound = found.options.queue
        name = self._queues.destinations(type(event.event))[0] if bound is None else bound
        if name == event.queue:
            raise ConfigurationError(
                f"{found.name} runs on the queue {name!r}, which holds event {event.event_id} already: replay from a "
                f"queue that keeps copies and that no process listens to"
            )
        settings = self._settings
        body = replayed(settings.signer.unsigned(event.body), found.name, settings.clock.now())
        await runtime.queues[name].send(Outgoing(body, 0.0, event.group, new_id(), True))

    def _handler_for(self, event: StoredEvent, name: str) -> Handler:
        """Return the handler of a name. Raises what keeps it from getting the event."""
        found = self._handlers.handler_named(name) if isinstance(cast("object", name), str) else None
        if found is None:
            from difflib import get_close_matches  # noqa: PLC0415 - only a mistake needs it

            names = [handler.name for handler in self._handlers.handlers]
            near = get_close_matches(str(name), names, 1)
            advice = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(names) or 'none'}"
            raise ConfigurationError(f"this app has no handler {shown(name)}: {advice}")
        if event.event is None:
            raise EventError(
                f"event {event.event_id} cannot be replayed: this app does not know the type {event.event_type!r}, or "
                f"the data does not fit it"
            )
        if not found.matches(type(event.event)):
            raise ConfigurationError(f"the handler {found.name} does not take {event.event_type}: name one that does")
        return found

    async def _browse(
        self, name: str, types: LetterTypes, since: float | None, until: float | None, *, any_type: bool
    ) -> AsyncGenerator[StoredEvent]:
        """Look in the event loop in which `async for` runs. The call may have been made in another thread."""
        given, queue = self._settings, self._running().queues[name]
        # A queue that keeps copies grows while it is read. Without an end, a slow reader would never come to it.
        began = given.clock.now()
        async with aclosing(_all_in(queue)) as found:
            async for stored in found:
                at = began if stored.stored_at is None else stored.stored_at
                if at > began or (since is not None and at < since) or (until is not None and at >= until):
                    continue
                event = read_stored(stored, name, types, given.codecs, given.signer)
                if any_type or types.includes(event.event_type):
                    yield event

    def _running(self, *, anywhere: bool = False) -> "Runtime":
        """Return the runtime of an app that is entered, or raise what keeps it from being used."""
        raise NotImplementedError


async def _all_in(queue: "QueueClient") -> AsyncGenerator[Stored]:
    """Yield the messages of a queue and those of its delayed queue in the order in which they were stored.

    One who goes on from the time of the last event that was seen must not miss an earlier one, that is delayed.
    """
    async with AsyncExitStack() as stack:
        found = [
            await stack.enter_async_context(aclosing(_held_by(backend, queue.limits.max_batch)))
            for backend in _require_browsable(queue)
        ]
        heads = [await anext(each, None) for each in found]
        while any(heads):
            # Of one that tells no time, the order is its own.
            times = [inf if head is None else head.stored_at or 0.0 for head in heads]
            earliest = times.index(min(times))
            head = heads[earliest]
            assert head is not None, "one that is there is earlier than none"
            yield head
            heads[earliest] = await anext(found[earliest], None)


async def _held_by(backend: Browsable, limit: int) -> AsyncGenerator[Stored]:
    """Yield the messages of one backend, asking for so many at once."""
    after: str | None = None
    while page := await backend.browse(limit, after):
        for stored in page:
            yield stored
        after = page[-1].key


def _require_browsable(queue: "QueueClient") -> list[Browsable]:
    """Return a queue's backend and that of its delayed messages. Raises `ConfigurationError`."""
    found: list[Browsable] = []
    for each in (queue, queue.delayed):
        if each is None:
            continue
        if not isinstance(each.backend, Browsable):
            raise ConfigurationError(
                f"the queue {queue.name!r} cannot be read without receiving from it: its backend, "
                f"{type(each.backend).__name__}, is no dawdle.abc.Browsable. Keep copies in another one, such as "
                f"queues={{'audit': SQLite('audit.db'), …}} with routes={{…: ('default', 'audit')}}"
            )
        found.append(each.backend)
    return found


def _epoch_of(name: str, at: object) -> float | None:
    if at is None:
        return None
    if not isinstance(at, datetime):
        raise ConfigurationError(f"browse() takes {name}=, an aware datetime, not {shown(at)}")
    if at.utcoffset() is None:
        raise ConfigurationError(
            f"{name}={at.isoformat()} has no time zone: write datetime(…, tzinfo=UTC), or {name}.astimezone() for "
            f"local time"
        )
    return at.timestamp()
