"""The chain about a handler: links that run code before and after it, each knowing only the next one.

    link ──► link ──► … ──► the handler's function
      ◄── an outcome, or what was raised ──◄

A link is `async (invocation, call_next) → Outcome`. It may return an outcome without calling the next. What the handler
raises comes through as it is raised, a cancellation too, so that an async context manager sees it; where the chain
began, it becomes an outcome. Without links there is no chain, and nothing here is called.
"""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, cast

import msgspec

from dawdle._flow.handler_scope import HandlerRun
from dawdle._handlers.around import Around
from dawdle._handlers.carry import Carry, set_carried
from dawdle._handlers.context import Context, Provided
from dawdle._handlers.handler import Handler
from dawdle._handlers.handler_name import described
from dawdle._rules.outcome import Outcome
from dawdle._rules.retry import Retry
from dawdle.abc import Deadline
from dawdle.errors import ConfigurationError

__all__ = ["CallNext", "Chains", "Invocation", "Link", "carry_link"]


class Invocation(msgspec.Struct, frozen=True, eq=False):
    """One run of a handler, as the links see it."""

    run: HandlerRun
    retry: Retry
    context: Context
    provided: Provided
    """What the links provide to `context`."""
    deadline: Deadline | None
    """The timeout that all of the chain has; None: it has none."""


CallNext = Callable[[Invocation], Awaitable[Outcome]]
Link = Callable[[Invocation, CallNext], Awaitable[Outcome]]


MAX_KNOWN: Final = 1000
"""Chains that are kept ready. One more, and all are put together anew when they are wanted."""


class Chains:
    """The chains of one app's handlers. Each is put together once, and again when the handler's `around` is another."""

    def __init__(self, links: Sequence[Link], end: CallNext) -> None:
        self._links = links
        self._end = end
        self._known: dict[str, tuple[tuple[Around, ...], CallNext]] = {}

    def of(self, handler: Handler) -> CallNext:
        """Return what runs a handler with all that is about it: the app's links first, then its `around`."""
        around, chain = self._known.get(handler.name, (None, self._end))
        if around is not handler.around:
            chain = self._end
            for link in reversed((*self._links, *map(_around_link, handler.around))):
                chain = _before(link, chain)
            if len(self._known) >= MAX_KNOWN:  # handlers that were registered for a while, one for each connection
                self._known.clear()
            self._known[handler.name] = handler.around, chain
        return chain


def _before(link: Link, call_next: CallNext) -> CallNext:
    return lambda invocation: link(invocation, call_next)


def carry_link(carry: Carry) -> Link:
    """Return the link that sets context variables to the headers in which their values travel."""

    async def link(invocation: Invocation, call_next: CallNext) -> Outcome:
        # Not reset: the task ends with the message, and until then our own log lines and hooks have the values too.
        set_carried(carry, invocation.context.headers)
        return await call_next(invocation)

    return link


def _around_link(around: Around) -> Link:
    """Return the link that enters one `around`, and leaves it with what the inner ones return or raise."""

    async def link(invocation: Invocation, call_next: CallNext) -> Outcome:
        manager, provided = _made(around, invocation.context), invocation.provided
        before = provided.values
        provided.is_open = True
        try:
            await manager.__aenter__()
        except RuntimeError as error:
            if _never_yielded(error):
                raise RuntimeError(
                    f"around={described(around)} of handler {invocation.context.handler} ended before its yield: let "
                    f"it yield once on every way through it, or raise what is wrong"
                ) from error
            raise
        finally:
            provided.is_open = False
        try:
            outcome = await call_next(invocation)
        except BaseException as error:
            # Raised again even if the exit returns True. An `except Exception: await session.rollback()` that forgets
            # its `raise` would else let an event be deleted whose handler has failed.
            await manager.__aexit__(type(error), error, error.__traceback__)
            raise
        else:
            await manager.__aexit__(None, None, None)
        finally:
            provided.values = before
        return outcome

    return link


def _never_yielded(error: RuntimeError) -> bool:
    """Whether contextlib raised it about the `around` itself, and not about something that is entered in it."""
    # This link and contextlib's `__aenter__` are all that it came through.
    trace = error.__traceback__
    inside = None if trace is None else trace.tb_next
    return str(error) == "generator didn't yield" and inside is not None and inside.tb_next is None


def _made(around: Around, context: Context) -> AbstractAsyncContextManager[object]:
    made = cast("object", around(context))
    name = type(made).__qualname__
    if isinstance(made, AbstractAsyncContextManager):
        return cast("AbstractAsyncContextManager[object]", made)
    if isinstance(made, Coroutine):
        made.close()  # or Python warns that it was never awaited
    raise ConfigurationError(
        f"around={described(around)} of handler {context.handler} returned an object of the type {name}, which is no "
        f"async context manager: make it an async generator function with @contextlib.asynccontextmanager above it"
    )
