"""An app's calls about its dead letters. They read their arguments; the work is done in `_flow.dead_letter_scan`."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar, overload

from dawdle._app.queue_map import QueueMap
from dawdle._app.settings import Settings
from dawdle._handlers.app_handlers import AppHandlers
from dawdle._handlers.letter_filter import LetterFilter, Where, read_filter
from dawdle._rules.dead_letter import DeadLetter

__all__ = ["DeadLetterCalls"]

if TYPE_CHECKING:
    from dawdle._flow.dead_letter_scan import DeadLetterScan
    from dawdle._flow.queue_client import QueueClient
    from dawdle._flow.runtime import Runtime

A = TypeVar("A")
B = TypeVar("B")


class DeadLetterCalls:
    """The half of an app that reads, redrives and deletes its dead letters."""

    _handlers: AppHandlers
    _queues: QueueMap
    _settings: Settings

    # The overloads for one and for two types give the letters their event's type. Data that does not fit it is None.
    @overload
    def dead_letters(
        self,
        event_type: type[A],
        /,
        *,
        handler: str | None = None,
        older_than: float | timedelta | None = None,
        newer_than: float | timedelta | None = None,
        where: Callable[[DeadLetter[A]], object] | None = None,
        queue: str | None = None,
        foreign: bool = False,
    ) -> AsyncGenerator[DeadLetter[A | None]]: ...

    @overload
    def dead_letters(
        self,
        event_type: type[A],
        other: type[B],
        /,
        *,
        handler: str | None = None,
        older_than: float | timedelta | None = None,
        newer_than: float | timedelta | None = None,
        where: Callable[[DeadLetter[A | B]], object] | None = None,
        queue: str | None = None,
        foreign: bool = False,
    ) -> AsyncGenerator[DeadLetter[A | B | None]]: ...

    @overload
    def dead_letters(
        self,
        *types: type | str,
        handler: str | None = None,
        older_than: float | timedelta | None = None,
        newer_than: float | timedelta | None = None,
        where: Where | None = None,
        queue: str | None = None,
        foreign: bool = False,
    ) -> AsyncGenerator[DeadLetter]: ...

    def dead_letters(
        self,
        *types: type | str,
        handler: str | None = None,
        older_than: float | timedelta | None = None,
        newer_than: float | timedelta | None = None,
        where: Callable[..., object] | None = None,
        queue: str | None = None,
        foreign: bool = False,
    ) -> AsyncGenerator[DeadLetter]:
        """Read dead letters, all or those that meet all conditions: `async for letter in app.dead_letters():`.

        It needs no listener.

        Letters that were read are hidden from other readers, and from `redrive` and `purge`, until the loop ends, and
        at most for the queue's lease (60 s on SQS). Then all of them are visible again. A loop that is left by `break`
        ends when its iterator is collected, usually at once; `contextlib.aclosing` ends it for sure. Letters that are
        written after the loop began are not in it.

        - `types`, `handler`, `older_than`, `newer_than`, `where`: which letters, as in `redrive`. Letters that are left
          out are hidden meanwhile too.
        - `queue`: the name of a queue; default: all queues of the app, one after another. Of several queues, those
          without a dead-letter queue are skipped.
        - `foreign`: also letters of other queues that share the dead-letter queue. Otherwise they are left out. Those
          that name no queue are shown, whatever their type.

        The loop raises `BackendError` if the queue does not answer, and `ConfigurationError` if there is none.
        """
        choice = read_filter(
            "dead_letters()",
            types,
            self._handlers,
            handler=handler,
            older_than=older_than,
            newer_than=newer_than,
            where=where,
            foreign=foreign,
            unnamed=True,
        )
        self._named(queue, anywhere=True)  # a mistake in the call is raised by the call, not by the loop
        return self._look(queue, choice)

    # The overloads for one and for two types give `where` a letter whose event has that type.
    @overload
    async def redrive(
        self,
        event_type: type[A],
        /,
        *,
        handler: str | None = None,
        older_than: float | timedelta | None = None,
        newer_than: float | timedelta | None = None,
        where: Callable[[DeadLetter[A]], object] | None = None,
        queue: str | None = None,
        foreign: bool = False,
    ) -> int: ...

    @overload
    async def redrive(
        self,
        event_type: type[A],
        other: type[B],
        /,
        *,
        handler: str | None = None,
        older_than: float | timedelta | None = None,
        newer_than: float | timedelta | None = None,
        where: Callable[[DeadLetter[A | B]], object] | None = None,
        queue: str | None = None,
        foreign: bool = False,
    ) -> int: ...

    @overload
    async def redrive(
        self,
        *types: type | str,
        handler: str | None = None,
        older_than: float | timedelta | None = None,
        newer_than: float | timedelta | None = None,
        where: Where | None = None,
        queue: str | None = None,
        foreign: bool = False,
    ) -> int: ...

    async def redrive(
        self,
        *types: type | str,
        handler: str | None = None,
        older_than: float | timedelta | None = None,
        newer_than: float | timedelta | None = None,
        where: Callable[..., object] | None = None,
        queue: str | None = None,
        foreign: bool = False,
    ) -> int:
        """Put dead letters back into their queue, and return how many: all letters, or those that meet all conditions.

        - `types`: event classes, each with its subclasses, or names on the wire, each with the others of its type.
        - `handler`: the name in `letter.handler`, or another one that the handler has.
        - `older_than`, `newer_than`: seconds or a timedelta since it was given up; for a letter that SQS moved, since
          it was stored.
        - `where`: a function that takes a `DeadLetter` and returns true for one that is meant. If it raises, the call
          ends with that error. If all `types` are classes, it gets only letters whose event is of one of them. Letters
          whose data does not fit their type are left then, and a warning says how many.
        - `queue`: the name of a queue; default: all queues of the app, one after another, and each letter comes into
          its own queue. Of several queues, those without a dead-letter queue are skipped.
        - `foreign`: also letters of other queues, which share its dead-letter queue. They come into this queue. So do
          letters that name no queue, which are otherwise left unless the app knows their type, or the call names their
          type or their handler.

        Each event starts anew, at attempt 1, for the handler that failed and for no other. An event that is given up
        again meanwhile waits for the next call. A letter is deleted when its copy is stored: if the call is cut short,
        some may be redriven twice, and none is lost. Raises `BackendError` if the queue does not answer, and says how
        many were redriven.
        """
        choice = read_filter(
            "redrive()",
            types,
            self._handlers,
            handler=handler,
            older_than=older_than,
            newer_than=newer_than,
            where=where,
            foreign=foreign,
        )
        return await self._for_each(queue, choice, lambda scan: scan.redrive())

    @overload
    async def purge(
        self,
        event_type: type[A],
        /,
        *,
        handler: str | None = None,
        older_than: float | timedelta | None = None,
        newer_than: float | timedelta | None = None,
        where: Callable[[DeadLetter[A]], object] | None = None,
        queue: str | None = None,
        foreign: bool = False,
    ) -> int: ...

    @overload
    async def purge(
        self,
        event_type: type[A],
        other: type[B],
        /,
        *,
        handler: str | None = None,
        older_than: float | timedelta | None = None,
        newer_than: float | timedelta | None = None,
        where: Callable[[DeadLetter[A | B]], object] | None = None,
        queue: str | None = None,
        foreign: bool = False,
    ) -> int: ...

    @overload
    async def purge(
        self,
        *types: type | str,
        handler: str | None = None,
        older_than: float | timedelta | None = None,
        newer_than: float | timedelta | None = None,
        where: Where | None = None,
        queue: str | None = None,
        foreign: bool = False,
    ) -> int: ...

    async def purge(
        self,
        *types: type | str,
        handler: str | None = None,
        older_than: float | timedelta | None = None,
        newer_than: float | timedelta | None = None,
        where: Callable[..., object] | None = None,
        queue: str | None = None,
        foreign: bool = False,
    ) -> int:
        """Delete dead letters for good, and return how many. Takes and raises the same as `redrive`."""
        choice = read_filter(
            "purge()",
            types,
            self._handlers,
            handler=handler,
            older_than=older_than,
            newer_than=newer_than,
            where=where,
            foreign=foreign,
        )
        return await self._for_each(queue, choice, lambda scan: scan.purge())

    async def _look(self, queue: str | None, choice: LetterFilter) -> AsyncGenerator[DeadLetter]:
        """Read in the event loop in which `async for` runs. The call may have been made in another thread."""
        for scan in await self._scans(queue, choice):
            async with aclosing(scan.found()) as found:
                async for letter in found:
                    yield letter

    async def _for_each(
        self, queue: str | None, choice: LetterFilter, act: "Callable[[DeadLetterScan], Awaitable[int]]"
    ) -> int:
        """Act on the letters of one queue, or of all, and return how many it were. An error says how many, too."""
        done = 0
        for scan in await self._scans(queue, choice):
            try:
                done += await act(scan)
            except Exception as error:
                if done:
                    error.add_note(f"dead letters of other queues of the app that were done before that: {done}")
                raise
        return done

    async def _scans(self, queue: str | None, choice: LetterFilter) -> "list[DeadLetterScan]":
        """Return a scan for each queue that is meant and has dead letters."""
        from dawdle._flow.dead_letter_scan import DeadLetterScan, queues_with_letters  # noqa: PLC0415 - few programs read dead letters

        given = self._settings
        return [
            DeadLetterScan(each, clock=given.clock, codecs=given.codecs, signer=given.signer, choice=choice)
            for each in await queues_with_letters(self._named(queue))
        ]

    def _named(self, queue: str | None, *, anywhere: bool = False) -> "list[QueueClient]":
        """Return the queue of a name, or all; raise what keeps them from being used."""
        queues = self._running(anywhere=anywhere).queues
        return list(queues.values()) if queue is None else [queues[name] for name in self._queues.named(queue)]

    def _running(self, *, anywhere: bool = False) -> "Runtime":
        """Return the runtime of an app that is entered, or raise what keeps it from being used."""
        raise NotImplementedError
