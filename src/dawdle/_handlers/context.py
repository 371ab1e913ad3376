"""The facts that a handler gets about its event. Nothing here acts."""

from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from typing import TypeVar, cast

import msgspec

from dawdle._rules.envelope import headers_of
from dawdle.errors import ConfigurationError, one_line, shown

__all__ = ["Context", "Provided", "Yielded"]

S = TypeVar("S")


class Provided(msgspec.Struct):
    """The values that `around=` provides to one run."""

    values: tuple[object, ...] = ()
    """The innermost first."""
    is_open: bool = False
    """An `around` is being entered, so values may be added."""


class Yielded(msgspec.Struct, frozen=True):
    """What several lifespans of one app yielded, the outermost first."""

    values: tuple[object, ...]


class Context:
    """The second argument of a handler that takes two: `async def audit(event: object, ctx: dawdle.Context)`."""

    event_id: str
    """The id that `signal()` returned; the same on every attempt and for every handler."""
    event_type: str
    """The event's name on the wire."""
    handler: str
    """The name of the handler that runs."""
    queue: str
    """The name of the queue that the event came from."""
    attempt: int
    """Which try this is, from 1."""
    max_attempts: int
    """How many tries there are."""
    signaled_at: datetime | None
    """When the event was signaled, aware, by the signaling node's clock; None if a foreign event does not say."""

    def __init__(
        self,
        *,
        event_id: str,
        event_type: str,
        handler: str,
        queue: str,
        attempt: int,
        max_attempts: int,
        signaled_at: datetime | None,
        body: bytes,
        state: object,
        provided: Provided | None = None,
    ) -> None:
        self.event_id = event_id
        self.event_type = event_type
        self.handler = handler
        self.queue = queue
        self.attempt = attempt
        self.max_attempts = max_attempts
        self.signaled_at = signaled_at
        self._body = body
        self._state = state
        self._provided = provided

    def __repr__(self) -> str:
        return (
            f"<Context {one_line(self.event_type)} {one_line(self.event_id)} for {self.handler}, "
            f"attempt {self.attempt} of {self.max_attempts}>"
        )

    # Read from the body when asked for: few handlers use the headers, and each run would pay for them.
    @cached_property
    def headers(self) -> Mapping[str, str]:
        """The headers that `signal()` was given, and any attribute of a foreign event."""
        return headers_of(self._body)

    def state(self, kind: type[S]) -> S:
        """Return what an `around` provided, or else what the app's lifespan yielded: `ctx.state(AsyncSession)`.

        It is an instance of `kind`: of several that were provided, that of the innermost `around`. Where a lifespan
        yielded a mapping, as that of a web app does, it may be one of its values. Raises `ConfigurationError` if there
        is none, or if a mapping has several.
        """
        provided = () if self._provided is None else self._provided.values
        yielded = self._state.values if isinstance(self._state, Yielded) else (self._state,)
        for value in (*provided, *yielded):
            if isinstance(value, kind):
                return value
        for value in yielded:
            if isinstance(value, Mapping) and (found := _found_in(cast("Mapping[object, object]", value), kind)):
                return self._single(found, kind)
        types = [type(each).__qualname__ for each in yielded if each is not None]
        has = f"a lifespan that yields {' and '.join(types)}" if types else "no lifespan"
        if provided:
            has += f", and around= provides {', '.join({type(each).__qualname__: None for each in provided})}"
        advice = "let Dawdle(lifespan=…) yield one, or an around= provide one"
        if not types:
            advice += (
                ", or own= of a web app's lifespan yield one. In a test httpx's ASGITransport runs none: enter "
                "web.router.lifespan_context(web)"
            )
        raise ConfigurationError(
            f"handler {self.handler} asks for the state {kind.__qualname__}, and the app has {has}: {advice}"
        )

    def _single(self, found: Mapping[object, S], kind: type[S]) -> S:
        """Return the one value that was found, under whatever names. Raises `ConfigurationError` for several values."""
        first, *others = found.values()
        if any(each is not first for each in others):
            raise ConfigurationError(
                f"handler {self.handler} asks for the state {kind.__qualname__}, and a lifespan yields several, as "
                f"{', '.join(map(shown, found))}: give each a class of its own, and ask for that"
            )
        return first

    def provide(self, value: object) -> None:
        """Let the handler find a value by `ctx.state(Type)`, until the `around` that provides it is left.

        Only an `around` may call this, and only before its `yield`, or in its `__aenter__`. Raises
        `ConfigurationError` elsewhere, and for None.
        """
        if self._provided is None or not self._provided.is_open:
            raise ConfigurationError(
                f"ctx.provide({type(value).__qualname__}) for handler {self.handler}: only an around= may provide "
                f"values, before its yield"
            )
        if value is None:
            raise ConfigurationError("ctx.provide(None): provide an object that ctx.state(Type) finds by its type")
        self._provided.values = (value, *self._provided.values)


def _found_in(state: Mapping[object, object], kind: type[S]) -> Mapping[object, S]:
    return {name: value for name, value in state.items() if isinstance(value, kind)}
