"""What an app says of its dead letters: its calls, with their arguments read. What they do is done elsewhere."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import timedelta
from typing import TypeVar, overload

from dawdle._flow.dead_letter_scan import DeadLetterScan
from dawdle._handlers.app_handlers import AppHandlers
from dawdle._handlers.letter_filter import LetterFilter, Where, read_filter
from dawdle._rules.dead_letter import DeadLetter

__all__ = ["DeadLetterCalls"]

A = TypeVar("A")
B = TypeVar("B")


class DeadLetterCalls:
    """The half of an app that a person uses who looks after its dead letters."""

    _handlers: AppHandlers

    def dead_letters(self, *, queue: str | None = None, foreign: bool = False) -> AsyncGenerator[DeadLetter]:
        """Look at what was given up: `async for letter in app.dead_letters():`. It needs no listener.

        What was looked at is hidden from others who look, and from `redrive` and `purge`, until the loop ends, and for
        no longer than the queue's lease (60 s on SQS). Then all of it is visible again. A loop that is left by
        `break` ends when its iterator is collected, at once as a rule; `contextlib.aclosing` ends it for sure. Letters
        that are written after the loop began are not in it.

        Several queues may share a dead-letter queue. Letters that say another queue than this one are left out, unless
        `foreign` is true.

        The loop raises `BackendError` when the queue does not answer, and `ConfigurationError` when there is none.
        """
        choice = read_filter("dead_letters()", (), self._handlers, foreign=foreign)
        self._scan(queue, choice, anywhere=True)  # what is wrong about the call is an error of the call
        return self._look(queue, choice)

    @overload
    async def redrive(
        self,
        event_type: type[A],
        /,
        *,
        handler: str | None = None,
        older_than: float | timedelta | None = None,
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
        where: Where | None = None,
        queue: str | None = None,
        foreign: bool = False,
    ) -> int: ...

    async def redrive(
        self,
        *types: type | str,
        handler: str | None = None,
        older_than: float | timedelta | None = None,
        where: Callable[..., object] | None = None,
        queue: str | None = None,
        foreign: bool = False,
    ) -> int:
        """Put dead letters back into their queue, and return how many: all of them, or those that all of this fits.

        - `types`: event classes, each with its subclasses, or names on the wire.
        - `handler`: the name in `letter.handler`.
        - `older_than`: seconds or a timedelta since it was given up; of a letter that SQS moved, since it was stored.
        - `where`: a function that is true of the `DeadLetter`. One that raises ends the call with that error. If all
          `types` are classes, it is asked of letters whose event is of one of them, and not of those whose data does
          not fit its type: these are left, and a warning says how many.
        - `queue`: the name of the queue.
        - `foreign`: also letters of other queues, which share its dead-letter queue. They come into this queue. So do
          those of which nothing says whose they are, which else are left unless the app knows their type, or the call
          names their type or their handler.

        Each starts anew, at attempt 1, for the handler that failed and for no other. What is given up again meanwhile
        waits for the next call. A letter is deleted when its copy is stored: cut short, some may be redriven twice and
        none is lost. Raises `BackendError` when the queue does not answer, and says how many were redriven.
        """
        choice = read_filter(
            "redrive()", types, self._handlers, handler=handler, older_than=older_than, where=where, foreign=foreign
        )
        return await self._scan(queue, choice).redrive()

    @overload
    async def purge(
        self,
        event_type: type[A],
        /,
        *,
        handler: str | None = None,
        older_than: float | timedelta | None = None,
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
        where: Where | None = None,
        queue: str | None = None,
        foreign: bool = False,
    ) -> int: ...

    async def purge(
        self,
        *types: type | str,
        handler: str | None = None,
        older_than: float | timedelta | None = None,
        where: Callable[..., object] | None = None,
        queue: str | None = None,
        foreign: bool = False,
    ) -> int:
        """Delete dead letters for good, and return how many. Takes and raises what `redrive` does."""
        choice = read_filter(
            "purge()", types, self._handlers, handler=handler, older_than=older_than, where=where, foreign=foreign
        )
        return await self._scan(queue, choice).purge()

    async def _look(self, queue: str | None, choice: LetterFilter) -> AsyncGenerator[DeadLetter]:
        """Look in the event loop in which `async for` runs; the call may have been made elsewhere."""
        async with aclosing(self._scan(queue, choice).found()) as found:
            async for letter in found:
                yield letter

    def _scan(self, queue: str | None, choice: LetterFilter, *, anywhere: bool = False) -> DeadLetterScan:
        """Return one look at the dead letters of a queue."""
        raise NotImplementedError
