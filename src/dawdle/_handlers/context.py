"""The facts that a handler gets about its event. Nothing here acts."""

from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from typing import TypeVar

from dawdle._rules.envelope import headers_of
from dawdle.errors import ConfigurationError, one_line

__all__ = ["Context"]

S = TypeVar("S")


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
        """Return what the app's lifespan yielded: `ctx.state(Database)`.

        Raises `ConfigurationError` if it is not an instance of `kind`.
        """
        if isinstance(self._state, kind):
            return self._state
        has = "no lifespan" if self._state is None else f"a lifespan that yields {type(self._state).__qualname__}"
        raise ConfigurationError(
            f"handler {self.handler} asks for the state {kind.__qualname__}, and the app has {has}: "
            f"let Dawdle(lifespan=…) yield one"
        )
